//! From the queue to the receivers: every change of a report becomes a delivery to each webhook that wants it, and every
//! delivery that is due is tried.
//!
//! *Invariant:* this is the only place from which a delivery is sent. What is tried again comes through the queue too.
//!
//! *Invariant:* a message of the queue counts as handled only when, for every delivery that it stands for, DynamoDB has
//! what came of it: that it is delivered, or that it is due again, or that it waits for its webhook.

mod batch;
mod clock;
mod lane;
mod replay;
mod tally;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use futures_util::{StreamExt as _, stream};
use shared::delivery_store::DeliveryStore;
use shared::metrics::Metrics;
use shared::queue::EventsQueue;
use shared::report_store::ReportStore;
use shared::webhook::sender::Sender;
use shared::webhook_store::WebhookStore;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::tally::Tally;

/// How many deliveries are on their way at once. A Lambda function may have 1,024 open files (Lambda, "Quotas"), and beside
/// these there are connections to DynamoDB, and some to receivers that are kept for a while.
const MAX_CONCURRENT: usize = 200;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Delivering {
    /// What happened to which reports.
    pub reports: ReportStore,
    /// Who is told.
    pub webhooks: WebhookStore,
    /// What was told.
    pub deliveries: DeliveryStore,
    /// Where what is left over goes.
    pub queue: EventsQueue,
    /// How it gets there.
    pub sender: Sender,
    /// When it is tried again.
    pub schedule: Schedule,
    /// What is counted of it.
    pub metrics: Metrics,
}

/// When deliveries are tried again, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// After a failure a delivery is due again after so long.
    ///
    /// What is due is put back on the queue every hour. A whole hour here would make it every second hour: a delivery that
    /// failed a moment after one round would not be due yet at the next.
    pub retry_after: Duration,
    /// A webhook none of whose deliveries has succeeded for so long is disabled.
    pub disable_after: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            retry_after: Duration::from_secs(50 * 60),
            disable_after: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

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
    let ids: Vec<String> = event
        .records
        .iter()
        .map(|record| record.message_id.clone().unwrap_or_default())
        .collect();
    let batch = Batch::read(&event);
    let mut unsettled: BTreeSet<usize> = batch.unreadable.iter().copied().collect();

    let lanes = batch::lanes(delivering, &batch, &mut unsettled).await;
    let slots = Semaphore::new(MAX_CONCURRENT);
    let tally = Tally::default();
    let running = lanes
        .into_values()
        .map(|lane| lane.run(delivering, &slots, &clock, &tally));
    // All at once: how many deliveries are under way is limited by the slots.
    let mut outcomes = stream::iter(running).buffer_unordered(usize::MAX);
    while let Some(records) = outcomes.next().await {
        unsettled.extend(records);
    }
    if let Some(metrics) = tally.metrics() {
        delivering.metrics.record(clock.now(), &metrics);
    }
    for (replay, record) in &batch.replays {
        if let Err(error) = replay::make(delivering, replay, &clock).await {
            tracing::error!(webhook = %replay.webhook, "a replay for webhook {} stopped: {error:#}", replay.webhook);
            unsettled.insert(*record);
        }
    }

    let failure = |record: usize| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier.clone_from(&ids[record]);
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = unsettled.into_iter().map(failure).collect();
    response
}
