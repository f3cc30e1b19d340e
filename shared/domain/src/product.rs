//! Products: the projects that an organization has reports of, and the latest state of each.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::organization::OrganizationId;
use crate::report::summary::Summary;
use crate::report::{QualityGateStatus, Report, ReportId};

/// How many branches a product names.
pub const MAX_BRANCHES: usize = 50;
/// How many of the latest stored reports a product remembers. An index may not have them yet.
const MAX_RECENT: usize = 8;

/// A product as it is stored. It exists as long as it has a report.
///
/// It changes in the transaction that stores or deletes a report, so it agrees with its reports. There is one exception:
/// after a deletion, the remaining reports are read from an index that may lag behind by a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// The organization that it belongs to.
    pub org: OrganizationId,
    /// `SonarQube`'s key of the project.
    pub key: String,
    /// Its latest report. Of the reports of the highest version it is the one whose first publication is the latest.
    pub latest: Latest,
    /// The branches that have reports, the latest published first; at most [`MAX_BRANCHES`].
    pub branches: Vec<Branch>,
    /// The reports that were stored last, the latest first. Some may be deleted.
    pub recent: Vec<ReportId>,
    /// A new UUID with each change, for conditional writes.
    pub state: Uuid,
}

/// What a product says of its latest report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of Report")]
pub struct Latest {
    #[serde(flatten)]
    pub summary: Summary,
    pub first_upload_date: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_gate: Option<QualityGateStatus>,
}

/// A branch of a product that has reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// Its name, as its publishers write it.
    pub name: String,
    /// When a report of it was last published, in the form of [`timestamp`](crate::date::timestamp).
    pub upload_date: String,
}

/// What remains of a product without one of its reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// The report that is the latest now.
    pub latest: Report,
    /// Whether the same branch has another report.
    pub has_branch: bool,
}

impl Latest {
    fn of(report: &Report) -> Self {
        Self {
            summary: report.summary(),
            first_upload_date: report.first_upload_date.clone(),
            branch: report.metadata.branch.clone(),
            quality_gate: report.metadata.quality_gate,
        }
    }

    /// What the reports of a product are sorted by, as in a list.
    fn rank(&self) -> (&str, &str, ReportId) {
        let version = self.summary.project_version.sort_key();
        (version, &self.first_upload_date, self.summary.id)
    }
}

impl Product {
    /// A product with this one report.
    pub fn of(report: &Report) -> Self {
        let mut product = Self {
            org: report.org,
            key: report.metadata.project_key.clone(),
            latest: Latest::of(report),
            branches: Vec::new(),
            recent: Vec::new(),
            state: Uuid::nil(),
        };
        product.note(report);
        product
    }

    /// The product after this report is stored, whether it is new or an update.
    #[must_use]
    pub fn with(mut self, report: &Report) -> Self {
        let latest = Latest::of(report);
        if latest.rank() >= self.latest.rank() {
            self.latest = latest;
        }
        self.note(report);
        self
    }

    fn note(&mut self, report: &Report) {
        self.recent.retain(|id| *id != report.id);
        self.recent.insert(0, report.id);
        self.recent.truncate(MAX_RECENT);
        if let Some(name) = &report.metadata.branch {
            self.branches.retain(|branch| branch.name != *name);
            let branch = Branch {
                name: name.clone(),
                upload_date: report.upload_date.clone(),
            };
            self.branches.insert(0, branch);
            self.branches.truncate(MAX_BRANCHES);
        }
    }

    /// The product after this report is deleted, when `rest` remains.
    #[must_use]
    pub fn without(mut self, report: &Report, rest: &Rest) -> Self {
        self.recent.retain(|id| *id != report.id);
        self.latest = Latest::of(&rest.latest);
        if !rest.has_branch {
            let branch = report.metadata.branch.as_deref();
            self.branches.retain(|it| Some(it.name.as_str()) != branch);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Metadata;
    use serde_json::json;

    fn report(version: &str, branch: Option<&str>, uploaded: u32, count: u32) -> Report {
        let metadata: Metadata = serde_json::from_value(json!({
            "projectKey": "acme:shop", "projectName": format!("Shop {version}"), "projectVersion": version,
            "reportType": "CWE Top 25", "reportVersion": 2024, "date": "2025-12-17T09:05:48Z",
            "vulnerabilitiesCount": count, "securityRating": "A", "branch": branch,
        }))
        .unwrap();
        let org = OrganizationId::new(Uuid::from_u128(1));
        let upload_date = format!("2026-01-01T00:00:{uploaded:02}.0000000+00:00");
        Report {
            org,
            id: ReportId::of(org, &metadata),
            metadata,
            revision: 1,
            event: None,
            announced_revision: 0,
            deleted_at: None,
            first_upload_date: upload_date.clone(),
            upload_date,
            files: Vec::new(),
        }
    }

    fn names(product: &Product) -> Vec<&str> {
        let branches = product.branches.iter();
        branches.map(|branch| branch.name.as_str()).collect()
    }

    #[test]
    fn the_latest_report_is_that_of_the_highest_version() {
        let latest = |product: &Product| {
            let summary = &product.latest.summary;
            (
                summary.project_version.to_string(),
                summary.vulnerabilities_count,
            )
        };
        let product = Product::of(&report("1.9", None, 1, 1));
        let product = product.with(&report("1.10", None, 2, 2));
        let product = product.with(&report("1.10-rc.1", None, 3, 3));
        assert_eq!(latest(&product), ("1.10".to_owned(), 2));
        assert_eq!(product.latest.summary.project_name, "Shop 1.10");
        // An update of it, and another one of the same version.
        let product = product.with(&report("1.10", None, 2, 4));
        assert_eq!(latest(&product), ("1.10".to_owned(), 4));
        let product = product.with(&report("1.10", Some("main"), 5, 5));
        assert_eq!(latest(&product), ("1.10".to_owned(), 5));
        let product = product.with(&report("1.10", None, 2, 6));
        assert_eq!(latest(&product), ("1.10".to_owned(), 5));
    }

    #[test]
    fn branches_are_named_the_latest_first() {
        let mut product = Product::of(&report("1.0", None, 0, 0));
        assert_eq!(names(&product), [""; 0]);
        for number in 0..60 {
            product = product.with(&report("1.0", Some(&format!("b{number}")), 1, 0));
        }
        assert_eq!(product.branches.len(), MAX_BRANCHES);
        assert_eq!(names(&product)[..2], ["b59", "b58"]);
        let product = product.with(&report("2.0", Some("b30"), 1, 0));
        assert_eq!(names(&product)[..2], ["b30", "b59"]);
        assert_eq!(product.branches.len(), MAX_BRANCHES);
        assert_eq!(product.recent.len(), MAX_RECENT);
    }

    #[test]
    fn what_is_left_takes_the_place_of_what_is_deleted() {
        let (one, two) = (
            report("1.0", Some("main"), 1, 1),
            report("2.0", Some("next"), 2, 2),
        );
        let product = Product::of(&one).with(&two);
        let rest = |has_branch| Rest {
            latest: one.clone(),
            has_branch,
        };
        let left = product.clone().without(&two, &rest(true));
        assert_eq!(left.latest.summary, one.summary());
        assert_eq!(names(&left), ["next", "main"]);
        assert_eq!(left.recent, [one.id]);
        assert_eq!(
            names(&product.clone().without(&two, &rest(false))),
            ["main"]
        );
        // One without a branch takes no branch away.
        let nameless = report("2.0", None, 2, 2);
        let left = product.without(&nameless, &rest(false));
        assert_eq!(names(&left), ["next", "main"]);
    }
}
