//! A report of findings: makes its files, and publishes them unless they are published already.

use anyhow::Context as _;
use aws_sdk_dynamodb::types::TransactWriteItem;
use domain::organization::OrganizationId;
use domain::report::{Metadata, ReportId, ReportKey, StoredFile};
use findings::Assessment;
use publishing::{Attempt, NewRevision, Outcome};
use runtime::clock::Clock;
use sha2::{Digest as _, Sha256};
use store::contention::Retries;
use time::OffsetDateTime;

use crate::state::Importing;

/// A file to write.
struct File {
    name: &'static str,
    bytes: Vec<u8>,
    sha256: String,
}

/// A report to publish.
pub(crate) struct NewReport<'a> {
    pub(crate) org: OrganizationId,
    pub(crate) assessment: &'a Assessment,
    /// Whether the server itself has reported the analysis.
    pub(crate) is_told_of: bool,
    /// When the findings were read.
    pub(crate) read_at: OffsetDateTime,
}

/// Publishes a report of findings, unless its stored files are the same. Gives the report's id, or the reason, for a reader,
/// why it cannot be published. `alongside` adds to the transaction that publishes it.
///
/// # Errors
/// Our own fault. The report may be published all the same.
pub(crate) async fn publish(
    importing: &Importing,
    new: &NewReport<'_>,
    alongside: impl Fn(ReportId) -> anyhow::Result<TransactWriteItem>,
    clock: &Clock,
) -> anyhow::Result<Result<ReportId, String>> {
    let metadata = match metadata(new) {
        Ok(metadata) => metadata,
        Err(reason) => return Ok(Err(reason)),
    };
    let key = ReportKey {
        org: new.org,
        id: ReportId::of(new.org, &metadata),
    };
    let files = files(new.assessment)?;
    let mut retries = Retries::default();
    while retries.next().await {
        let current = importing.publisher.reports.latest(key).await?;
        let current = current.filter(|report| !report.is_deleted());
        if current.is_some_and(|report| are_stored(&files, &report.files)) {
            return Ok(Ok(key.id));
        }
        let alongside = alongside(key.id)?;
        if store(importing, key, &metadata, &files, alongside, clock).await? {
            return Ok(Ok(key.id));
        }
    }
    anyhow::bail!("others were publishing report {} all the time", key.id)
}

/// The metadata of the report.
///
/// # Errors
/// A report cannot have this metadata. The text is for a reader.
fn metadata(new: &NewReport<'_>) -> Result<Metadata, String> {
    let metadata = documents::metadata(new.assessment, new.read_at);
    let mut metadata = metadata.map_err(|error| error.to_string())?;
    if let Some(origin) = metadata.origin.as_mut() {
        origin.is_imported = new.is_told_of;
    }
    metadata.check()?;
    Ok(metadata)
}

fn files(assessment: &Assessment) -> anyhow::Result<Vec<File>> {
    let files = documents::files(assessment).context("write the PDF")?;
    let file = |(name, bytes): (&'static str, Vec<u8>)| File {
        name,
        sha256: hex::encode(Sha256::digest(&bytes)),
        bytes,
    };
    Ok(files.map(file).into())
}

/// Whether these files are stored already. The same findings make the same bytes.
fn are_stored(files: &[File], stored: &[StoredFile]) -> bool {
    let of_files = files.iter().map(|it| (it.name, it.sha256.as_str()));
    of_files.eq(stored
        .iter()
        .map(|it| (it.name.as_str(), it.sha256.as_str())))
}

/// Writes the files and stores the report's next revision with them. Gives whether it did; others may have been faster.
async fn store(
    importing: &Importing,
    report: ReportKey,
    metadata: &Metadata,
    files: &[File],
    alongside: TransactWriteItem,
    clock: &Clock,
) -> anyhow::Result<bool> {
    let attempt = Attempt::new();
    let written = match write(importing, report, attempt, files).await {
        Ok(written) => written,
        Err(error) => {
            discard(importing, report, attempt, files.len()).await;
            return Err(error);
        }
    };
    let new = NewRevision {
        report,
        metadata: metadata.clone(),
        files: written,
    };
    // Writing the files took a while, so the revision takes the current time.
    let stored = importing
        .publisher
        .store(&new, |_| Ok(vec![alongside]), clock.now())
        .await;
    match stored {
        Ok(Outcome::Stored(revision)) => {
            let tagged = importing.files.mark_superseded(&revision.superseded);
            warn(report, tagged.await);
            Ok(true)
        }
        // The report may refer to the files.
        Ok(Outcome::Unknown(error)) => Err(error.into()),
        Ok(Outcome::Lost) => {
            discard(importing, report, attempt, files.len()).await;
            Ok(false)
        }
        Err(error) => {
            discard(importing, report, attempt, files.len()).await;
            Err(error)
        }
    }
}

async fn write(
    importing: &Importing,
    report: ReportKey,
    attempt: Attempt,
    files: &[File],
) -> anyhow::Result<Vec<StoredFile>> {
    let mut stored = Vec::with_capacity(files.len());
    for (position, file) in files.iter().enumerate() {
        let mut writer = importing.files.writer(report, attempt, position, file.name);
        if let Err(error) = writer.write(&file.bytes).await {
            writer.abort().await;
            return Err(error.context(format!("write {}", file.name)));
        }
        stored.push(writer.finish().await?.store().await?);
    }
    Ok(stored)
}

async fn discard(importing: &Importing, report: ReportKey, attempt: Attempt, count: usize) {
    warn(
        report,
        importing.files.discard(report, attempt, count).await,
    );
}

/// Unused objects are no reason to fail.
fn warn(report: ReportKey, tidied: anyhow::Result<()>) {
    if let Err(error) = tidied {
        tracing::warn!(report = %report.id, "some objects of report {} remain: {error:#}", report.id);
    }
}
