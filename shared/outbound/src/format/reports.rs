//! The format `reports`: messages that tell of up to fifty changes of reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::delivery::message::Message;
use domain::organization::OrganizationId;
use domain::report::change::{ReportChange, ReportEvent};
use domain::report::summary::{Details, Summary};
use domain::report::{QualityGateStatus, Rating, ReportId};
use serde::Serialize;

/// How many reports one message tells of at the most. They are stored in one transaction with their message, and DynamoDB
/// takes 100 actions in one.
pub const MAX_REPORTS: usize = 50;
/// How large a body may become, in bytes, before a further report goes into another message. An item of DynamoDB has at
/// most 400 KB, and a report alone up to 128 KiB.
pub const MAX_BODY_BYTES: usize = 200_000;

/// What a body has around its reports.
const FRAME_BYTES: usize =
    r#"{"organizationId":"00000000-0000-0000-0000-000000000001","reports":[]}"#.len();

/// The key of the project that a test call tells of, unless the webhook is for one project only.
const TEST_PROJECT: &str = "test";

/// Messages that tell of these changes, in their order; as few as the limits allow.
pub fn messages(
    org: OrganizationId,
    changes: &[Arc<ReportChange>],
) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut size = FRAME_BYTES;
    let mut first = 0;
    for (position, change) in changes.iter().enumerate() {
        let entry = Entry::of(change);
        let length = serde_json::to_vec(&entry)?.len();
        // With the comma before it.
        let is_full = entries.len() == MAX_REPORTS || size + 1 + length > MAX_BODY_BYTES;
        if is_full && !entries.is_empty() {
            messages.push(message(org, &entries, &changes[first..position])?);
            entries.clear();
            (size, first) = (FRAME_BYTES, position);
        }
        size += length + usize::from(!entries.is_empty());
        entries.push(entry);
    }
    if !entries.is_empty() {
        messages.push(message(org, &entries, &changes[first..])?);
    }
    Ok(messages)
}

/// The body of a message about a report that does not exist, for a test call and for the documentation.
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
    let body = serde_json::json!(Body {
        organization_id: org,
        reports: &[entry],
    });
    Sample {
        body,
        project: details.project_key,
    }
}

/// See [`sample`].
#[derive(Clone, Debug)]
pub struct Sample {
    /// The body.
    pub body: serde_json::Value,
    /// The key of the project that it tells of.
    pub project: String,
}

/// The body of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    organization_id: OrganizationId,
    reports: &'a [Entry<'a>],
}

/// What a message says of a report: what a list says, in the same order and form, and then some more.
#[derive(Clone, Debug, Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    event: &'static str,
    /// The revision that the summary is of; when the report was deleted, the one after it.
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

fn message(
    org: OrganizationId,
    entries: &[Entry<'_>],
    changes: &[Arc<ReportChange>],
) -> anyhow::Result<Message> {
    let project = &changes[0].details.project_key;
    let is_common = changes
        .iter()
        .all(|change| change.details.project_key == *project);
    Ok(Message {
        body: serde_json::to_string(&Body {
            organization_id: org,
            reports: entries,
        })?,
        changes: changes.to_vec(),
        events: changes.iter().map(|change| change.event).collect(),
        project: is_common.then(|| project.clone()),
    })
}
