//! The reports that the demo publishes: they look like security reports of SonarQube, and everything in them, the
//! organization, its products and their weaknesses, is invented.

mod content;
mod html;
mod organization;
mod page;
mod pdf;
mod product;
mod standard;

use serde_json::{Value, json};

use self::content::Report;
use publish::client::File;

/// The demo organization's reports, oldest first; the same bytes on every call.
pub fn reports() -> Vec<DemoReport> {
    content::reports().iter().map(demo_report).collect()
}

/// One report to publish.
#[derive(Debug)]
pub struct DemoReport {
    /// What `POST /security/report` takes, without `files`.
    pub metadata: Value,
    /// `report.html` and `report.pdf`.
    pub files: Vec<File>,
}

fn demo_report(report: &Report) -> DemoReport {
    let html = File {
        name: "report.html".to_owned(),
        bytes: html::render(report).into_bytes(),
    };
    let pdf = File {
        name: "report.pdf".to_owned(),
        bytes: pdf::render(report),
    };
    DemoReport {
        metadata: metadata(report),
        files: vec![html, pdf],
    }
}

fn metadata(report: &Report) -> Value {
    let Report {
        product,
        analysis,
        standard,
        ..
    } = report;
    let counts = report.counts();
    let mut metadata = json!({
        "projectKey": product.key,
        "projectName": product.name,
        "projectVersion": analysis.version,
        "reportType": standard.name,
        "reportVersion": standard.edition,
        "date": analysis.date,
        "vulnerabilitiesCount": counts.total(),
        "securityRating": counts.rating(),
    });
    let optional = [
        ("qualityGate", analysis.quality_gate.map(Value::from)),
        ("branch", analysis.branch.map(Value::from)),
        ("revision", analysis.revision.map(Value::from)),
        (
            "properties",
            analysis
                .build
                .map(|build| json!({"sonar.analysis.buildNumber": build})),
        ),
        ("taskId", analysis.task.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            metadata[name] = value;
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_known() {
        let published: Vec<String> = reports()
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
                "2025-12-17 payment-gateway 2.0.0, PCI DSS 4: 5 B",
            ]
        );
    }

    #[test]
    fn every_report_has_both_files_and_the_same_bytes_each_time() {
        for (report, again) in reports().iter().zip(reports()) {
            let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
            assert_eq!(names, ["report.html", "report.pdf"]);
            for (file, again) in report.files.iter().zip(again.files) {
                assert!(!file.bytes.is_empty());
                assert_eq!(file.bytes, again.bytes);
            }
        }
    }

    #[test]
    fn what_an_analysis_does_not_have_is_absent() {
        let reports = reports();
        let (first, last) = (&reports[0].metadata, &reports[8].metadata);
        assert_eq!(first.get("qualityGate"), None);
        assert_eq!(last["qualityGate"], "OK");
        assert_eq!(last["properties"]["sonar.analysis.buildNumber"], "1287");
    }
}
