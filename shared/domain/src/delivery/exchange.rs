//! The result of one request to a receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::webhook::health::Verdict;

/// The longest `Retry-After` that is honoured. An administrator can disable the webhook of a receiver that asks for a longer
/// wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How much of a response is kept, in bytes. That is enough for the message of an error.
pub const MAX_RESPONSE_BYTES: usize = 4096;

/// The result of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The response's status; `None` when there was no response.
    pub status: Option<u16>,
    /// How long the whole exchange took.
    pub duration: Duration,
    /// The beginning of the response's body, at most [`MAX_RESPONSE_BYTES`] long; `None` when there was no response.
    pub response: Option<String>,
    /// When the receiver asks to be called again, if it says so.
    pub retry_after: Option<RetryAfter>,
    /// Why the message does not count as received; `None` for a success.
    pub failure: Option<Failure>,
    /// Why the body of a 2xx response broke off. The status and the headers already say that the receiver has the message, so
    /// this is not a failure.
    pub response_error: Option<Failure>,
    /// The headers of the request, with secrets masked. They are there even if the request was not sent.
    pub request_headers: BTreeMap<String, String>,
}

impl Exchange {
    /// What the exchange says of the receiver's health. The exchange ended at `now`.
    pub fn verdict(&self, now: OffsetDateTime) -> Verdict {
        let Some(failure) = &self.failure else {
            return Verdict::Success;
        };
        match (failure.kind, self.status) {
            (_, Some(410)) => Verdict::Gone,
            (FailureKind::Status, Some(429 | 503)) => self
                .retry_after
                .map_or(Verdict::Down, |it| Verdict::ToldToWait(it.from(now))),
            // A proxy in front of the receiver says that the receiver is down.
            (FailureKind::Status, Some(502 | 504)) => Verdict::Down,
            (FailureKind::Status, Some(500..)) => Verdict::Erring,
            (FailureKind::Status, _) => Verdict::Refused,
            _ => Verdict::Down,
        }
    }
}

/// The response's `Retry-After` (RFC 9110, section 10.2.3), as the receiver wrote it. The caller limits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this duration.
    In(Duration),
    /// At this time.
    At(OffsetDateTime),
}

impl RetryAfter {
    /// The time that an answer received at `now` means, at most a day later.
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
    /// The kind, for programs.
    pub kind: FailureKind,
    /// The message, for a person. It shows no part of the URL but the host, and no headers.
    pub message: String,
}

/// The kinds of [`Failure`]. Each is the receiver's fault. A fault of our own is never one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// We never send to such a URL: its address is not public, or it does not use TLS.
    AddressRefused,
    /// There is no connection, or it ended before a response came.
    Connect,
    /// There is no secure connection: the receiver does not speak TLS, or its certificate is not trusted.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The response is not a 2xx.
    Status,
    /// The body of a 2xx response broke off. That is only the reason of a response error, not of a failure. Earlier versions
    /// stored it as a failure, so stored attempts still have it.
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
