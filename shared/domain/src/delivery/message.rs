//! What a delivery delivers.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::delivery::DeliveryId;
use crate::report::change::{ChangeKey, ReportChange, ReportEvent};
use crate::webhook::WebhookId;

/// A message that has not been stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The body, byte for byte as it is signed and sent.
    pub body: String,
    /// What it tells of, in the order of the body.
    pub changes: Vec<Arc<ReportChange>>,
    /// The events among them.
    pub events: BTreeSet<ReportEvent>,
    /// The key of the project, when all reports are of one.
    pub project: Option<String>,
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
