//! The stores and clients of the function.

use std::time::Duration;

use idempotency::Idempotency;
use identity::{IdentityOptions, IdentityProvider};
use outbound::sender::Sender;
use publishing::{Publisher, ReportFiles};
use runtime::config::Environment;
use runtime::metrics::Metrics;
use store::calls::CallStore;
use store::deliveries::DeliveryStore;
use store::imports::ImportStore;
use store::queue::EventsQueue;
use store::queue::imports::ImportsQueue;
use store::sources::SourceStore;
use store::tokens::TokenStore;
use store::webhooks::WebhookStore;

/// The largest body, in bytes: several times what the largest webhook needs.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// For how long a change is tried when others win. Together with two answers of the identity provider and the name of a receiver
/// it must fit into the time of the function (`Timeout` in template.yaml).
pub(crate) const FOR_RETRIES: Duration = Duration::from_secs(8);

/// The most test calls. A person who tries settings makes fewer. Without a limit, whoever has a token could make us call any
/// address as often as they like.
const TESTS_PER_MINUTE: u64 = 10;

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Managing {
    /// The webhooks.
    pub webhooks: WebhookStore,
    /// Their deliveries.
    pub deliveries: DeliveryStore,
    /// The sources.
    pub sources: SourceStore,
    /// Their calls.
    pub calls: CallStore,
    /// The standings of their imports.
    pub imports: ImportStore,
    /// The queue of sources to visit.
    pub imports_queue: ImportsQueue,
    /// Our own tokens.
    pub tokens: TokenStore,
    /// Deletes reports, and announces the deletion.
    pub publisher: Publisher,
    /// The reports' files.
    pub files: ReportFiles,
    /// The answers that are kept for repeated requests.
    pub idempotency: Idempotency,
    /// Verifies the JWTs of people.
    pub identity: IdentityProvider,
    /// How many tokens that are not revoked an organization may have.
    pub max_tokens: u64,
    /// How many test calls an organization may make in a minute of the clock.
    pub max_tests: u64,
    /// The function's metrics.
    pub metrics: Metrics,
    /// The queue of deliveries to make.
    pub queue: EventsQueue,
    /// Makes test calls, and decides which addresses are allowed.
    pub sender: Sender,
}

impl Managing {
    /// The stores of these clients, with the names that the variables give. `sender` calls receivers.
    ///
    /// # Errors
    /// A variable is missing, or the issuer is not valid.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        s3: aws_sdk_s3::Client,
        sqs: aws_sdk_sqs::Client,
        sender: Sender,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        let queue = EventsQueue::new(sqs.clone(), required("EVENTS_QUEUE_URL")?);
        Ok(Self {
            webhooks: WebhookStore::new(dynamodb.clone(), required("WEBHOOKS_TABLE")?),
            deliveries: DeliveryStore::new(dynamodb.clone(), required("DELIVERIES_TABLE")?),
            sources: SourceStore::new(dynamodb.clone(), required("SOURCES_TABLE")?),
            calls: CallStore::new(dynamodb.clone(), required("CALLS_TABLE")?),
            imports: ImportStore::new(dynamodb.clone(), required("IMPORTS_TABLE")?),
            imports_queue: ImportsQueue::new(sqs, required("IMPORTS_QUEUE_URL")?),
            tokens: TokenStore::new(dynamodb.clone(), required("TOKENS_TABLE")?),
            identity: IdentityProvider::new(IdentityOptions {
                issuer: required("OIDC_ISSUER")?,
                audience: required("OIDC_AUDIENCE")?,
                roles_claim: required("OIDC_ROLES_CLAIM")?,
            })?,
            idempotency: Idempotency::new(environment, dynamodb)?,
            max_tests: TESTS_PER_MINUTE,
            metrics: environment.metrics()?,
            max_tokens: environment.number("TOKENS_PER_ORGANIZATION")?,
            publisher: Publisher::new(dynamodb, queue.clone(), required)?,
            files: ReportFiles::new(s3, required("BUCKET")?),
            queue,
            sender,
        })
    }
}
