//! The format `codescoring`: the events of a few seconds in one message, as `CodeScoring` itself sends them (its
//! documentation, "Webhooks").
//!
//! An event that came in a call is passed on unchanged. A change of a report becomes an event with a trigger of our own,
//! since `project_sca_analysis_finished` and similar triggers promise what a report does not know.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::codescoring::Trigger;
use domain::date::GivenDate;
use domain::delivery::message::Message;
use domain::event::Change;
use domain::report::change::{ReportChange, ReportEvent};
use domain::report::{QualityGateStatus, Rating, ReportId};
use domain::version::Version;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::batch;

/// Messages that tell of these changes: first of reports, and then of `CodeScoring`'s events, each in their order. There are
/// as few as the limits allow.
///
/// # Errors
/// An event cannot be written as JSON.
pub fn messages(changes: &[Arc<Change>]) -> anyhow::Result<Vec<Message>> {
    let (mut reports, mut events) = (Vec::new(), Vec::new());
    for change in changes {
        match &**change {
            Change::Report(report) => reports.push((change, to_raw_value(&Event::of(report))?)),
            Change::Codescoring(event) => {
                events.push((change, RawValue::from_string(event.text.clone())?));
            }
            // No webhook of this format is told of analyses.
            Change::Analysis(_) => {}
        }
    }
    let body = |events: &[_]| serde_json::to_string(&Body { events });
    let mut messages = batch::messages(reports, body)?;
    messages.extend(batch::messages(events, body)?);
    Ok(messages)
}

/// The trigger of a message about a report.
pub const fn report_trigger(event: ReportEvent) -> &'static str {
    match event {
        ReportEvent::Published => "security_report_published",
        ReportEvent::Updated => "security_report_updated",
        ReportEvent::Deleted => "security_report_deleted",
    }
}

/// The body of a test call at `now`.
pub fn test(now: OffsetDateTime) -> Value {
    json!({"events": [{"created_at": created_at(now), "trigger": "test", "payload": {}}]})
}

/// A sample body of a message about an event, for the documentation. It has the fields that `CodeScoring` documents.
pub fn sample(trigger: &Trigger) -> Value {
    let name = trigger.name();
    let is_project = !name.starts_with("container_image_") && !name.starts_with("ml_model_");
    let mut fields = Vec::new();
    if name.ends_with("_policy_has_been_triggered") {
        fields.extend([
            ("alert_id", json!(1)),
            ("stage", json!("build")),
            ("level", json!("critical")),
            ("policy_id", json!(1)),
            ("policy_name", json!("Critical vulnerabilities")),
            ("dependency_id", json!(1)),
            ("dependency_purl", json!("pkg:npm/example@1.0.0")),
            ("matched_criteria", json!({})),
        ]);
        match name.starts_with("sca_") {
            true => fields.push(("project_id", json!(1))),
            false => fields.extend([
                ("container_image_id", Value::Null),
                ("artifact_repository_id", Value::Null),
            ]),
        }
    } else if is_project {
        fields.extend([
            ("project_id", json!(1)),
            ("project_name", json!("Test product")),
        ]);
    } else if name.starts_with("container_image_") {
        fields.extend([
            ("container_image_id", json!(1)),
            ("container_image_name", json!("test:1.0.0")),
        ]);
    }
    if name.starts_with("cloning_of_repository_") {
        fields.extend([
            ("repo_url", json!("https://git.example.com/test.git")),
            ("repo_ref_name", json!("main")),
        ]);
    }
    if name.ends_with("_sca_analysis_finished") {
        fields.extend([
            ("vulnerabilities_count", json!(0)),
            ("dependencies_count", json!(0)),
        ]);
    }
    let has_no_error = name.starts_with("ml_model_") || name.starts_with("project_secrets_");
    if name.ends_with("_failed") && !has_no_error {
        fields.push(("error", json!("it could not be analysed")));
    }
    let fields = fields.into_iter();
    let payload = fields.map(|(name, value)| (name.to_owned(), value));
    json!({"events": [{
        "created_at": "2025-12-17T09:05:48.594643+00:00",
        "trigger": name,
        "payload": payload.collect::<serde_json::Map<_, _>>(),
    }]})
}

#[derive(Serialize)]
struct Body<'a> {
    events: &'a [Box<RawValue>],
}

/// What a message says of a report, in `CodeScoring`'s spelling.
#[derive(Serialize)]
struct Event<'a> {
    created_at: String,
    trigger: &'static str,
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    project_key: &'a str,
    project_name: &'a str,
    project_version: &'a Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<&'a str>,
    report_id: ReportId,
    report_type: &'a str,
    report_version: u32,
    date: &'a GivenDate,
    upload_date: &'a str,
    revision: u64,
    vulnerabilities_count: u32,
    security_rating: Rating,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_gate: Option<QualityGateStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scm_revision: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: &'a BTreeMap<String, String>,
}

impl<'a> Event<'a> {
    fn of(change: &'a ReportChange) -> Self {
        let (summary, details) = (&change.summary, &change.details);
        Self {
            created_at: created_at(change.stored_at().unwrap_or_else(|| summary.date.instant())),
            trigger: report_trigger(change.event),
            payload: Payload {
                project_key: &details.project_key,
                project_name: &summary.project_name,
                project_version: &summary.project_version,
                branch: details.branch.as_deref(),
                report_id: summary.id,
                report_type: &summary.report_type,
                report_version: summary.report_version,
                date: &summary.date,
                upload_date: &summary.upload_date,
                revision: change.revision,
                vulnerabilities_count: summary.vulnerabilities_count,
                security_rating: summary.security_rating,
                quality_gate: details.quality_gate,
                task_id: details.task_id.as_deref(),
                scm_revision: details.scm_revision.as_deref(),
                properties: &details.properties,
            },
        }
    }
}

/// A time as `CodeScoring` writes it.
fn created_at(time: OffsetDateTime) -> String {
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+00:00"
    );
    time.to_offset(UtcOffset::UTC)
        .format(format)
        .unwrap_or_default()
}
