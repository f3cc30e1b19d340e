//! The last step of publishing.
//!
//! Several attempts may run at once, for one upload or for several uploads of one report. The transaction that stores the
//! revision also records that the upload is completed. So one attempt succeeds, and afterwards every attempt at the same
//! upload gives the same answer.

use domain::report::StoredFile;
use futures_util::{StreamExt as _, stream};
use publishing::{Attempt, NewRevision, Outcome, Revision, SupersededObject};
use store::contention::Retries;
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};

use crate::state::Publishing;
use crate::upload::{Completed, Upload, UploadId};

/// How many files are read and compressed at once: while one waits for S3, another one computes.
const FILES_AT_ONCE: usize = 2;

/// Completes the upload, unless it is completed already. The answer is the same.
pub(crate) async fn complete(
    publishing: &Publishing,
    upload: &Upload,
    now: OffsetDateTime,
) -> Result<Completed, ApiError> {
    if let Some(completed) = &upload.completed {
        // The client may ask again because the function died before it set the tags.
        let tagged = mark_again(publishing, upload, &completed.superseded);
        warn_of_rest(upload, tagged.await);
        return Ok(completed.clone());
    }
    let completed = complete_now(publishing, upload, now).await?;
    let tagged = publishing.files.mark_superseded(&completed.superseded);
    warn_of_rest(upload, tagged.await);
    Ok(completed)
}

/// Tags the objects that the upload replaced, unless the report refers to them again because its table was restored.
async fn mark_again(
    publishing: &Publishing,
    upload: &Upload,
    superseded: &[SupersededObject],
) -> anyhow::Result<()> {
    if superseded.is_empty() {
        return Ok(());
    }
    let key = upload.report();
    if let Some(report) = publishing.publisher.reports.latest(key).await? {
        let own = SupersededObject::all_of(&report);
        let others = superseded.iter().filter(|object| !own.contains(object));
        let others: Vec<_> = others.cloned().collect();
        publishing.files.mark_superseded(&others).await?;
    }
    Ok(())
}

/// Unused objects are no reason to refuse a publication.
fn warn_of_rest(upload: &Upload, tidied: anyhow::Result<()>) {
    if let Err(error) = tidied {
        tracing::warn!(upload = %upload.id, "some objects of upload {} remain: {error:#}", upload.id);
    }
}

async fn complete_now(
    publishing: &Publishing,
    upload: &Upload,
    now: OffsetDateTime,
) -> Result<Completed, ApiError> {
    if upload.is_expired(now) {
        return Err(expired(upload.id));
    }
    publishing.uploaded.check(upload).await?;
    let attempt = Attempt::new();
    let committed = match store_files(publishing, upload, attempt).await {
        Ok(files) => commit(publishing, upload, attempt, files).await,
        Err(error) => Err(CommitError::NotMade(error)),
    };
    let result = match committed {
        Ok(completed) if completed.attempt == attempt => return Ok(completed),
        // The transaction may have been made. Then the report refers to the objects.
        Err(CommitError::Unknown(error)) => return Err(error.into()),
        Err(CommitError::NotMade(error)) => Err(error),
        Ok(completed) => Ok(completed),
    };
    let count = upload.files.len();
    let discarded = publishing.files.discard(upload.report(), attempt, count);
    warn_of_rest(upload, discarded.await);
    result
}

/// Why a transaction did not succeed.
enum CommitError {
    /// It was not made.
    NotMade(ApiError),
    /// There was no answer, or none that says.
    Unknown(store::Error),
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
        .map(|position| {
            publishing
                .uploaded
                .store(&publishing.files, upload, position, attempt)
        })
        .collect();
    // Each runs to its end, even if another one has failed. Otherwise what is written later would not be discarded.
    let results: Vec<_> = stream::iter(files).buffered(FILES_AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn commit(
    publishing: &Publishing,
    upload: &Upload,
    attempt: Attempt,
    files: Vec<StoredFile>,
) -> Result<Completed, CommitError> {
    let new = NewRevision {
        report: upload.report(),
        metadata: upload.metadata.clone(),
        files,
    };
    let completed = |revision: &Revision| Completed {
        attempt,
        revision: revision.number,
        is_new: revision.is_new,
        upload_date: revision.upload_date.clone(),
        superseded: revision.superseded.clone(),
    };
    let mut retries = Retries::default();
    while retries.next().await {
        let completion = |revision: &Revision| {
            let completion = publishing
                .uploads
                .completion(upload.id, &completed(revision))?;
            Ok(vec![completion])
        };
        // Storing the files took a while, so the revision takes the current time.
        let now = OffsetDateTime::now_utc();
        match publishing.publisher.store(&new, completion, now).await? {
            Outcome::Stored(revision) => return Ok(completed(&revision)),
            Outcome::Unknown(error) => return Err(CommitError::Unknown(error)),
            Outcome::Lost => {}
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
    let message = "other publications of this product were completed at the same moment; complete this one again";
    Err(ApiError::new(ErrorCode::Conflict, message).into())
}

fn expired(upload: UploadId) -> ApiError {
    let message = format!("upload {upload} was not completed within a day; begin a new one");
    ApiError::new(ErrorCode::UploadExpired, message)
}
