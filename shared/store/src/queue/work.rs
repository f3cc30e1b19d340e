//! The messages on the queue of deliveries to make.
//!
//! The field `kind` says what a message asks for, and `v` gives the version of the messages. So a function never takes one
//! message for another: during a deployment the old function may get messages of the new one.

use domain::date::timestamp;
use domain::delivery::{DeliveryId, DeliveryState};
use domain::event::Change;
use domain::organization::OrganizationId;
use domain::report::change::ReportChange;
use domain::source::SourceId;
use domain::source::call::{Arrival, CallId, CallKey};
use domain::webhook::{WebhookId, WebhookKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// How many deliveries one message has at most. More would keep a message in flight for longer.
pub const MAX_DUE: usize = 50;

/// How many bytes of news one message has at most, unless it has only one piece. SQS takes 256 KiB everywhere.
const MAX_GATHERED_BYTES: usize = 100_000;

/// The version of every kind of message.
const VERSION: u32 = 1;
/// How many characters of an unknown kind are repeated.
const MAX_KIND: usize = 50;
/// The kinds, as messages have them.
const KINDS: [&str; 5] = ["change", "call", "gathered", "due", "replay"];

/// A message on the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Work {
    /// A report was published, updated or deleted: its organization's webhooks are to be told.
    Change(Box<ReportChange>),
    /// A source was called: its organization's webhooks are to be told.
    Call(Called),
    /// One webhook is to be told of these changes, together with what else has gathered for it.
    Gathered(Gathered),
    /// Deliveries are due, and each is to be tried again.
    Due(DueDeliveries),
    /// Deliveries are to be made due.
    Replay(Replay),
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    message: &'a T,
}

#[derive(Deserialize)]
struct Tag {
    kind: String,
    v: u32,
}

/// Why a message of the queue cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum Unreadable {
    /// It is not JSON, or has no `kind` and `v`.
    #[error("it does not say what it is: {0}")]
    NoTag(serde_json::Error),
    #[error("there is no kind '{0}'; known are {1}")]
    Kind(String, String),
    /// Another version of the product wrote it.
    #[error("it is version {1} of the kind '{0}', and {VERSION} is the only one known here")]
    Version(String, u32),
    /// A field is missing or wrong.
    #[error("it is no message of the kind '{0}': {1}")]
    Fields(String, serde_json::Error),
}

/// Reads a message of one of these kinds.
pub(super) fn tagged<T: DeserializeOwned>(json: &str, kinds: &[&str]) -> Result<T, Unreadable> {
    let Tag { kind, v } = serde_json::from_str(json).map_err(Unreadable::NoTag)?;
    if !kinds.contains(&kind.as_str()) {
        let kind = kind.chars().take(MAX_KIND).collect();
        return Err(Unreadable::Kind(kind, kinds.join(", ")));
    }
    if v != VERSION {
        return Err(Unreadable::Version(kind, v));
    }
    serde_json::from_str(json).map_err(|error| Unreadable::Fields(kind, error))
}

/// A message with its kind and its version, as it is on the queue.
pub(super) fn to_json<T: Serialize>(message: &T) -> String {
    let versioned = Versioned {
        v: VERSION,
        message,
    };
    let json = serde_json::to_string(&versioned)
        .expect("its maps have texts as keys, and its numbers are whole");
    // They can occur only within strings. Control characters are escaped already.
    json.replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

/// A call of a source. Its body lies in the table of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The organization of the source.
    pub org: OrganizationId,
    /// The source.
    pub source: SourceId,
    /// The call.
    pub call: CallId,
}

impl Called {
    /// The key of the call.
    pub fn key(&self) -> CallKey {
        CallKey {
            source: self.source,
            id: self.call,
        }
    }
}

/// What one webhook is to be told of. Other webhooks are told by other messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// The organization of the webhook.
    pub org: OrganizationId,
    /// The webhook.
    pub webhook: WebhookId,
    /// What the webhook is to be told of.
    pub news: Vec<News>,
}

/// A report's change or a source's call that a webhook is to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News {
    /// A report was published, updated or deleted.
    Change(Box<ReportChange>),
    /// A source was called.
    Call(Called),
}

impl News {
    /// The news that brings a change. Several changes may come from the same call.
    pub fn of(change: &Change) -> Self {
        let call = |arrival: &Arrival| {
            Self::Call(Called {
                org: arrival.org,
                source: arrival.source,
                call: arrival.call,
            })
        };
        match change {
            Change::Report(change) => Self::Change(change.clone()),
            Change::Analysis(change) => call(&change.arrival),
            Change::Codescoring(change) => call(&change.arrival),
        }
    }
}

/// Deliveries of one webhook that are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueDeliveries {
    /// The organization of the webhook.
    pub org: OrganizationId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The deliveries.
    pub due: Vec<DeliveryId>,
    /// When they are due, in the form of [`timestamp`], if the message may come before that. Then they wait until that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// A replay: the deliveries of one webhook that have this state and lie in this range are tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The organization of the webhook.
    pub org: OrganizationId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The state of the deliveries.
    pub replay: DeliveryState,
    /// Whether deliveries that are not due yet are included.
    pub early: bool,
    /// The first id. Ids sort by time.
    pub from: DeliveryId,
    /// The last id.
    pub to: DeliveryId,
}

impl Work {
    /// The message of a change.
    pub fn change(change: ReportChange) -> Self {
        Self::Change(Box::new(change))
    }

    /// As few messages as possible for these deliveries of a webhook.
    pub fn due(org: OrganizationId, webhook: WebhookId, deliveries: &[DeliveryId]) -> Vec<Self> {
        let message = |due: &[DeliveryId]| {
            Self::Due(DueDeliveries {
                org,
                webhook,
                due: due.to_vec(),
                at: None,
            })
        };
        deliveries.chunks(MAX_DUE).map(message).collect()
    }

    /// As few messages as possible for what a webhook is to be told of.
    pub fn gathered(webhook: WebhookKey, news: Vec<News>) -> Vec<Self> {
        let mut works = Vec::new();
        let (mut some, mut bytes) = (Vec::new(), 0);
        for news in news {
            // A report's change may be as large as its declaration.
            let length = serde_json::to_string(&news).map_or(0, |json| json.len());
            if bytes + length > MAX_GATHERED_BYTES && !some.is_empty() {
                works.push(std::mem::take(&mut some));
                bytes = 0;
            }
            bytes += length;
            some.push(news);
        }
        if !some.is_empty() {
            works.push(some);
        }
        let work = |news| {
            Self::Gathered(Gathered {
                org: webhook.org,
                webhook: webhook.id,
                news,
            })
        };
        works.into_iter().map(work).collect()
    }

    /// The messages for deliveries of a webhook that are due at these times, each with its delay from `now` on.
    pub fn due_at(
        webhook: WebhookKey,
        deliveries: &[(DeliveryId, OffsetDateTime)],
        now: OffsetDateTime,
    ) -> Vec<(Self, std::time::Duration)> {
        let message = |(delivery, at): &(DeliveryId, OffsetDateTime)| {
            let work = Self::Due(DueDeliveries {
                org: webhook.org,
                webhook: webhook.id,
                due: vec![*delivery],
                at: Some(timestamp(*at)),
            });
            (work, (*at - now).try_into().unwrap_or_default())
        };
        deliveries.iter().map(message).collect()
    }

    /// The replays of all deliveries that a webhook has not received by `now`; see [`Replay::early`].
    pub fn undelivered(webhook: WebhookKey, early: bool, now: OffsetDateTime) -> [Self; 3] {
        DeliveryState::UNDELIVERED.map(|state| {
            Self::Replay(Replay {
                org: webhook.org,
                webhook: webhook.id,
                replay: state,
                early,
                from: DeliveryId::FIRST,
                // The clock that set the time of a change may be ahead.
                to: DeliveryId::last_before(now + Duration::SECOND),
            })
        })
    }

    /// Reads what [`Work::to_json`] writes.
    ///
    /// # Errors
    /// Says what is wrong with the message. It ends in the dead-letter queue, where somebody reads it.
    pub fn from_json(json: &str) -> Result<Self, Unreadable> {
        tagged(json, &KINDS)
    }

    /// The message with its kind and its version, as it is on the queue.
    ///
    /// It has no U+FFFE and U+FFFF, which a report's texts may have: SQS takes only what XML 1.0 allows (SQS API reference,
    /// `SendMessage`).
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The organization that the work is for.
    pub(super) fn org(&self) -> OrganizationId {
        match self {
            Self::Change(change) => change.org,
            Self::Call(called) => called.org,
            Self::Gathered(gathered) => gathered.org,
            Self::Due(due) => due.org,
            Self::Replay(replay) => replay.org,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_message_is_read_as_what_it_is() {
        let (org, webhook) = (
            "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        );
        let id: DeliveryId = "00000000-0000-0000-0000-000000000003".parse().unwrap();
        let due = DueDeliveries {
            org,
            webhook,
            due: vec![id],
            at: Some("2026-03-01T12:00:00.0000000+00:00".to_owned()),
        };
        let replay = Replay {
            org,
            webhook,
            replay: DeliveryState::Held,
            early: true,
            from: id,
            to: id,
        };
        let change = Box::new(change(org));
        let called = Called {
            org,
            source: "00000000-0000-4000-8000-000000000004".parse().unwrap(),
            call: "00000000-0000-8000-8000-000000000005".parse().unwrap(),
        };
        let news = vec![News::Change(change.clone()), News::Call(called)];
        let key = WebhookKey { org, id: webhook };
        let [gathered] = Work::gathered(key, news).try_into().unwrap();
        let works = [
            Work::Change(change),
            Work::Call(called),
            gathered,
            Work::Due(due),
            Work::Replay(replay),
        ];
        for (work, kind) in works.into_iter().zip(KINDS) {
            let json = work.to_json();
            assert_eq!(Work::from_json(&json).unwrap(), work, "{json}");
            let written: Value = serde_json::from_str(&json).unwrap();
            assert_eq!((&written["kind"], &written["v"]), (&json!(kind), &json!(1)));
        }
    }

    fn change(org: OrganizationId) -> ReportChange {
        serde_json::from_value(json!({
            "event": "report.updated", "org": org, "revision": 7,
            "summary": {
                "projectName": "Name", "id": "00000000-0000-0000-0000-000000000004", "reportType": "CWE Top 25",
                "reportVersion": 2024, "projectVersion": "1.0", "date": "2025-12-17T09:05:48Z",
                "uploadDate": "2025-12-17T09:05:48.0000000+00:00", "vulnerabilitiesCount": 1, "securityRating": "A",
            },
            "details": {"projectKey": "key", "properties": {"a": "b"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        for (json, reason) in [
            ("", "it does not say what it is"),
            ("[]", "it does not say what it is"),
            (r#"{"v":1}"#, "missing field `kind`"),
            (r#"{"kind":"due"}"#, "missing field `v`"),
            (
                r#"{"kind":"duty","v":1}"#,
                "no kind 'duty'; known are change, call, gathered, due, replay",
            ),
            (
                r#"{"kind":"due","v":2}"#,
                "version 2 of the kind 'due', and 1 is the only one",
            ),
            (
                r#"{"kind":"due","v":1}"#,
                "no message of the kind 'due': missing field `org`",
            ),
        ] {
            let error = Work::from_json(json).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn a_message_has_only_characters_that_sqs_takes() {
        let org = OrganizationId::new(uuid::Uuid::nil());
        let mut change = change(org);
        change.summary.project_name = "a\u{fffe}b\u{ffff}c\u{7f}é😀".to_owned();
        let work = Work::change(change);
        let json = work.to_json();
        let is_taken = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(json.chars().all(is_taken), "{json}");
        assert_eq!(Work::from_json(&json).unwrap(), work);
    }

    #[test]
    fn news_are_spread_over_messages_that_sqs_takes() {
        let org = OrganizationId::new(uuid::Uuid::nil());
        let id = "00000000-0000-0000-0000-000000000002".parse().unwrap();
        let news = |bytes: usize| {
            let mut change = change(org);
            change.summary.project_name = "n".repeat(bytes);
            News::Change(Box::new(change))
        };
        let sizes = |bytes: &[usize]| -> Vec<usize> {
            let all = bytes.iter().map(|it| news(*it)).collect();
            let works = Work::gathered(WebhookKey { org, id }, all);
            assert!(works.iter().all(|work| work.to_json().len() < 256 * 1024));
            let count = |work: &Work| match work {
                Work::Gathered(gathered) => gathered.news.len(),
                _ => 0,
            };
            works.iter().map(count).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1, 1, 1]), [3]);
        assert_eq!(sizes(&[60_000, 30_000, 60_000]), [2, 1]);
        assert_eq!(sizes(&[130_000, 130_000]), [1, 1]);
    }

    #[test]
    fn deliveries_are_spread_over_messages() {
        let (org, webhook) = (
            "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        );
        let ids: Vec<DeliveryId> = (0..120)
            .map(|number| DeliveryId::new(uuid::Uuid::from_u128(number)))
            .collect();
        let sizes: Vec<usize> = Work::due(org, webhook, &ids)
            .iter()
            .map(|work| match work {
                Work::Due(due) => due.due.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes, [50, 50, 20]);
        assert!(Work::due(org, webhook, &[]).is_empty());
    }
}
