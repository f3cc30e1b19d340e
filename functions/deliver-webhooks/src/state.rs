//! What the function works with.

use domain::webhook::schedule::RetryLimits;
use outbound::sender::Sender;
use runtime::config::Environment;
use runtime::metrics::Metrics;
use store::calls::CallStore;
use store::deliveries::DeliveryStore;
use store::queue::EventsQueue;
use store::webhooks::WebhookStore;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Delivering {
    /// Who is told.
    pub webhooks: WebhookStore,
    /// What sources were told.
    pub calls: CallStore,
    /// What was told.
    pub deliveries: DeliveryStore,
    /// Where what is left over goes.
    pub queue: EventsQueue,
    /// How it gets there.
    pub sender: Sender,
    /// When it is tried again, and for how long.
    pub limits: RetryLimits,
    /// What is counted of it.
    pub metrics: Metrics,
}

impl Delivering {
    /// What the function works with, of these clients and by these variables. `sender` calls receivers.
    ///
    /// # Errors
    /// A variable is missing, or has no value of its kind.
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
