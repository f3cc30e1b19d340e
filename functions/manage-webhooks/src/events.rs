//! `GET /webhook-events`: the events that webhooks can be told of.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use domain::analysis::AnalysisEvent;
use domain::event;
use domain::event::TEST_EVENT;
use domain::organization::OrganizationId;
use domain::report::change::ReportEvent;
use outbound::format::codescoring;
use outbound::format::reports::{analysis_sample, sample};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use web::api::{self, ApiError};

/// The organization of the samples.
const SAMPLE_ORGANIZATION: OrganizationId = OrganizationId::new(Uuid::from_u128(1));

#[derive(Serialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Serialize)]
struct Event {
    name: String,
    description: Cow<'static, str>,
    /// A sample body of a message.
    sample: Value,
}

pub(crate) async fn list() -> Result<Response, ApiError> {
    let org = SAMPLE_ORGANIZATION;
    let event = |it: event::Event| Event {
        name: it.as_str().to_owned(),
        description: describe(&it),
        sample: match &it {
            event::Event::Report(event) => sample(org, event.as_str(), None).body,
            event::Event::Analysis(event) => analysis_sample(org, *event),
            event::Event::Codescoring(trigger) => codescoring::sample(trigger),
        },
    };
    let test = Event {
        name: TEST_EVENT.to_owned(),
        description:
            "A test call. It is sent when an administrator asks for it, and no webhook filters it."
                .into(),
        sample: sample(org, TEST_EVENT, None).body,
    };
    let events = event::Event::all().map(event).chain([test]).collect();
    api::json(StatusCode::OK, &Events { events })
}

fn describe(event: &event::Event) -> Cow<'static, str> {
    let text = match event {
        event::Event::Report(ReportEvent::Published) => "A report is announced for the first time.",
        event::Event::Report(ReportEvent::Updated) => {
            "A later revision of a report that was announced before. Revisions that could not be announced one by one are announced as the newest of them."
        }
        event::Event::Report(ReportEvent::Deleted) => {
            "A report was deleted; what the message says of it is what it was last. Only webhooks that name this event are told of it. When it is published again, that is another report.published."
        }
        event::Event::Analysis(AnalysisEvent::Completed) => {
            "SonarQube has called a source: a background task has ended, well or not. Only webhooks that name this event, or have the format sonarqube, are told of it. The payload is what SonarQube sent."
        }
        event::Event::Analysis(AnalysisEvent::GateChanged) => {
            "SonarQube has called a source: somebody has changed issues, and with them the quality gate of an analysis. Only webhooks that name this event are told of it."
        }
        event::Event::Codescoring(trigger) => {
            let trigger = trigger.name();
            return format!(
                "CodeScoring has called a source, with the trigger {trigger}. Only webhooks of the format codescoring are told of it."
            )
            .into();
        }
    };
    text.into()
}
