//! Tries again what others have changed at the same moment: a report, a product, the webhooks of an organization.

use std::time::Duration;

/// How often a change is tried when others win. Dozens may publish reports of one product at once, or make webhooks.
pub const MAX_TRIES: u32 = 20;

/// The longest pause before the second try. It doubles with each further try, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause of all. All pauses together take at most 15 seconds, and usually half of that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits before the try that follows `tries` others. There is no wait before the first try. Otherwise the wait is random, so
/// that those who collided do not collide again ("Exponential Backoff And Jitter", AWS Architecture Blog, "full jitter").
pub async fn pause(tries: u32) {
    let Some(earlier) = tries.checked_sub(1) else {
        return;
    };
    let longest = FIRST_PAUSE
        .saturating_mul(1 << earlier.min(10))
        .min(LONGEST_PAUSE);
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}
