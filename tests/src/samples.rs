//! Reports to test with.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::report::change::{ReportChange, ReportEvent};
use domain::report::{Method, Report, ReportId, StoredFile};
use local::client::File;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// The metadata of a report on a version.
pub fn metadata(version: &str) -> Value {
    json!({
        "projectKey": "acme:shop",
        "projectName": "Test product",
        "projectVersion": version,
        "reportType": "CWE Top 25",
        "reportVersion": 2024,
        "date": "2025-12-17T09:05:48.5946432+00:00",
        "vulnerabilitiesCount": 0,
        "securityRating": "A",
    })
}

/// An HTML and a PDF file about a topic.
pub fn files(topic: &str) -> Vec<File> {
    let html = format!(
        "<!DOCTYPE html><title>{topic}</title>{}",
        format!("<p>About {topic}.</p>\n").repeat(200)
    );
    let pdf = format!("%PDF-1.7\n{topic}\n%%EOF\n");
    vec![
        File {
            name: "report.html".to_owned(),
            bytes: html.into_bytes(),
        },
        File {
            name: "report.pdf".to_owned(),
            bytes: pdf.into_bytes(),
        },
    ]
}

/// Bytes that do not compress, the same ones each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    // Knuth's linear congruential generator for 64 bits; the upper bits are good enough.
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The announcement of a revision of a report, as if every one before it was announced.
pub fn change(report: &Report, revision: u64) -> ReportChange {
    let report = Report {
        revision,
        event: Some(if revision == 1 {
            ReportEvent::Published
        } else {
            ReportEvent::Updated
        }),
        announced_revision: revision - 1,
        ..report.clone()
    };
    ReportChange::announcing(&report)
}

/// The `number`-th of many reports as it is stored; its version is `1.<number / 7>.<number % 7>`. It was stored when it is asked
/// for first, so a webhook that was made before is told of it.
pub fn stored_report(org: OrganizationId, number: u64) -> Report {
    static STORED: LazyLock<Mutex<HashMap<(OrganizationId, u64), String>>> =
        LazyLock::new(Mutex::default);
    let metadata = metadata(&format!("1.{}.{}", number / 7, number % 7));
    let mut metadata: domain::report::Metadata = serde_json::from_value(metadata).unwrap();
    metadata.project_key = format!("project-{number}");
    let id = ReportId::of(org, &metadata);
    let mut stored = STORED.lock().unwrap();
    let upload_date = stored.entry((org, number));
    let upload_date = upload_date.or_insert_with(|| timestamp(OffsetDateTime::now_utc()));
    let upload_date = upload_date.clone();
    Report {
        org,
        id,
        metadata,
        revision: 1,
        event: Some(ReportEvent::Published),
        announced_revision: 1,
        deleted_at: None,
        first_upload_date: upload_date.clone(),
        upload_date,
        files: vec![StoredFile {
            name: "report.pdf".to_owned(),
            key: format!("reports/{org}/{id}/attempt/0"),
            version_id: None,
            method: Method::Stored,
            payload_offset: 0,
            payload_size: 1,
            crc32: 0,
            size: 1,
            sha256: "0".repeat(64),
        }],
    }
}
