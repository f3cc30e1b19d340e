//! What time it is while a function works, and how much of it is left.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// A clock that was set when it was made: tests set it to whatever time they are about.
#[derive(Debug)]
pub struct Clock {
    begin: OffsetDateTime,
    begun: Instant,
    budget: Duration,
}

impl Clock {
    /// It is `now`, and nothing new is begun when `budget` is over.
    pub fn new(now: OffsetDateTime, budget: Duration) -> Self {
        Self {
            begin: now,
            begun: Instant::now(),
            budget,
        }
    }

    /// What time it was when it was made.
    pub fn began(&self) -> OffsetDateTime {
        self.begin
    }

    /// What time it is.
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
