//! Deliveries: messages to webhooks, and what became of them.

pub mod attempt;
pub mod exchange;
pub mod message;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::date::timestamp;
use crate::delivery::attempt::AttemptSummary;
use crate::delivery::message::Message;
use crate::event::{Change, Event};
use crate::id::{milliseconds, time_ordered, time_ordered_of};
use crate::organization::OrganizationId;
use crate::webhook::{WebhookId, WebhookKey};

/// How long deliveries and their attempts are kept. `SonarQube` keeps its records as long.
pub const RETENTION: Duration = Duration::days(30);

crate::uuid_id! {
    /// The id of a delivery: a version 7 UUID (RFC 9562), so that ids sort by time. The time is that of the newest change in
    /// the message.
    ///
    /// It is also the message's `webhook-id`, which is the idempotency key for the receiver: a message that comes twice has
    /// the same one.
    #[derive(Debug)]
    DeliveryId
}

impl DeliveryId {
    /// Precedes every id.
    pub const FIRST: Self = Self(Uuid::nil());
    /// Follows every id.
    pub const LAST: Self = Self(Uuid::max());

    /// A new id with this time.
    pub fn at(now: OffsetDateTime) -> Self {
        Self(time_ordered(now))
    }

    /// The id of the delivery that tells the webhook of this change and of no newer one. It is derived from the webhook and
    /// the change, so a repeated change leads to the same delivery. Its time is that of the change.
    pub fn telling(webhook: WebhookId, change: &Change) -> Self {
        let mut digest = Sha256::new();
        digest.update(webhook.uuid());
        digest.update(change.key().bytes());
        let digest = digest.finalize();
        let bits = digest.first_chunk().expect("it is longer");
        let time = change.stored_at().unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self(time_ordered_of(time, bits))
    }

    /// The first id that can have this time.
    pub fn first_at(time: OffsetDateTime) -> Self {
        Self(Uuid::from_u128(u128::from(milliseconds(time)) << 80))
    }

    /// The last id that can precede this time.
    pub fn last_before(time: OffsetDateTime) -> Self {
        Self(Uuid::from_u128(
            (u128::from(milliseconds(time)) << 80).saturating_sub(1),
        ))
    }

    /// The id before this one.
    pub fn previous(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_sub(1)))
    }

    /// The id after this one.
    pub fn next(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }
}

/// The key of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of Delivery")]
pub struct DeliveryKey {
    pub webhook: WebhookId,
    pub id: DeliveryId,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It has not been tried yet, or somebody has asked for another delivery.
    Pending,
    /// Its attempts failed. It is tried again, unless its schedule has given it up.
    Failed,
    /// It was created while the webhook was disabled, and waits until the webhook is enabled.
    Held,
    /// The receiver answered 2xx.
    Delivered,
    /// The receiver refused this message several times as not wanted. It is tried again only on request.
    Rejected,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Failed,
        Self::Held,
        Self::Delivered,
        Self::Rejected,
    ];
    /// The states of deliveries that have not arrived, and still may.
    pub const UNDELIVERED: [Self; 3] = [Self::Pending, Self::Failed, Self::Held];

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
        }
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "these are events of Event")]
pub enum About {
    Reports,
    Analyses,
    CodescoringEvents,
}

/// A delivery as it is stored, without its message and its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The webhook that it goes to.
    pub webhook: WebhookId,
    /// Its id.
    pub id: DeliveryId,
    /// The organization of the webhook.
    pub org: OrganizationId,
    /// Its state.
    pub state: DeliveryState,
    /// The events in its message.
    pub events: BTreeSet<Event>,
    /// How many changes its message has. [`Delivery::about`] says of which kind.
    #[serde(rename = "reports")]
    pub changes: u32,
    /// How many stacks of this product the changes came through before.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub hops: u32,
    /// The key of the project, when the whole message is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `SonarQube`'s background task, when the message is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// When the newest change of its message was stored, in the form of [`timestamp`]. Its id has the same time.
    pub created_at: String,
    /// How many attempts there were.
    pub attempts: u32,
    /// How many attempts failed since its creation, or since the last request for it. This is its position in the webhook's
    /// schedule.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub failures: u32,
    /// How many attempts the receiver refused as not wanted. It is counted over the same time as the failures.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub unwanted: u32,
    /// The latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<AttemptSummary>,
    /// From when on the delivery may be tried, in the form of [`timestamp`]; `None` when no attempt is to come. During an
    /// attempt it is the end of the lease, when others may take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// The lease of the function that is trying it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When it expires, in Unix seconds, for DynamoDB's time to live.
    pub expires_at: i64,
}

impl Delivery {
    /// A new delivery of a message. It may be tried from `due_at` on.
    pub fn new(
        webhook: WebhookKey,
        message: &Message,
        state: DeliveryState,
        due_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            webhook: webhook.id,
            id: message.id(webhook.id),
            org: webhook.org,
            state,
            events: message.events.clone(),
            changes: u32::try_from(message.changes.len()).unwrap_or(u32::MAX),
            hops: message
                .changes
                .iter()
                .map(|it| it.hops())
                .max()
                .unwrap_or_default(),
            project: message.project.clone(),
            task: message.task.clone(),
            created_at: timestamp(message.stored_at().unwrap_or(now)),
            attempts: 0,
            failures: 0,
            unwanted: 0,
            last_attempt: None,
            due_at: Some(timestamp(due_at)),
            lease: None,
            expires_at: (now + RETENTION).unix_timestamp(),
        }
    }

    /// What its message is about. A message has changes of one kind only.
    pub fn about(&self) -> About {
        match self.events.first() {
            Some(Event::Analysis(_)) => About::Analyses,
            Some(Event::Codescoring(_)) => About::CodescoringEvents,
            Some(Event::Report(_)) | None => About::Reports,
        }
    }

    /// Whether the newest change of its message is at least `age` old at `now`.
    pub fn is_older_than(&self, age: Duration, now: OffsetDateTime) -> bool {
        // A time that somebody has edited and that cannot be read counts as long ago.
        let created = OffsetDateTime::parse(&self.created_at, &Rfc3339);
        created.map_or(true, |at| now - at >= age)
    }

    /// The key of this delivery.
    pub fn key(&self) -> DeliveryKey {
        DeliveryKey {
            webhook: self.webhook,
            id: self.id,
        }
    }

    /// Whether somebody is trying it.
    pub fn is_in_progress(&self, now: OffsetDateTime) -> bool {
        self.lease.is_some()
            && self
                .due_at
                .as_ref()
                .is_some_and(|due_at| *due_at > timestamp(now))
    }

    /// Whether it has expired. DynamoDB deletes expired items only later.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at <= now.unix_timestamp()
    }
}

/// A lease: the exclusive right to try a delivery, until its `due_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lease(Uuid);

impl Lease {
    /// A new lease that nobody else has.
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The lease as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::change::ReportChange;
    use time::macros::datetime;

    #[test]
    fn ids_are_in_the_order_of_time() {
        let time = datetime!(2026-03-01 12:00:00.123_456 UTC);
        let millisecond = Duration::milliseconds(1);
        let id = DeliveryId::at(time);
        assert_eq!(id.uuid().get_version_num(), 7);
        assert!(
            DeliveryId::first_at(time) <= id && id <= DeliveryId::last_before(time + millisecond)
        );
        assert!(id < DeliveryId::first_at(time + millisecond));
        assert!(DeliveryId::last_before(time) < id && id < id.next());
        assert!(id.to_string() < DeliveryId::at(time + millisecond).to_string());
    }

    fn change(report: u128, revision: u64, stored: OffsetDateTime) -> Change {
        let change: ReportChange = serde_json::from_value(serde_json::json!({
            "event": "report.updated", "org": Uuid::from_u128(1), "revision": revision,
            "summary": {
                "projectName": "Name", "id": Uuid::from_u128(report), "reportType": "CWE Top 25",
                "reportVersion": 2024, "projectVersion": "1.0", "date": "2025-12-17T09:05:48Z",
                "uploadDate": timestamp(stored), "vulnerabilitiesCount": 1, "securityRating": "A",
            },
            "details": {"projectKey": "key"},
        }))
        .unwrap();
        change.into()
    }

    #[test]
    fn an_id_follows_from_webhook_and_change_and_is_in_the_order_of_time() {
        let time = datetime!(2026-03-01 12:00:00.123_456_7 UTC);
        let (one, other) = (
            WebhookId::new(Uuid::from_u128(7)),
            WebhookId::new(Uuid::from_u128(8)),
        );
        let base = change(1, 1, time);
        let id = DeliveryId::telling(one, &base);
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.to_string(), "019ca945-0a7b-774e-97c7-b0e127893e44");
        // What is said of the report does not count.
        let Change::Report(mut renamed) = base.clone() else {
            unreachable!("it is of a report");
        };
        renamed.summary.project_name = "Other".to_owned();
        let renamed = Change::Report(renamed);
        assert_eq!(DeliveryId::telling(one, &renamed), id);
        let others = [
            DeliveryId::telling(other, &base),
            DeliveryId::telling(one, &change(2, 1, time)),
            DeliveryId::telling(one, &change(1, 2, time)),
        ];
        for other in others {
            assert_ne!(other, id);
            // They have the same time.
            assert_eq!(other.uuid().as_u128() >> 64, id.uuid().as_u128() >> 64);
        }
        let next = change(1, 2, time + Duration::microseconds(1));
        assert!(DeliveryId::telling(one, &next) > others.into_iter().chain([id]).max().unwrap());
        let millisecond = Duration::milliseconds(1);
        assert!(DeliveryId::first_at(time) <= id);
        assert!(id < DeliveryId::first_at(time + millisecond));
    }

    #[test]
    fn a_time_outside_of_what_ids_have_is_no_panic() {
        for time in [
            datetime!(0000-01-01 00:00 UTC),
            datetime!(1969-12-31 23:59:59.9999 UTC),
            datetime!(9999-12-31 23:59:59 UTC),
        ] {
            let _ = (
                DeliveryId::first_at(time),
                DeliveryId::last_before(time),
                DeliveryId::at(time),
            );
        }
    }
}
