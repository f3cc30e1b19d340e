//! The format `reports`: messages that tell of up to fifty changes of reports, or of up to fifty analyses.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::analysis::{AnalysisChange, AnalysisEvent};
use domain::delivery::message::Message;
use domain::event::Change;
use domain::organization::OrganizationId;
use domain::report::change::{ReportChange, ReportEvent};
use domain::report::summary::{Details, Summary};
use domain::report::{QualityGateStatus, Rating, ReportId};
use domain::source::SourceId;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{batch, sonarqube};

/// The key of the project in a test call, unless the webhook is for one project only.
pub(super) const TEST_PROJECT: &str = "test";

/// Messages that tell of these changes: first of reports, and then of analyses, each in their order. There are as few as the
/// limits allow.
pub fn messages(org: OrganizationId, changes: &[Arc<Change>]) -> anyhow::Result<Vec<Message>> {
    let (mut reports, mut analyses) = (Vec::new(), Vec::new());
    for change in changes {
        match &**change {
            Change::Report(report) => {
                let entry = Entry::of(report);
                reports.push((change, serde_json::value::to_raw_value(&entry)?));
            }
            Change::Analysis(analysis) => {
                let entry = AnalysisEntry::of(analysis)?;
                analyses.push((change, serde_json::value::to_raw_value(&entry)?));
            }
            // No webhook of this format is told of CodeScoring's events.
            Change::Codescoring(_) => {}
        }
    }
    let body = |of| move |entries: &[_]| serde_json::to_string(&Body { org, of, entries });
    let mut messages = batch::messages(reports, body("reports"))?;
    messages.extend(batch::messages(analyses, body("analyses"))?);
    Ok(messages)
}

/// A sample body of a message about a report that does not exist, for a test call and for the documentation.
pub fn sample(org: OrganizationId, event: &'static str, project: Option<&str>) -> Sample {
    let summary = Summary {
        project_name: "Test product".to_owned(),
        id: ReportId::new(uuid::Uuid::from_u128(2)),
        report_type: "CWE Top 25".to_owned(),
        report_version: 2024,
        project_version: "1.0".parse().expect("it is a version"),
        date: "2025-12-17T09:05:48.5946432+00:00"
            .parse()
            .expect("it is a date"),
        upload_date: "2025-12-17T09:05:48.5946432+00:00".to_owned(),
        vulnerabilities_count: 0,
        security_rating: Rating::A,
    };
    let details = Details {
        project_key: project.unwrap_or(TEST_PROJECT).to_owned(),
        branch: None,
        quality_gate: Some(QualityGateStatus::Ok),
        properties: BTreeMap::new(),
        task_id: None,
        scm_revision: None,
    };
    let is = |of: ReportEvent| event == of.as_str();
    let entry = Entry {
        summary: &summary,
        event,
        revision: if is(ReportEvent::Updated) || is(ReportEvent::Deleted) {
            2
        } else {
            1
        },
        deleted_at: is(ReportEvent::Deleted).then_some("2025-12-18T10:00:00.0000000+00:00"),
        details: &details,
    };
    let body = serde_json::json!({"organizationId": org, "reports": [entry]});
    Sample {
        body,
        project: details.project_key,
    }
}

/// A sample body of a message about an analysis that does not exist, for the documentation.
pub fn analysis_sample(org: OrganizationId, event: AnalysisEvent) -> serde_json::Value {
    let (payload, _) = sonarqube::sample(event, None);
    let source = SourceId::new(uuid::Uuid::from_u128(3));
    serde_json::json!({
        "organizationId": org,
        "analyses": [{"event": event.as_str(), "source": source, "payload": payload}],
    })
}

/// A message about a report that does not exist ([`sample`]).
#[derive(Clone, Debug)]
pub struct Sample {
    /// The body.
    pub body: serde_json::Value,
    /// The key of its project.
    pub project: String,
}

/// The body of a message, with entries of one kind.
struct Body<'a> {
    org: OrganizationId,
    of: &'static str,
    entries: &'a [Box<RawValue>],
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(Some(2))?;
        body.serialize_entry("organizationId", &self.org)?;
        body.serialize_entry(self.of, self.entries)?;
        body.end()
    }
}

/// What a message says of a report: the fields of a list, in the same order and form, and then further ones.
#[derive(Clone, Debug, Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    event: &'static str,
    /// The revision of the summary; for a deleted report the next one.
    revision: u64,
    #[serde(rename = "deletedAt", skip_serializing_if = "Option::is_none")]
    deleted_at: Option<&'a str>,
    #[serde(flatten)]
    details: &'a Details,
}

impl<'a> Entry<'a> {
    fn of(change: &'a ReportChange) -> Self {
        Self {
            summary: &change.summary,
            event: change.event.as_str(),
            revision: change.revision,
            deleted_at: change.deleted_at.as_deref(),
            details: &change.details,
        }
    }
}

/// What a message says of an analysis: what the call says, character for character.
#[derive(Serialize)]
struct AnalysisEntry<'a> {
    event: &'static str,
    source: SourceId,
    payload: &'a RawValue,
}

impl<'a> AnalysisEntry<'a> {
    fn of(change: &'a AnalysisChange) -> anyhow::Result<Self> {
        Ok(Self {
            event: change.event.as_str(),
            source: change.arrival.source,
            payload: serde_json::from_str(&change.payload)?,
        })
    }
}
