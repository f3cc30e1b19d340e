//! The fields of a report that lists and messages show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{QualityGateStatus, Rating, Report, ReportId};
use crate::date::GivenDate;
use crate::version::Version;

/// The fields of a report that lists and messages show. Their names and their order are part of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of Report and its metadata"
)]
pub struct Summary {
    pub project_name: String,
    pub id: ReportId,
    pub report_type: String,
    pub report_version: u32,
    pub project_version: Version,
    pub date: GivenDate,
    pub upload_date: String,
    pub vulnerabilities_count: u32,
    pub security_rating: Rating,
}

/// The further fields that messages have. Their names and their order are part of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the report's metadata")]
pub struct Details {
    pub project_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_gate: Option<QualityGateStatus>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scm_revision: Option<String>,
}

/// The fields of a report in the list of one product. Their names and their order are part of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of Report and its metadata"
)]
pub struct ProductReport {
    #[serde(flatten)]
    pub summary: Summary,
    pub project_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_gate: Option<QualityGateStatus>,
    pub revision: u64,
    pub files: Vec<ListedFile>,
}

/// The fields of a file that lists show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of StoredFile")]
pub struct ListedFile {
    pub name: String,
    pub size: u64,
    pub sha256: String,
}

impl Summary {
    /// Whether the report is about this catalogue. `CWE Top 25` stands for each edition, and `CWE Top 25 2024` for one.
    pub fn is_about(&self, catalogue: &str) -> bool {
        catalogue == self.report_type
            || catalogue == format!("{} {}", self.report_type, self.report_version)
    }
}

impl Report {
    /// The fields of the report that lists and messages show.
    pub fn summary(&self) -> Summary {
        let metadata = &self.metadata;
        Summary {
            project_name: metadata.project_name.clone(),
            id: self.id,
            report_type: metadata.report_type.clone(),
            report_version: metadata.report_version,
            project_version: metadata.project_version.clone(),
            date: metadata.date.clone(),
            upload_date: self.upload_date.clone(),
            vulnerabilities_count: metadata.vulnerabilities_count,
            security_rating: metadata.security_rating,
        }
    }

    /// The fields of the report that messages have besides its summary.
    pub fn details(&self) -> Details {
        let metadata = &self.metadata;
        Details {
            project_key: metadata.project_key.clone(),
            branch: metadata.branch.clone(),
            quality_gate: metadata.quality_gate,
            properties: metadata.properties.clone(),
            task_id: metadata.task_id.clone(),
            scm_revision: metadata.scm_revision.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_catalogue_is_named_with_or_without_its_edition() {
        let summary: Summary = serde_json::from_value(json!({
            "projectName": "Shop", "id": "00000000-0000-0000-0000-000000000001", "reportType": "CWE Top 25",
            "reportVersion": 2024, "projectVersion": "1.0", "date": "2025-12-17T09:05:48Z",
            "uploadDate": "2025-12-17T09:05:48.5946432+00:00", "vulnerabilitiesCount": 0, "securityRating": "A",
        }))
        .unwrap();
        for (catalogue, is_about) in [
            ("CWE Top 25", true),
            ("CWE Top 25 2024", true),
            ("CWE Top 25 2025", false),
            ("CWE Top 25 20", false),
            ("CWE Top 2", false),
            ("cwe top 25", false),
            ("2024", false),
            ("", false),
        ] {
            assert_eq!(summary.is_about(catalogue), is_about, "{catalogue}");
        }
    }
}
