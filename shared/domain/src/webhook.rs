//! Webhooks: who is told of which reports, and how.

pub mod format;
pub mod health;
pub mod schedule;
pub mod secret;
pub mod url;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::organization::OrganizationId;
use crate::report::change::{ReportChange, ReportEvent};
use crate::webhook::format::Format;
use crate::webhook::health::{Admission, DisabledReason, Health, admission};
use crate::webhook::schedule::Schedule;
use crate::webhook::secret::WebhookSecret;
use crate::webhook::url::WebhookUrl;

/// The clocks of two functions differ by less: what was stored so long before counts as after. Lambda keeps its clocks in time
/// by the Amazon Time Sync Service, to within milliseconds.
const CLOCKS: Duration = Duration::SECOND;
/// How many former settings are remembered: those of changes that may still be on their way.
pub const MAX_FORMER: usize = 20;

/// How long a secret that was replaced signs too, so that receivers have time to learn the new one.
pub const ROTATION: Duration = Duration::hours(24);
/// How many secrets sign at once, at the most: each is a signature in a header of every message. Whoever rotates again because an
/// answer got lost has several at once.
pub const MAX_SECRETS: usize = 5;

crate::uuid_id! {
    /// The id of a webhook.
    #[derive(Debug)]
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
    /// What it was told of before, the oldest first; at most [`MAX_FORMER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
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
    /// The secrets before, the latest first, which sign too for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_secrets: Vec<PreviousSecret>,
    /// The key of the project whose reports it is told of; without it those of all projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it is told of; without any, of what [`ReportEvent::is_told_unasked`].
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

/// As many secrets sign as may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SECRETS} secrets sign already; the next one may be replaced at {0}")]
pub struct TooManySecrets(pub String);

/// What a webhook was told of before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Until when, in the form of [`timestamp`].
    pub until: String,
    /// The [`Settings::project`] then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The [`Settings::events`] then.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<ReportEvent>,
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

    /// Whether it is to be told of this change: its settings include it, and those did that it had when the change was stored.
    /// A change may come long after that, from the sweep or out of the dead-letter queue.
    pub fn wants(&self, change: &ReportChange) -> bool {
        let parse = |time: &str| OffsetDateTime::parse(time, &Rfc3339);
        let Settings {
            project, events, ..
        } = &self.settings;
        if !includes(project, events, change) {
            return false;
        }
        // A time that cannot be read is none: it is worse to be told too little than too much.
        let Some(stored) = change.stored_at() else {
            return true;
        };
        let is_since = |time: OffsetDateTime| stored >= time - CLOCKS;
        let was_included = |at: OffsetDateTime| {
            let later = |former: &&Former| parse(&former.until).is_ok_and(|until| at < until);
            match self.former.iter().find(later) {
                Some(former) => includes(&former.project, &former.events, change),
                None => true,
            }
        };
        parse(&self.created_at).map_or(true, is_since)
            && (was_included(stored) || was_included(stored + CLOCKS))
    }

    /// Takes note that it has had other settings up to `now`, if they were about other changes.
    pub fn note_former(&mut self, before: &Settings, now: OffsetDateTime) {
        let Settings {
            project, events, ..
        } = &self.settings;
        if (&before.project, &before.events) == (project, events) {
            return;
        }
        self.former.push(Former {
            until: timestamp(now),
            project: before.project.clone(),
            events: before.events.clone(),
        });
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
    }
}

fn includes(
    project: &Option<String>,
    events: &BTreeSet<ReportEvent>,
    change: &ReportChange,
) -> bool {
    let is_of_project = |only: &String| *only == change.details.project_key;
    let event = change.event;
    let is_included = if events.is_empty() {
        event.is_told_unasked()
    } else {
        events.contains(&event)
    };
    is_included && project.as_ref().is_none_or(is_of_project)
}

impl Settings {
    /// Whether messages reach the same receiver, and are the same to it.
    pub fn is_same_receiver(&self, other: &Self) -> bool {
        (&self.url, &self.headers, &self.secret) == (&other.url, &other.headers, &other.secret)
    }

    /// Replaces the secret; the old one signs too for [`ROTATION`], and so do those before whose time is not over. The same
    /// secret again changes nothing: a repeated request must not take the old one its time.
    ///
    /// # Errors
    /// [`MAX_SECRETS`] sign already.
    pub fn rotate(
        &mut self,
        secret: WebhookSecret,
        now: OffsetDateTime,
    ) -> Result<(), TooManySecrets> {
        self.forget_expired(now);
        if self.secret == secret {
            return Ok(());
        }
        let others = self.previous_secrets.iter();
        let others = others.filter(|previous| previous.secret != secret);
        let mut previous: Vec<PreviousSecret> = others.cloned().collect();
        // The new one, the one that it replaces, and these.
        if previous.len() + 2 > MAX_SECRETS {
            let free_at = previous.into_iter().map(|it| it.until).min();
            return Err(TooManySecrets(free_at.unwrap_or_default()));
        }
        previous.insert(
            0,
            PreviousSecret {
                secret: std::mem::replace(&mut self.secret, secret),
                until: timestamp(now + ROTATION),
            },
        );
        self.previous_secrets = previous;
        Ok(())
    }

    /// Erases the secrets that sign no more.
    pub fn forget_expired(&mut self, now: OffsetDateTime) {
        let now = timestamp(now);
        self.previous_secrets
            .retain(|previous| previous.until > now);
    }

    /// The secrets that sign now, the current one first.
    pub fn signing_secrets(&self, now: OffsetDateTime) -> impl Iterator<Item = &WebhookSecret> {
        let now = timestamp(now);
        let previous = self
            .previous_secrets
            .iter()
            .filter(move |previous| previous.until > now)
            .map(|previous| &previous.secret);
        std::iter::once(&self.secret).chain(previous)
    }
}

#[cfg(test)]
mod tests;
