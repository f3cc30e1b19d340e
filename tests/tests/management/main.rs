//! The API for administrators, through real HTTP. Each test has a system of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod authorization;
mod changing;
mod deleting;
mod dialects;
mod limits;
mod loops;
mod reading;
mod repeating;
mod secrets;
mod support;
mod tokens;
mod trying;
mod webhooks;
