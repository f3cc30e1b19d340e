//! From the queue to the receivers: every change, of a report or told by a source, becomes a delivery to each webhook that wants it, and every
//! delivery that is due is tried.
//!
//! *Invariant:* this is the only place from which a delivery is sent. What is tried again comes through the queue too.
//!
//! *Invariant:* a message of the queue counts as handled only when, for every delivery that it stands for, DynamoDB has
//! what came of it: that it is delivered, due again or given up, or that it waits for its webhook.

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

/// So much of the function's time is kept for what has been begun, when DynamoDB and the queue are slow: a delivery is claimed
/// and its message read, it is sent, which may take 10 s, and is recorded, perhaps after attempts were put beside it; what it
/// says of the receiver is recorded, by two writes at the most; the others are replayed, and what is left goes back on the
/// queue.
pub const RESERVE: Duration = Duration::from_secs(65);

/// How many deliveries are on their way at once. A Lambda function may have 1,024 open files (Lambda, "Quotas"), and beside
/// these there are connections to DynamoDB, and some to receivers that are kept for a while.
const MAX_CONCURRENT: usize = 200;

/// Handles messages of the queue that came at `now`, and begins nothing new when `budget` is over.
///
/// The messages that are named in the answer have to come again: their outcome is not recorded. All others are done.
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
    // All at once: how many deliveries are under way is limited by the slots.
    let mut running = stream::iter(running).buffer_unordered(usize::MAX);
    let lanes = async { while running.next().await.is_some() {} };
    // Beside them, and not after: behind a slow receiver there would be no time left, again and again.
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
