//! What a delivery delivers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::report::change::{ChangeKey, ReportChange, ReportEvent};

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
    /// What tells its changes from others.
    pub fn keys(&self) -> Vec<ChangeKey> {
        self.changes.iter().map(|change| change.key()).collect()
    }
}
