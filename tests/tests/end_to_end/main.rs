//! The system as people outside use it: what is published is listed, downloaded and told, and who may do what.
//!
//! `cargo test` runs these tests on systems of their own, and `make rehearse` on the stack of template.yaml, deployed. So they
//! know only what both have in common, and each has an organization of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod dialects;
mod events;
mod failing;
mod imports;
mod panel;
mod publishing;
mod reading;
mod support;
mod webhooks;
