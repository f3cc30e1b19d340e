//! Webhooks: who is told of which events, and how.

pub mod format;
pub mod health;
pub mod schedule;
pub mod secret;
pub mod url;
pub mod wanted;

use std::fmt;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::event::Change;
use crate::organization::OrganizationId;
use crate::webhook::health::{Admission, DisabledReason, Health, admission};
use crate::webhook::schedule::Schedule;
use crate::webhook::secret::{Secrets, WebhookSecret};
use crate::webhook::url::WebhookUrl;
use crate::webhook::wanted::Wanted;

/// The clocks of two functions differ by less than this. A change that was stored this long before a time counts as stored
/// after it. Lambda keeps its clocks correct to within milliseconds, by the Amazon Time Sync Service.
const CLOCKS: Duration = Duration::SECOND;
/// How many former settings are kept, for changes that may still be on their way.
pub const MAX_FORMER: usize = 20;

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
    /// The organization that it belongs to.
    pub org: OrganizationId,
    /// Its id.
    pub id: WebhookId,
    /// 1 at first. Each change by an administrator adds 1, and so does disabling it.
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
    /// The health of its receiver.
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
    /// The secrets that sign its messages.
    #[serde(flatten)]
    pub secrets: Secrets,
    /// The value of [`TOKEN_HEADER`](crate::codescoring::TOKEN_HEADER) in its messages, for a format with that header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<WebhookSecret>,
    /// What it is told of, and in which format.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Headers that its messages carry besides ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<OwnHeader>,
    /// When a delivery that failed is tried again.
    #[serde(default)]
    pub schedule: Schedule,
}

/// What a webhook was told of before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Until when, in the form of [`timestamp`].
    pub until: String,
    /// What it was told of then.
    #[serde(flatten)]
    pub wanted: Wanted,
}

/// Why a webhook is disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// The reason.
    pub reason: DisabledReason,
    /// When it was disabled, in the form of [`timestamp`].
    pub at: String,
}

/// A header that an administrator sets, for example to authenticate us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHeader {
    /// The name, in lower case: a token (RFC 9110, section 5.6.2).
    pub name: String,
    /// The value, of visible ASCII characters, spaces and tabs. It is a secret.
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

    /// Whether it is to be told of this change. Its present settings must include the change, and so must the settings of the
    /// time when the change was stored. A change may arrive long after that, from the sweep or from the dead-letter queue.
    pub fn wants(&self, change: &Change) -> bool {
        let parse = |time: &str| OffsetDateTime::parse(time, &Rfc3339);
        if !self.settings.wanted.includes(change) {
            return false;
        }
        // A time that cannot be read does not exclude the change: it is worse to tell too little than too much.
        let Some(stored) = change.stored_at() else {
            return true;
        };
        let is_since = |time: OffsetDateTime| stored >= time - CLOCKS;
        let was_included = |at: OffsetDateTime| {
            let later = |former: &&Former| parse(&former.until).is_ok_and(|until| at < until);
            match self.former.iter().find(later) {
                Some(former) => former.wanted.includes(change),
                None => true,
            }
        };
        parse(&self.created_at).map_or(true, is_since)
            && (was_included(stored) || was_included(stored + CLOCKS))
    }

    /// Records that it had other settings up to `now`, if they included other changes.
    pub fn note_former(&mut self, before: &Settings, now: OffsetDateTime) {
        if before.wanted == self.settings.wanted {
            return;
        }
        self.former.push(Former {
            until: timestamp(now),
            wanted: before.wanted.clone(),
        });
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
    }
}

impl Settings {
    /// Whether both settings send the same messages to the same receiver.
    pub fn is_same_receiver(&self, other: &Self) -> bool {
        self.url.is_same_address(&other.url)
            && self.headers == other.headers
            && self.secrets.secret == other.secrets.secret
            && self.token == other.token
    }
}

#[cfg(test)]
mod tests;
