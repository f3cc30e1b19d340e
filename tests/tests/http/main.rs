//! The whole system through real HTTP. Each test has a system of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod announcement;
mod contract;
mod cors;
mod file;
mod files;
mod list;
mod products;
mod publish;
mod reading_by_token;
mod superseded;
mod support;
mod uploads;
