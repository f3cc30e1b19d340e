//! What happens to a report, and what is said of it then.

use serde::{Deserialize, Serialize};

use super::summary::{Details, Summary};
use super::{Report, ReportId};
use crate::organization::OrganizationId;

/// What can happen to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReportEvent {
    /// It is announced for the first time.
    #[serde(rename = "report.published")]
    Published,
    /// A further revision is announced.
    #[serde(rename = "report.updated")]
    Updated,
}

impl ReportEvent {
    /// Every event.
    pub const ALL: [Self; 2] = [Self::Published, Self::Updated];

    /// The event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "report.published",
            Self::Updated => "report.updated",
        }
    }
}

/// A change of a report, with what the report is at that revision, so that whoever is told reads nothing again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportChange {
    /// What happened.
    pub event: ReportEvent,
    /// Whose report it is.
    pub org: OrganizationId,
    /// Which revision of the report it is about.
    pub revision: u64,
    /// What lists show of that revision. Its `upload_date` is when the revision was stored.
    pub summary: Summary,
    /// What messages say besides.
    pub details: Details,
}

/// What tells one change from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey {
    /// Whose report.
    pub org: OrganizationId,
    /// Which report.
    pub report: ReportId,
    /// Which revision of it.
    pub revision: u64,
}

impl ReportChange {
    /// The change that announces the latest revision of a report, and with it every earlier one that was not announced.
    pub fn announcing(report: &Report) -> Self {
        Self {
            event: if report.announced_revision == 0 {
                ReportEvent::Published
            } else {
                ReportEvent::Updated
            },
            org: report.org,
            revision: report.revision,
            summary: report.summary(),
            details: report.details(),
        }
    }

    /// What tells this change from another.
    pub fn key(&self) -> ChangeKey {
        ChangeKey {
            org: self.org,
            report: self.summary.id,
            revision: self.revision,
        }
    }
}
