//! The reports that the demo publishes. Everything in them, the organization, its products and their weaknesses, is invented; but
//! they are made as any other report is, of what a server of `SonarQube` has found, which a stand-in plays.

mod organization;
mod product;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use findings::{Assessment, Printed, Standard};
use publish::client::File;
use publish::report::{files, metadata};
use serde_json::{Value, json};
use sonarqube::{Client, Connection, Patience, Request, Token, VersionFallback, pull};
use time::OffsetDateTime;
use uuid::Uuid;

use self::organization::PRODUCTS;
pub use self::server::serve;

use self::product::{Analysis, Product, Weakness};
use crate::sonarqube::{
    Analysis as Analysed, Branch, Edition, FoundHotspot, FoundIssue, KnownRule, Project, StandIn,
    Status,
};

/// One report to publish.
#[derive(Debug)]
pub struct DemoReport {
    /// What `POST /security/report` takes, without `files`.
    pub metadata: Value,
    assessment: Assessment,
}

impl DemoReport {
    fn of(assessment: Assessment, now: OffsetDateTime) -> anyhow::Result<Self> {
        Ok(Self {
            metadata: metadata(&assessment, now)?,
            assessment,
        })
    }

    /// `report.html` and `report.pdf`; the same bytes on every call.
    ///
    /// # Errors
    /// The PDF cannot be written.
    pub fn files(&self) -> anyhow::Result<Vec<File>> {
        files(&self.assessment)
    }
}

/// The demo organization's reports, oldest first; the same on every call.
///
/// # Errors
/// The stand-in cannot be started.
pub async fn reports() -> anyhow::Result<Vec<DemoReport>> {
    let mut reports = Vec::new();
    for product in PRODUCTS {
        for (nth, analysis) in product.analyses.iter().enumerate() {
            let analysed = analysed(product, nth, analysis).await;
            reports.extend(analysed.with_context(|| format!("analyse {}", product.name))?);
        }
    }
    // All dates are in UTC, so their texts sort as the times do.
    reports.sort_by_key(|report: &DemoReport| report.metadata["date"].to_string());
    Ok(reports)
}

async fn analysed(
    product: &Product,
    nth: usize,
    analysis: &Analysis,
) -> anyhow::Result<Vec<DemoReport>> {
    let token = Uuid::new_v4().simple().to_string();
    let edition = match product.is_mqr {
        true => Edition::V2026_3 { mqr: true },
        false => Edition::V2025_1 { mqr: false },
    };
    let server = StandIn::start(edition, &token, project(product, nth, analysis)).await?;
    let client = Client::new(Connection {
        url: server.url.clone(),
        token: Token::new(&token)?,
        organization: None,
        through_proxy: false,
        patience: Patience::default(),
    })?;
    let standards = analysis.standards.iter().map(|id| id.parse());
    let request = Request {
        project: product.key.to_owned(),
        branch: analysis.branch.map(str::to_owned),
        standards: standards.collect::<Result<_, _>>()?,
        fallback: VersionFallback::Refuse,
        properties: BTreeMap::new(),
        analysis: None,
        printed: Printed::DEFAULT,
    };
    let analysed = pull(&client, &request, &|_, _, _| {}).await?;
    let mut reports = Vec::new();
    for mut assessment in analysed.assessments {
        at_home(&mut assessment, &server.url);
        let at = assessment.subject.analysis.date.instant();
        let mut report = DemoReport::of(assessment, at)?;
        if let Some(task) = analysis.task {
            report.metadata["taskId"] = json!(task);
        }
        reports.push(report);
    }
    Ok(reports)
}

/// The reports of a project of a real server: of the newest analysis of its main branch, and the newest edition of each standard.
///
/// # Errors
/// The server does not tell; see [`sonarqube::Error`].
pub async fn reports_of(connection: Connection, project: &str) -> anyhow::Result<Vec<DemoReport>> {
    let client = Client::new(connection)?;
    let request = Request {
        project: project.to_owned(),
        branch: None,
        standards: Standard::newest(),
        fallback: VersionFallback::Date,
        properties: BTreeMap::new(),
        analysis: None,
        printed: Printed::DEFAULT,
    };
    let analysed = pull(&client, &request, &|_, _, _| {}).await?;
    let now = OffsetDateTime::now_utc();
    let reports = analysed.assessments.into_iter();
    reports
        .map(|assessment| DemoReport::of(assessment, now))
        .collect()
}

/// Where the invented server would be. The stand-in has another port each time, and nobody can go there.
fn at_home(assessment: &mut Assessment, url: &str) {
    const HOME: &str = "https://sonarqube.larkmoor.example";
    let moved = |it: &mut String| *it = it.replacen(url, HOME, 1);
    let subject = Arc::make_mut(&mut assessment.subject);
    moved(&mut subject.server.url);
    moved(&mut subject.project_url);
    for finding in assessment.listed_mut() {
        moved(&mut finding.url);
    }
}

/// The product's project, as its analysis has left it.
fn project(product: &Product, nth: usize, analysis: &Analysis) -> Project {
    let name = analysis.branch.unwrap_or("main");
    let branch = |name: &str| Branch {
        name: name.to_owned(),
        analyses: vec![Analysed {
            key: format!("{}-{}", product.key, nth + 1),
            date: analysis.date.to_owned(),
            version: analysis.version.to_owned(),
            revision: analysis.revision.map(str::to_owned),
            build: analysis.build.map(str::to_owned),
        }],
        gate: analysis.quality_gate,
        issues: product
            .weaknesses
            .iter()
            .flat_map(|it| issues(it, nth, analysis))
            .chain(dismissed(product, analysis))
            .collect(),
        hotspots: hotspots(product, analysis),
    };
    let mut branches = vec![branch("main")];
    if name != "main" {
        branches.push(branch(name));
    }
    Project {
        key: product.key.to_owned(),
        name: product.name.to_owned(),
        is_visible: true,
        branches,
        rules: rules(product),
    }
}

/// A weakness in each place where it is open.
fn issues(
    weakness: &Weakness,
    nth: usize,
    analysis: &Analysis,
) -> impl Iterator<Item = FoundIssue> {
    /// How many lines lie between two places.
    const APART: u32 = 23;
    (0..weakness.open[nth]).map(move |place| {
        let first = issue(weakness, weakness.location, analysis);
        FoundIssue {
            key: format!("{}-{place}", weakness.rule),
            line: first.line + APART * place,
            ..first
        }
    })
}

/// A weakness in one place, where it is open.
fn issue(weakness: &Weakness, location: &str, analysis: &Analysis) -> FoundIssue {
    let (path, line) = place(location);
    FoundIssue {
        key: format!("{}-{location}", weakness.rule),
        rule: weakness.rule.to_owned(),
        path,
        line,
        message: weakness.message.to_owned(),
        severity: Some(weakness.severity),
        impact: Some(weakness.severity),
        status: Status::Open,
        created: analysis.date.to_owned(),
        comment: None,
    }
}

/// The issues that do not count any more.
fn dismissed(product: &Product, analysis: &Analysis) -> impl Iterator<Item = FoundIssue> {
    product.dismissed.iter().filter_map(|it| {
        let weakness = product
            .weaknesses
            .iter()
            .find(|other| other.rule == it.rule)?;
        Some(FoundIssue {
            status: it.status,
            comment: Some(it.comment.to_owned()),
            ..issue(weakness, it.location, analysis)
        })
    })
}

fn hotspots(product: &Product, analysis: &Analysis) -> Vec<FoundHotspot> {
    let found = product.hotspots.iter().map(|hotspot| {
        let (path, line) = place(hotspot.location);
        FoundHotspot {
            key: format!("{}-{}", hotspot.rule, hotspot.location),
            rule: hotspot.rule.to_owned(),
            path,
            line,
            message: hotspot.message.to_owned(),
            probability: hotspot.probability,
            review: hotspot.review,
            created: analysis.date.to_owned(),
            comment: hotspot.comment.map(str::to_owned),
        }
    });
    found.collect()
}

/// A file and a line of it.
fn place(location: &str) -> (String, u32) {
    let (path, line) = location.rsplit_once(':').unwrap_or((location, "1"));
    (path.to_owned(), line.parse().unwrap_or(1))
}

/// The rules that find all of this. Each says what the finding says.
fn rules(product: &Product) -> Vec<KnownRule> {
    let weaknesses = product.weaknesses.iter();
    let weaknesses = weaknesses.map(|it| rule(it.rule, it.message, it.categories));
    let hotspots = product.hotspots.iter().map(|it| KnownRule {
        finds_hotspots: true,
        ..rule(it.rule, it.message, it.categories)
    });
    weaknesses.chain(hotspots).collect()
}

fn rule(key: &str, message: &str, categories: &[&str]) -> KnownRule {
    let of = |prefix: &str| -> Vec<&str> {
        let ids = categories.iter();
        ids.filter_map(|id| id.strip_prefix(prefix)).collect()
    };
    // "A03:2021" is the value a3.
    let owasp = of("A")
        .into_iter()
        .filter_map(|id| id[..2].parse::<u8>().ok());
    let (what, _) = message.split_once(". ").unwrap_or((message, ""));
    KnownRule {
        key: key.to_owned(),
        name: what.to_owned(),
        html: format!("<p>{}</p>", message.replace('<', "&lt;")),
        finds_hotspots: false,
        is_smell: false,
        language: "java",
        is_active: true,
        cwe: of("CWE-").into_iter().map(str::to_owned).collect(),
        owasp: owasp.map(|number| format!("a{number}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_published_is_known() {
        let published: Vec<String> = reports()
            .await
            .unwrap()
            .iter()
            .map(|DemoReport { metadata: m, .. }| {
                let text = |key: &str| m[key].as_str().unwrap().to_owned();
                let (product, version, kind) = (
                    text("projectKey"),
                    text("projectVersion"),
                    text("reportType"),
                );
                let (count, rating) = (
                    m["vulnerabilitiesCount"].as_u64().unwrap(),
                    text("securityRating"),
                );
                format!(
                    "{} {product} {version}, {kind} {}: {count} {rating}",
                    &text("date")[..10],
                    m["reportVersion"]
                )
            })
            .collect();
        assert_eq!(
            published,
            [
                "2025-06-11 payment-gateway 1.0, CWE Top 25 2024: 20 E",
                "2025-08-20 customer-portal v1.4.2, OWASP Top 10 2021: 29 E",
                "2025-09-15 warehouse 1.2.3.4, CWE Top 25 2024: 16 D",
                "2025-10-02 payment-gateway 2.0.0-rc.1, CWE Top 25 2024: 9 D",
                "2025-11-03 customer-portal 2025.11, OWASP Top 10 2021: 9 C",
                "2025-12-01 warehouse 1.3.0, CWE Top 25 2024: 0 A",
                "2025-12-17 payment-gateway 2.0.0, CWE Top 25 2024: 2 B",
                "2025-12-17 payment-gateway 2.0.0, OWASP Top 10 2021: 5 B",
                "2025-12-17 payment-gateway 2.0.0, CWE Top 25 2025: 2 B",
            ]
        );
    }

    #[tokio::test]
    async fn every_report_has_both_files_and_the_same_bytes_each_time() {
        let (reports, again) = (reports().await.unwrap(), reports().await.unwrap());
        for (report, again) in reports.iter().zip(again) {
            assert_eq!(report.metadata, again.metadata);
            let files = report.files().unwrap();
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            assert_eq!(names, ["report.html", "report.pdf"]);
            for (file, again) in files.iter().zip(again.files().unwrap()) {
                assert!(!file.bytes.is_empty());
                assert!(file.bytes == again.bytes, "{}: the bytes differ", file.name);
            }
        }
    }

    #[tokio::test]
    async fn what_an_analysis_does_not_have_is_absent() {
        let reports = reports().await.unwrap();
        let (first, last) = (&reports[0].metadata, &reports[8].metadata);
        assert_eq!(first["qualityGate"]["status"], "NONE");
        assert_eq!(first.get("taskId"), None);
        assert_eq!(last["qualityGate"]["status"], "OK");
        assert_eq!(last["properties"]["sonar.analysis.buildNumber"], "1287");
    }
}
