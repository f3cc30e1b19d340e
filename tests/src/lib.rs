//! What tests of several crates need: a running system of their own, clients that hold every answer against the contract,
//! a receiver of webhooks, and the faults of a network and of AWS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod answers;
pub mod api;
pub mod at_once;
pub mod bucket;
pub mod contract;
pub mod deployment;
pub mod failures;
pub mod faults;
pub mod lambda;
pub mod log;
pub mod meter;
pub mod metrics;
pub mod papers;
pub mod posted;
pub mod queue;
pub mod receiver;
pub mod samples;
pub mod server;
pub mod source;
pub mod system;
pub mod tls;
pub mod tools;
pub mod visitor;
