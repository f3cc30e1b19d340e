//! A function's clock: what time it is, and how much time is left.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// A clock that is set when it is made. Tests set it to any time.
#[derive(Debug)]
pub struct Clock {
    begin: OffsetDateTime,
    begun: Instant,
    budget: Duration,
}

impl Clock {
    /// A clock that shows `now`. Nothing new begins when `budget` is over.
    pub fn new(now: OffsetDateTime, budget: Duration) -> Self {
        Self {
            begin: now,
            begun: Instant::now(),
            budget,
        }
    }

    /// The time when it was made.
    pub fn began(&self) -> OffsetDateTime {
        self.begin
    }

    /// The current time.
    pub fn now(&self) -> OffsetDateTime {
        self.begin + self.begun.elapsed()
    }

    /// How much of the budget is left.
    pub fn left(&self) -> Duration {
        self.budget.saturating_sub(self.begun.elapsed())
    }

    /// Whether more than half of the budget is left.
    pub fn has_half(&self) -> bool {
        self.left() > self.budget / 2
    }

    /// Whether nothing new may be begun.
    pub fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.budget
    }
}
