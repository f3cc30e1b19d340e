//! The queues: of deliveries to make, and of sources to visit.

pub mod imports;
pub mod work;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use self::work::Work;
use crate::error::{Context as _, Error, Result, describe};

/// The most entries of one `SendMessageBatch` (SQS API reference).
const MAX_BATCH: usize = 10;
/// The most bytes of all messages in one `SendMessageBatch`. SQS takes 1 MiB today. It has always taken 256 KiB, and so does
/// every emulator. A single message is shorter: a change is about as long as a report's declaration, which has at most 128
/// KiB.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// The longest delay of a message (SQS API reference, `DelaySeconds`).
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// A queue.
#[derive(Clone, Debug)]
struct Queue {
    client: Client,
    url: String,
}

/// A message on its way to a queue.
struct Message {
    /// The message group. Only messages of the same group delay each other.
    group: String,
    body: String,
    /// How long the queue holds the message back.
    delay: Option<Duration>,
}

/// The queue of deliveries to make.
#[derive(Clone, Debug)]
pub struct EventsQueue(Queue);

impl EventsQueue {
    /// The queue with this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self(Queue::new(client, url))
    }

    /// Puts messages on the queue, which holds each back for its delay, or for [`MAX_DELAY`] if that is shorter.
    ///
    /// # Errors
    /// As for [`EventsQueue::send`].
    pub async fn send_later(&self, messages: &[(Work, Duration)]) -> Result<()> {
        let messages = messages.iter();
        self.0
            .send(messages.map(|(work, delay)| message(work, Some(*delay))))
            .await
    }

    /// Puts messages on the queue.
    ///
    /// The organization is the message group. In a fair queue (SQS, standard queues) that keeps one organization's many
    /// messages from delaying those of others.
    ///
    /// # Errors
    /// The queue did not take all of them. It may have taken some.
    pub async fn send(&self, messages: &[Work]) -> Result<()> {
        self.0
            .send(messages.iter().map(|it| message(it, None)))
            .await
    }
}

fn message(work: &Work, delay: Option<Duration>) -> Message {
    Message {
        group: work.org().to_string(),
        body: work.to_json(),
        delay,
    }
}

impl Queue {
    fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    async fn send(&self, messages: impl Iterator<Item = Message>) -> Result<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (position, message) in messages.enumerate() {
            let Message { group, body, delay } = message;
            if batch.len() == MAX_BATCH || (bytes + body.len() > MAX_BATCH_BYTES && bytes > 0) {
                self.send_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += body.len();
            batch.push(
                SendMessageBatchRequestEntry::builder()
                    .id(position.to_string())
                    .message_group_id(group)
                    .message_body(body)
                    .set_delay_seconds(delay.and_then(seconds))
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

/// A delay in whole seconds, rounded up, so that it is over when the message comes.
fn seconds(delay: Duration) -> Option<i32> {
    let delay = delay.min(MAX_DELAY);
    i32::try_from(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).ok()
}
