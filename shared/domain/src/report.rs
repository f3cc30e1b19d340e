//! Security reports: what is known of one, and where its files are.

pub mod change;
pub mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::date::GivenDate;
use crate::organization::OrganizationId;
use crate::version::Version;

/// A report as it is stored: one item of the table, one revision of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The organization that the report belongs to.
    pub org: OrganizationId,
    /// Derived from what identifies the report, see [`ReportId::of`].
    pub id: ReportId,
    /// Where the report lies among the organization's: see the store of reports.
    pub version_order: String,
    /// What its publisher said of it.
    #[serde(flatten)]
    pub metadata: Metadata,
    /// 1 when published first; every further publication adds 1.
    pub revision: u64,
    /// The latest revision whose event is known to be on the queue; 0 for none.
    pub announced_revision: u64,
    /// When this revision was completed, in the form of [`crate::date::timestamp`].
    pub upload_date: String,
    /// When the first revision was completed, in the same form.
    pub first_upload_date: String,
    /// The report's files, in the order in which they were declared.
    pub files: Vec<StoredFile>,
}

/// What the publisher of a report says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// `SonarQube`'s key of the project.
    pub project_key: String,
    /// The project's name for a reader.
    pub project_name: String,
    /// The version that was analysed.
    pub project_version: Version,
    /// The catalogue that the report is about, for example `CWE Top 25`.
    pub report_type: String,
    /// The catalogue's edition, for example 2024.
    pub report_version: u32,
    /// When the analysis was made.
    pub date: GivenDate,
    /// How many vulnerabilities are open.
    pub vulnerabilities_count: u32,
    /// `SonarQube`'s security rating.
    pub security_rating: Rating,
    /// Whether the project passed its quality gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_gate: Option<QualityGateStatus>,
    /// Free properties, such as `SonarQube`'s `sonar.analysis.*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// `SonarQube`'s background task that made the analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The revision of the source code that was analysed, usually a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scm_revision: Option<String>,
    /// The branch that was analysed, as its publisher calls it, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// A file of a report as it lies in the bucket.
///
/// HTML is stored as a gzip member, PDF as it is. Both hold, at `payload_offset`, exactly the bytes that a ZIP entry
/// holds, so a download copies them and computes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFile {
    /// The file's name as declared, without a folder.
    pub name: String,
    /// The object's key.
    pub key: String,
    /// The object's version in a bucket that keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// How the payload is compressed.
    pub method: Method,
    /// Where in the object the payload begins, in bytes.
    pub payload_offset: u64,
    /// The payload's length in bytes.
    pub payload_size: u64,
    /// CRC-32 (ISO-HDLC, as in ZIP and gzip) of the file.
    pub crc32: u32,
    /// The file's length in bytes.
    pub size: u64,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// How the bytes of a file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// As they are.
    Stored,
    /// As a raw deflate stream (RFC 1951).
    Deflated,
}

crate::uuid_id! {
    /// The id of a report.
    #[derive(Debug)]
    ReportId
}

/// The key of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Report")]
pub struct ReportKey {
    pub org: OrganizationId,
    pub id: ReportId,
}

impl Report {
    /// The key of this report.
    pub fn key(&self) -> ReportKey {
        ReportKey {
            org: self.org,
            id: self.id,
        }
    }
}

impl ReportId {
    /// The id of the report that `metadata` identifies within `org`: a version 5 UUID (RFC 9562) in the organization's
    /// namespace over project key, project version, branch, report type and report version.
    ///
    /// Publishing under the same five again is an update. The version counts as it is written: `1.0` and `1.0.0` are two
    /// reports of the same precedence.
    pub fn of(org: OrganizationId, metadata: &Metadata) -> Self {
        // A JSON array keeps the parts apart whatever characters they hold.
        let name = serde_json::json!([
            metadata.project_key,
            metadata.project_version.as_str(),
            metadata.branch,
            metadata.report_type,
            metadata.report_version,
        ]);
        Self(Uuid::new_v5(&org.uuid(), name.to_string().as_bytes()))
    }
}

/// `SonarQube`'s security rating, from no vulnerability (A) to at least one blocker (E).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the letters are the names")]
pub enum Rating {
    A,
    B,
    C,
    D,
    E,
}

/// The status of a quality gate, as `SonarQube` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum QualityGateStatus {
    /// Passed.
    Ok,
    /// Passed with a warning (up to `SonarQube` 7.5).
    Warn,
    /// Failed.
    Error,
    /// No gate was applied.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InvalidUuid;
    use serde_json::json;

    fn metadata(key: &str, version: &str, branch: Option<&str>) -> Metadata {
        serde_json::from_value(json!({
            "projectKey": key, "projectName": "Name", "projectVersion": version, "reportType": "CWE Top 25",
            "reportVersion": 2024, "date": "2025-12-17T09:05:48Z", "vulnerabilitiesCount": 0, "securityRating": "A",
            "branch": branch,
        }))
        .unwrap()
    }

    #[test]
    fn a_report_is_identified_by_six_things() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        let base = metadata("key", "1.0", None);
        let id = ReportId::of(org, &base);
        assert_eq!(
            id.to_string(),
            "51ea7850-e9a5-5dac-918b-d08404222695",
            "as Python's uuid.uuid5 has it"
        );
        let same = Metadata {
            project_name: "Other".into(),
            vulnerabilities_count: 7,
            ..base.clone()
        };
        assert_eq!(ReportId::of(org, &same), id);
        for other in [
            metadata("key2", "1.0", None),
            metadata("key", "1.0.0", None),
            metadata("key", "1.0", Some("develop")),
            metadata("key", "1.0", Some("")),
            Metadata {
                report_type: "OWASP".into(),
                ..base.clone()
            },
            Metadata {
                report_version: 2025,
                ..base.clone()
            },
        ] {
            assert_ne!(ReportId::of(org, &other), id, "{other:?}");
        }
        assert_ne!(
            ReportId::of(OrganizationId::new(Uuid::from_u128(2)), &base),
            id
        );
    }

    #[test]
    fn one_spelling_of_a_uuid_is_accepted() {
        let uuid = "00000000-0000-0000-0000-00000000000A";
        assert_eq!(
            uuid.parse::<ReportId>().unwrap().to_string(),
            uuid.to_lowercase()
        );
        for text in [
            "",
            "1",
            "{00000000-0000-0000-0000-000000000001}",
            "00000000000000000000000000000001",
            "é",
        ] {
            assert_eq!(text.parse::<OrganizationId>(), Err(InvalidUuid), "{text}");
        }
    }
}
