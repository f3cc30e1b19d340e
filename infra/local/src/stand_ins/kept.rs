//! Queues whose messages outlive the process, which those of the stand-in for SQS do not.
//!
//! *Invariant:* whoever is told that a queue took a message is told so when the message is in the journal, and it leaves the
//! journal only after its consumer deleted it. So a kill loses nothing, and what was being handled then comes again.
//!
//! What a queue knows of a message beside its content is forgotten with the process: when the queues are made again, every
//! message is there at once, with a new id, as if it had never been received. Only those that were received as often as
//! they may be stay dead letters.

mod journal;

use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_core::queue::extract_queue_name;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::response::json_response;
use rustack_sqs_model::error::SqsError;
use rustack_sqs_model::input::{
    CreateQueueInput, DeleteMessageBatchInput, DeleteMessageInput, DeleteQueueInput,
    GetQueueAttributesInput, PurgeQueueInput, ReceiveMessageInput, SendMessageBatchInput,
    SendMessageInput,
};
use rustack_sqs_model::operations::SqsOperation;
use rustack_sqs_model::output::{
    CreateQueueOutput, DeleteMessageBatchOutput, DeleteMessageOutput, DeleteQueueOutput,
    PurgeQueueOutput, ReceiveMessageOutput, SendMessageBatchOutput, SendMessageOutput,
};
use rustack_sqs_model::types::{RedrivePolicy, SendMessageBatchRequestEntry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::stand_ins::kept::journal::{Journal, Left, Redrive};

/// The stand-in, and the journal of its messages.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    queues: Arc<RustackSqs>,
    /// Locked from before a queue takes a message until it is written, so that nobody can delete it before that.
    journal: Arc<Mutex<Journal>>,
}

type Result<T> = std::result::Result<T, SqsError>;

impl Kept {
    /// The stand-in, with a journal in this file, or in memory without one.
    pub(super) fn new(queues: RustackSqs, journal: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            queues: Arc::new(queues),
            journal: Arc::new(Mutex::new(Journal::open(journal)?)),
        })
    }

    /// Makes a queue, and puts there what was on it when the process before ended.
    async fn create(&self, input: CreateQueueInput) -> Result<CreateQueueOutput> {
        let name = input.queue_name.clone();
        let output = self.queues.create_queue(input).await?;
        let journal = self.journal.lock().await;
        for left in journal.left(&name).map_err(internal)? {
            // One that nobody can read any more, of another version, keeps no other from its queue.
            match self.send_again(&left, &output).await {
                Ok(id) => journal.put_back(&left, &id).map_err(internal)?,
                Err(error) => {
                    tracing::error!("a message of the queue {name} stays in the journal: {error}");
                }
            }
        }
        Ok(output)
    }

    /// Sends what is left in the journal, and gives its new id.
    async fn send_again(&self, left: &Left, queue: &CreateQueueOutput) -> Result<String> {
        let mut message: Value = serde_json::from_str(&left.message).map_err(internal)?;
        message["QueueUrl"] = queue.queue_url.clone().into();
        let message = SendMessageInput {
            // Most of the time has passed, and nobody knows how much of it.
            delay_seconds: None,
            ..serde_json::from_value(message).map_err(internal)?
        };
        let sent = self.queues.send_message(message).await?;
        Ok(sent.message_id.unwrap_or_default())
    }

    async fn send(&self, input: SendMessageInput) -> Result<SendMessageOutput> {
        let name = name(&input.queue_url)?.to_owned();
        let message = text(&input)?;
        let mut journal = self.journal.lock().await;
        let output = self.queues.send_message(input).await?;
        let id = output.message_id.as_deref().unwrap_or_default();
        journal.add(&name, [(id, message)]).map_err(internal)?;
        Ok(output)
    }

    async fn send_batch(&self, input: SendMessageBatchInput) -> Result<SendMessageBatchOutput> {
        let name = name(&input.queue_url)?.to_owned();
        let as_text = |entry: &SendMessageBatchRequestEntry| Ok((entry.id.clone(), text(entry)?));
        let mut messages: Vec<(String, String)> =
            input.entries.iter().map(as_text).collect::<Result<_>>()?;
        let mut journal = self.journal.lock().await;
        let output = self.queues.send_message_batch(input).await?;
        let taken = output.successful.iter().filter_map(|it| {
            let (_, message) = messages.iter_mut().find(|(id, _)| *id == it.id)?;
            Some((it.message_id.as_str(), std::mem::take(message)))
        });
        journal.add(&name, taken).map_err(internal)?;
        Ok(output)
    }

    async fn receive(&self, input: ReceiveMessageInput) -> Result<ReceiveMessageOutput> {
        let url = input.queue_url.clone();
        let output = self.queues.receive_message(input).await?;
        if output.messages.is_empty() {
            return Ok(output);
        }
        let redrive = self.redrive(url).await?;
        let received = output.messages.iter().filter_map(|it| {
            let receipt = it.receipt_handle.as_deref()?;
            Some((it.message_id.as_deref()?, receipt))
        });
        let mut journal = self.journal.lock().await;
        let written = journal.received(received, redrive.as_ref());
        written.map_err(internal)?;
        Ok(output)
    }

    /// Where a queue's messages go that have been received too often.
    async fn redrive(&self, queue_url: String) -> Result<Option<Redrive>> {
        const POLICY: &str = "RedrivePolicy";
        let asked = GetQueueAttributesInput {
            queue_url,
            attribute_names: vec![POLICY.to_owned()],
        };
        let attributes = self.queues.get_queue_attributes(asked).await?.attributes;
        let Some(policy) = attributes.get(POLICY) else {
            return Ok(None);
        };
        let policy: RedrivePolicy = serde_json::from_str(policy).map_err(internal)?;
        let target = policy.dead_letter_target_arn.rsplit(':').next();
        Ok(Some(Redrive {
            after: policy.max_receive_count,
            to: target.unwrap_or_default().to_owned(),
        }))
    }

    async fn delete(&self, input: DeleteMessageInput) -> Result<DeleteMessageOutput> {
        let receipt = input.receipt_handle.clone();
        let output = self.queues.delete_message(input).await?;
        self.deleted([receipt.as_str()]).await?;
        Ok(output)
    }

    async fn delete_batch(
        &self,
        input: DeleteMessageBatchInput,
    ) -> Result<DeleteMessageBatchOutput> {
        let entries = input.entries.clone();
        let output = self.queues.delete_message_batch(input).await?;
        let done = |id: &str| output.successful.iter().any(|it| it.id == id);
        let receipts = entries.iter().filter(|it| done(&it.id));
        self.deleted(receipts.map(|it| it.receipt_handle.as_str()))
            .await?;
        Ok(output)
    }

    async fn deleted<'a>(&self, receipts: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut journal = self.journal.lock().await;
        journal.remove(receipts).map_err(internal)
    }

    async fn purge(&self, input: PurgeQueueInput) -> Result<PurgeQueueOutput> {
        let name = name(&input.queue_url)?.to_owned();
        let journal = self.journal.lock().await;
        let output = self.queues.purge_queue(input).await?;
        journal.clear(&name).map_err(internal)?;
        Ok(output)
    }

    async fn delete_queue(&self, input: DeleteQueueInput) -> Result<DeleteQueueOutput> {
        let name = name(&input.queue_url)?.to_owned();
        let journal = self.journal.lock().await;
        let output = self.queues.delete_queue(input).await?;
        journal.clear(&name).map_err(internal)?;
        Ok(output)
    }
}

impl SqsHandler for Kept {
    fn handle_operation(
        &self,
        operation: SqsOperation,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<hyper::Response<SqsResponseBody>>> + Send>> {
        let kept = self.clone();
        Box::pin(async move {
            match operation {
                SqsOperation::CreateQueue => answer(&kept.create(read(&body)?).await?),
                SqsOperation::DeleteQueue => answer(&kept.delete_queue(read(&body)?).await?),
                SqsOperation::PurgeQueue => answer(&kept.purge(read(&body)?).await?),
                SqsOperation::SendMessage => answer(&kept.send(read(&body)?).await?),
                SqsOperation::SendMessageBatch => answer(&kept.send_batch(read(&body)?).await?),
                SqsOperation::ReceiveMessage => answer(&kept.receive(read(&body)?).await?),
                SqsOperation::DeleteMessage => answer(&kept.delete(read(&body)?).await?),
                SqsOperation::DeleteMessageBatch => answer(&kept.delete_batch(read(&body)?).await?),
                // The others change nothing that is kept. The stand-in cannot move messages (StartMessageMoveTask).
                other => {
                    let stand_in = RustackSqsHandler::new(kept.queues);
                    stand_in.handle_operation(other, body).await
                }
            }
        })
    }
}

fn name(queue_url: &str) -> Result<&str> {
    extract_queue_name(queue_url)
        .ok_or_else(|| SqsError::non_existent_queue(format!("there is no queue {queue_url}")))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let read = serde_json::from_slice(body);
    read.map_err(|error| SqsError::invalid_parameter_value(error.to_string()))
}

fn text(message: &impl Serialize) -> Result<String> {
    serde_json::to_string(message).map_err(internal)
}

fn answer(output: &impl Serialize) -> Result<hyper::Response<SqsResponseBody>> {
    let json = serde_json::to_vec(output).map_err(internal)?;
    Ok(json_response(json, &Uuid::new_v4().to_string()))
}

fn internal(error: impl Display) -> SqsError {
    SqsError::internal_error(format!("the journal of the queues: {error}"))
}
