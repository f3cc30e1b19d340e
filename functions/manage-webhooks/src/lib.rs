//! `/organizations/{organizationId}/…`: what an organization's administrators manage, namely webhooks, their deliveries,
//! and tokens.

mod access;
mod body;
mod deliveries;
mod events;
mod settings;
mod target;
mod tokens;
mod webhooks;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{delete, get, post};
use outbound::sender::Sender;
use store::deliveries::DeliveryStore;
use store::queue::EventsQueue;
use store::tokens::TokenStore;
use store::webhooks::WebhookStore;
use web::api::ApiError;
use web::query::Query;

use identity::{IdentityOptions, IdentityProvider};
use runtime::config::Environment;

/// The path of the event types.
pub const EVENTS_PATH: &str = "/webhook-events";
/// The path of an organization's webhooks.
pub const WEBHOOKS_PATH: &str = "/organizations/{organizationId}/webhooks";
/// The path of a test call to a webhook that is not stored.
pub const TEST_PATH: &str = "/organizations/{organizationId}/webhooks/test";
/// The path of one webhook.
pub const WEBHOOK_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}";
/// The path of a test call to a webhook.
pub const WEBHOOK_TEST_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/test";
/// The path of a webhook's secret.
pub const SECRET_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/secret";
/// The path that enables a webhook.
pub const ENABLE_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/enable";
/// The path that disables a webhook.
pub const DISABLE_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/disable";
/// The path of a replay of a webhook's deliveries.
pub const REPLAY_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/replay";
/// The path of a webhook's deliveries.
pub const DELIVERIES_PATH: &str = "/organizations/{organizationId}/webhooks/{webhookId}/deliveries";
/// The query parameters of a webhook's deliveries.
pub const DELIVERIES_PARAMETERS: [&str; 5] = ["state", "since", "until", "limit", "cursor"];
/// The path of one delivery.
pub const DELIVERY_PATH: &str =
    "/organizations/{organizationId}/webhooks/{webhookId}/deliveries/{deliveryId}";
/// The path that delivers once more.
pub const REDELIVER_PATH: &str =
    "/organizations/{organizationId}/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver";
/// The path of an organization's tokens.
pub const TOKENS_PATH: &str = "/organizations/{organizationId}/tokens";
/// The query parameters of an organization's tokens.
pub const TOKENS_PARAMETERS: [&str; 2] = ["limit", "cursor"];
/// The path of one token.
pub const TOKEN_PATH: &str = "/organizations/{organizationId}/tokens/{tokenId}";

/// How large a body may be, in bytes: several times of what the largest webhook needs.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Managing {
    /// Who is told.
    pub webhooks: WebhookStore,
    /// What they were told.
    pub deliveries: DeliveryStore,
    /// Who may call with a token of ours.
    pub tokens: TokenStore,
    /// Who may call with a token of theirs.
    pub identity: IdentityProvider,
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
        sqs: aws_sdk_sqs::Client,
        sender: Sender,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        Ok(Self {
            webhooks: WebhookStore::new(dynamodb.clone(), required("WEBHOOKS_TABLE")?),
            deliveries: DeliveryStore::new(dynamodb.clone(), required("DELIVERIES_TABLE")?),
            tokens: TokenStore::new(dynamodb.clone(), required("TOKENS_TABLE")?),
            identity: IdentityProvider::new(IdentityOptions {
                issuer: required("OIDC_ISSUER")?,
                audience: required("OIDC_AUDIENCE")?,
                roles_claim: required("OIDC_ROLES_CLAIM")?,
            })?,
            queue: EventsQueue::new(sqs, required("EVENTS_QUEUE_URL")?),
            sender,
        })
    }
}

/// The routes of this function.
pub fn router(managing: Managing) -> Router {
    let with_query = Router::new()
        .route(DELIVERIES_PATH, get(deliveries::list))
        .route(
            TOKENS_PATH,
            get(tokens::list).merge(post(tokens::create).route_layer(from_fn(without_query))),
        );
    Router::new()
        .route(EVENTS_PATH, get(events::list))
        .route(WEBHOOKS_PATH, get(webhooks::list).post(webhooks::create))
        .route(TEST_PATH, post(webhooks::test_unstored))
        .route(
            WEBHOOK_PATH,
            get(webhooks::get)
                .put(webhooks::replace)
                .patch(webhooks::patch)
                .delete(webhooks::delete),
        )
        .route(WEBHOOK_TEST_PATH, post(webhooks::test))
        .route(SECRET_PATH, post(webhooks::rotate))
        .route(ENABLE_PATH, post(webhooks::enable))
        .route(DISABLE_PATH, post(webhooks::disable))
        .route(REPLAY_PATH, post(deliveries::replay))
        .route(DELIVERY_PATH, get(deliveries::get))
        .route(REDELIVER_PATH, post(deliveries::redeliver))
        .route(TOKEN_PATH, delete(tokens::revoke))
        .route_layer(from_fn(without_query))
        .merge(with_query)
        .with_state(managing)
}

/// Refuses query parameters: who writes `?dryRun=true` must not get what it did not ask for.
async fn without_query(request: Request, next: Next) -> Result<Response, ApiError> {
    Query::parse(request.uri().query(), &[])?;
    Ok(next.run(request).await)
}
