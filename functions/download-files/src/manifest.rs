//! `reports.json`, the first entry of every archive: its contents, for programs.

use domain::organization::OrganizationId;
use domain::report::{Metadata, Report, ReportId};
use serde::Serialize;

/// The name of the entry.
pub(crate) const NAME: &str = "reports.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization_id: Option<OrganizationId>,
    pub(crate) reports: Vec<ManifestReport<'a>>,
    /// The requested reports that do not exist.
    pub(crate) missing: &'a [ReportId],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestReport<'a> {
    id: ReportId,
    folder: String,
    #[serde(flatten)]
    metadata: Metadata,
    revision: u64,
    upload_date: &'a str,
    pub(crate) files: Vec<ManifestFile<'a>>,
}

#[derive(Serialize)]
pub(crate) struct ManifestFile<'a> {
    /// The name in the folder.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: &'a str,
}

impl<'a> ManifestReport<'a> {
    pub(crate) fn new(report: &'a Report, folder: String) -> Self {
        Self {
            id: report.id,
            folder,
            metadata: report.metadata.public(),
            revision: report.revision,
            upload_date: &report.upload_date,
            files: Vec::with_capacity(report.files.len()),
        }
    }
}
