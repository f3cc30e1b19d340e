//! `GET /webhook-events`: what webhooks can be told of.

use axum::http::StatusCode;
use axum::response::Response;
use domain::organization::OrganizationId;
use domain::report::change::ReportEvent;
use outbound::format::TEST_EVENT;
use outbound::format::reports::sample;
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
    name: &'static str,
    description: &'static str,
    /// The body of a message.
    sample: Value,
}

pub(crate) async fn list() -> Result<Response, ApiError> {
    let event = |name, description| Event {
        name,
        description,
        sample: sample(SAMPLE_ORGANIZATION, name, None).body,
    };
    let mut events: Vec<Event> = ReportEvent::ALL
        .into_iter()
        .map(|it| event(it.as_str(), describe(it)))
        .collect();
    events.push(event(
        TEST_EVENT,
        "A test call. It is sent when an administrator asks for it, and no webhook filters it.",
    ));
    api::json(StatusCode::OK, &Events { events })
}

fn describe(event: ReportEvent) -> &'static str {
    match event {
        ReportEvent::Published => "A report is announced for the first time.",
        ReportEvent::Updated => {
            "A later revision of a report that was announced before. Revisions that could not be announced one by one are announced as the newest of them."
        }
        ReportEvent::Deleted => {
            "A report was deleted; what the message says of it is what it was last. Only webhooks that name this event are told of it. When it is published again, that is another report.published."
        }
    }
}
