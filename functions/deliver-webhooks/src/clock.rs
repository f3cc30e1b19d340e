//! What time it is while a batch is handled.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// A clock that was set when it was made: tests set it to whatever time they are about.
#[derive(Debug)]
pub(crate) struct Clock {
    begin: OffsetDateTime,
    begun: Instant,
    budget: Duration,
}

impl Clock {
    pub(crate) fn new(now: OffsetDateTime, budget: Duration) -> Self {
        Self {
            begin: now,
            begun: Instant::now(),
            budget,
        }
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.begin + self.begun.elapsed()
    }

    /// Whether nothing new may be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.budget
    }
}
