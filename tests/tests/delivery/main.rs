//! Messages on their way to receivers: what is sent, when it is tried again, and that none is lost. Each test has a
//! system of its own, and says what time it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod attempts;
mod changing;
mod concurrency;
mod disabling;
mod faults;
mod health;
mod messages;
mod metrics;
mod overlapping;
mod repeated;
mod replay;
mod retries;
mod schedules;
mod signposts;
mod since;
mod support;
mod unreadable;
mod usage;
