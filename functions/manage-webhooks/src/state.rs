//! What the function works with.

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

/// How large a body may be, in bytes: several times of what the largest webhook needs.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// A person who tries settings makes fewer test calls. Without a limit, whoever has a token could have any address called as
/// often as he likes, from ours.
const TESTS_PER_MINUTE: u64 = 10;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Managing {
    /// Who is told.
    pub webhooks: WebhookStore,
    /// What they were told.
    pub deliveries: DeliveryStore,
    /// Who may say that something has happened.
    pub sources: SourceStore,
    /// What they have said.
    pub calls: CallStore,
    /// How imports of theirs stand.
    pub imports: ImportStore,
    /// Where sources go that are to be looked after.
    pub imports_queue: ImportsQueue,
    /// Who may call with a token of ours.
    pub tokens: TokenStore,
    /// What deletes reports, and announces that.
    pub publisher: Publisher,
    /// Where their files are.
    pub files: ReportFiles,
    /// What was created already, and is asked for again.
    pub idempotency: Idempotency,
    /// Who may call with a token of theirs.
    pub identity: IdentityProvider,
    /// How many tokens that are not revoked an organization may have.
    pub max_tokens: u64,
    /// How many test calls an organization may make in a minute of the clock.
    pub max_tests: u64,
    /// What is counted of it.
    pub metrics: Metrics,
    /// Where what is to be delivered goes.
    pub queue: EventsQueue,
    /// What makes test calls, and says which addresses are allowed.
    pub sender: Sender,
}

impl Managing {
    /// What the function works with, of these clients and by these variables. `sender` calls receivers.
    ///
    /// # Errors
    /// A variable is missing, or is no issuer.
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
