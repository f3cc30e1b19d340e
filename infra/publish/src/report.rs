//! Findings as something to publish.

use anyhow::Context as _;
use domain::report::Metadata;
use findings::Assessment;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::client::File;

/// The report's files, `report.html` and `report.pdf`. They are the same whenever they are made.
///
/// # Errors
/// The PDF cannot be written.
pub fn files(assessment: &Assessment) -> anyhow::Result<Vec<File>> {
    let files = documents::files(assessment).context("write the PDF")?;
    let file = |(name, bytes): (&str, Vec<u8>)| File {
        name: name.to_owned(),
        bytes,
    };
    Ok(files.map(file).into())
}

/// What is said of a report that was read at `now`: what `POST /security/report` takes, without `files`.
///
/// # Errors
/// There are more than 4 billion issues.
pub fn metadata(assessment: &Assessment, now: OffsetDateTime) -> anyhow::Result<Value> {
    let metadata = documents::metadata(assessment, now)?;
    declaration(&metadata)
}

/// The same in the words of the API, which has one object for what is stored as several.
fn declaration(metadata: &Metadata) -> anyhow::Result<Value> {
    let mut declaration = serde_json::to_value(metadata.public())?;
    let fields = declaration
        .as_object_mut()
        .context("metadata is an object")?;
    if let Some(revision) = fields.remove("scmRevision") {
        fields.insert("revision".to_owned(), revision);
    }
    let Some(origin) = &metadata.origin else {
        return Ok(declaration);
    };
    let of_origin = [
        ("branchType", json!(origin.branch_type)),
        ("branchIsMain", json!(origin.is_main)),
        ("serverUrl", json!(origin.server_url)),
        ("projectUrl", json!(origin.project_url)),
    ];
    for (name, value) in of_origin {
        fields.insert(name.to_owned(), value);
    }
    if let (Some(status), Some(gate)) = (metadata.quality_gate, &origin.gate) {
        let gate = json!({"status": status, "conditions": gate.conditions});
        fields.insert("qualityGate".to_owned(), gate);
    }
    Ok(declaration)
}
