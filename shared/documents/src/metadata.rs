//! The metadata of a report that is made of findings.

use std::collections::BTreeMap;

use domain::date::timestamp;
use domain::report::limits::{MAX_CONDITIONS, MAX_PROPERTY_VALUE, cut};
use domain::report::{Gate, GateCondition, Metadata, Origin};
use findings::{Assessment, Condition, Mode};
use time::OffsetDateTime;

/// There are more issues than anybody can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl std::fmt::Display for TooMany {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("there are more than 4 billion issues")
    }
}

impl std::error::Error for TooMany {}

/// The metadata of a report of these findings, which were read at `now`.
///
/// # Errors
/// There are too many issues.
pub fn metadata(assessment: &Assessment, now: OffsetDateTime) -> Result<Metadata, TooMany> {
    let subject = &assessment.subject;
    let gate = subject.gate.as_ref();
    Ok(Metadata {
        project_key: subject.project_key.clone(),
        project_name: subject.project_name.clone(),
        project_version: subject.version.clone(),
        report_type: assessment.standard.report_type.clone(),
        report_version: assessment.standard.report_version,
        date: subject.analysis.date.clone(),
        vulnerabilities_count: u32::try_from(assessment.open.total()).map_err(|_| TooMany)?,
        security_rating: assessment.rating(),
        quality_gate: gate.map(|it| it.status),
        properties: properties(assessment, now),
        task_id: None,
        scm_revision: subject.analysis.revision.clone(),
        branch: Some(subject.branch.clone()),
        origin: Some(Box::new(Origin {
            server_url: Some(subject.server.url.clone()),
            project_url: Some(subject.project_url.clone()),
            analysed_at: None,
            branch_type: Some("BRANCH".to_owned()),
            is_main: Some(subject.is_main_branch),
            gate: gate.map(|it| Gate {
                name: None,
                conditions: it
                    .failed
                    .iter()
                    .take(MAX_CONDITIONS)
                    .map(condition)
                    .collect(),
            }),
            is_imported: false,
        })),
    })
}

fn properties(assessment: &Assessment, now: OffsetDateTime) -> BTreeMap<String, String> {
    let subject = &assessment.subject;
    let version = subject.server.version.as_deref().unwrap_or("Cloud");
    let mode = match subject.mode {
        Mode::Standard => "standard",
        Mode::Mqr => "mqr",
    };
    let always = [
        ("sonarqube.analysis", subject.analysis.key.clone()),
        ("sonarqube.url", subject.server.url.clone()),
        ("sonarqube.version", version.to_owned()),
        ("sonarqube.mode", mode.to_owned()),
        ("report.retrieved", timestamp(now)),
        (
            "report.hotspotsToReview",
            assessment.hotspots.to_review.to_string(),
        ),
        ("report.accepted", assessment.accepted.to_string()),
        (
            "report.falsePositives",
            assessment.false_positives.to_string(),
        ),
    ];
    let optional = [
        ("sonarqube.projectVersion", &subject.unusable_version),
        ("sonar.analysis.buildNumber", &subject.analysis.build),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| {
        let value = value.clone().filter(|it| !it.is_empty())?;
        Some((name, value))
    });
    let all = always.into_iter().chain(optional);
    all.map(|(name, value)| (name.to_owned(), cut(&value, MAX_PROPERTY_VALUE)))
        .collect()
}

/// A failed condition, as a call of `SonarQube` has it.
fn condition(condition: &Condition) -> GateCondition {
    let operator = match condition.comparator.as_str() {
        "LT" => "LESS_THAN",
        _ => "GREATER_THAN",
    };
    let condition = GateCondition {
        metric: condition.metric.clone(),
        operator: operator.to_owned(),
        value: condition.actual.clone(),
        status: "ERROR".to_owned(),
        error_threshold: condition.threshold.clone(),
    };
    condition.cut()
}
