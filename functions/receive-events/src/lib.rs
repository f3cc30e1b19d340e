//! `/events/{sourceId}`: what `SonarQube` and `CodeScoring` call when something has happened.
//!
//! `SonarQube` makes each call once, waits ten seconds for an answer, and never repeats it. `CodeScoring` repeats, and forgets what
//! happens while it has given up. So a call is stored before it is answered, together with its mark in the outbox; after that nothing
//! loses it.
//!
//! *Invariant:* of a call nothing is believed but that it came, by whoever knows the source's secret, and nothing in it is ever
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

/// The path that a source is called by.
pub const EVENTS_PATH: &str = "/events/{sourceId}";

/// What API Gateway passes on: that path with a slash at the end too, as somebody may enter it, and what is no source's.
const EVERY_PATH: &str = "/events/{*sourceId}";

/// How large a call of `SonarQube` may be, in bytes. One has some 2 kB, and some hundred more for each condition of the quality gate
/// and each property of the analysis.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The same for `CodeScoring`, whose calls have many events when they were repeated for long.
pub const MAX_EVENTS_BODY_BYTES: usize = 1024 * 1024;
/// Of a call that is no text so many bytes are kept: each may become three.
const KEPT_OF_NO_TEXT: usize = MAX_BODY_BYTES;

/// By which `SonarQube` signs (`WebhookCallerImpl` in its source).
const SIGNATURE: &str = "x-sonar-webhook-hmac-sha256";

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// Who may call.
    pub sources: SourceStore,
    /// What they have said.
    pub calls: CallStore,
    /// Where it goes.
    pub queue: EventsQueue,
    /// Where it goes too, if reports are to be made of it.
    pub imports: ImportsQueue,
    /// What is counted of it.
    pub metrics: Metrics,
}

impl Receiving {
    /// What the function works with, of these clients and by these variables.
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

/// Counts what was not taken. There are alarms for these: whoever calls does not call again.
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
    // What is no text is no source's id.
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
        // There is nothing to be done for a trial.
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
    /// `invalid_signature` (401), and the same where there is no such source, or it is disabled: nobody learns which.
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

    /// Puts a call on the queue. If that fails, the mark is still there, and the sweep does it.
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

    /// Has somebody make reports of what a call tells of, if they are to be made. If that fails, it is due still, and the hourly round
    /// does it.
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

    /// Notes the time with the source. It is no reason to refuse a call.
    async fn note(&self, source: &Source, now: OffsetDateTime) {
        if source.is_call_to_be_noted(now)
            && let Err(error) = self.sources.note_call(source.id, now).await
        {
            tracing::warn!(source = %source.id, "{error:#}");
        }
    }
}

/// Whether a call is by whoever knows what the source shares with it.
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

/// Through how many stacks of this product a call has come.
///
/// # Errors
/// `loop` (403): through too many, so sources and webhooks lead in a ring.
fn hops(headers: &HeaderMap) -> Result<u32, ApiError> {
    let Some(header) = headers.get(HOPS_HEADER) else {
        return Ok(0);
    };
    // What is no number is nobody's of ours.
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

/// Whether it is a test call of a webhook of this product, as another stack may have it.
fn is_test(headers: &HeaderMap) -> bool {
    let events = headers.get(EVENTS_HEADER);
    events.is_some_and(|it| it == TEST_EVENT)
}

fn not_verified() -> ApiError {
    let message = "there is no such source, or the signature or token is not its own";
    ApiError::new(ErrorCode::InvalidSignature, message)
}
