//! The format `sonarqube`: one call for each analysis, as `SonarQube` itself makes it (`WebhookPayloadFactoryImpl` in its
//! source).
//!
//! A call that came is passed on byte for byte. A published report becomes a call, unless the webhook has already been told
//! of its analysis.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::analysis::{AnalysisEvent, Identity};
use domain::date::{GivenDate, sonar_date};
use domain::delivery::message::{Message, Told};
use domain::event::Change;
use domain::report::change::ReportChange;
use domain::report::limits::MAX_TEXT;
use domain::report::{GateCondition, Origin, QualityGateStatus};
use serde::Serialize;
use serde_json::{Value, json};

use super::reports::TEST_PROJECT;

/// The prefix of the properties that a call has (`CorePropertyDefinitions` in `SonarQube`'s source).
const PROPERTIES: &str = "sonar.analysis.";

/// A message for each of these changes.
///
/// # Errors
/// A call cannot be written as JSON.
pub fn messages(changes: &[Arc<Change>]) -> anyhow::Result<Vec<Message>> {
    let messages = changes.iter().map(message);
    messages.filter_map(Result::transpose).collect()
}

fn message(change: &Arc<Change>) -> anyhow::Result<Option<Message>> {
    let (body, told) = match &**change {
        Change::Analysis(analysis) => {
            let told = match analysis.event {
                // A call that was made of a report may have been told before. That is no reason to hold SonarQube's own call
                // back.
                AnalysisEvent::Completed => Some(Told {
                    keys: analysis.analysis.identity().keys(),
                    unless: None,
                }),
                AnalysisEvent::GateChanged => None,
            };
            (analysis.payload.clone(), told)
        }
        // No webhook of this format is told of CodeScoring's events.
        Change::Codescoring(_) => return Ok(None),
        Change::Report(report) => {
            let keys = identity(report).keys();
            let unless = keys.first().cloned();
            (
                serde_json::to_string(&Call::of(report))?,
                Some(Told { keys, unless }),
            )
        }
    };
    Ok(Some(Message {
        body,
        changes: vec![Arc::clone(change)],
        events: [change.event()].into(),
        project: change.project().map(str::to_owned),
        task: task(change).map(str::to_owned),
        told,
    }))
}

/// The background task of a change.
fn task(change: &Change) -> Option<&str> {
    let task = match change {
        Change::Analysis(analysis) => analysis.analysis.task_id.as_deref(),
        Change::Report(report) => report.details.task_id.as_deref(),
        Change::Codescoring(_) => None,
    };
    // Whoever knows the secret of a source may have written anything.
    task.filter(|task| task.chars().count() <= MAX_TEXT)
}

/// A sample call about an analysis that does not exist, and the key of its project, for a test call and for the
/// documentation.
pub fn sample(event: AnalysisEvent, project: Option<&str>) -> (Value, String) {
    let project = project.unwrap_or(TEST_PROJECT);
    let url = format!("https://sonarqube.example.com/dashboard?id={project}");
    let mut call = json!({
        "serverUrl": "https://sonarqube.example.com",
        "taskId": "AZsr7Qe2dVb1kXo9TnPw",
        "status": "SUCCESS",
        "analysedAt": "2025-12-17T09:05:48+0000",
        "revision": "e2a94f6081c7d35b9f20a8b6c41d7e93055fa6d8",
        "changedAt": "2025-12-17T09:05:48+0000",
        "project": {"key": project, "name": "Test product", "url": url},
        "branch": {"name": "main", "type": "BRANCH", "isMain": true, "url": url},
        "qualityGate": {"name": "Sonar way", "status": "OK", "conditions": []},
        "properties": {},
    });
    if event == AnalysisEvent::GateChanged
        && let Some(fields) = call.as_object_mut()
    {
        fields.shift_remove("taskId");
    }
    (call, project.to_owned())
}

/// The ten fields of a call, in their order, and no others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    server_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    status: &'static str,
    analysed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    changed_at: String,
    project: Project<'a>,
    branch: Branch<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_gate: Option<QualityGate<'a>>,
    properties: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Project<'a> {
    key: &'a str,
    name: &'a str,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Branch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    r#type: &'a str,
    is_main: bool,
    url: String,
}

#[derive(Serialize)]
struct QualityGate<'a> {
    name: &'a str,
    status: QualityGateStatus,
    conditions: &'a [GateCondition],
}

impl<'a> Call<'a> {
    /// The call that `SonarQube` may have made of a report's analysis. A field that the publisher has not passed on has its
    /// most usual value.
    fn of(change: &'a ReportChange) -> Self {
        static NOTHING: Origin = Origin {
            server_url: None,
            project_url: None,
            analysed_at: None,
            branch_type: None,
            is_main: None,
            gate: None,
            is_imported: false,
        };
        let (summary, details) = (&change.summary, &change.details);
        let origin = change.origin.as_deref().unwrap_or(&NOTHING);
        let server_url = origin.server_url.as_deref().unwrap_or_default();
        let server_url = server_url.trim_end_matches('/');
        let key = details.project_key.as_str();
        let project_url = match &origin.project_url {
            Some(url) => url.clone(),
            None => format!("{server_url}/dashboard?id={}", query(key)),
        };
        let is_main = origin.is_main.unwrap_or(details.branch.is_none());
        let branch = details.branch.as_deref();
        let branch_url = match branch.filter(|_| !is_main) {
            Some(branch) => format!("{project_url}&branch={}", query(branch)),
            None => project_url.clone(),
        };
        let gate = origin.gate.as_ref();
        let status = details.quality_gate;
        let properties = details.properties.iter();
        Self {
            server_url,
            task_id: details.task_id.as_deref(),
            status: "SUCCESS",
            analysed_at: sonar_date(analysed_at(change).instant()),
            revision: details.scm_revision.as_deref(),
            changed_at: sonar_date(change.stored_at().unwrap_or_else(|| summary.date.instant())),
            project: Project {
                key,
                name: &summary.project_name,
                url: project_url,
            },
            branch: Branch {
                name: branch,
                r#type: origin.branch_type.as_deref().unwrap_or("BRANCH"),
                is_main,
                url: branch_url,
            },
            quality_gate: status
                .filter(|status| *status != QualityGateStatus::None)
                .map(|status| QualityGate {
                    name: gate.and_then(|it| it.name.as_deref()).unwrap_or_default(),
                    status,
                    conditions: gate.map_or(&[], |it| it.conditions.as_slice()),
                }),
            properties: properties
                .filter(|(name, _)| name.starts_with(PROPERTIES))
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }
}

fn analysed_at(change: &ReportChange) -> &GivenDate {
    let origin = change.origin.as_ref();
    let given = origin.and_then(|it| it.analysed_at.as_ref());
    given.unwrap_or(&change.summary.date)
}

/// The analysis of a report.
fn identity(change: &ReportChange) -> Identity<'_> {
    let origin = change.origin.as_ref();
    Identity {
        project: &change.details.project_key,
        branch: change.details.branch.as_deref(),
        is_main: origin.and_then(|it| it.is_main) == Some(true),
        task: change.details.task_id.as_deref(),
        date: Some(analysed_at(change).instant().unix_timestamp()),
    }
}

/// A text as the value of a query parameter, as Java's `URLEncoder` writes it.
fn query(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
