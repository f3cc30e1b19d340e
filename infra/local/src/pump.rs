//! What AWS does around the functions that no request calls: Lambda takes messages from the queue, and EventBridge's rule
//! fires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use deliver_webhooks::Delivering;
use import_analysis::Importing;
use retry_webhooks::Retrying;
use store::describe;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many messages a batch has at the most (template.yaml: `BatchSize`).
const BATCH_SIZE: usize = 100;
/// The same without a window to gather in.
const BATCH_SIZE_AT_ONCE: usize = 10;
/// How many batches are handled at once: one that waits for a slow receiver does not hold up the next.
const AT_ONCE: usize = 8;
/// When a batch begins nothing new any more, as on Lambda: the function's 150 s without its reserve.
pub(crate) const BUDGET: Duration =
    Duration::from_secs(150).saturating_sub(deliver_webhooks::RESERVE);
/// The same of an import: 15 minutes without its reserve.
pub(crate) const IMPORT_BUDGET: Duration =
    Duration::from_secs(900).saturating_sub(import_analysis::RESERVE);
/// How long the queue is asked at a time.
const WAIT_SECONDS: i32 = 1;
/// How often the queue is asked while a batch gathers.
const POLL: Duration = Duration::from_millis(100);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A function that takes messages from a queue.
#[derive(Clone, Debug)]
pub(crate) enum Consumer {
    Delivering(Delivering),
    Importing(Importing),
}

impl Consumer {
    /// How many messages it is given at once at the most, with a window to gather in or without.
    fn batch_size(&self, window: Duration) -> usize {
        match self {
            Self::Delivering(_) if window.is_zero() => BATCH_SIZE_AT_ONCE,
            Self::Delivering(_) => BATCH_SIZE,
            Self::Importing(_) => 1,
        }
    }

    async fn handle(&self, event: SqsEvent, now: OffsetDateTime) -> SqsBatchResponse {
        match self {
            Self::Delivering(delivering) => {
                deliver_webhooks::handle(delivering, event, now, BUDGET).await
            }
            // In a box: it is deep.
            Self::Importing(importing) => {
                Box::pin(import_analysis::handle(
                    importing,
                    event,
                    now,
                    IMPORT_BUDGET,
                ))
                .await
            }
        }
    }
}

/// A queue whose messages are handled.
#[derive(Clone, Debug)]
pub(crate) struct Pump {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) queue: String,
    pub(crate) consumer: Consumer,
}

impl Pump {
    /// Takes batch after batch, each of what comes within `window` (template.yaml: `MaximumBatchingWindowInSeconds`), until it
    /// is dropped.
    pub(crate) async fn run(self, window: Duration) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut batches = JoinSet::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.collect(window).await {
                Ok(messages) if messages.is_empty() => {}
                Ok(messages) => {
                    let pump = self.clone();
                    batches.spawn(async move {
                        let _slot = slot;
                        let now = OffsetDateTime::now_utc();
                        if let Err(error) = pump.handle(messages, now).await {
                            tracing::error!("a batch of the queue comes again: {error:#}");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!("the queue could not be asked: {error:#}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            while batches.try_join_next().is_some() {}
        }
    }

    /// Handles everything that is on the queue at `now`, and what that puts there, until there is nothing. Gives the number
    /// of messages.
    pub(crate) async fn drain(&self, now: OffsetDateTime) -> anyhow::Result<usize> {
        let began = Instant::now();
        let mut handled = 0;
        loop {
            let messages = self.receive(0, self.consumer.batch_size(POLL)).await?;
            if messages.is_empty() {
                return Ok(handled);
            }
            handled += messages.len();
            // What one batch makes due is due when the next one begins.
            self.handle(messages, now + began.elapsed()).await?;
        }
    }

    /// The messages that come within `window` of the first one.
    async fn collect(&self, window: Duration) -> anyhow::Result<Vec<Message>> {
        let size = self.consumer.batch_size(window);
        let mut messages = self.receive(WAIT_SECONDS, size).await?;
        let end = Instant::now() + window;
        while !messages.is_empty() && messages.len() < size {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Without waiting at the queue, which waits for whole seconds.
            tokio::time::sleep(left.min(POLL)).await;
            messages.extend(self.receive(0, size - messages.len()).await?);
        }
        Ok(messages)
    }

    async fn receive(&self, wait_seconds: i32, at_most: usize) -> anyhow::Result<Vec<Message>> {
        /// SQS gives at most ten at a time (SQS API reference).
        const AT_A_TIME: usize = 10;
        let mut messages = Vec::new();
        while messages.len() < at_most {
            let wanted = AT_A_TIME.min(at_most - messages.len());
            let output = self
                .sqs
                .receive_message()
                .queue_url(&self.queue)
                .max_number_of_messages(i32::try_from(wanted)?)
                .wait_time_seconds(if messages.is_empty() { wait_seconds } else { 0 })
                .send()
                .await
                .map_err(describe)
                .context("receive messages from the queue")?;
            let received = output.messages.unwrap_or_default();
            if received.is_empty() {
                break;
            }
            messages.extend(received);
        }
        Ok(messages)
    }

    /// Hands messages to the function, and deletes those that it has done.
    async fn handle(&self, messages: Vec<Message>, now: OffsetDateTime) -> anyhow::Result<()> {
        let mut event = SqsEvent::default();
        event.records = messages.iter().map(record).collect();
        let response = self.consumer.handle(event, now).await;
        let failed = |message: &Message| {
            let failures = &response.batch_item_failures;
            let id = message.message_id.as_deref();
            failures
                .iter()
                .any(|failure| Some(failure.item_identifier.as_str()) == id)
        };
        let mut done = Vec::new();
        for (position, message) in messages.iter().enumerate().filter(|(_, it)| !failed(it)) {
            done.push(
                DeleteMessageBatchRequestEntry::builder()
                    .id(position.to_string())
                    .receipt_handle(message.receipt_handle.clone().unwrap_or_default())
                    .build()?,
            );
        }
        for batch in done.chunks(10) {
            self.sqs
                .delete_message_batch()
                .queue_url(&self.queue)
                .set_entries(Some(batch.to_vec()))
                .send()
                .await
                .map_err(describe)
                .context("delete messages from the queue")?;
        }
        Ok(())
    }
}

fn record(message: &Message) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id.clone_from(&message.message_id);
    record.body.clone_from(&message.body);
    record
}

/// Fires the rule of the hourly round at this interval, until it is dropped.
pub(crate) async fn rounds(retrying: Retrying, every: Duration) {
    let mut interval = tokio::time::interval(every);
    // The first one is at once.
    interval.tick().await;
    loop {
        interval.tick().await;
        retry_webhooks::round(&retrying, OffsetDateTime::now_utc(), retry_webhooks::BUDGET).await;
    }
}
