//! When a failed delivery is tried again. Schedules are data: no other code depends on which one a webhook has.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::WebhookId;
use super::format::Format;

/// A webhook's retry schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Once an hour, until the delivery succeeds or its webhook is disabled.
    #[default]
    Hourly,
    /// `CodeScoring`'s schedule, at whose end the webhook is disabled ("Webhooks" in its documentation).
    Codescoring,
    /// The example schedule of Standard Webhooks (its specification, "Deliverability and reliability"). At its end the
    /// delivery is given up, and the webhook continues.
    Standard,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The time from each failed attempt to the next one, in seconds.
const CODESCORING: [u64; 7] = [
    MINUTE,
    5 * MINUTE,
    30 * MINUTE,
    3 * HOUR,
    12 * HOUR,
    24 * HOUR,
    48 * HOUR,
];
/// The same for [`Schedule::Standard`].
const STANDARD: [u64; 9] = [
    5,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];

/// What happens when every attempt of the schedule has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its webhook is disabled.
    Disable,
    /// The delivery stays failed.
    GiveUp,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: [Self; 3] = [Self::Hourly, Self::Codescoring, Self::Standard];

    /// The schedule's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Codescoring => "codescoring",
            Self::Standard => "standard",
        }
    }

    /// The waits; empty when every wait is the same and there is no end.
    const fn waits(self) -> &'static [u64] {
        match self {
            Self::Hourly => &[],
            Self::Codescoring => &CODESCORING,
            Self::Standard => &STANDARD,
        }
    }

    /// What happens at its end, if it has one.
    const fn end(self) -> Option<End> {
        match self {
            Self::Hourly => None,
            Self::Codescoring => Some(End::Disable),
            Self::Standard => Some(End::GiveUp),
        }
    }

    /// Whether a delivery is tried as soon as it is due, rather than by the next round of the sweep.
    pub const fn is_to_the_minute(self) -> bool {
        !matches!(self, Self::Hourly)
    }
}

/// How often the sweep runs: once an hour (template.yaml, the rule of `RetryWebhooks`).
const ROUND: Duration = Duration::from_secs(HOUR);

/// A webhook is disabled after this time without a successful delivery, unless the stack sets another time.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * HOUR);

/// How long a claimed probe belongs to its holder, for a schedule that is not in rounds. That is longer than the function
/// that tries may run (template.yaml: 150 s).
const PROBE: Duration = Duration::from_secs(3 * MINUTE);

/// What decides when a receiver is tried again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The webhook's schedule.
    pub schedule: Schedule,
    /// The stack's limits for all webhooks.
    pub limits: RetryLimits,
    /// How many attempts of the delivery failed before.
    pub failures: u32,
}

/// A stack's settings of retries, for all its webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// The time from one round of the sweep to the next; an hour on AWS.
    pub round: Duration,
    /// The time without a success after which a webhook is disabled; five days by default.
    pub disable_after: Duration,
    /// The factor by which the waits of schedules are shortened; 1, except for trials.
    pub time_factor: u32,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            round: ROUND,
            disable_after: DISABLE_AFTER,
            time_factor: 1,
        }
    }
}

impl RetryLimits {
    /// The policy of a webhook with this schedule, for a delivery that has not failed yet.
    pub fn with(self, schedule: Schedule) -> RetryPolicy {
        RetryPolicy {
            schedule,
            limits: self,
            failures: 0,
        }
    }

    /// When a webhook is told of changes that are taken off the queue at `now`, if its format gathers changes. It is the end
    /// of a window. Windows follow each other, and the webhook is told of all changes of a window at its end. The windows of
    /// different webhooks begin at different times.
    ///
    /// The queue waits for whole seconds. A shorter window is none: such changes gather on the queue as all others do.
    pub fn gathered_at(
        self,
        format: Format,
        webhook: WebhookId,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let window = format.gathers_for()? / self.time_factor.max(1);
        if window < Duration::from_secs(1) {
            return None;
        }
        let window = i128::try_from(window.as_nanos()).ok()?;
        let (_, of_webhook) = webhook.uuid().as_u64_pair();
        let into = (now.unix_timestamp_nanos() + i128::from(of_webhook)).rem_euclid(window);
        let left = u64::try_from(window - into).ok()?;
        Some(now + Duration::from_nanos(left))
    }
}

impl RetryPolicy {
    /// The same policy for a delivery that failed this many times before.
    #[must_use]
    pub fn after(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// The time from a failure until the delivery is due again.
    ///
    /// For [`Schedule::Hourly`] it is five sixths of a round. A wait of a whole round would mean every second round: a
    /// delivery that fails a moment after one round would not be due yet at the next.
    pub fn wait(&self) -> Duration {
        let waits = self.schedule.waits();
        let at = usize::try_from(self.failures).unwrap_or(usize::MAX);
        match waits.get(at) {
            // The same holds after the last wait, where it concerns other waiting deliveries: the next round tries one of
            // them.
            None => self.limits.round * 5 / 6,
            Some(seconds) => Duration::from_secs(*seconds) / self.limits.time_factor.max(1),
        }
    }

    /// What happens after this failure, if the schedule has no further attempt.
    pub fn end(&self) -> Option<End> {
        let waits = self.schedule.waits();
        let at = usize::try_from(self.failures).unwrap_or(usize::MAX);
        self.schedule.end().filter(|_| at >= waits.len())
    }

    /// How many attempts have failed after this failure. A schedule without an end counts none, so that another schedule
    /// begins with the first failure under it.
    pub fn counted(&self) -> u32 {
        match self.schedule.end() {
            None => 0,
            Some(_) => self.failures.saturating_add(1),
        }
    }

    /// When a delivery is due again that failed at `now`, if its receiver asks to be left alone `until` then. In the hourly
    /// schedule that time alone counts. In the others it lengthens the wait and never shortens it.
    pub fn not_before(&self, now: OffsetDateTime, until: OffsetDateTime) -> OffsetDateTime {
        match self.schedule {
            Schedule::Hourly => until,
            Schedule::Codescoring | Schedule::Standard => until.max(now + self.wait()),
        }
    }

    /// How long a claimed probe belongs to its holder.
    pub fn probe(&self) -> Duration {
        match self.schedule {
            Schedule::Hourly => self.wait(),
            Schedule::Codescoring | Schedule::Standard => PROBE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_hourly_retry_is_due_before_the_round_that_follows() {
        let policy = RetryLimits::default().with(Schedule::Hourly);
        for failures in [0, 1, 1000] {
            let policy = policy.after(failures);
            assert_eq!(policy.wait(), Duration::from_secs(50 * MINUTE));
            assert_eq!((policy.end(), policy.counted()), (None, 0));
        }
    }

    #[test]
    fn each_failure_has_its_wait_until_the_schedule_is_at_its_end() {
        for (schedule, waits, in_all, end) in [
            (
                Schedule::Codescoring,
                &CODESCORING[..],
                87 * HOUR + 36 * MINUTE,
                End::Disable,
            ),
            (
                Schedule::Standard,
                &STANDARD[..],
                75 * HOUR + 35 * MINUTE + 5,
                End::GiveUp,
            ),
        ] {
            let policy = RetryLimits::default().with(schedule);
            let mut sum = Duration::ZERO;
            for (failures, seconds) in (0..).zip(waits) {
                let policy = policy.after(failures);
                assert_eq!(policy.wait(), Duration::from_secs(*seconds));
                assert_eq!(policy.end(), None, "{schedule:?} {failures}");
                assert_eq!(policy.counted(), failures + 1);
                sum += policy.wait();
            }
            assert_eq!(sum, Duration::from_secs(in_all), "{schedule:?}");
            let last = u32::try_from(waits.len()).unwrap();
            assert_eq!(policy.after(last).end(), Some(end));
            // Others that wait are tried in the next round.
            let of_a_round = Duration::from_secs(50 * MINUTE);
            assert_eq!(policy.after(last).wait(), of_a_round);
            assert_eq!(policy.after(u32::MAX).end(), Some(end));
        }
    }

    #[test]
    fn time_may_be_shorter_to_try_a_schedule_out() {
        let limits = RetryLimits {
            time_factor: 60,
            ..RetryLimits::default()
        };
        let policy = limits.with(Schedule::Codescoring);
        assert_eq!(policy.wait(), Duration::from_secs(1));
        assert_eq!(policy.after(3).wait(), Duration::from_secs(3 * MINUTE));
    }

    #[test]
    fn what_a_receiver_says_lengthens_a_wait_and_does_not_shorten_it() {
        let now = datetime!(2026-03-01 12:00 UTC);
        let minutes = time::Duration::minutes;
        let policy = |schedule| RetryLimits::default().with(schedule).after(1);
        for (schedule, says, expected) in [
            (Schedule::Codescoring, 1, 5),
            (Schedule::Codescoring, 7, 7),
            (Schedule::Standard, 0, 5),
            (Schedule::Hourly, 1, 1),
        ] {
            let due = policy(schedule).not_before(now, now + minutes(says));
            assert_eq!(due, now + minutes(expected), "{schedule:?} {says}");
        }
    }
}
