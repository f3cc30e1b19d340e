//! Idempotency keys: requests that a client may repeat, by the header `Idempotency-Key`.
//!
//! A client that creates something and gets no answer cannot know whether it was created. With an idempotency key of its own
//! choice, the client can repeat the request: the same key with the same body gets the same answer, for [`VALIDITY`]. The
//! meaning is that of the IETF's draft `draft-ietf-httpapi-idempotency-key-header-07`. There the key is a string in quotes,
//! but most clients send it without. Both forms are keys here, each as it stands.
//!
//! Only the answer of a request that made something is kept. A refused or failed request may be repeated with any body. A
//! request that died may be repeated with the same body.

mod answer;

use std::convert::Infallible;
use std::future::Future;

use anyhow::Context as _;
use aws_sdk_dynamodb::types::TransactWriteItem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use domain::organization::OrganizationId;
use runtime::config::Environment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use store::idempotency::{self as table, IdempotencyStore};
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};

pub use crate::answer::Answer;
pub use store::idempotency::VALIDITY;

/// The header with the idempotency key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of a repeated answer: the request was carried out before. Stripe calls its own `Idempotent-Replayed`.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest idempotency key, in bytes: several times the length of a UUID, which the draft recommends.
pub const MAX_KEY: usize = 255;

/// Recognizes repeated requests by their idempotency keys.
#[derive(Clone, Debug)]
pub struct Idempotency(IdempotencyStore);

/// The idempotency key of a request, and the request's path.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// Both values of a repeated header.
    keys: Vec<HeaderValue>,
    path: String,
}

impl<S: Sync> FromRequestParts<S> for Keyed {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let keys = parts.headers.get_all(IDEMPOTENCY_KEY);
        Ok(Self {
            keys: keys.iter().cloned().collect(),
            path: parts.uri.path().to_owned(),
        })
    }
}

/// The caller of a request.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The organization.
    pub org: OrganizationId,
    /// The caller. No two callers have the same text.
    pub caller: &'a str,
}

/// The result of beginning a request.
#[derive(Debug)]
pub enum Begun<A> {
    /// The request is new: the caller carries it out, in one transaction with [`Attempt::keeping`].
    First(Attempt),
    /// The request was carried out before, and this is the kept answer.
    Again(A),
}

/// A request that is being carried out, with an idempotency key or without.
#[derive(Clone, Debug)]
pub struct Attempt(Option<(IdempotencyStore, table::Attempt)>);

impl Idempotency {
    /// Uses the table that the variable `IDEMPOTENCY_TABLE` names.
    ///
    /// # Errors
    /// The variable is missing.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
    ) -> anyhow::Result<Self> {
        let table = environment.required("IDEMPOTENCY_TABLE")?;
        Ok(Self(IdempotencyStore::new(dynamodb.clone(), table)))
    }

    /// Begins a request with this body. A request without an idempotency key is always new.
    ///
    /// # Errors
    /// `invalid_idempotency_key` (400), `idempotency_key_in_use` (409) while the first request is being carried out, or
    /// `idempotency_key_reused` (422) when the first request had another body.
    pub async fn begin<A: DeserializeOwned>(
        &self,
        scope: Scope<'_>,
        keyed: &Keyed,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Begun<A>, ApiError> {
        let Some(key) = keyed.key()? else {
            return Ok(Begun::First(Attempt(None)));
        };
        // A JSON array keeps the parts apart whatever characters they hold.
        let id = serde_json::json!([scope.caller, keyed.path, key]);
        let request = table::Request {
            org: scope.org,
            id: digest(id.to_string().as_bytes()),
            body: digest(body),
        };
        match self.0.begin(&request, now).await? {
            table::Begun::Started(attempt) => {
                Ok(Begun::First(Attempt(Some((self.0.clone(), attempt)))))
            }
            table::Begun::Answered(answer) => {
                // The answer may hold a secret.
                tracing::info!(
                    caller = scope.caller,
                    "a request of {} was answered as before",
                    scope.caller
                );
                // The message of serde might repeat a part of the answer.
                let kept = serde_json::from_str(&answer.0).ok();
                Ok(Begun::Again(
                    kept.context("the answer that was kept cannot be read")?,
                ))
            }
            table::Begun::OtherBody => {
                let message =
                    "Idempotency-Key: a request with this key was made before, with another body";
                Err(refused(ErrorCode::IdempotencyKeyReused, message))
            }
            table::Begun::Running(until) => {
                let message =
                    "Idempotency-Key: the first request with this key is being carried out";
                let left = (until - now).whole_seconds().max(0) + 1;
                Err(refused(ErrorCode::IdempotencyKeyInUse, message)
                    .header(header::RETRY_AFTER, HeaderValue::from(left)))
            }
        }
    }

    /// Carries a request out once. `first` makes the answer and keeps it.
    ///
    /// # Errors
    /// Those of [`Idempotency::begin`] and those of `first`.
    pub async fn once<F: Future<Output = Result<Answer, ApiError>>>(
        &self,
        scope: Scope<'_>,
        keyed: &Keyed,
        body: &[u8],
        now: OffsetDateTime,
        first: impl FnOnce(Attempt) -> F,
    ) -> Result<Response, ApiError> {
        let answer = match self.begin::<Answer>(scope, keyed, body, now).await? {
            Begun::Again(answer) => answer.with(&REPLAYED, "true".to_owned()),
            Begun::First(attempt) => {
                let answer = first(attempt.clone()).await;
                attempt.settle(answer).await?
            }
        };
        answer.response()
    }
}

impl Attempt {
    /// The part of the transaction that keeps the answer; `None` for a request without an idempotency key.
    pub fn keeping<A: Serialize>(&self, answer: &A) -> anyhow::Result<Option<TransactWriteItem>> {
        let Some((store, attempt)) = &self.0 else {
            return Ok(None);
        };
        Ok(Some(
            store.keeping(attempt, &serde_json::to_string(answer)?)?,
        ))
    }

    /// The error when another call carries the request out, because this one took too long.
    pub fn lost(&self) -> ApiError {
        let message = "Idempotency-Key: another request with this key is being carried out";
        refused(ErrorCode::IdempotencyKeyInUse, message)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Ends the request. If it made nothing, the key is free again.
    pub async fn settle<T>(self, result: Result<T, ApiError>) -> Result<T, ApiError> {
        if result.is_err()
            && let Some((store, attempt)) = &self.0
            && let Err(error) = store.release(attempt).await
        {
            // The lease ends by itself after half a minute.
            tracing::warn!("a request that came to nothing is not released: {error}");
        }
        result
    }
}

impl Keyed {
    fn key(&self) -> Result<Option<&str>, ApiError> {
        let Some((key, others)) = self.keys.split_first() else {
            return Ok(None);
        };
        let invalid = |message: &str| {
            let message = format!("Idempotency-Key: {message}");
            refused(ErrorCode::InvalidIdempotencyKey, &message)
        };
        if !others.is_empty() {
            return Err(invalid("stands twice"));
        }
        let is_visible = |text: &&str| text.bytes().all(|it| matches!(it, b' '..=b'~'));
        let key = key.to_str().ok().filter(is_visible);
        let key = key.ok_or_else(|| invalid("has other characters than visible ones of ASCII"))?;
        if key.is_empty() {
            return Err(invalid("is empty"));
        }
        if key.len() > MAX_KEY {
            return Err(invalid(&format!("has more than {MAX_KEY} characters")));
        }
        Ok(Some(key))
    }
}

fn refused(code: ErrorCode, message: &str) -> ApiError {
    ApiError::new(code, message).parameter("Idempotency-Key")
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
