//! The queue of what is to be delivered.

pub mod work;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use self::work::Work;
use crate::error::{Context as _, Error, Result, describe};

/// The most entries of one `SendMessageBatch` (SQS API reference).
const MAX_BATCH: usize = 10;
/// The most bytes of all messages in one `SendMessageBatch`. SQS takes 1 MiB today; 256 KiB is what it has always taken, and
/// what every emulator takes. One message alone is shorter: a change is about as long as a report's declaration,
/// of at most 128 KiB.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// The longest that the queue keeps a message to itself at first (SQS API reference, `DelaySeconds`).
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// The queue.
#[derive(Clone, Debug)]
pub struct EventsQueue {
    client: Client,
    url: String,
}

impl EventsQueue {
    /// The queue with this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Puts messages on the queue, which gives each to nobody before its delay is over, or [`MAX_DELAY`] is.
    ///
    /// # Errors
    /// As [`EventsQueue::send`].
    pub async fn send_later(&self, messages: &[(Work, Duration)]) -> Result<()> {
        let seconds = |delay: &Duration| {
            let delay = delay.min(&MAX_DELAY);
            // Up to a whole second, so that it is over when they come.
            i32::try_from(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).ok()
        };
        let delayed = messages.iter().map(|(work, delay)| (work, seconds(delay)));
        self.send_each(delayed).await
    }

    /// Puts messages on the queue.
    ///
    /// The organization is the message group: of a fair queue (SQS, standard queues) that keeps one organization's many
    /// messages from delaying the others'.
    ///
    /// # Errors
    /// The queue did not take each of them. It may have taken some.
    pub async fn send(&self, messages: &[Work]) -> Result<()> {
        self.send_each(messages.iter().map(|work| (work, None)))
            .await
    }

    /// Puts messages on the queue, each with its delay in seconds.
    async fn send_each(&self, messages: impl Iterator<Item = (&Work, Option<i32>)>) -> Result<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (position, (work, delay_seconds)) in messages.enumerate() {
            let body = work.to_json();
            if batch.len() == MAX_BATCH || (bytes + body.len() > MAX_BATCH_BYTES && bytes > 0) {
                self.send_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += body.len();
            batch.push(
                SendMessageBatchRequestEntry::builder()
                    .id(position.to_string())
                    .message_group_id(work.org().to_string())
                    .message_body(body)
                    .set_delay_seconds(delay_seconds)
                    .build()?,
            );
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.send_batch(batch).await
    }

    async fn send_batch(&self, entries: Vec<SendMessageBatchRequestEntry>) -> Result<()> {
        let count = entries.len();
        let output = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(describe)
            .context("send messages to the queue")?;
        match output.failed.first() {
            None => Ok(()),
            Some(failed) => Err(Error::new(format_args!(
                "the queue refused {} of {count} messages: {failed:?}",
                output.failed.len(),
            ))),
        }
    }
}
