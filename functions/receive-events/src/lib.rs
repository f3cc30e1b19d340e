//! `/events/{sourceId}`: the calls of `SonarQube` and `CodeScoring`.
//!
//! `SonarQube` makes each call once, waits ten seconds for an answer, and never repeats it. `CodeScoring` repeats a call, but
//! loses what happens after it has given up. So a call is stored before it is answered, together with its mark in the outbox.
//! After that, nothing loses it.
//!
//! *Invariant:* a call is trusted only to have come from somebody who knows the source's secret. No address in it is ever
//! called.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use domain::codescoring::TOKEN_HEADER;
use domain::event::{EVENTS_HEADER, TEST_EVENT};
use domain::source::call::{Call, CallId, HOPS_HEADER, MAX_HOPS, Outcome};
use domain::source::import::Import;
use domain::source::{Source, SourceId, SourceKind};
use runtime::config::Environment;
use runtime::metrics::{Metric, Metrics};
use serde::Serialize;
use store::calls::{CallStore, Stored, Unannounced};
use store::outbox::announce_call;
use store::queue::EventsQueue;
use store::queue::imports::{ImportsQueue, LookAfter};
use store::sources::SourceStore;
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode};
use web::json;

/// The path of a source.
pub const EVENTS_PATH: &str = "/events/{sourceId}";

/// The path that API Gateway passes on. It also covers that path with a slash at the end, as somebody may enter it, and paths
/// of no source.
const EVERY_PATH: &str = "/events/{*sourceId}";

/// The largest call of `SonarQube`, in bytes. A usual call has some 2 kB, and some hundred bytes more for each condition of
/// the quality gate and each property of the analysis.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The same for `CodeScoring`, whose calls have many events after repeated failures.
pub const MAX_EVENTS_BODY_BYTES: usize = 1024 * 1024;
/// How many bytes are kept of a call that is not text. Each may become three.
const KEPT_OF_NO_TEXT: usize = MAX_BODY_BYTES;

/// The header with `SonarQube`'s signature (`WebhookCallerImpl` in its source).
const SIGNATURE: &str = "x-sonar-webhook-hmac-sha256";

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The sources.
    pub sources: SourceStore,
    /// Their calls.
    pub calls: CallStore,
    /// The queue of deliveries to make.
    pub queue: EventsQueue,
    /// The queue of sources to visit, for calls that need an import.
    pub imports: ImportsQueue,
    /// The function's metrics.
    pub metrics: Metrics,
}

impl Receiving {
    /// The stores of these clients, with the names that the variables give.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        Ok(Self {
            sources: SourceStore::new(dynamodb.clone(), required("SOURCES_TABLE")?),
            calls: CallStore::new(dynamodb.clone(), required("CALLS_TABLE")?),
            queue: EventsQueue::new(sqs.clone(), required("EVENTS_QUEUE_URL")?),
            imports: ImportsQueue::new(sqs, required("IMPORTS_QUEUE_URL")?),
            metrics: environment.metrics()?,
        })
    }
}

#[derive(Serialize)]
struct Received {
    id: CallId,
    outcome: Outcome,
}

/// The routes of this function.
pub fn router(receiving: Receiving) -> Router {
    let count = middleware::from_fn_with_state(receiving.clone(), count);
    Router::new()
        .route(EVERY_PATH, post(receive))
        .layer(count)
        .with_state(receiving)
}

/// Counts the calls that were not accepted. There are alarms for these, since the caller does not call again.
async fn count(State(receiving): State<Receiving>, request: Request, next: Next) -> Response {
    let now = OffsetDateTime::now_utc();
    let response = next.run(request).await;
    let metric = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Some(Metric::count("CallsTooLarge", 1)),
        status if status.is_client_error() => Some(Metric::count("CallsRefused", 1)),
        _ => None,
    };
    if let Some(metric) = metric {
        receiving.metrics.record(now, &[metric]);
    }
    let unreadable = receiving.sources.unreadable.take() + receiving.calls.unreadable.take();
    receiving.metrics.record_unreadable(now, unreadable);
    response
}

async fn receive(
    State(receiving): State<Receiving>,
    source: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let now = OffsetDateTime::now_utc();
    // A path segment that is not text is not a source's id.
    let source = source.map(|Path(source)| source).unwrap_or_default();
    receiving.receive(&source, &headers, body, now).await
}

impl Receiving {
    async fn receive(
        &self,
        source: &str,
        headers: &HeaderMap,
        body: Body,
        now: OffsetDateTime,
    ) -> Result<Response, ApiError> {
        let hops = hops(headers)?;
        let body = json::bytes(body, MAX_EVENTS_BODY_BYTES).await?;
        let source = self.source(source, headers, &body, now).await?;
        let most = match source.kind {
            SourceKind::Sonarqube => MAX_BODY_BYTES,
            SourceKind::Codescoring => MAX_EVENTS_BODY_BYTES,
        };
        if body.len() > most {
            return Err(json::too_large(most));
        }
        let call = Call::new(&source, &body, hops, now);
        let call = if is_test(headers) {
            call.as_test()
        } else {
            call
        };
        let text = match str::from_utf8(&body) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(&body[..body.len().min(KEPT_OF_NO_TEXT)]),
        };
        let call = match self.calls.store(&call, &text, now).await? {
            Stored::New => call,
            Stored::Known(known) => *known,
        };
        if call.outcome == Outcome::Accepted {
            tokio::join!(self.announce(&call), self.import(&call));
        }
        self.note(&source, now).await;
        tracing::info!(
            source = %source.id, call = %call.id, outcome = call.outcome.as_str(),
            "source {} was called: {}", source.id, call.outcome.as_str()
        );
        // A test call needs no further work.
        let status = match call.is_trial() {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        match call.reason {
            Some(reason) if call.outcome == Outcome::Refused => {
                Err(ApiError::new(ErrorCode::InvalidJson, reason))
            }
            _ => {
                let received = Received {
                    id: call.id,
                    outcome: call.outcome,
                };
                api::json(status, &received)
            }
        }
    }

    /// The source, if it may be called like this.
    ///
    /// # Errors
    /// `invalid_signature` (401). It is the same for a missing or disabled source, so that nobody learns which it is.
    async fn source(
        &self,
        id: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Source, ApiError> {
        let id = id.strip_suffix('/').unwrap_or(id);
        let source = match id.parse::<SourceId>() {
            Ok(id) => self.sources.get(id).await?,
            Err(_) => None,
        };
        let source = source.filter(|source| source.settings.enabled);
        source
            .filter(|source| is_verified(source, headers, body, now))
            .ok_or_else(not_verified)
    }

    /// Puts a call on the queue. If that fails, the outbox's mark remains, and the sweep announces the call.
    async fn announce(&self, call: &Call) {
        let unannounced = Unannounced {
            org: call.org,
            source: call.source,
            id: call.id,
        };
        if let Err(error) = announce_call(&self.calls, &self.queue, &unannounced).await {
            tracing::error!(
                source = %call.source, call = %call.id,
                "call {} of source {} is announced later: {error:#}", call.id, call.source
            );
        }
    }

    /// Puts the source on the queue if the call needs an import. If that fails, the import is still due, and the hourly sweep
    /// starts it.
    async fn import(&self, call: &Call) {
        let is_due = |import: &Import| import.due_at.is_some();
        if call.import.as_ref().is_some_and(is_due)
            && let Err(error) = self
                .imports
                .send(&[LookAfter::call(call.org, call.key())])
                .await
        {
            tracing::error!(
                source = %call.source, call = %call.id,
                "reports of call {} of source {} are made later: {error:#}", call.id, call.source
            );
        }
    }

    /// Records the time of the call with the source. A failure here does not refuse the call.
    async fn note(&self, source: &Source, now: OffsetDateTime) {
        if source.is_call_to_be_noted(now)
            && let Err(error) = self.sources.note_call(source.id, now).await
        {
            tracing::warn!(source = %source.id, "{error:#}");
        }
    }
}

/// Whether the caller knows the source's secret or token.
fn is_verified(source: &Source, headers: &HeaderMap, body: &[u8], now: OffsetDateTime) -> bool {
    let mut secrets = source.settings.secrets.signing(now);
    let proof = match source.kind {
        SourceKind::Sonarqube => headers.get(SIGNATURE),
        SourceKind::Codescoring => headers.get(TOKEN_HEADER),
    };
    let Some(proof) = proof.map(HeaderValue::as_bytes) else {
        return false;
    };
    secrets.any(|secret| match source.kind {
        SourceKind::Sonarqube => secret.verifies_body(body, proof),
        SourceKind::Codescoring => secret.is(proof),
    })
}

/// How many stacks of this product a call came through.
///
/// # Errors
/// `loop` (403): it came through too many, so sources and webhooks form a ring.
fn hops(headers: &HeaderMap) -> Result<u32, ApiError> {
    let Some(header) = headers.get(HOPS_HEADER) else {
        return Ok(0);
    };
    // A value that is not a number is not one of ours.
    let hops = header.to_str().ok().and_then(|it| it.trim().parse().ok());
    match hops.unwrap_or_default() {
        hops @ 0..MAX_HOPS => Ok(hops),
        _ => {
            let message = format!(
                "this has come through {MAX_HOPS} stacks of sources and webhooks already: do they lead in a ring?"
            );
            Err(ApiError::new(ErrorCode::Loop, message))
        }
    }
}

/// Whether it is a test call of a webhook of this product, perhaps of another stack.
fn is_test(headers: &HeaderMap) -> bool {
    let events = headers.get(EVENTS_HEADER);
    events.is_some_and(|it| it == TEST_EVENT)
}

fn not_verified() -> ApiError {
    let message = "there is no such source, or the signature or token is not its own";
    ApiError::new(ErrorCode::InvalidSignature, message)
}
