//! Webhooks: who is told of which reports, and how.

pub mod address;
pub mod secret;
pub mod sender;
pub mod url;

use std::collections::BTreeSet;
use std::fmt;

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::organization::OrganizationId;
use crate::queue::ReportEvent;
use crate::webhook::secret::WebhookSecret;
use crate::webhook::url::WebhookUrl;

/// How long a secret that was replaced signs too, so that receivers have time to learn the new one.
pub const ROTATION: Duration = Duration::hours(24);

crate::uuid_id! {
    /// The id of a webhook.
    WebhookId
}

/// The key of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Webhook")]
pub struct WebhookKey {
    pub org: OrganizationId,
    pub id: WebhookId,
}

/// A webhook as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Whose it is.
    pub org: OrganizationId,
    /// Its id.
    pub id: WebhookId,
    /// 1 at first; every change by an administrator, and being disabled, adds 1.
    pub revision: u64,
    /// What administrators set.
    #[serde(flatten)]
    pub settings: Settings,
    /// Why and since when it is disabled, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// When it was created, in the form of [`timestamp`].
    pub created_at: String,
    /// When its revision was made, in the same form.
    pub updated_at: String,
    /// How its receiver does.
    #[serde(flatten)]
    pub health: Health,
}

/// What administrators set of a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Its name for a reader.
    pub name: String,
    /// Where its messages go.
    pub url: WebhookUrl,
    /// What its messages are signed with.
    pub secret: WebhookSecret,
    /// The secret before, which signs too for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<PreviousSecret>,
    /// The key of the project whose reports it is told of; without it those of all projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it is told of; nothing means everything, also what comes to be later.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<ReportEvent>,
    /// Headers that its messages carry besides ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<OwnHeader>,
}

/// How the receiver of a webhook does.
///
/// It changes without the revision: otherwise an administrator's change would collide with deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The first failure since the last success, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Until when what waits for it goes on waiting, because it seems to be down, in the same form. Whoever comes first
    /// after that time tries one delivery after the other, until one tells how the receiver does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// Whether it answers, if only with an error of its own. It may be about the one message that it was sent: so what is
    /// new is tried all the same, one message first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_answering: bool,
    /// Whether it said itself until when it wants to be left alone. Then a success of what was sent before changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told_to_wait: bool,
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: WebhookSecret,
    /// Until when it signs, in the form of [`timestamp`].
    pub until: String,
}

/// Why a webhook is disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// The reason.
    pub reason: DisabledReason,
    /// When it was disabled, in the form of [`timestamp`].
    pub at: String,
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// An administrator disabled it.
    Administrator,
    /// Its receiver answered 410 (Standard Webhooks: it wants no more messages).
    Gone,
    /// For days no delivery has succeeded.
    NoSuccess,
}

impl DisabledReason {
    /// The reason's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Gone => "gone",
            Self::NoSuccess => "no_success",
        }
    }
}

/// A header of an administrator's own, for example one that authenticates us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHeader {
    /// The name, in lower case.
    #[serde(with = "header_name")]
    pub name: HeaderName,
    /// The value: a secret.
    #[serde(with = "header_value")]
    pub value: HeaderValue,
}

impl fmt::Debug for OwnHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [redacted]", self.name)
    }
}

impl Webhook {
    /// The key of this webhook.
    pub fn key(&self) -> WebhookKey {
        WebhookKey {
            org: self.org,
            id: self.id,
        }
    }

    /// Whether messages are sent to it.
    pub fn is_enabled(&self) -> bool {
        self.disabled.is_none()
    }

    /// Whether it is to be told of this event of a project.
    pub fn wants(&self, project: &str, event: ReportEvent) -> bool {
        let Settings {
            project: only,
            events,
            ..
        } = &self.settings;
        only.as_deref().is_none_or(|only| only == project)
            && (events.is_empty() || events.contains(&event))
    }
}

impl Settings {
    /// Replaces the secret; the old one signs too for [`ROTATION`]. The same secret again changes nothing: a repeated
    /// request must not take the old one its time.
    pub fn rotate(&mut self, secret: WebhookSecret, now: OffsetDateTime) {
        if self.secret == secret {
            return;
        }
        let old = std::mem::replace(&mut self.secret, secret);
        self.previous_secret = Some(PreviousSecret {
            secret: old,
            until: timestamp(now + ROTATION),
        });
    }

    /// The secrets that sign now, the current one first.
    pub fn signing_secrets(&self, now: OffsetDateTime) -> impl Iterator<Item = &WebhookSecret> {
        let now = timestamp(now);
        let previous = self
            .previous_secret
            .iter()
            .filter(move |previous| previous.until > now)
            .map(|previous| &previous.secret);
        std::iter::once(&self.secret).chain(previous)
    }
}

impl Health {
    /// Whether the receiver is left alone.
    pub fn is_paused(&self, now: OffsetDateTime) -> bool {
        self.paused_until
            .as_ref()
            .is_some_and(|until| *until > timestamp(now))
    }
}

mod header_name {
    use axum::http::HeaderName;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &HeaderName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderName, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod header_value {
    use axum::http::HeaderValue;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &HeaderValue, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        to.serialize_str(value.to_str().map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderValue, D::Error> {
        let mut value: HeaderValue = String::deserialize(from)?
            .parse()
            .map_err(D::Error::custom)?;
        value.set_sensitive(true);
        Ok(value)
    }
}
