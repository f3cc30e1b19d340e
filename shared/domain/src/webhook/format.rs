//! The formats of messages to webhooks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::AnalysisEvent;
use crate::codescoring;
use crate::event::Event;
use crate::report::change::ReportEvent;

/// The format of a webhook's messages. The crate `outbound` makes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own format: up to fifty changes of reports in one message, signed as Standard Webhooks and `SonarQube` sign.
    #[default]
    Reports,
    /// `SonarQube`'s format: one call for each analysis, as `SonarQube` itself makes it.
    Sonarqube,
    /// `CodeScoring`'s format: the events of a few seconds in one message, as `CodeScoring` itself sends them.
    Codescoring,
}

/// The statuses by which a receiver of `SonarQube`'s calls says that it does not want one call, and will never want it.
const NOT_WANTED: [u16; 5] = [400, 404, 413, 415, 422];

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Reports, Self::Sonarqube, Self::Codescoring];

    /// The format's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Sonarqube => "sonarqube",
            Self::Codescoring => "codescoring",
        }
    }

    /// Whether messages of this format can tell of an event.
    pub const fn takes(self, event: &Event) -> bool {
        match (self, event) {
            // SonarQube has no call for what is gone.
            (Self::Sonarqube, Event::Report(ReportEvent::Deleted)) => false,
            (_, Event::Report(_)) => true,
            (_, Event::Analysis(_)) => !matches!(self, Self::Codescoring),
            (_, Event::Codescoring(_)) => matches!(self, Self::Codescoring),
        }
    }

    /// How long changes gather before they are sent, if that is longer than in the queue.
    pub const fn gathers_for(self) -> Option<Duration> {
        match self {
            Self::Codescoring => Some(codescoring::WINDOW),
            Self::Reports | Self::Sonarqube => None,
        }
    }

    /// Whether a webhook has a token, by which its receiver knows us.
    pub const fn has_token(self) -> bool {
        matches!(self, Self::Codescoring)
    }

    /// Whether a webhook must have a secret. Many receivers of `SonarQube`'s calls do not know secrets, and some refuse a
    /// signature that they did not ask for. Receivers of `CodeScoring`'s calls know the token.
    pub const fn needs_secret(self) -> bool {
        matches!(self, Self::Reports)
    }

    /// Whether an answer with this status is about the message and not about the receiver. After some attempts the message is
    /// given up, and the webhook continues. Jenkins answers this way to each change of a quality gate, since that has no
    /// task.
    pub fn is_about_the_message(self, status: u16) -> bool {
        self == Self::Sonarqube && NOT_WANTED.contains(&status)
    }

    /// Whether a webhook without a list of events is told of this event. Our own format tells only of the events that existed
    /// from the beginning. A receiver that does not know deletions would take a deleted report for an existing one, and it
    /// does not know analyses.
    pub const fn is_told_unasked(self, event: &Event) -> bool {
        match self {
            Self::Reports => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
            ),
            // Changes of quality gates are not told: Jenkins refuses them.
            Self::Sonarqube => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
                    | Event::Analysis(AnalysisEvent::Completed)
            ),
            // Also of triggers that a new version adds.
            Self::Codescoring => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
                    | Event::Codescoring(_)
            ),
        }
    }
}
