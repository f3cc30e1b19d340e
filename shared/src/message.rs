//! Messages: what receivers of webhooks are told.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;

use crate::organization::OrganizationId;
use crate::queue::{ReportChange, ReportEvent};
use crate::report::{QualityGateStatus, Rating, Report, ReportId};
use crate::version::Version;
use crate::webhook::Settings;

/// How many reports one message tells of at the most. They are stored in one transaction with their message, and DynamoDB
/// takes 100 actions in one.
pub const MAX_REPORTS: usize = 50;
/// How large a body may become, in bytes, before a further report goes into another message. An item of DynamoDB has at
/// most 400 KB, and a report alone up to 128 KiB.
pub const MAX_BODY_BYTES: usize = 200_000;

/// What a body has around its reports.
const FRAME_BYTES: usize =
    r#"{"organizationId":"00000000-0000-0000-0000-000000000001","reports":[]}"#.len();

/// The event of a test call. No webhook filters it.
pub const TEST_EVENT: &str = "report.test";
/// The name of the project that a test call tells of.
const TEST_PROJECT: &str = "test";

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_EVENT: HeaderName = HeaderName::from_static("x-webhook-event");
const SONAR_SIGNATURE: HeaderName = HeaderName::from_static("x-sonar-webhook-hmac-sha256");
const SONAR_PROJECT: HeaderName = HeaderName::from_static("x-sonarqube-project");

const USER_AGENT: &str = concat!("SonarQube-Reports/", env!("CARGO_PKG_VERSION"));

/// The body of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    organization_id: OrganizationId,
    reports: &'a [Entry],
}

/// What a message says of a report: what a list says, in the same order and form, and then some more.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    project_name: String,
    id: ReportId,
    report_type: String,
    report_version: u32,
    project_version: Version,
    date: String,
    upload_date: String,
    vulnerabilities_count: u32,
    security_rating: Rating,
    event: &'static str,
    /// Which revision the event is of. The other fields are those of the latest revision when the message was made.
    revision: u64,
    project_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_gate: Option<QualityGateStatus>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scm_revision: Option<String>,
}

impl Entry {
    fn of(change: &ReportChange, report: &Report) -> Self {
        let metadata = report.metadata.clone();
        Self {
            project_name: metadata.project_name,
            id: report.id,
            report_type: metadata.report_type,
            report_version: metadata.report_version,
            project_version: metadata.project_version,
            date: metadata.date.into(),
            upload_date: report.upload_date.clone(),
            vulnerabilities_count: metadata.vulnerabilities_count,
            security_rating: metadata.security_rating,
            event: change.event.as_str(),
            revision: change.revision,
            project_key: metadata.project_key,
            branch: metadata.branch,
            quality_gate: metadata.quality_gate,
            properties: metadata.properties,
            task_id: metadata.task_id,
            scm_revision: metadata.scm_revision,
        }
    }

    fn sample(event: &'static str) -> Self {
        Self {
            project_name: "Test product".to_owned(),
            id: ReportId::new(uuid::Uuid::from_u128(2)),
            report_type: "CWE Top 25".to_owned(),
            report_version: 2024,
            project_version: "1.0".parse().expect("it is a version"),
            date: "2025-12-17T09:05:48.5946432+00:00".to_owned(),
            upload_date: "2025-12-17T09:05:48.5946432+00:00".to_owned(),
            vulnerabilities_count: 0,
            security_rating: Rating::A,
            event,
            revision: if event == ReportEvent::Updated.as_str() {
                2
            } else {
                1
            },
            project_key: TEST_PROJECT.to_owned(),
            branch: None,
            quality_gate: Some(QualityGateStatus::Ok),
            properties: BTreeMap::new(),
            task_id: None,
            scm_revision: None,
        }
    }
}

/// A message that has not been stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The body, byte for byte as it is signed and sent.
    pub body: String,
    /// What it tells of, in the order of the body.
    pub changes: Vec<ReportChange>,
    /// The key of the project, when all reports are of one.
    pub project: Option<String>,
}

impl Message {
    /// Messages that tell of these changes, in their order; as few as the limits allow.
    pub fn of(
        org: OrganizationId,
        changes: &[(ReportChange, &Report)],
    ) -> anyhow::Result<Vec<Self>> {
        let mut messages = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut size = FRAME_BYTES;
        let mut first = 0;
        for (position, (change, report)) in changes.iter().enumerate() {
            let entry = Entry::of(change, report);
            let length = serde_json::to_vec(&entry)?.len();
            // With the comma before it.
            let is_full = entries.len() == MAX_REPORTS || size + 1 + length > MAX_BODY_BYTES;
            if is_full && !entries.is_empty() {
                messages.push(Self::with(org, &entries, &changes[first..position])?);
                entries.clear();
                (size, first) = (FRAME_BYTES, position);
            }
            size += length + usize::from(!entries.is_empty());
            entries.push(entry);
        }
        if !entries.is_empty() {
            messages.push(Self::with(org, &entries, &changes[first..])?);
        }
        Ok(messages)
    }

    fn with(
        org: OrganizationId,
        entries: &[Entry],
        changes: &[(ReportChange, &Report)],
    ) -> anyhow::Result<Self> {
        let project = &entries[0].project_key;
        let is_common = entries.iter().all(|entry| entry.project_key == *project);
        Ok(Self {
            body: serde_json::to_string(&Body {
                organization_id: org,
                reports: entries,
            })?,
            changes: changes.iter().map(|(change, _)| *change).collect(),
            project: is_common.then(|| project.clone()),
        })
    }
}

/// The body of a message about a report that does not exist, for a test call and for the documentation.
pub fn sample(org: OrganizationId, event: &'static str) -> serde_json::Value {
    serde_json::json!(Body {
        organization_id: org,
        reports: &[Entry::sample(event)],
    })
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The `webhook-id`: the same in every attempt.
    pub id: String,
    /// The `X-Webhook-Event`.
    pub events: String,
    /// The `X-SonarQube-Project`.
    pub project: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Outgoing {
    /// A test call for a webhook with these settings.
    pub fn test(id: String, org: OrganizationId, settings: &Settings) -> Self {
        let project = settings.project.as_deref().unwrap_or(TEST_PROJECT);
        let mut body = sample(org, TEST_EVENT);
        body["reports"][0]["projectKey"] = project.into();
        Self {
            id,
            events: TEST_EVENT.to_owned(),
            project: Some(project.to_owned()),
            body: body.to_string().into(),
        }
    }

    /// The headers of an attempt at this time, signed with every secret that signs then.
    ///
    /// Ours win over the administrator's own, which are refused before they could be named like one of ours.
    pub fn headers(&self, settings: &Settings, now: OffsetDateTime) -> anyhow::Result<HeaderMap> {
        let seconds = now.unix_timestamp();
        let signatures: Vec<String> = settings
            .signing_secrets(now)
            .map(|secret| secret.sign(&self.id, seconds, &self.body))
            .collect();
        let mut headers = HeaderMap::new();
        for own in &settings.headers {
            let mut value = own.value.clone();
            value.set_sensitive(true);
            headers.insert(own.name.clone(), value);
        }
        headers.insert(WEBHOOK_ID, self.id.parse()?);
        headers.insert(WEBHOOK_TIMESTAMP, seconds.into());
        headers.insert(WEBHOOK_SIGNATURE, signatures.join(" ").parse()?);
        // This header has room for one signature only, so it is that of the current secret.
        headers.insert(
            SONAR_SIGNATURE,
            settings.secret.sign_body(&self.body).parse()?,
        );
        if let Some(project) = &self.project {
            headers.insert(SONAR_PROJECT, project.parse()?);
        }
        headers.insert(WEBHOOK_EVENT, self.events.parse()?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        Ok(headers)
    }
}

/// Whether a header is ours to set, or would change how the message is understood on its way.
pub fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [&str; 15] = [
        "accept-encoding",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    ];
    const RESERVED_PREFIXES: [&str; 7] = [
        "content-",
        "proxy-",
        "sec-",
        "webhook-",
        "x-forwarded-",
        "x-sonar",
        "x-webhook-",
    ];
    RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
}

/// The names of events as they stand in `X-Webhook-Event`: a list (RFC 9110, section 5.6.1), almost always of one.
pub fn event_names(events: &BTreeSet<ReportEvent>) -> String {
    let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
    names.join(", ")
}

/// Headers as they may be shown: what is a secret is masked.
pub fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = if value.is_sensitive() {
                "***".into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            (name.as_str().to_owned(), text.into_owned())
        })
        .collect()
}
