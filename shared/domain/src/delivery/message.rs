//! What a delivery delivers.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::delivery::DeliveryId;
use crate::event::{Change, ChangeKey, Event};
use crate::webhook::WebhookId;

/// A message that has not been stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The body, byte for byte as it is signed and sent.
    pub body: String,
    /// What it tells of, in the order of the body.
    pub changes: Vec<Arc<Change>>,
    /// The events among them.
    pub events: BTreeSet<Event>,
    /// The key of the project, when all of it is of one.
    pub project: Option<String>,
    /// The background task of `SonarQube`'s, when it is the call of one.
    pub task: Option<String>,
    /// The analysis that it is the call of, where a webhook is to be told of one once.
    pub told: Option<Told>,
}

/// By what a webhook's being told of an analysis is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Under each of these it is noted that the webhook is told.
    pub keys: Vec<String>,
    /// If it is noted under this one already, it is not told again.
    pub unless: Option<String>,
}

impl Message {
    /// The id of its delivery to a webhook: that of its newest change.
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

    /// What tells its changes from others.
    pub fn keys(&self) -> Vec<ChangeKey> {
        self.changes.iter().map(|change| change.key()).collect()
    }
}
