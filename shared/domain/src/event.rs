//! What webhooks are told of.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::analysis::{AnalysisChange, AnalysisEvent};
use crate::organization::OrganizationId;
use crate::report::ReportId;
use crate::report::change::{ReportChange, ReportEvent};
use crate::source::SourceId;
use crate::source::call::CallId;

/// The event of a test call. No webhook filters it.
pub const TEST_EVENT: &str = "report.test";

/// The header of a message with the names of the events that it tells of, comma-separated.
pub const EVENTS_HEADER: &str = "x-webhook-event";

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// To a report.
    Report(ReportEvent),
    /// To an analysis.
    Analysis(AnalysisEvent),
}

impl Event {
    /// Every event.
    pub fn all() -> impl Iterator<Item = Self> {
        let reports = ReportEvent::ALL.into_iter().map(Self::Report);
        reports.chain(AnalysisEvent::ALL.into_iter().map(Self::Analysis))
    }

    /// The event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report(event) => event.as_str(),
            Self::Analysis(event) => event.as_str(),
        }
    }
}

/// Something that happened, with all that is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To a report.
    Report(Box<ReportChange>),
    /// To an analysis.
    Analysis(Box<AnalysisChange>),
}

/// What tells one change from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of the changes")]
pub enum ChangeKey {
    /// A revision of a report.
    Report {
        org: OrganizationId,
        report: ReportId,
        revision: u64,
    },
    /// A call of a source.
    Call { source: SourceId, call: CallId },
}

impl ChangeKey {
    /// The same as bytes, of two lengths, so that none of one kind is one of the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let of = |id: Uuid| id.into_bytes().to_vec();
        match *self {
            Self::Report {
                report, revision, ..
            } => [of(report.uuid()), revision.to_be_bytes().to_vec()].concat(),
            Self::Call { source, call } => [of(source.uuid()), of(call.uuid())].concat(),
        }
    }
}

impl From<ReportChange> for Change {
    fn from(change: ReportChange) -> Self {
        Self::Report(Box::new(change))
    }
}

impl From<AnalysisChange> for Change {
    fn from(change: AnalysisChange) -> Self {
        Self::Analysis(Box::new(change))
    }
}

impl Change {
    /// What happened.
    pub fn event(&self) -> Event {
        match self {
            Self::Report(change) => Event::Report(change.event),
            Self::Analysis(change) => Event::Analysis(change.event),
        }
    }

    /// Whose it is.
    pub fn org(&self) -> OrganizationId {
        match self {
            Self::Report(change) => change.org,
            Self::Analysis(change) => change.org,
        }
    }

    /// The key of the project that it concerns.
    pub fn project(&self) -> &str {
        match self {
            Self::Report(change) => &change.details.project_key,
            Self::Analysis(change) => &change.analysis.project.key,
        }
    }

    /// When it was stored, unless somebody has written that by hand and it is no time.
    pub fn stored_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Report(change) => change.stored_at(),
            Self::Analysis(change) => change.stored_at(),
        }
    }

    /// Through how many stacks of this product it has come.
    pub fn hops(&self) -> u32 {
        match self {
            Self::Report(_) => 0,
            Self::Analysis(change) => change.hops,
        }
    }

    /// What tells it from others.
    pub fn key(&self) -> ChangeKey {
        match self {
            Self::Report(change) => ChangeKey::Report {
                org: change.org,
                report: change.summary.id,
                revision: change.revision,
            },
            Self::Analysis(change) => ChangeKey::Call {
                source: change.source,
                call: change.call,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_written_as_its_name() {
        for event in Event::all() {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(json, format!("\"{}\"", event.as_str()));
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        }
        assert!(serde_json::from_str::<Event>("\"report.gone\"").is_err());
    }
}
