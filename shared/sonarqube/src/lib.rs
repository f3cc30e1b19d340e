//! `SonarQube`'s Web API, and what a server of it has found of a security standard.
//!
//! One engine serves Server from 9.9 LTA on, Community Build and Cloud. Whatever differs between them is asked, not guessed: see
//! [`pull`]. Nothing is changed on the server, and a token needs no more than the right to browse the project.

mod client;
mod dialect;
mod error;
mod issues;
mod pull;
mod rules;
mod text;
mod version;
mod wait;
mod wire;

pub use client::{Client, Connection, Patience, Token};
pub use error::Error;
pub use pull::{Analysed, Progress, Request, Step, pull};
pub use version::{InvalidFallback, VersionFallback};
pub use wait::{Scanned, Task, wait_for_revision, wait_for_task};
