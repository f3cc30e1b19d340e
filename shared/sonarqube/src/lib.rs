//! `SonarQube`'s Web API, and the findings of a server by a security standard.
//!
//! The same code serves Server from 9.9 LTA on, Community Build and Cloud. It asks for the differences between them and does
//! not guess: see [`pull`]. [`check`] says whether a server and a token work, and [`history`] lists the analyses. Nothing is
//! changed on the server. A token needs no more than the right to browse the project.

#[cfg(test)]
mod canned;
mod check;
mod client;
mod dialect;
mod error;
mod history;
mod issues;
mod pull;
mod rules;
mod text;
mod version;
mod wait;
mod wire;

pub use check::{Checked, Problem, check, greet};
pub use client::{Client, Connection, Patience, Token};
pub use error::Error;
pub use history::{Listed, history};
pub use pull::{Analysed, Progress, Request, Step, pull};
pub use version::{InvalidFallback, VersionFallback};
pub use wait::{Scanned, Task, wait_for_revision, wait_for_task};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send(_: &impl Send) {}

    #[expect(dead_code, reason = "that it compiles is the test")]
    fn whoever_reads_a_server_may_move_to_another_thread(client: &Client, request: &Request) {
        is_send(&pull(client, request, &|_, _, _| {}));
        is_send(&check(client));
    }
}
