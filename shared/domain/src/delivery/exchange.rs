//! What came of one request to a receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::webhook::health::Verdict;

/// The longest `Retry-After` that is honoured. A receiver that wants to be left alone for longer can be disabled.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// So much of a response is kept, in bytes: enough for the message of an error.
pub const MAX_RESPONSE_BYTES: usize = 4096;

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The response's status, `None` when there was no response.
    pub status: Option<u16>,
    /// How long all of it took.
    pub duration: Duration,
    /// The beginning of the response's body, at most [`MAX_RESPONSE_BYTES`] long; `None` when there was no response.
    pub response: Option<String>,
    /// When the receiver wants to be asked again, if it said so.
    pub retry_after: Option<RetryAfter>,
    /// Why the message does not count as received; `None` is success.
    pub failure: Option<Failure>,
    /// Why a response 2xx did not end. Its status and its headers say that the receiver has the message, so it is no failure.
    pub response_error: Option<Failure>,
    /// The headers of the request, also of one that did not go out, with secrets masked.
    pub request_headers: BTreeMap<String, String>,
}

impl Exchange {
    /// What the exchange, which ended at `now`, says of the receiver.
    pub fn verdict(&self, now: OffsetDateTime) -> Verdict {
        let Some(failure) = &self.failure else {
            return Verdict::Success;
        };
        match (failure.kind, self.status) {
            (_, Some(410)) => Verdict::Gone,
            (FailureKind::Status, Some(429 | 503)) => self
                .retry_after
                .map_or(Verdict::Down, |it| Verdict::ToldToWait(it.from(now))),
            // What stands before the receiver says that it is down.
            (FailureKind::Status, Some(502 | 504)) => Verdict::Down,
            (FailureKind::Status, Some(500..)) => Verdict::Erring,
            (FailureKind::Status, _) => Verdict::Refused,
            _ => Verdict::Down,
        }
    }
}

/// The response's `Retry-After` (RFC 9110, section 10.2.3), as the receiver wrote it: in bounds is the caller's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    In(Duration),
    /// From this moment on.
    At(OffsetDateTime),
}

impl RetryAfter {
    /// The moment that is meant by an answer of `now`, at most a day later.
    fn from(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::In(duration) => now + duration.min(MAX_RETRY_AFTER),
            Self::At(at) => at.clamp(now, now + MAX_RETRY_AFTER),
        }
    }
}

/// What is wrong with an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For a person. Has nothing of the URL but the host, and nothing of the headers.
    pub message: String,
}

/// The kinds of [`Failure`]. All of them are the receiver's; our own fault is never one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// The URL is one that is never sent to: its address is not public, or it is without TLS.
    AddressRefused,
    /// No connection, or one that ended before there was a response.
    Connect,
    /// No secure connection: no TLS at all, or a certificate that is not trusted.
    Tls,
    /// The deadline passed.
    Timeout,
    /// A response other than 2xx.
    Status,
    /// A response 2xx whose body broke off. That is why a response did not end, and never why a message failed; but once it
    /// was, and attempts of that time are stored.
    Body,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Dns,
        Self::AddressRefused,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Status,
        Self::Body,
    ];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
        }
    }
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}
