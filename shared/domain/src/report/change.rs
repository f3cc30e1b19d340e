//! Changes of a report, and what is said of each.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::summary::{Details, Summary};
use super::{Origin, Report};
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
    /// It is deleted.
    #[serde(rename = "report.deleted")]
    Deleted,
}

impl ReportEvent {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Published, Self::Updated, Self::Deleted];

    /// The event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "report.published",
            Self::Updated => "report.updated",
            Self::Deleted => "report.deleted",
        }
    }
}

/// A change of a report. It contains the report as of that revision, so that whoever is told need not read it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportChange {
    /// What happened.
    pub event: ReportEvent,
    /// The organization of the report.
    pub org: OrganizationId,
    /// The revision of the report.
    pub revision: u64,
    /// When the report was deleted, if the change is a deletion, in the form of [`crate::date::timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// The fields of that revision that lists show.
    pub summary: Summary,
    /// The further fields that messages have.
    pub details: Details,
    /// The further fields that a call of `SonarQube` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

impl ReportChange {
    /// The change that announces a report's latest revision, together with every earlier one that is not announced.
    pub fn announcing(report: &Report) -> Self {
        Self {
            event: report.event(),
            org: report.org,
            revision: report.revision,
            deleted_at: report.deleted_at.clone(),
            summary: report.summary(),
            details: report.details(),
            origin: report.metadata.origin.clone(),
        }
    }

    /// When the revision was stored; `None` when somebody edited the stored time and it is not a time.
    pub fn stored_at(&self) -> Option<OffsetDateTime> {
        let text = self.deleted_at.as_ref();
        let text = text.unwrap_or(&self.summary.upload_date);
        OffsetDateTime::parse(text, &Rfc3339).ok()
    }
}
