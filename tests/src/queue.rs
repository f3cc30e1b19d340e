//! Queues of messages, for tests that play Lambda: batches made by hand, and messages that come again.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_sqs::types::Message;

/// How many messages SQS gives at a time at the most (SQS API reference, `MaxNumberOfMessages`).
const MOST: i32 = 10;

/// A batch of messages with these bodies. Their ids are their places, from `0` on.
pub fn batch(bodies: impl IntoIterator<Item = String>) -> SqsEvent {
    let record = |(place, body): (usize, String)| record(place.to_string(), body);
    event(bodies.into_iter().enumerate().map(record))
}

fn event(records: impl Iterator<Item = SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = records.collect();
    event
}

fn record(id: String, body: String) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(id);
    record.body = Some(body);
    record
}

/// A queue whose messages are taken by hand.
#[derive(Clone, Copy, Debug)]
pub struct ByHand<'a> {
    /// What asks it.
    pub sqs: &'a aws_sdk_sqs::Client,
    /// Its URL.
    pub url: &'a str,
}

impl ByHand<'_> {
    /// Messages that are there, ten at the most.
    pub async fn some(&self) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(self.url);
        let received = receive.max_number_of_messages(MOST).send().await;
        received.unwrap().messages.unwrap_or_default()
    }

    /// All messages that are there.
    pub async fn all(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let some = self.some().await;
            if some.is_empty() {
                return messages;
            }
            messages.extend(some);
        }
    }

    /// Messages as Lambda hands them over.
    pub fn batch(messages: &[Message]) -> SqsEvent {
        let text = |text: &Option<String>| text.clone().unwrap();
        event(
            messages
                .iter()
                .map(|it| record(text(&it.message_id), text(&it.body))),
        )
    }

    /// A message is done.
    pub async fn delete(&self, message: &Message) {
        let delete = self.sqs.delete_message().queue_url(self.url);
        let receipt = message.receipt_handle.clone().unwrap();
        delete.receipt_handle(receipt).send().await.unwrap();
    }

    /// As if the visibility timeout of a message had passed.
    pub async fn show_again(&self, message: &Message) {
        let change = self.sqs.change_message_visibility().queue_url(self.url);
        let change = change.receipt_handle(message.receipt_handle.clone().unwrap());
        change.visibility_timeout(0).send().await.unwrap();
    }
}
