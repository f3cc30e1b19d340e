//! The message of a delivery.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::delivery::DeliveryId;
use crate::event::{Change, ChangeKey, Event};
use crate::webhook::WebhookId;

/// A message that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The body, byte for byte as it is signed and sent.
    pub body: String,
    /// The changes that it tells of, in the order of the body.
    pub changes: Vec<Arc<Change>>,
    /// The events of these changes.
    pub events: BTreeSet<Event>,
    /// The key of the project, when the whole message is about one.
    pub project: Option<String>,
    /// `SonarQube`'s background task, when the message is the call of one.
    pub task: Option<String>,
    /// The deduplication record of the analysis, when a webhook is to be told of the analysis only once.
    pub told: Option<Told>,
}

/// A deduplication record: the note that a webhook has been told of an analysis.
///
/// The same analysis can arrive in several ways, for example as `SonarQube`'s call and as a published report. The store keeps
/// one item `~told/…` for each key, and the condition on [`Self::unless`] makes the second message a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The keys of the analysis. Each becomes an item of the record.
    pub keys: Vec<String>,
    /// When the record already has this key, the message is not stored, and the webhook is not told again.
    pub unless: Option<String>,
}

impl Message {
    /// The id of its delivery to a webhook, which is that of its newest change.
    pub fn id(&self, webhook: WebhookId) -> DeliveryId {
        let ids = self.changes.iter();
        let ids = ids.map(|change| DeliveryId::telling(webhook, change));
        ids.max().unwrap_or(DeliveryId::FIRST)
    }

    /// When its newest change was stored.
    pub fn stored_at(&self) -> Option<OffsetDateTime> {
        let times = self.changes.iter();
        times.filter_map(|change| change.stored_at()).max()
    }

    /// The keys of its changes.
    pub fn keys(&self) -> Vec<ChangeKey> {
        self.changes.iter().map(|change| change.key()).collect()
    }
}
