//! `/organizations/{organizationId}/…`: what an organization's administrators manage. They manage webhooks and their
//! deliveries, sources, tokens, and the deletion of reports.

mod access;
mod body;
mod deliveries;
mod dialects;
mod events;
mod precondition;
mod reports;
mod settings;
mod sources;
mod state;
mod target;
mod tokens;
mod webhooks;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};
use web::query::Query;

pub use crate::deliveries::DELIVERIES_PARAMETERS;
pub use crate::sources::calls::CALLS_PARAMETERS;
pub use crate::state::Managing;
pub use crate::tokens::TOKENS_PARAMETERS;

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
/// The path of one delivery.
pub const DELIVERY_PATH: &str =
    "/organizations/{organizationId}/webhooks/{webhookId}/deliveries/{deliveryId}";
/// The path that delivers again.
pub const REDELIVER_PATH: &str =
    "/organizations/{organizationId}/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver";
/// The path of an organization's tokens.
pub const TOKENS_PATH: &str = "/organizations/{organizationId}/tokens";
/// The path of one token.
pub const TOKEN_PATH: &str = "/organizations/{organizationId}/tokens/{tokenId}";
/// The path of one report.
pub const REPORT_PATH: &str = "/organizations/{organizationId}/reports/{reportId}";

/// The path of an organization's sources.
pub const SOURCES_PATH: &str = "/organizations/{organizationId}/sources";
/// The path of one source.
pub const SOURCE_PATH: &str = "/organizations/{organizationId}/sources/{sourceId}";
/// The path of a source's secret.
pub const SOURCE_SECRET_PATH: &str = "/organizations/{organizationId}/sources/{sourceId}/secret";
/// The path that checks a source's server.
pub const SOURCE_CHECK_PATH: &str = "/organizations/{organizationId}/sources/{sourceId}/check";
/// The path of a source's calls.
pub const CALLS_PATH: &str = "/organizations/{organizationId}/sources/{sourceId}/calls";

/// The routes of this function.
pub fn router(managing: Managing) -> Router {
    let with_query = Router::new()
        .route(DELIVERIES_PATH, get(deliveries::list))
        .route(CALLS_PATH, get(sources::calls::list))
        .route(
            TOKENS_PATH,
            get(tokens::list).merge(post(tokens::create).route_layer(from_fn(without_query))),
        );
    let managed = Router::new()
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
        .route(REPORT_PATH, delete(reports::delete))
        .route(SOURCES_PATH, get(sources::list).post(sources::create))
        .route(
            SOURCE_PATH,
            get(sources::get)
                .put(sources::replace)
                .patch(sources::patch)
                .delete(sources::delete),
        )
        .route(SOURCE_SECRET_PATH, post(sources::rotate))
        .route(SOURCE_CHECK_PATH, post(sources::check))
        .route_layer(from_fn(without_query))
        .merge(with_query)
        .route_layer(from_fn(without_loop))
        .merge(dialects::sonarqube::router())
        .merge(dialects::codescoring::router())
        .layer(from_fn_with_state(managing.clone(), counting_unreadable));
    let events = get(events::list).route_layer(from_fn(without_query));
    Router::new()
        .route(EVENTS_PATH, events)
        .merge(managed)
        .with_state(managing)
}

/// Records how many items could not be read during the request.
async fn counting_unreadable(
    State(managing): State<Managing>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let unreadable = managing.webhooks.unreadable.take()
        + managing.deliveries.unreadable.take()
        + managing.sources.unreadable.take()
        + managing.calls.unreadable.take()
        + managing.imports.unreadable.take()
        + managing.tokens.unreadable.take()
        + managing.publisher.reports.unreadable.take();
    let now = OffsetDateTime::now_utc();
    managing.metrics.record_unreadable(now, unreadable);
    response
}

/// Refuses messages of webhooks. A webhook whose URL leads here, with a token of ours among its headers, would otherwise test
/// or send itself again without end.
async fn without_loop(request: Request, next: Next) -> Result<Response, ApiError> {
    if outbound::format::is_ours(request.headers()) {
        let message = "a webhook's message manages nothing; its url must not lead back here";
        return Err(ApiError::new(ErrorCode::Loop, message));
    }
    Ok(next.run(request).await)
}

/// Refuses query parameters: a client that writes `?dryRun=true` here must not get what it did not ask for.
async fn without_query(request: Request, next: Next) -> Result<Response, ApiError> {
    Query::parse(request.uri().query(), &[])?;
    Ok(next.run(request).await)
}
