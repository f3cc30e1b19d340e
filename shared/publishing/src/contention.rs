//! Patience with others who change the same report, or the same product, at the same moment.

use std::time::Duration;

/// How often something is tried that others win. Dozens may publish reports of one product at once.
pub const MAX_TRIES: u32 = 20;

/// The longest pause before the second try. It doubles with every further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// All pauses together take 15 seconds at the most, half of that usually.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits before the try that follows `tries` others: not at all before the first, otherwise for a random time, so that those who
/// have collided do not collide again ("Exponential Backoff And Jitter", AWS Architecture Blog; there it is "full jitter").
pub async fn pause(tries: u32) {
    let Some(earlier) = tries.checked_sub(1) else {
        return;
    };
    let longest = FIRST_PAUSE
        .saturating_mul(1 << earlier.min(10))
        .min(LONGEST_PAUSE);
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}
