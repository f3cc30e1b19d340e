//! The content of a report, for every kind of file.

use domain::report::QualityGateStatus;
use findings::{
    Assessment, Category, Condition, Counts, Finding, Hotspot, Mode, Probability, Resolution,
    Review, Severity, StandardCategory, Vulnerability,
};

/// The report's title.
pub(crate) fn title(assessment: &Assessment) -> String {
    let subject = &assessment.subject;
    let version = subject.version.as_str();
    format!(
        "{} {version}: {}",
        subject.project_name,
        assessment.standard.name()
    )
}

/// A number and what it counts.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

pub(crate) fn headline(assessment: &Assessment) -> String {
    match assessment.open.total() {
        0 => "No open vulnerabilities".to_owned(),
        count => counted(count, "open vulnerability", "open vulnerabilities"),
    }
}

/// The reason for the rating.
pub(crate) fn verdict(assessment: &Assessment) -> String {
    let Some(worst) = assessment.open.worst() else {
        let [accepted, wrong, hotspots] = [
            (assessment.accepted, "accepted issue", "accepted issues"),
            (
                assessment.false_positives,
                "false positive",
                "false positives",
            ),
            (
                assessment.hotspots.to_review,
                "hotspot to review",
                "hotspots to review",
            ),
        ]
        .map(|(count, one, many)| (count > 0).then(|| counted(count, one, many)));
        let others: Vec<String> = [accepted, wrong, hotspots].into_iter().flatten().collect();
        return match others.as_slice() {
            [] => "Nothing was found in these categories.".to_owned(),
            others => format!("Not counted: {}.", others.join(", ")),
        };
    };
    let worst = worst.name(assessment.subject.mode).to_lowercase();
    format!("The worst of them is of severity {worst}.")
}

/// Severities with their counts, the worst first.
pub(crate) fn severities(assessment: &Assessment) -> Vec<(Severity, &'static str, u64)> {
    let count = |severity: Severity| {
        let name = severity.name(assessment.subject.mode);
        (severity, name, assessment.open.of(severity))
    };
    Severity::ALL.into_iter().map(count).collect()
}

/// The facts above the figures, in the order in which they are shown. Unknown ones are left out.
pub(crate) fn facts(assessment: &Assessment) -> Vec<(&'static str, String)> {
    let subject = &assessment.subject;
    let server = match &subject.server.version {
        Some(version) => format!("{}, SonarQube {version}", subject.server.url),
        None => format!("{}, SonarQube Cloud", subject.server.url),
    };
    let mode = match subject.mode {
        Mode::Standard => "Standard Experience",
        Mode::Mqr => "Multi-Quality Rule (MQR)",
    };
    let hotspots = assessment.hotspots;
    let facts = [
        ("Project", Some(subject.project_key.clone())),
        ("Version", Some(subject.version.as_str().to_owned())),
        ("Branch", Some(subject.branch.clone())),
        ("Analysed", Some(subject.analysis.date.as_str().to_owned())),
        ("Commit", subject.analysis.revision.clone()),
        ("Build", subject.analysis.build.clone()),
        (
            "Quality gate",
            subject.gate.as_ref().map(|it| gate(it.status).to_owned()),
        ),
        (
            "Lines of code",
            subject.measures.lines.map(|it| it.to_string()),
        ),
        (
            "Security hotspots",
            Some(format!(
                "{} to review, {} acknowledged, {} fixed, {} safe",
                hotspots.to_review, hotspots.acknowledged, hotspots.fixed, hotspots.safe
            )),
        ),
        ("Review rating", Some(hotspots.rating().as_str().to_owned())),
        ("Accepted", Some(assessment.accepted.to_string())),
        (
            "False positives",
            Some(assessment.false_positives.to_string()),
        ),
        ("Server", Some(server)),
        ("Mode", Some(mode.to_owned())),
        ("Analysis", Some(subject.analysis.key.clone())),
    ];
    facts
        .into_iter()
        .filter_map(|(label, fact)| Some((label, fact?)))
        .collect()
}

const fn gate(status: QualityGateStatus) -> &'static str {
    match status {
        QualityGateStatus::Ok => "Passed",
        QualityGateStatus::Warn => "Passed with a warning",
        QualityGateStatus::Error => "Failed",
        QualityGateStatus::None => "None",
    }
}

/// The conditions of the quality gate that failed.
pub(crate) fn failed_conditions(assessment: &Assessment) -> Vec<String> {
    let failed = assessment.subject.gate.iter().flat_map(|gate| &gate.failed);
    let said = |condition: &Condition| {
        let Condition {
            metric,
            comparator,
            threshold,
            actual,
        } = condition;
        let actual = actual.as_deref().unwrap_or("unknown");
        let threshold = threshold.as_deref().unwrap_or("unknown");
        let relation = if comparator == "LT" {
            "less"
        } else {
            "greater"
        };
        format!("{metric} is {actual}, and fails when it is {relation} than {threshold}")
    };
    failed.map(said).collect()
}

/// What a reader has to know to trust the figures: what they count, and what they leave out.
pub(crate) fn method(assessment: &Assessment) -> Vec<String> {
    let subject = &assessment.subject;
    let standard = assessment.standard;
    let counts = match subject.mode {
        Mode::Standard => "issues of type vulnerability",
        Mode::Mqr => "issues with an impact on security",
    };
    let mut method = vec![
        format!(
            "The categories are those of {}, {}. Which rule belongs to which category is said by SonarQube's rules themselves.",
            standard.title, standard.url
        ),
        format!(
            "What is counted are open {counts}. Issues that were accepted, are false positives or are fixed do not count, and security \
             hotspots never do: they are code to look at, not findings."
        ),
        "The rating is that of the worst open issue: E for a blocker, D, C and B for the three severities below, A if there are \
         none but for information. How many there are does not matter. The review rating of hotspots is that of SonarSource's own security reports: of \
         those that are fixed or to be reviewed, 80, 70, 50 and 30 percent have to be fixed for A to D."
            .to_owned(),
        format!(
            "An issue may be in several categories. It counts in each of them, and once in all: the categories together count {}, of \
             {}.",
            counted(assessment.occurrences(), "occurrence", "occurrences"),
            counted(assessment.open.total(), "open issue", "open issues"),
        ),
        "Issues are shown as they are on the server, where they may have been accepted or closed since the analysis.".to_owned(),
    ];
    if let Some(open) = subject.measures.open {
        let here = assessment.open.total();
        method.push(if open >= here {
            format!("The project's own measure, with issues outside of these categories, is {open}.")
        } else {
            format!(
                "The project's own measure is {open}, less than the {here} that are open in these categories: the server counts them at \
                 another time."
            )
        });
    }
    if let Some(version) = &subject.unusable_version {
        let called = if version.is_empty() {
            "has no version".to_owned()
        } else {
            format!("calls its version '{version}'")
        };
        method.push(format!(
            "The analysis {called}, which cannot be compared with others; this report calls it {}.",
            subject.version.as_str()
        ));
    }
    if let Some(sandboxed @ 1..) = assessment.sandboxed {
        method.push(format!(
            "{} SonarQube's sandbox, where what new rules find waits for somebody to look at it: not counted, and not listed.",
            counted(sandboxed, "issue is in", "issues are in")
        ));
    }
    method.extend(unchecked(assessment));
    method.extend(left_out(assessment));
    method
}

/// A note beside the rating, where the rating says less than it seems to.
pub(crate) fn caution(assessment: &Assessment) -> Option<String> {
    let all = assessment.categories.len();
    let unchecked = |category: &&Category| category.active_rules == Some(0);
    match assessment.categories.iter().filter(unchecked).count() {
        0 => None,
        count => Some(format!(
            "No rule looks for {count} of the {all} categories."
        )),
    }
}

/// Categories that no rule looks for. An A there would be misleading.
fn unchecked(assessment: &Assessment) -> Option<String> {
    if assessment
        .categories
        .iter()
        .any(|it| it.active_rules.is_none())
    {
        let unknown = "How many rules look for each category is not known: the server did not say. A category without findings may be \
                       one that nothing looks for.";
        return Some(unknown.to_owned());
    }
    let unchecked: Vec<&str> = assessment
        .by_category()
        .filter(|(_, category)| category.active_rules == Some(0))
        .map(|(standard, _)| standard.id.as_str())
        .collect();
    (!unchecked.is_empty()).then(|| {
        format!(
            "No rule of the project's quality profiles looks for {}: that nothing was found there says nothing.",
            unchecked.join(", ")
        )
    })
}

/// What is counted but not listed.
fn left_out(assessment: &Assessment) -> Option<String> {
    let sum = |of: fn(&Category) -> u64| assessment.categories.iter().map(of).sum::<u64>();
    let left: Vec<String> = [
        (
            sum(|it| {
                it.open
                    .total()
                    .saturating_sub(it.vulnerabilities.len() as u64)
            }),
            "open issue",
            "open issues",
        ),
        (
            sum(|it| {
                it.hotspots
                    .total()
                    .saturating_sub(it.listed_hotspots.len() as u64)
            }),
            "hotspot",
            "hotspots",
        ),
        (
            sum(|it| {
                let dismissed = it.accepted + it.false_positives;
                dismissed.saturating_sub(it.dismissed.len() as u64)
            }),
            "issue that does not count",
            "issues that do not count",
        ),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| counted(count, one, many))
    .collect();
    (!left.is_empty()).then(|| {
        format!(
            "Of each category the worst are listed, and then the worst of all; of hotspots, what is to be reviewed first. Not listed, \
             but counted: {}.",
            left.join(", ")
        )
    })
}

/// How many rules look for a category.
pub(crate) fn rules(category: &Category) -> String {
    category
        .active_rules
        .map_or("?".to_owned(), |it| it.to_string())
}

/// The rating of a category, or the text in its place.
pub(crate) fn category_rating(category: &Category) -> &'static str {
    category.rating().map_or("–", |it| it.as_str())
}

/// The name of a category.
pub(crate) fn category_name(category: &StandardCategory) -> String {
    format!("{}: {}", category.id, category.name)
}

/// The columns of counts.
pub(crate) fn numbers(counts: &Counts) -> Vec<u64> {
    let severities = Severity::ALL
        .into_iter()
        .map(|severity| counts.of(severity));
    severities.chain([counts.total()]).collect()
}

/// The place of a finding.
pub(crate) fn place(finding: &Finding) -> String {
    match finding.line {
        None => finding.path.clone(),
        Some(line) => format!("{}:{line}", finding.path),
    }
}

pub(crate) fn why_not(issue: &Vulnerability) -> &'static str {
    match issue.resolution {
        Some(Resolution::FalsePositive) => "False positive",
        Some(Resolution::Accepted) | None => "Accepted",
    }
}

pub(crate) const fn review(hotspot: &Hotspot) -> &'static str {
    match hotspot.review {
        Review::ToReview => "To review",
        Review::Acknowledged => "Acknowledged",
        Review::Fixed => "Fixed",
        Review::Safe => "Safe",
    }
}

pub(crate) const fn probability(hotspot: &Hotspot) -> &'static str {
    match hotspot.probability {
        Probability::High => "high",
        Probability::Medium => "medium",
        Probability::Low => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_does_not_count_or_is_not_listed_is_said() {
        let text = method(&samples::small()).join("\n");
        for said in [
            "2 issues are in SonarQube's sandbox",
            "Not listed, but counted: 1 open issue.",
            "calls its version 'not provided'",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let text = method(&samples::empty()).join("\n");
        for said in ["sandbox", "Not listed", "calls its version"] {
            assert!(!text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn a_measure_that_is_less_than_what_was_found_is_explained() {
        let mut assessment = samples::small();
        let subject = std::sync::Arc::make_mut(&mut assessment.subject);
        subject.measures.open = Some(1);
        let text = method(&assessment).join("\n");
        assert!(text.contains("own measure is 1, less than the 3"), "{text}");
    }
}
