//! The forms that messages to webhooks have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::AnalysisEvent;
use crate::codescoring;
use crate::event::Event;
use crate::report::change::ReportEvent;

/// The form of a webhook's messages. What they look like is where they are made, in the crate `outbound`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own: up to fifty changes of reports in one message, signed as Standard Webhooks and `SonarQube` sign.
    #[default]
    Reports,
    /// `SonarQube`'s: one call for each analysis, as `SonarQube` makes it itself.
    Sonarqube,
    /// `CodeScoring`'s: the events of a few seconds in one message, as `CodeScoring` sends them itself.
    Codescoring,
}

/// Statuses by which receivers of `SonarQube`'s calls say of one call that they have no use for it, and would say so again.
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

    /// For how long changes gather before they are sent, if they do so for longer than in the queue.
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

    /// Whether a webhook has to have a secret. Many receivers of `SonarQube`'s calls know of none, and some refuse a signature
    /// that they did not ask for; those of `CodeScoring`'s know the token.
    pub const fn needs_secret(self) -> bool {
        matches!(self, Self::Reports)
    }

    /// Whether an answer with this status is about the message, not about the receiver: after some tries the message is left
    /// alone, and the webhook goes on. Jenkins answers so to each change of a quality gate, since that has no task.
    pub fn is_about_the_message(self, status: u16) -> bool {
        self == Self::Sonarqube && NOT_WANTED.contains(&status)
    }

    /// Whether a webhook is told of an event that names none. In our own format only of those that there were from the
    /// beginning: receivers that have never heard of deleting would take a report that was deleted for one that is there, and of
    /// analyses they know nothing.
    pub const fn is_told_unasked(self, event: &Event) -> bool {
        match self {
            Self::Reports => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
            ),
            // Not of changes of quality gates, which Jenkins refuses.
            Self::Sonarqube => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
                    | Event::Analysis(AnalysisEvent::Completed)
            ),
            // Of what a version adds, too.
            Self::Codescoring => matches!(
                event,
                Event::Report(ReportEvent::Published | ReportEvent::Updated)
                    | Event::Codescoring(_)
            ),
        }
    }
}
