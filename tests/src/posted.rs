//! What functions put on the queue, as their clients see it, so that a test can hand it over at a time of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchInput;
use aws_smithy_runtime_api::box_error::BoxError;
use local::Clients;
use store::queue::work::Work;

use crate::system::System;

/// Notes messages, and after which delay the queue hands each over.
#[derive(Clone, Debug, Default)]
pub struct Posted(Arc<Mutex<Vec<(Duration, Work)>>>);

impl Posted {
    /// What was posted since the last time.
    pub fn take(&self) -> Vec<(Duration, Work)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A function's clients, whose messages are noted.
    pub fn of(&self, system: &System, function: &str) -> Clients {
        let clients = system.stack.clients[function].clone();
        let sqs = clients.sqs.config().to_builder().interceptor(self.clone());
        Clients {
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            ..clients
        }
    }
}

impl Intercept for Posted {
    fn name(&self) -> &'static str {
        "Posted"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(batch) = context.input().downcast_ref::<SendMessageBatchInput>() {
            for entry in batch.entries() {
                let delay = entry.delay_seconds().unwrap_or_default();
                let delay = Duration::from_secs(delay.try_into()?);
                let work = Work::from_json(entry.message_body())?;
                self.0.lock().unwrap().push((delay, work));
            }
        }
        Ok(())
    }
}
