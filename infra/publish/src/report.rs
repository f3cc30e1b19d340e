//! Findings as something to publish.

use anyhow::Context as _;
use domain::date::timestamp;
use findings::{Assessment, Condition, Mode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::client::File;

/// The report's files, `report.html` and `report.pdf`. They are the same whenever they are made.
///
/// # Errors
/// The PDF cannot be written.
pub fn files(assessment: &Assessment) -> anyhow::Result<Vec<File>> {
    let pdf = documents::pdf(assessment).context("write the PDF")?;
    let files = [
        ("report.html", documents::html(assessment).into_bytes()),
        ("report.pdf", pdf),
    ];
    let file = |(name, bytes): (&str, Vec<u8>)| File {
        name: name.to_owned(),
        bytes,
    };
    Ok(files.map(file).into())
}

/// What is said of a report that was read at `now`: what `POST /security/report` takes, without `files`.
///
/// # Errors
/// There are more than 4 billion issues.
pub fn metadata(assessment: &Assessment, now: OffsetDateTime) -> anyhow::Result<Value> {
    let subject = &assessment.subject;
    let count = u32::try_from(assessment.open.total()).context("there are too many issues")?;
    let mut metadata = json!({
        "projectKey": subject.project_key,
        "projectName": subject.project_name,
        "projectVersion": subject.version.as_str(),
        "reportType": assessment.standard.report_type,
        "reportVersion": assessment.standard.report_version,
        "date": subject.analysis.date.as_str(),
        "vulnerabilitiesCount": count,
        "securityRating": assessment.rating(),
        "branch": subject.branch,
        "branchType": "BRANCH",
        "branchIsMain": subject.is_main_branch,
        "serverUrl": subject.server.url,
        "projectUrl": subject.project_url,
    });
    if let Some(revision) = &subject.analysis.revision {
        metadata["revision"] = json!(revision);
    }
    if let Some(gate) = &subject.gate {
        let failed: Vec<Value> = gate.failed.iter().map(condition).collect();
        metadata["qualityGate"] = json!({"status": gate.status, "conditions": failed});
    }
    let mut properties = json!({
        "sonarqube.analysis": subject.analysis.key,
        "sonarqube.url": subject.server.url,
        "sonarqube.version": subject.server.version.as_deref().unwrap_or("Cloud"),
        "sonarqube.mode": match subject.mode {
            Mode::Standard => "standard",
            Mode::Mqr => "mqr",
        },
        "report.retrieved": timestamp(now),
        "report.hotspotsToReview": assessment.hotspots.to_review.to_string(),
        "report.accepted": assessment.accepted.to_string(),
        "report.falsePositives": assessment.false_positives.to_string(),
    });
    let optional = [
        ("sonarqube.projectVersion", &subject.unusable_version),
        ("sonar.analysis.buildNumber", &subject.analysis.build),
    ];
    for (name, value) in optional {
        if let Some(value) = value.as_ref().filter(|it| !it.is_empty()) {
            properties[name] = json!(value);
        }
    }
    metadata["properties"] = properties;
    Ok(metadata)
}

/// A condition that failed, as a call of `SonarQube` has it.
fn condition(condition: &Condition) -> Value {
    let operator = match condition.comparator.as_str() {
        "LT" => "LESS_THAN",
        _ => "GREATER_THAN",
    };
    let mut said = json!({"metric": condition.metric, "operator": operator, "status": "ERROR"});
    let optional = [
        ("value", &condition.actual),
        ("errorThreshold", &condition.threshold),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            said[name] = json!(value);
        }
    }
    said
}
