//! The events that webhooks are told of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::analysis::{AnalysisChange, AnalysisEvent};
use crate::codescoring::{CodescoringChange, Trigger};
use crate::organization::OrganizationId;
use crate::report::ReportId;
use crate::report::change::{ReportChange, ReportEvent};
use crate::source::SourceId;
use crate::source::call::CallId;

/// The event of a test call. No webhook filters it.
pub const TEST_EVENT: &str = "report.test";

/// The header of a message that names its events, separated by commas.
pub const EVENTS_HEADER: &str = "x-webhook-event";

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// An event of a report.
    Report(ReportEvent),
    /// An event of an analysis.
    Analysis(AnalysisEvent),
    /// An event of `CodeScoring`.
    Codescoring(Trigger),
}

impl Event {
    /// Every known event.
    pub fn all() -> impl Iterator<Item = Self> {
        let reports = ReportEvent::ALL.into_iter().map(Self::Report);
        let analyses = AnalysisEvent::ALL.into_iter().map(Self::Analysis);
        let triggers = Trigger::all().map(Self::Codescoring);
        reports.chain(analyses).chain(triggers)
    }

    /// The event's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Report(event) => event.as_str(),
            Self::Analysis(event) => event.as_str(),
            Self::Codescoring(trigger) => trigger.as_str(),
        }
    }
}

/// Something that happened, with all that messages say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A change of a report.
    Report(Box<ReportChange>),
    /// A change of an analysis.
    Analysis(Box<AnalysisChange>),
    /// An event of `CodeScoring`.
    Codescoring(Box<CodescoringChange>),
}

/// The identity of a change.
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
    /// An event of a call that may have several, by its position in the call.
    Event {
        source: SourceId,
        call: CallId,
        position: u32,
    },
}

impl ChangeKey {
    /// The key as bytes. Each kind has a length of its own, so keys of two kinds are never equal.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let of = |id: Uuid| id.into_bytes().to_vec();
        match *self {
            Self::Report {
                report, revision, ..
            } => [of(report.uuid()), revision.to_be_bytes().to_vec()].concat(),
            Self::Call { source, call } => [of(source.uuid()), of(call.uuid())].concat(),
            Self::Event {
                source,
                call,
                position,
            } => [
                of(source.uuid()),
                of(call.uuid()),
                position.to_be_bytes().to_vec(),
            ]
            .concat(),
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

impl From<CodescoringChange> for Change {
    fn from(change: CodescoringChange) -> Self {
        Self::Codescoring(Box::new(change))
    }
}

impl Change {
    /// What happened.
    pub fn event(&self) -> Event {
        match self {
            Self::Report(change) => Event::Report(change.event),
            Self::Analysis(change) => Event::Analysis(change.event),
            Self::Codescoring(change) => Event::Codescoring(change.trigger.clone()),
        }
    }

    /// The organization that it belongs to.
    pub fn org(&self) -> OrganizationId {
        match self {
            Self::Report(change) => change.org,
            Self::Analysis(change) => change.arrival.org,
            Self::Codescoring(change) => change.arrival.org,
        }
    }

    /// The project that it concerns, if any: its key, or `CodeScoring`'s name of it.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Report(change) => Some(&change.details.project_key),
            Self::Analysis(change) => Some(&change.analysis.project.key),
            Self::Codescoring(change) => change.project.name(),
        }
    }

    /// Whether it concerns one of these projects, under any of its names.
    pub fn is_of(&self, projects: &BTreeSet<String>) -> bool {
        match self {
            Self::Codescoring(change) => change.project.names().any(|it| projects.contains(it)),
            _ => self.project().is_some_and(|it| projects.contains(it)),
        }
    }

    /// When it was stored; `None` when somebody edited the stored time and it is not a time.
    pub fn stored_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Report(change) => change.stored_at(),
            Self::Analysis(change) => change.arrival.stored_at(),
            Self::Codescoring(change) => change.arrival.stored_at(),
        }
    }

    /// Whether it is of a report that was imported from a server's analysis.
    pub fn is_imported(&self) -> bool {
        match self {
            Self::Report(change) => change.origin.as_ref().is_some_and(|it| it.is_imported),
            Self::Analysis(_) | Self::Codescoring(_) => false,
        }
    }

    /// How many stacks of this product it came through.
    pub fn hops(&self) -> u32 {
        match self {
            Self::Report(_) => 0,
            Self::Analysis(change) => change.arrival.hops,
            Self::Codescoring(change) => change.arrival.hops,
        }
    }

    /// The identity of the change.
    pub fn key(&self) -> ChangeKey {
        match self {
            Self::Report(change) => ChangeKey::Report {
                org: change.org,
                report: change.summary.id,
                revision: change.revision,
            },
            Self::Analysis(change) => ChangeKey::Call {
                source: change.arrival.source,
                call: change.arrival.call,
            },
            Self::Codescoring(change) => ChangeKey::Event {
                source: change.arrival.source,
                call: change.arrival.call,
                position: change.position,
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
        assert_eq!(Event::all().count(), 36);
        let new = serde_json::from_str::<Event>("\"codescoring.new\"").unwrap();
        assert_eq!(new, Event::Codescoring(Trigger::named("new")));
        assert!(serde_json::from_str::<Event>("\"report.gone\"").is_err());
    }
}
