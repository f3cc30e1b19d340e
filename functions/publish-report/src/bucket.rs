//! The uploads in the bucket, where publishers put files.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::report::StoredFile;
use publishing::{Attempt, FileWriter, ReportFiles};
use store::describe;
use store::objects::{ObjectRead, reading_client};
use web::api::{ApiError, ErrorCode};

use crate::upload::{DeclaredFile, Upload, UploadId};

/// How long a publisher has for each PUT.
pub(crate) const PRESIGNED_VALIDITY: Duration = Duration::from_secs(15 * 60);

/// The bucket with uploads.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    /// The client that reads uploads.
    reading: Client,
    name: String,
}

impl Bucket {
    /// The bucket with this name. `client` is made from `config`.
    pub fn new(
        client: Client,
        config: aws_sdk_s3::config::Builder,
        name: impl Into<String>,
    ) -> Self {
        Self {
            client,
            reading: reading_client(config),
            name: name.into(),
        }
    }

    /// The address for a PUT of exactly this file. The length and the SHA-256 are signed, so S3 itself refuses other bytes.
    pub(crate) async fn presign(
        &self,
        upload: UploadId,
        position: usize,
        file: &DeclaredFile,
    ) -> anyhow::Result<PresignedRequest> {
        let sha256 = hex::decode(&file.sha256).context("decode a SHA-256")?;
        self.client
            .put_object()
            .bucket(&self.name)
            .key(upload_key(upload, position))
            .content_length(i64::try_from(file.size)?)
            .checksum_sha256(STANDARD.encode(sha256))
            .presigned(PresigningConfig::expires_in(PRESIGNED_VALIDITY)?)
            .await
            .map_err(describe)
            .context("presign the upload of a file")
    }

    /// Checks that every file was uploaded with the declared size, before any file is read.
    ///
    /// # Errors
    /// `file_missing` or `file_size_mismatch` (409), naming the file.
    pub(crate) async fn check(&self, upload: &Upload) -> Result<(), ApiError> {
        for (position, file) in upload.files.iter().enumerate() {
            let key = upload_key(upload.id, position);
            let got = match self
                .client
                .head_object()
                .bucket(&self.name)
                .key(&key)
                .send()
                .await
            {
                Ok(output) => output.content_length.unwrap_or_default(),
                Err(error)
                    if matches!(error.as_service_error(), Some(HeadObjectError::NotFound(_))) =>
                {
                    let message = format!(
                        "'{}' was not uploaded; PUT it to the url that belongs to it",
                        file.name
                    );
                    return Err(conflict(ErrorCode::FileMissing, position, message));
                }
                Err(error) => {
                    return Err(anyhow::Error::from(describe(error))
                        .context(format!("head object {key}"))
                        .into());
                }
            };
            if u64::try_from(got) != Ok(file.size) {
                let message = format!(
                    "'{}' was declared with {} bytes and uploaded with {got}",
                    file.name, file.size
                );
                return Err(conflict(ErrorCode::FileSizeMismatch, position, message));
            }
        }
        Ok(())
    }

    /// Reads an uploaded file, checks its bytes, and writes its stored form.
    ///
    /// # Errors
    /// `file_checksum_mismatch` (409), naming the file.
    pub(crate) async fn store(
        &self,
        files: &ReportFiles,
        upload: &Upload,
        position: usize,
        attempt: Attempt,
    ) -> Result<StoredFile, ApiError> {
        let file = &upload.files[position];
        let mut writer = files.writer(upload.report(), attempt, position, &file.name);
        let context = || format!("store '{}' of upload {}", file.name, upload.id);
        if let Err(error) = self.read(upload.id, position, file, &mut writer).await {
            writer.abort().await;
            return Err(error.context(context()).into());
        }
        let written = writer.finish().await.with_context(context)?;
        if written.sha256() != file.sha256 {
            let message = format!(
                "'{}' was declared with SHA-256 {} and has {}",
                file.name,
                file.sha256,
                written.sha256()
            );
            written.abort().await;
            return Err(conflict(ErrorCode::FileChecksumMismatch, position, message));
        }
        Ok(written.store().await?)
    }

    /// Reads an uploaded file into the writer.
    async fn read(
        &self,
        upload: UploadId,
        position: usize,
        file: &DeclaredFile,
        writer: &mut FileWriter<'_>,
    ) -> anyhow::Result<()> {
        // An empty object has no range.
        if file.size == 0 {
            return Ok(());
        }
        let (client, bucket) = (self.reading.clone(), self.name.clone());
        let key = upload_key(upload, position);
        let mut read = ObjectRead::open(client, bucket, key, None, 0, file.size).await?;
        while let Some(chunk) = read.next().await? {
            writer.write(&chunk).await?;
        }
        Ok(())
    }
}

fn conflict(code: ErrorCode, position: usize, message: String) -> ApiError {
    ApiError::new(code, message).parameter(format!("files[{position}]"))
}

/// The key of a file that a publisher uploads.
fn upload_key(upload: UploadId, position: usize) -> String {
    format!("uploads/{upload}/{position}")
}
