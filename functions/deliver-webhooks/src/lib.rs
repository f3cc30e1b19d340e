//! From the queue to the receivers. Every change becomes a delivery to each webhook that wants it. A change is one of a
//! report, or was reported by a source. Every due delivery is tried.
//!
//! *Invariant:* this is the only place from which a delivery is sent. Retries come through the queue too.
//!
//! *Invariant:* a message of the queue counts as handled only when DynamoDB has the outcome of every delivery that it stands
//! for: the delivery is delivered, due again or given up, or it waits for its webhook.

mod batch;
mod lane;
mod receipt;
mod replay;
mod state;
mod tally;

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::{StreamExt as _, stream};
use runtime::clock::Clock;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::batch::Batch;
use crate::receipt::Records;
use crate::tally::Tally;

pub use crate::state::Delivering;

/// How much of the function's time is reserved for what has begun, when DynamoDB and the queue are slow. A delivery is
/// claimed and its message read. It is sent, which may take 10 s. It is recorded, perhaps after attempts were moved beside
/// it. Its verdict on the receiver is recorded, with at most two writes. Then the other deliveries are replayed, and what
/// remains goes back on the queue.
pub const RESERVE: Duration = Duration::from_secs(65);

/// How many deliveries are sent at once. A Lambda function may have 1,024 open files (Lambda, "Quotas"). There are also
/// connections to DynamoDB, and idle ones to receivers.
const MAX_CONCURRENT: usize = 200;

/// Handles messages of the queue that came at `now`. Begins nothing new when `budget` is over.
///
/// The answer names the messages that have to come again, because their outcome is not recorded. All other messages are done.
pub async fn handle(
    delivering: &Delivering,
    event: SqsEvent,
    now: OffsetDateTime,
    budget: Duration,
) -> SqsBatchResponse {
    let clock = Clock::new(now, budget);
    let mut records = Records::default();
    let mut batch = Batch::read(event, &mut records);
    let replays = std::mem::take(&mut batch.replays);

    let lanes = batch.lanes(delivering, now).await;
    let slots = Semaphore::new(MAX_CONCURRENT);
    let tally = Tally::default();
    let running = lanes
        .into_values()
        .map(|lane| lane.run(delivering, &slots, &clock, &tally));
    // All at once: the slots limit how many deliveries are sent.
    let mut running = stream::iter(running).buffer_unordered(usize::MAX);
    let lanes = async { while running.next().await.is_some() {} };
    // Concurrently with the lanes: after a slow receiver there would be no time left, again and again.
    tokio::join!(lanes, replay::all(delivering, replays, &clock));
    drop(running);
    if let Some(metrics) = tally.metrics() {
        delivering.metrics.record(clock.now(), &metrics);
    }
    let unreadable = delivering.webhooks.unreadable.take()
        + delivering.calls.unreadable.take()
        + delivering.deliveries.unreadable.take();
    delivering
        .metrics
        .record_unreadable(clock.now(), unreadable);
    records.response()
}
