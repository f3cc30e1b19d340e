//! What each call answers.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use domain::date::GivenDate;
use findings::{Mode, Probability, Review, Severity};
use serde_json::{Value, json};

use super::project::{Analysis, Branch, FoundHotspot, FoundIssue, KnownRule, Project, Status};
use super::{Asked, Edition, error};

/// How many results a search shows in all.
const SHOWN: usize = 10_000;

type Answer = Result<Value, Refusal>;

/// An error that is answered.
struct Refusal(u16, String);

pub(super) fn answer(edition: Edition, project: &Project, asked: &Asked) -> Response {
    let answered = match asked.path.as_str() {
        "api/v2/clean-code-policy/mode" if edition.has_modes() => Ok(json!({
            "mode": if edition.is_mqr() { "MQR" } else { "STANDARD_EXPERIENCE" },
        })),
        "api/authentication/validate" => Ok(json!({"valid": true})),
        "api/navigation/global" if edition != Edition::Cloud => Ok(json!({
            "edition": "community", "version": edition.version(), "productionDatabase": true,
        })),
        "api/components/search" => components(project, asked),
        "api/project_branches/list" => branches(project, asked),
        "api/project_analyses/search" => analyses(project, asked),
        "api/measures/component" => measures(edition, project, asked),
        "api/qualitygates/project_status" => gate(project, asked),
        "api/issues/search" => issues(edition, project, asked),
        "api/hotspots/search" => hotspots(edition, project, asked),
        "api/hotspots/show" => hotspot(project, asked),
        "api/rules/show" => rule(edition, project, asked),
        "api/rules/search" => rules(edition, project, asked),
        path => Err(refuse(404, &format!("Unknown url : /{path}"))),
    };
    match answered {
        Ok(value) => Json(value).into_response(),
        Err(Refusal(status, message)) => error(status, &message),
    }
}

fn refuse(status: u16, message: &str) -> Refusal {
    Refusal(status, message.to_owned())
}

fn required<'a>(asked: &'a Asked, name: &str) -> Result<&'a str, Refusal> {
    let missing = || refuse(400, &format!("The '{name}' parameter is missing"));
    asked.parameter(name).ok_or_else(missing)
}

fn must_be(project: &Project, key: &str) -> Result<(), Refusal> {
    if key == project.key && project.is_visible {
        return Ok(());
    }
    Err(refuse(404, &format!("Component key '{key}' not found")))
}

fn branch<'a>(project: &'a Project, asked: &Asked) -> Result<&'a Branch, Refusal> {
    let Some(name) = asked.parameter("branch") else {
        return Ok(&project.branches[0]);
    };
    let found = project.branches.iter().find(|it| it.name == name);
    found.ok_or_else(|| {
        let key = &project.key;
        refuse(
            404,
            &format!("Component '{key}' on branch '{name}' not found"),
        )
    })
}

fn components(project: &Project, asked: &Asked) -> Answer {
    if required(asked, "qualifiers")? != "TRK" {
        return Err(refuse(400, "Value of parameter 'qualifiers' must be TRK"));
    }
    let total = usize::from(project.is_visible);
    let component = json!({"key": project.key, "name": project.name, "qualifier": "TRK"});
    Ok(json!({
        "paging": {"pageIndex": 1, "pageSize": 1, "total": total},
        "components": vec![component; total],
    }))
}

fn branches(project: &Project, asked: &Asked) -> Answer {
    must_be(project, required(asked, "project")?)?;
    let branches: Vec<Value> = project
        .branches
        .iter()
        .enumerate()
        .map(|(place, it)| json!({"name": it.name, "isMain": place == 0, "type": "BRANCH"}))
        .collect();
    Ok(json!({"branches": branches}))
}

fn analyses(project: &Project, asked: &Asked) -> Answer {
    must_be(project, required(asked, "project")?)?;
    let all = &branch(project, asked)?.analyses;
    let size: usize = asked
        .parameter("ps")
        .and_then(|it| it.parse().ok())
        .unwrap_or(100);
    let from: Option<GivenDate> = asked.parameter("from").and_then(|it| it.parse().ok());
    let is_since = |it: &&Analysis| {
        let date: Option<GivenDate> = it.date.parse().ok();
        let pair = date.as_ref().zip(from.as_ref());
        pair.is_none_or(|(date, from)| date.instant() >= from.instant())
    };
    let shown: Vec<Value> = all
        .iter()
        .filter(is_since)
        .take(size)
        .map(|it| {
            let mut analysis = json!({
                "key": it.key, "date": it.date, "projectVersion": it.version,
                "manualNewCodePeriodBaseline": false, "events": [],
            });
            if let Some(revision) = &it.revision {
                analysis["revision"] = json!(revision);
            }
            if let Some(build) = &it.build {
                analysis["buildString"] = json!(build);
            }
            analysis
        })
        .collect();
    let paging = json!({"pageIndex": 1, "pageSize": size, "total": all.len()});
    Ok(json!({"paging": paging, "analyses": shown}))
}

fn measures(edition: Edition, project: &Project, asked: &Asked) -> Answer {
    must_be(project, required(asked, "component")?)?;
    let branch = branch(project, asked)?;
    let open = || {
        branch
            .issues
            .iter()
            .filter(|it| matches!(it.status, Status::Open | Status::Confirmed))
    };
    let severity = |it: &FoundIssue| {
        if edition.is_mqr() {
            it.impact
        } else {
            it.severity
        }
    };
    let worst = open().filter_map(severity).min();
    let rating = worst.map_or(1, |it| 5 - it as u8);
    let to_review = branch
        .hotspots
        .iter()
        .filter(|it| it.review == Review::ToReview)
        .count();
    let all = branch.hotspots.len();
    let mut values = vec![
        (
            "vulnerabilities",
            open()
                .filter(|it| it.severity.is_some())
                .count()
                .to_string(),
        ),
        ("security_rating", format!("{rating}.0")),
        ("security_hotspots", to_review.to_string()),
        (
            "security_review_rating",
            if to_review == 0 { "1.0" } else { "5.0" }.to_owned(),
        ),
        ("ncloc", "48210".to_owned()),
        (
            "quality_profiles",
            json!([{"key": "java", "language": "java", "name": "Sonar way"}]).to_string(),
        ),
    ];
    if all > 0 {
        let percent = (all - to_review) as f64 * 100.0 / all as f64;
        values.push(("security_hotspots_reviewed", format!("{percent:.1}")));
    } else {
        values.push(("security_hotspots_reviewed", String::new()));
    }
    if edition.has_modes() || edition == Edition::Cloud {
        values.push(("software_quality_security_rating", format!("{rating}.0")));
        values.push((
            "software_quality_security_issues",
            open().filter(|it| it.impact.is_some()).count().to_string(),
        ));
    }
    let keys: Vec<&str> = required(asked, "metricKeys")?.split(',').collect();
    let unknown = |key: &&&str| !values.iter().any(|(name, _)| *name == **key);
    let missing: Vec<&str> = keys.iter().filter(unknown).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(refuse(
            404,
            &format!("The following metric keys are not found: {missing}"),
        ));
    }
    let shown: Vec<Value> = values
        .iter()
        .filter(|(name, value)| keys.contains(name) && !value.is_empty())
        .map(|(name, value)| json!({"metric": name, "value": value}))
        .collect();
    Ok(json!({"component": {
        "key": project.key, "name": project.name, "qualifier": "TRK", "measures": shown,
    }}))
}

fn gate(project: &Project, asked: &Asked) -> Answer {
    let id = required(asked, "analysisId")?;
    let of = |branch: &&Branch| branch.analyses.iter().any(|it| it.key == id);
    let Some(branch) = project.branches.iter().find(of) else {
        return Err(refuse(
            404,
            &format!("Analysis with id '{id}' is not found"),
        ));
    };
    let conditions = match branch.gate {
        Some("ERROR") => json!([
            {"status": "ERROR", "metricKey": "new_security_rating", "comparator": "GT", "errorThreshold": "1", "actualValue": "4"},
            {"status": "OK", "metricKey": "new_coverage", "comparator": "LT", "errorThreshold": "80", "actualValue": "85.3"},
        ]),
        _ => json!([]),
    };
    Ok(
        json!({"projectStatus": {"status": branch.gate.unwrap_or("NONE"), "conditions": conditions}}),
    )
}

/// Whether a rule is in one of the categories that the request selects; in any if it selects none.
fn is_selected(rule: Option<&KnownRule>, asked: &Asked) -> bool {
    let in_any = |name: &str, of: fn(&KnownRule) -> &Vec<String>| match asked.values(name) {
        None => true,
        Some(values) => {
            rule.is_some_and(|it| of(it).iter().any(|has| values.contains(&has.as_str())))
        }
    };
    in_any("cwe", |rule| &rule.cwe) && in_any("owaspTop10-2021", |rule| &rule.owasp)
}

/// A value that a parameter may have, or the server's refusal.
fn one_of(asked: &Asked, name: &str, allowed: &[&str]) -> Result<(), Refusal> {
    for value in asked.values(name).unwrap_or_default() {
        if !allowed.contains(&value) {
            let allowed = allowed.join(", ");
            let message =
                format!("Value of parameter '{name}' ({value}) must be one of: [{allowed}]");
            return Err(refuse(400, &message));
        }
    }
    Ok(())
}

fn page<'a, T>(asked: &Asked, most: usize, found: &'a [T]) -> Result<(Value, &'a [T]), Refusal> {
    let number = |name: &str, default: usize| {
        asked.parameter(name).map_or(Ok(default), |it| {
            it.parse::<usize>()
                .map_err(|_| refuse(400, &format!("'{name}' value ({it}) is invalid")))
        })
    };
    let (page, size) = (number("p", 1)?, number("ps", 100)?);
    if size > most {
        return Err(refuse(
            400,
            &format!("'ps' value ({size}) must be less than {most}"),
        ));
    }
    if page * size > SHOWN {
        let result = page * size;
        let message =
            format!("Can return only the first {SHOWN} results. {result}th result asked.");
        return Err(refuse(400, &message));
    }
    let begin = ((page - 1) * size).min(found.len());
    let end = (begin + size).min(found.len());
    let paging = json!({"pageIndex": page, "pageSize": size, "total": found.len()});
    Ok((paging, &found[begin..end]))
}

fn issues(edition: Edition, project: &Project, asked: &Asked) -> Answer {
    let names: &[&str] = match edition {
        Edition::V9_9 | Edition::Cloud => &["componentKeys"],
        _ => &["components", "componentKeys"],
    };
    let Some(key) = names.iter().find_map(|name| asked.parameter(name)) else {
        // Without a project it would show those of all.
        return Err(refuse(
            400,
            "At least one component should be given by 'components'",
        ));
    };
    must_be(project, key)?;
    let branch = branch(project, asked)?;
    one_of(
        asked,
        "types",
        &["CODE_SMELL", "BUG", "VULNERABILITY", "SECURITY_HOTSPOT"],
    )?;
    one_of(
        asked,
        "severities",
        &["INFO", "MINOR", "MAJOR", "CRITICAL", "BLOCKER"],
    )?;
    if edition.has_impacts() {
        let severities: &[&str] = match edition {
            Edition::V10_4 => &["LOW", "MEDIUM", "HIGH"],
            _ => &["INFO", "LOW", "MEDIUM", "HIGH", "BLOCKER"],
        };
        one_of(asked, "impactSeverities", severities)?;
        one_of(
            asked,
            "impactSoftwareQualities",
            &["MAINTAINABILITY", "RELIABILITY", "SECURITY"],
        )?;
        let mut statuses = vec!["OPEN", "CONFIRMED", "FALSE_POSITIVE", "ACCEPTED", "FIXED"];
        if edition.has_sandbox() {
            statuses.push("IN_SANDBOX");
        }
        one_of(asked, "issueStatuses", &statuses)?;
    }
    let has = |name: &str, value: Option<&str>| match asked.values(name) {
        None => true,
        Some(values) => value.is_some_and(|it| values.contains(&it)),
    };
    let mut found: Vec<&FoundIssue> = branch
        .issues
        .iter()
        .filter(|issue| {
            let resolution = issue.status.resolution();
            has(
                "severities",
                issue.severity.map(|it| it.key(Mode::Standard)),
            ) && (!edition.has_impacts()
                || has("impactSeverities", issue.impact.map(|it| it.key(Mode::Mqr))))
                && (!edition.has_impacts() || has("issueStatuses", Some(issue.status.key())))
                && has("resolutions", resolution)
                && (asked.parameter("resolved") != Some("false") || resolution.is_none())
                && has(
                    "types",
                    Some(if issue.severity.is_some() {
                        "VULNERABILITY"
                    } else {
                        "CODE_SMELL"
                    }),
                )
                && (!edition.has_impacts()
                    || has(
                        "impactSoftwareQualities",
                        Some(if issue.impact.is_some() {
                            "SECURITY"
                        } else {
                            "RELIABILITY"
                        }),
                    ))
                && is_selected(project.rule(&issue.rule), asked)
        })
        .collect();
    found.sort_by_key(|it| (&it.path, it.line, &it.key));
    let with_comments = asked.parameter("additionalFields").is_some();
    let (paging, shown) = page(asked, 500, &found)?;
    let shown: Vec<Value> = shown
        .iter()
        .map(|issue| issue_json(edition, project, issue, with_comments))
        .collect();
    Ok(json!({"paging": paging, "issues": shown, "components": [], "facets": []}))
}

fn issue_json(
    edition: Edition,
    project: &Project,
    issue: &FoundIssue,
    with_comments: bool,
) -> Value {
    let mut json = json!({
        "key": issue.key, "rule": issue.rule, "project": project.key, "line": issue.line,
        "component": format!("{}:{}", project.key, issue.path), "message": issue.message,
        "severity": issue.severity.unwrap_or(Severity::Low).key(Mode::Standard),
        "type": if issue.severity.is_some() { "VULNERABILITY" } else { "CODE_SMELL" },
        "creationDate": issue.created, "updateDate": issue.created,
    });
    if let Some(resolution) = issue.status.resolution() {
        json["resolution"] = json!(resolution);
    }
    if edition.has_impacts() {
        json["issueStatus"] = json!(issue.status.key());
        let mut impacts = vec![json!({"softwareQuality": "MAINTAINABILITY", "severity": "LOW"})];
        if let Some(impact) = issue.impact {
            let severity = match (edition, impact) {
                (Edition::V10_4, Severity::Blocker) => Severity::High,
                (Edition::V10_4, Severity::Info) => Severity::Low,
                (_, severity) => severity,
            };
            let key = severity.key(Mode::Mqr);
            impacts.push(json!({"softwareQuality": "SECURITY", "severity": key}));
        }
        json["impacts"] = json!(impacts);
    }
    if let Some(comment) = issue.comment.as_ref().filter(|_| with_comments) {
        json["comments"] = json!([{"key": "c", "markdown": comment, "createdAt": issue.created}]);
    }
    json
}

fn hotspots(edition: Edition, project: &Project, asked: &Asked) -> Answer {
    let (names, name): (&[&str], _) = match edition {
        Edition::V9_9 | Edition::Cloud => (&["projectKey"], "projectKey"),
        _ => (&["project", "projectKey"], "project"),
    };
    let Some(key) = names.iter().find_map(|name| asked.parameter(name)) else {
        let message = format!(
            "A value must be provided for either parameter '{name}' or parameter 'hotspots'"
        );
        return Err(refuse(400, &message));
    };
    must_be(project, key)?;
    one_of(asked, "status", &["TO_REVIEW", "REVIEWED"])?;
    one_of(asked, "resolution", &["FIXED", "SAFE", "ACKNOWLEDGED"])?;
    let branch = branch(project, asked)?;
    let has =
        |name: &str, value: Option<&str>| asked.parameter(name).is_none_or(|it| value == Some(it));
    let found: Vec<&FoundHotspot> = branch
        .hotspots
        .iter()
        .filter(|hotspot| {
            let (status, resolution) = reviewed(hotspot.review);
            has("status", Some(status))
                && has("resolution", resolution)
                && is_selected(project.rule(&hotspot.rule), asked)
        })
        .collect();
    let (paging, shown) = page(asked, 500, &found)?;
    let shown: Vec<Value> = shown.iter().map(|it| hotspot_json(project, it)).collect();
    Ok(json!({"paging": paging, "hotspots": shown, "components": []}))
}

const fn reviewed(review: Review) -> (&'static str, Option<&'static str>) {
    match review {
        Review::ToReview => ("TO_REVIEW", None),
        Review::Acknowledged => ("REVIEWED", Some("ACKNOWLEDGED")),
        Review::Fixed => ("REVIEWED", Some("FIXED")),
        Review::Safe => ("REVIEWED", Some("SAFE")),
    }
}

fn hotspot_json(project: &Project, hotspot: &FoundHotspot) -> Value {
    let (status, resolution) = reviewed(hotspot.review);
    let mut json = json!({
        "key": hotspot.key, "component": format!("{}:{}", project.key, hotspot.path), "project": project.key,
        "securityCategory": "others", "status": status, "line": hotspot.line, "message": hotspot.message,
        "vulnerabilityProbability": match hotspot.probability {
            Probability::High => "HIGH",
            Probability::Medium => "MEDIUM",
            Probability::Low => "LOW",
        },
        "creationDate": hotspot.created, "updateDate": hotspot.created, "ruleKey": hotspot.rule,
    });
    if let Some(resolution) = resolution {
        json["resolution"] = json!(resolution);
    }
    json
}

fn hotspot(project: &Project, asked: &Asked) -> Answer {
    let key = required(asked, "hotspot")?;
    let mut all = project.branches.iter().flat_map(|it| &it.hotspots);
    let Some(hotspot) = all.find(|it| it.key == key) else {
        return Err(refuse(404, &format!("Hotspot '{key}' does not exist")));
    };
    let mut json = hotspot_json(project, hotspot);
    json["comment"] = match &hotspot.comment {
        None => json!([]),
        Some(comment) => json!([{"key": "c", "markdown": comment, "createdAt": hotspot.created}]),
    };
    Ok(json)
}

fn organization(edition: Edition, asked: &Asked) -> Result<(), Refusal> {
    if edition == Edition::Cloud {
        required(asked, "organization")?;
    }
    Ok(())
}

fn rule(edition: Edition, project: &Project, asked: &Asked) -> Answer {
    organization(edition, asked)?;
    let key = required(asked, "key")?;
    let Some(rule) = project.rule(key) else {
        return Err(refuse(404, &format!("Rule with key '{key}' not found")));
    };
    let mut json = json!({"key": rule.key, "name": rule.name});
    json["descriptionSections"] = json!([{"key": "root_cause", "content": rule.html}]);
    if edition == Edition::V9_9 {
        json["htmlDesc"] = json!(rule.html);
    }
    Ok(json!({"rule": json}))
}

fn rules(edition: Edition, project: &Project, asked: &Asked) -> Answer {
    organization(edition, asked)?;
    let profile = asked.parameter("qprofile");
    let is_found = |rule: &&KnownRule| {
        let kind = match rule {
            KnownRule {
                finds_hotspots: true,
                ..
            } => "SECURITY_HOTSPOT",
            KnownRule { is_smell: true, .. } => "CODE_SMELL",
            _ => "VULNERABILITY",
        };
        let in_profile = profile.is_none_or(|it| it == rule.language && rule.is_active);
        // Hotspots have no impacts.
        let has_impact = !edition.has_impacts()
            || asked
                .parameter("impactSoftwareQualities")
                .is_none_or(|_| !rule.finds_hotspots);
        in_profile
            && has_impact
            && asked
                .values("types")
                .is_none_or(|types| types.contains(&kind))
            && is_selected(Some(rule), asked)
    };
    let found: Vec<&KnownRule> = project.rules.iter().filter(is_found).collect();
    let (paging, shown) = page(asked, 500, &found)?;
    let shown: Vec<Value> = shown
        .iter()
        .map(|it| json!({"key": it.key, "lang": "java"}))
        .collect();
    let mut json = json!({"total": found.len(), "rules": shown});
    if edition != Edition::V9_9 {
        json["paging"] = paging;
    }
    Ok(json)
}
