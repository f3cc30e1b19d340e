//! The objects of reports in the bucket.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, Tag, Tagging};
use domain::organization::{REPORTS_PREFIX, loggable};
use domain::report::{Report, ReportKey, StoredFile};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use store::describe;
use uuid::Uuid;

use crate::writer::FileWriter;

/// The tag of objects that a lifecycle rule of template.yaml removes.
const SUPERSEDED: (&str, &str) = ("superseded", "true");
/// How long the tags may take when S3 does not answer. A publisher gains nothing by them.
const TAGGING_DEADLINE: Duration = Duration::from_secs(5);

/// Where the files of reports are written.
#[derive(Clone, Debug)]
pub struct ReportFiles {
    client: Client,
    bucket: String,
}

/// An attempt to publish a report. Its objects have a prefix of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(Uuid);

impl Attempt {
    /// A new attempt with a unique id.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object of a replaced revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupersededObject {
    /// Its key.
    pub key: String,
    /// Its version, in a bucket that keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

impl SupersededObject {
    /// The objects of a report whose next revision is about to be written, or that was deleted.
    pub fn all_of(report: &Report) -> Vec<Self> {
        let object = |file: &StoredFile| Self {
            key: file.key.clone(),
            version_id: file.version_id.clone(),
        };
        report.files.iter().map(object).collect()
    }
}

impl ReportFiles {
    /// The files in the bucket with this name.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self {
            client,
            bucket: bucket.into(),
        }
    }

    /// A writer of a report's file: the `position`-th one of an attempt.
    pub fn writer(
        &self,
        report: ReportKey,
        attempt: Attempt,
        position: usize,
        name: &str,
    ) -> FileWriter<'_> {
        let key = object_key(report, attempt, position);
        FileWriter::new(&self.client, &self.bucket, key, name)
    }

    /// Removes what an unsuccessful attempt at a report wrote.
    ///
    /// # Errors
    /// Some of it remains. That costs a little, and nobody reads it.
    pub async fn discard(
        &self,
        report: ReportKey,
        attempt: Attempt,
        files: usize,
    ) -> anyhow::Result<()> {
        let keys = (0..files)
            .map(|position| {
                ObjectIdentifier::builder()
                    .key(object_key(report, attempt, position))
                    .build()
            })
            .collect::<Result<Vec<_>, _>>();
        let result = async {
            let delete = Delete::builder()
                .set_objects(Some(keys?))
                .quiet(true)
                .build()?;
            let request = self
                .client
                .delete_objects()
                .bucket(&self.bucket)
                .delete(delete);
            let output = request.send().await.map_err(describe)?;
            // S3 answers with success even if it could not delete an object.
            anyhow::ensure!(
                output.errors().is_empty(),
                "{}",
                loggable(&format!("{:?}", output.errors()))
            );
            anyhow::Ok(())
        };
        result
            .await
            .with_context(|| format!("discard the objects of attempt {attempt}"))
    }

    /// Tags objects that no report refers to any more, so that a lifecycle rule removes them. A tag does not disturb
    /// downloads that have begun.
    ///
    /// # Errors
    /// Some of them have no tag. They remain, and nobody reads them.
    pub async fn mark_superseded(&self, objects: &[SupersededObject]) -> anyhow::Result<()> {
        let tags = join_all(objects.iter().map(|object| self.tag_superseded(object)));
        // Each runs to its end, even if another one has failed.
        tags.await.into_iter().collect()
    }

    async fn tag_superseded(&self, object: &SupersededObject) -> anyhow::Result<()> {
        let (key, value) = SUPERSEDED;
        let tag = Tag::builder().key(key).value(value).build()?;
        let request = self
            .client
            .put_object_tagging()
            .bucket(&self.bucket)
            .key(&object.key)
            .set_version_id(object.version_id.clone())
            .tagging(Tagging::builder().tag_set(tag).build()?);
        let result = match tokio::time::timeout(TAGGING_DEADLINE, request.send()).await {
            // It has expired, or somebody has deleted it.
            Ok(Err(error)) if is_gone(&error) => Ok(()),
            Ok(result) => result.map(drop).map_err(|error| describe(error).into()),
            Err(_) => Err(anyhow::anyhow!("S3 does not answer")),
        };
        result.with_context(|| format!("tag object {}", loggable(&object.key)))
    }
}

fn is_gone(error: &impl ProvideErrorMetadata) -> bool {
    matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion"))
}

/// The key of a file's stored form. The attempt makes the key unique, so that no object is ever written twice. Two attempts
/// at the same revision never mix, even when different versions of this code make them.
fn object_key(report: ReportKey, attempt: Attempt, position: usize) -> String {
    format!(
        "{REPORTS_PREFIX}{}/{}/{attempt}/{position}",
        report.org, report.id
    )
}
