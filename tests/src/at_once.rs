//! What gathers does so for no time: so a test need not wait for it.

use aws_sdk_sqs::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchInput;
use aws_smithy_runtime_api::box_error::BoxError;
use local::Clients;
use store::queue::work::Work;

/// Takes the delay from messages that gather.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce;

impl AtOnce {
    /// A function's clients, whose messages gather for no time.
    pub fn of(self, clients: Clients) -> Clients {
        let sqs = clients.sqs.config().to_builder().interceptor(self);
        Clients {
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            ..clients
        }
    }
}

impl Intercept for AtOnce {
    fn name(&self) -> &'static str {
        "AtOnce"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(batch) = context.input_mut().downcast_mut::<SendMessageBatchInput>() {
            for entry in batch.entries.iter_mut().flatten() {
                if let Work::Gathered(_) = Work::from_json(&entry.message_body)? {
                    entry.delay_seconds = None;
                }
            }
        }
        Ok(())
    }
}
