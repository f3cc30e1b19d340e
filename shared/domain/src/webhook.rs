//! Webhooks: who is told of which reports, and how.

pub mod format;
pub mod health;
pub mod schedule;
pub mod secret;
pub mod url;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::organization::OrganizationId;
use crate::report::change::{ReportChange, ReportEvent};
use crate::webhook::format::Format;
use crate::webhook::health::{Admission, DisabledReason, Health, admission};
use crate::webhook::schedule::Schedule;
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
    /// The form of its messages.
    #[serde(default)]
    pub format: Format,
    /// When a delivery that failed is tried again.
    #[serde(default)]
    pub schedule: Schedule,
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

/// A header of an administrator's own, for example one that authenticates us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHeader {
    /// The name, in lower case: a token (RFC 9110, section 5.6.2).
    pub name: String,
    /// The value, of visible ASCII characters, spaces and tabs: a secret.
    pub value: String,
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

    /// Whether and how deliveries to it may be tried at `now`.
    pub fn admission(&self, now: OffsetDateTime) -> Admission {
        admission(self.is_enabled(), &self.health, now)
    }

    /// Whether it is to be told of this change.
    pub fn wants(&self, change: &ReportChange) -> bool {
        let Settings {
            project, events, ..
        } = &self.settings;
        project
            .as_ref()
            .is_none_or(|only| *only == change.details.project_key)
            && (events.is_empty() || events.contains(&change.event))
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
