//! The stores and clients of the function.

use domain::webhook::schedule::RetryLimits;
use outbound::sender::Sender;
use runtime::config::Environment;
use runtime::metrics::Metrics;
use store::calls::CallStore;
use store::deliveries::DeliveryStore;
use store::queue::EventsQueue;
use store::webhooks::WebhookStore;

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Delivering {
    /// The webhooks.
    pub webhooks: WebhookStore,
    /// The calls of sources.
    pub calls: CallStore,
    /// The deliveries.
    pub deliveries: DeliveryStore,
    /// The queue for remaining work.
    pub queue: EventsQueue,
    /// The client that calls receivers.
    pub sender: Sender,
    /// The stack's limits of retries.
    pub limits: RetryLimits,
    /// The function's metrics.
    pub metrics: Metrics,
}

impl Delivering {
    /// The stores of these clients, with the names that the variables give. `sender` calls receivers.
    ///
    /// # Errors
    /// A variable is missing or has an invalid value.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
        sender: Sender,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        Ok(Self {
            webhooks: WebhookStore::new(dynamodb.clone(), required("WEBHOOKS_TABLE")?),
            calls: CallStore::new(dynamodb.clone(), required("CALLS_TABLE")?),
            deliveries: DeliveryStore::new(dynamodb.clone(), required("DELIVERIES_TABLE")?),
            queue: EventsQueue::new(sqs, required("EVENTS_QUEUE_URL")?),
            sender,
            limits: RetryLimits {
                disable_after: environment.days("DISABLE_AFTER_DAYS")?,
                ..RetryLimits::default()
            },
            metrics: environment.metrics()?,
        })
    }
}
