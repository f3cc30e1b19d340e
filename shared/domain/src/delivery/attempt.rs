//! Attempts to deliver a message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::date::timestamp;
use crate::delivery::exchange::{Exchange, Failure, FailureKind};

/// How many attempts of a delivery are kept. They are the latest ones.
pub const KEPT_ATTEMPTS: u32 = 25;

/// One attempt to deliver a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1 for the first attempt.
    pub number: u32,
    /// When it began, in the form of [`timestamp`].
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The status of the response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the response's body as text; see [`Exchange::response`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// Why the response broke off although the message counts as received; see [`Exchange::response_error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_error: Option<AttemptError>,
    /// The headers that were sent, without secrets.
    pub request_headers: BTreeMap<String, String>,
}

/// What went wrong with an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AttemptError {
    pub kind: FailureKind,
    pub message: String,
}

/// An attempt as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of Attempt")]
pub struct AttemptSummary {
    pub at: String,
    pub duration_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureKind>,
}

impl Attempt {
    /// An exchange, recorded as the attempt with this number.
    pub fn of(number: u32, at: OffsetDateTime, exchange: &Exchange) -> Self {
        let error = |failure: &Failure| AttemptError {
            kind: failure.kind,
            message: failure.message.clone(),
        };
        Self {
            number,
            at: timestamp(at),
            duration_ms: u64::try_from(exchange.duration.as_millis()).unwrap_or(u64::MAX),
            status: exchange.status,
            response: exchange.response.clone(),
            error: exchange.failure.as_ref().map(error),
            response_error: exchange.response_error.as_ref().map(error),
            request_headers: exchange.request_headers.clone(),
        }
    }

    /// The attempt as a list shows it.
    pub fn summary(&self) -> AttemptSummary {
        AttemptSummary {
            at: self.at.clone(),
            duration_ms: self.duration_ms,
            status: self.status,
            error: self.error.as_ref().map(|error| error.kind),
        }
    }
}
