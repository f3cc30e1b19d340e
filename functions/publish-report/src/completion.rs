//! The last step of publishing.
//!
//! Any number of attempts may run at once, for one upload or for several uploads of one report. Each writes its objects
//! under a prefix of its own. Then a single transaction makes one attempt the one that counts: it writes the report with
//! the next revision, and that the upload is completed. Until then no reader sees anything of it; afterwards every attempt
//! at the same upload gives the same answer.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::{StreamExt as _, stream};
use shared::announcement::announce;
use shared::api::{ApiError, ErrorCode};
use shared::aws::describe;
use shared::date::timestamp;
use shared::report::{Report, StoredFile};
use shared::report_store::{Position, ReportKey};
use time::OffsetDateTime;

use crate::Publishing;
use crate::upload::{Attempt, Completed, SupersededObject, Upload, UploadId};

/// How many files are read and compressed at the same time: while one waits for S3, another one computes.
const FILES_AT_ONCE: usize = 2;
/// How often the transaction is tried, when other publications of the same report win.
const MAX_TRIES: u32 = 10;
/// The pause before the second try; it grows by as much with every further one.
const PAUSE: Duration = Duration::from_millis(20);

/// Completes the upload, unless it is completed already. Both answer the same.
pub(crate) async fn complete(
    publishing: &Publishing,
    upload: &Upload,
    now: OffsetDateTime,
) -> Result<Completed, ApiError> {
    if let Some(completed) = &upload.completed {
        // Who asks again may do so because the function died before it came to the tags.
        if let Err(error) = mark_again(publishing, upload, &completed.superseded).await {
            tracing::warn!(upload = %upload.id, "what upload {} replaced is not tagged: {error:#}", upload.id);
        }
        return Ok(completed.clone());
    }
    let completed = complete_now(publishing, upload, now).await?;
    let superseded = &completed.superseded;
    publishing.bucket.mark_superseded(upload, superseded).await;
    Ok(completed)
}

/// Tags what the upload replaced, unless it is the report's own again: its table may have been restored as it was before.
async fn mark_again(
    publishing: &Publishing,
    upload: &Upload,
    superseded: &[SupersededObject],
) -> anyhow::Result<()> {
    if superseded.is_empty() {
        return Ok(());
    }
    let key = ReportKey {
        org: upload.org,
        id: upload.report_id,
    };
    if let Some(report) = publishing.reports.get(key).await? {
        let own = SupersededObject::all_of(&report);
        let others = superseded.iter().filter(|object| !own.contains(object));
        let others: Vec<_> = others.cloned().collect();
        publishing.bucket.mark_superseded(upload, &others).await;
    }
    Ok(())
}

async fn complete_now(
    publishing: &Publishing,
    upload: &Upload,
    now: OffsetDateTime,
) -> Result<Completed, ApiError> {
    if upload.is_expired(now) {
        return Err(expired(upload.id));
    }
    publishing.bucket.check(upload).await?;
    let attempt = Attempt::new();
    let committed = match store_files(publishing, upload, attempt).await {
        Ok(files) => commit(publishing, upload, attempt, files).await,
        Err(error) => Err(CommitError::NotMade(error)),
    };
    let result = match committed {
        Ok(completed) if completed.attempt == attempt => return Ok(completed),
        // If the transaction was made after all, the report refers to the objects.
        Err(CommitError::Unknown(error)) => return Err(error.into()),
        Err(CommitError::NotMade(error)) => Err(error),
        Ok(completed) => Ok(completed),
    };
    publishing.bucket.discard(upload, attempt).await;
    result
}

/// What became of a transaction that did not succeed.
enum CommitError {
    /// It was not made.
    NotMade(ApiError),
    /// There was no answer, or none that tells.
    Unknown(anyhow::Error),
}

impl From<ApiError> for CommitError {
    fn from(error: ApiError) -> Self {
        Self::NotMade(error)
    }
}

impl From<anyhow::Error> for CommitError {
    fn from(error: anyhow::Error) -> Self {
        Self::NotMade(error.into())
    }
}

async fn store_files(
    publishing: &Publishing,
    upload: &Upload,
    attempt: Attempt,
) -> Result<Vec<StoredFile>, ApiError> {
    let files: Vec<_> = (0..upload.files.len())
        .map(|position| publishing.bucket.store(upload, position, attempt))
        .collect();
    // Each to its end, even when another one has failed: what is written later would not be discarded.
    let results: Vec<_> = stream::iter(files).buffered(FILES_AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn commit(
    publishing: &Publishing,
    upload: &Upload,
    attempt: Attempt,
    files: Vec<StoredFile>,
) -> Result<Completed, CommitError> {
    for tries in 0..MAX_TRIES {
        tokio::time::sleep(PAUSE * tries).await;
        let key = ReportKey {
            org: upload.org,
            id: upload.report_id,
        };
        let current = publishing.reports.get(key).await?;
        // Storing the files took its time: the revision is made now.
        let now = OffsetDateTime::now_utc();
        let report = next_revision(upload, current.as_ref(), files.clone(), now);
        let completed = Completed {
            attempt,
            revision: report.revision,
            upload_date: report.upload_date.clone(),
            // The transaction succeeds only if this is what it replaces.
            superseded: current
                .as_ref()
                .map_or_else(Vec::new, SupersededObject::all_of),
        };
        if write(publishing, upload, &report, &completed, now).await? {
            tracing::debug!(
                report = %report.id, revision = report.revision,
                "stored revision {} of report {}", report.revision, report.id,
            );
            if let Err(error) = announce(&publishing.reports, &publishing.queue, &report).await {
                // The report is published; the sweep announces it within the hour.
                tracing::error!(report = %report.id, "report {} is not announced yet: {error:#}", report.id);
            }
            return Ok(completed);
        }
        let reloaded = publishing
            .uploads
            .get(upload.id)
            .await?
            .ok_or_else(|| expired(upload.id))?;
        if let Some(completed) = reloaded.completed {
            return Ok(completed);
        }
    }
    let message = "other publications of this report were completed at the same moment; complete this one again";
    Err(ApiError::new(ErrorCode::Conflict, message).into())
}

fn next_revision(
    upload: &Upload,
    current: Option<&Report>,
    files: Vec<StoredFile>,
    now: OffsetDateTime,
) -> Report {
    // Clocks differ. A later revision must not look older to who asks for what is new.
    let upload_date = current
        .map_or("", |report| &report.upload_date)
        .max(&timestamp(now))
        .to_owned();
    let first_upload_date = current.map_or_else(
        || upload_date.clone(),
        |report| report.first_upload_date.clone(),
    );
    let position = Position::new(
        &upload.metadata.project_version,
        &first_upload_date,
        upload.report_id,
    );
    Report {
        org: upload.org,
        id: upload.report_id,
        version_order: position.as_str().to_owned(),
        metadata: upload.metadata.clone(),
        revision: current.map_or(0, |report| report.revision) + 1,
        announced_revision: current.map_or(0, |report| report.announced_revision),
        upload_date,
        first_upload_date,
        files,
    }
}

fn expired(upload: UploadId) -> ApiError {
    let message = format!("upload {upload} was not completed within a day; begin a new one");
    ApiError::new(ErrorCode::UploadExpired, message)
}

/// Writes the report and completes the upload, or neither: `false` when the report has another revision by now, another
/// attempt has completed the upload, or DynamoDB is too busy.
async fn write(
    publishing: &Publishing,
    upload: &Upload,
    report: &Report,
    completed: &Completed,
    now: OffsetDateTime,
) -> Result<bool, CommitError> {
    let put = TransactWriteItem::builder()
        .put(publishing.reports.put(report, now)?)
        .build();
    let update = TransactWriteItem::builder()
        .update(publishing.uploads.completion(upload.id, completed)?)
        .build();
    // The SDK sends an idempotency token along, so a transaction that it sends twice is made once.
    let transaction = publishing
        .uploads
        .client
        .transact_write_items()
        .transact_items(put)
        .transact_items(update);
    let context = || format!("write revision {} of report {}", report.revision, report.id);
    let error = match transaction.send().await {
        Ok(_) => return Ok(true),
        Err(error) => error,
    };
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    {
        let reasons = cancelled
            .cancellation_reasons()
            .iter()
            .filter_map(|reason| reason.code());
        let may_be_repeated = |code: &str| {
            matches!(
                code,
                "None"
                    | "ConditionalCheckFailed"
                    | "TransactionConflict"
                    | "ThrottlingError"
                    | "ProvisionedThroughputExceeded"
            )
        };
        if reasons.into_iter().all(may_be_repeated) {
            return Ok(false);
        }
        return Err(describe(error).context(context()).into());
    }
    Err(CommitError::Unknown(describe(error).context(context())))
}
