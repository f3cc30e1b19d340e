//! Security reports: what is known of each, and where its files are.

pub mod change;
pub mod limits;
pub mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use time::OffsetDateTime;

use crate::date::{GivenDate, timestamp};
use crate::organization::OrganizationId;
use crate::report::change::ReportEvent;
use crate::version::Version;

/// A report as it is stored: one revision of the report in one item of the table.
///
/// A deleted report remains as a *tombstone*. It lets the next revision have the next number, and its deletion is announced
/// as reliably as a publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The organization that the report belongs to.
    pub org: OrganizationId,
    /// Derived from what identifies the report, see [`ReportId::of`].
    pub id: ReportId,
    /// What its publisher says of it.
    #[serde(flatten)]
    pub metadata: Metadata,
    /// 1 for the first publication. Each further publication and each deletion adds 1.
    pub revision: u64,
    /// The event that announces this revision; see [`Report::event`]. Revisions stored by earlier versions of the product
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<ReportEvent>,
    /// The latest revision whose event is known to be on the queue; 0 for none. A greater [`Self::revision`] is still in the
    /// outbox.
    pub announced_revision: u64,
    /// When the report was deleted, in the form of [`timestamp`]; then this is a tombstone. The other fields are those of the
    /// revision before, including its files, which expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// When the files were completed, in the same form.
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
    /// The branch that was analysed, as its publisher names it; `None` when it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What else `SonarQube`'s own calls say of the analysis, as far as the publisher passed it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

impl Metadata {
    /// The metadata for answers and archives, without [`Self::origin`]. That is only for the calls that are made of the
    /// report.
    #[must_use]
    pub fn public(&self) -> Self {
        Self {
            origin: None,
            ..self.clone()
        }
    }
}

/// The further fields of an analysis that a call of `SonarQube` has. They allow such a call to be made of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The address of the server; `None` stands for that of this API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
    /// The address of the project on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_url: Option<String>,
    /// When the analysis was made, if that differs from the report's date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysed_at: Option<GivenDate>,
    /// The kind of branch: `BRANCH` or `PULL_REQUEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_type: Option<String>,
    /// Whether it is the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_main: Option<bool>,
    /// The quality gate, without its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Whether the report was imported from an analysis that a server has reported. That server's own call tells of the
    /// analysis, so no call is made of the report.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_imported: bool,
}

/// A quality gate, as a call of `SonarQube` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<GateCondition>,
}

/// A condition of a quality gate, as a call of `SonarQube` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "SonarQube's own names")]
pub struct GateCondition {
    pub metric: String,
    pub operator: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_threshold: Option<String>,
}

/// A file of a report as it lies in the bucket.
///
/// HTML is stored as a gzip member, and PDF unchanged. Both have, at `payload_offset`, exactly the bytes that a ZIP entry
/// holds. So a download copies them and computes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFile {
    /// The file's name as declared, without a folder.
    pub name: String,
    /// The object's key.
    pub key: String,
    /// The object's version, in a bucket that keeps versions.
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
    /// Unchanged.
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

    /// The event that announces this revision, together with every earlier one that is not announced.
    pub fn event(&self) -> ReportEvent {
        self.event.unwrap_or(if self.announced_revision == 0 {
            ReportEvent::Published
        } else {
            ReportEvent::Updated
        })
    }

    /// Whether this revision is announced.
    pub fn is_announced(&self) -> bool {
        self.announced_revision >= self.revision
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// When this revision was stored, in the form of [`timestamp`].
    pub fn stored_at(&self) -> &str {
        self.deleted_at.as_ref().unwrap_or(&self.upload_date)
    }

    /// The time for a further revision stored at `now`, in the same form. Clocks differ, but a later revision must not look
    /// older than this one to a reader who asks for changes.
    pub fn next_stored_at(&self, now: OffsetDateTime) -> String {
        timestamp(now).max(self.stored_at().to_owned())
    }

    /// The event of a publication after this revision. It also announces what is not announced yet, so the report may still
    /// have to be announced as new.
    pub fn event_of_next(&self) -> ReportEvent {
        match self.event() {
            ReportEvent::Deleted => ReportEvent::Published,
            ReportEvent::Published if !self.is_announced() => ReportEvent::Published,
            ReportEvent::Published | ReportEvent::Updated => ReportEvent::Updated,
        }
    }

    /// Whether the report was certainly deleted after this revision, judging by a later revision that is not deleted. Only
    /// then is an announced report announced as new again.
    pub fn was_deleted_before(&self, later: &Self) -> bool {
        later.revision > self.revision + 1
            && self.is_announced()
            && later.event() == ReportEvent::Published
    }

    /// Its tombstone, for a deletion at `now`.
    pub fn deleted(&self, now: OffsetDateTime) -> Self {
        Self {
            revision: self.revision + 1,
            event: Some(ReportEvent::Deleted),
            deleted_at: Some(self.next_stored_at(now)),
            ..self.clone()
        }
    }
}

impl ReportId {
    /// The id of the report that `metadata` identifies within `org`. It is a version 5 UUID (RFC 9562) in the organization's
    /// namespace over project key, project version, branch, report type and report version.
    ///
    /// A publication with the same five is an update. The version counts as it is written: `1.0` and `1.0.0` are two reports
    /// of the same precedence.
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

impl Rating {
    /// Its letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }
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

    fn stored(revision: u64, announced: u64, event: Option<&str>) -> Report {
        let mut item = json!({
            "org": Uuid::from_u128(1), "id": Uuid::from_u128(2), "revision": revision,
            "announcedRevision": announced, "uploadDate": "2026-01-02T00:00:00.0000000+00:00",
            "firstUploadDate": "2026-01-01T00:00:00.0000000+00:00", "files": [],
        });
        let metadata = serde_json::to_value(metadata("key", "1.0", None)).unwrap();
        let metadata = metadata.as_object().unwrap().clone();
        item.as_object_mut().unwrap().extend(metadata);
        if let Some(event) = event {
            item["event"] = json!(event);
        }
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn a_revision_is_announced_as_what_has_happened_since_the_last_announcement() {
        use ReportEvent::{Deleted, Published, Updated};
        let (published, updated) = (Some("report.published"), Some("report.updated"));
        let deleted = Some("report.deleted");
        for (event, announced, now, next) in [
            (published, 2, Published, Published),
            (published, 3, Published, Updated),
            (updated, 2, Updated, Updated),
            (updated, 3, Updated, Updated),
            (deleted, 2, Deleted, Published),
            (deleted, 3, Deleted, Published),
            // As former versions of the product have stored it.
            (None, 0, Published, Published),
            (None, 2, Updated, Updated),
            (None, 3, Updated, Updated),
        ] {
            let report = stored(3, announced, event);
            assert_eq!(
                (report.event(), report.event_of_next()),
                (now, next),
                "{event:?} {announced}"
            );
        }
    }

    #[test]
    fn what_is_new_again_was_deleted_in_between() {
        let (published, updated) = (Some("report.published"), Some("report.updated"));
        let before = stored(3, 3, updated);
        assert!(before.was_deleted_before(&stored(5, 3, published)));
        assert!(!before.was_deleted_before(&stored(5, 3, updated)));
        // As new as it was, since nobody was told of it before.
        assert!(!stored(3, 2, published).was_deleted_before(&stored(5, 2, published)));
        assert!(!before.was_deleted_before(&stored(4, 3, published)));
    }

    #[test]
    fn a_tombstone_is_the_next_revision_and_not_older() {
        let report = stored(3, 3, None);
        let at = time::macros::datetime!(2026-01-03 0:00 UTC);
        let tombstone = report.deleted(at);
        assert_eq!((tombstone.revision, tombstone.is_announced()), (4, false));
        assert!(tombstone.is_deleted() && !report.is_deleted());
        assert_eq!(tombstone.stored_at(), "2026-01-03T00:00:00.0000000+00:00");
        assert_eq!(tombstone.upload_date, report.upload_date);
        let early = report.deleted(time::macros::datetime!(2025-01-01 0:00 UTC));
        assert_eq!(early.stored_at(), report.stored_at());
        assert_eq!(
            tombstone.next_stored_at(at - time::Duration::DAY),
            tombstone.stored_at()
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
