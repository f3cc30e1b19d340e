//! Retries of what others change at the same moment: a report, a product, the webhooks of an organization, a source.

use std::time::Duration;

use tokio::time::Instant;

/// How often a change is tried when others win. Dozens may publish reports of one product at once, or make webhooks.
const MAX_TRIES: u32 = 20;
/// The longest pause before the second try. It doubles with each further try, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause of all. All pauses together take at most 15 seconds, and usually half of that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The tries of one change. After the first the pauses are random, so that those who collided do not collide again
/// ("Exponential Backoff And Jitter", AWS Architecture Blog, "full jitter").
#[derive(Debug, Default)]
pub struct Retries {
    begun: u32,
    until: Option<Instant>,
}

impl Retries {
    /// Tries none of which begins later than after this time, for whoever has to answer by then.
    pub fn within(limit: Duration) -> Self {
        Self {
            begun: 0,
            until: Some(Instant::now() + limit),
        }
    }

    /// Waits for the next try, and says whether there is one. The first one is at once.
    pub async fn next(&mut self) -> bool {
        if self.begun == MAX_TRIES {
            return false;
        }
        if self.begun > 0 {
            let at = Instant::now() + longest_pause(self.begun).mul_f64(fastrand::f64());
            if self.until.is_some_and(|until| at > until) {
                return false;
            }
            tokio::time::sleep_until(at).await;
        }
        self.begun += 1;
        true
    }
}

/// The longest pause behind so many tries.
fn longest_pause(begun: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << begun.saturating_sub(1).min(10));
    doubled.min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_all_of_them_are_over_soon() {
        let pauses: Vec<Duration> = (1..MAX_TRIES).map(longest_pause).collect();
        let milliseconds: Vec<u128> = pauses.iter().map(Duration::as_millis).collect();
        assert_eq!(milliseconds[..7], [20, 40, 80, 160, 320, 640, 1000]);
        assert!(milliseconds[7..].iter().all(|&pause| pause == 1000));
        assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(15));
    }

    #[tokio::test]
    async fn there_is_one_try_at_least_and_none_after_the_last_or_after_the_limit() {
        let mut none_left = Retries {
            begun: MAX_TRIES,
            until: None,
        };
        assert!(!none_left.next().await);
        let mut late = Retries::within(Duration::ZERO);
        assert!(late.next().await);
        assert!(!late.next().await);
    }
}
