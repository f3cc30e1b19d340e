//! When what failed is tried again. Schedules are data: nothing else depends on which one a webhook has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A webhook's retry schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Once an hour, until the delivery succeeds or its webhook is disabled.
    #[default]
    Hourly,
}

/// How often the sweep makes its round: once an hour (template.yaml, the rule of `RetryWebhooks`).
const ROUND: Duration = Duration::from_secs(3600);

/// A webhook none of whose deliveries has succeeded for so long is disabled, unless the stack says otherwise.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);

/// What decides when a receiver is tried again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The webhook's schedule.
    pub schedule: Schedule,
    /// What the stack says for all webhooks.
    pub limits: RetryLimits,
}

/// What a stack says of retries, for all of its webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// The time from one round of the sweep to the next; an hour on AWS.
    pub round: Duration,
    /// After so long without a success a webhook is disabled; five days by default.
    pub disable_after: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            round: ROUND,
            disable_after: DISABLE_AFTER,
        }
    }
}

impl RetryLimits {
    /// The policy of a webhook with this schedule.
    pub fn with(self, schedule: Schedule) -> RetryPolicy {
        RetryPolicy {
            schedule,
            limits: self,
        }
    }
}

impl RetryPolicy {
    /// From a failure to the time at which the delivery is due again.
    ///
    /// For [`Schedule::Hourly`] that is five sixths of a round. After a whole round it would be every second round: a
    /// delivery that failed a moment after one round would not be due yet at the next.
    pub fn wait(&self) -> Duration {
        match self.schedule {
            Schedule::Hourly => self.limits.round * 5 / 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hourly_retry_is_due_before_the_round_that_follows() {
        let policy = RetryLimits::default().with(Schedule::Hourly);
        assert_eq!(policy.wait(), Duration::from_secs(50 * 60));
    }
}
