//! The bucket: where publishers put files, and where their stored forms go.

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, Tag,
    Tagging,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use shared::api::{ApiError, ErrorCode};
use shared::aws::describe;
use shared::object::{ObjectRead, reading_client};
use shared::report::{Method, StoredFile};
use std::time::Duration;

use crate::payload::{Payload, PayloadWriter};
use crate::upload::{Attempt, DeclaredFile, SupersededObject, Upload, UploadId};

/// How long a publisher has for each PUT.
pub(crate) const PRESIGNED_VALIDITY: Duration = Duration::from_secs(15 * 60);

/// How large the parts of a multipart upload are, in bytes. S3 wants 5 MiB at least, and 10,000 parts at most.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// The tag of objects that a lifecycle rule of template.yaml removes.
const SUPERSEDED: (&str, &str) = ("superseded", "true");
/// How long the publisher is kept waiting for the tags, when S3 does not answer. It has nothing to win by them.
const TAGGING_DEADLINE: Duration = Duration::from_secs(5);

/// The bucket with uploads and reports.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    /// For reading what was uploaded.
    reading: Client,
    name: String,
}

impl Bucket {
    /// The bucket with this name. `config` says where and as whom.
    pub fn new(config: aws_sdk_s3::config::Builder, name: impl Into<String>) -> Self {
        let client = Client::from_conf(config.clone().build());
        Self {
            client,
            reading: reading_client(config),
            name: name.into(),
        }
    }

    /// A PUT of exactly this file. Its length and its SHA-256 are signed, so S3 itself refuses other bytes.
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

    /// Checks that every file was uploaded with the size that was declared, before any of them is read.
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
                    return Err(describe(error).context(format!("head object {key}")).into());
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

    /// Reads an uploaded file, checks its bytes, and writes its stored form under the attempt's prefix.
    ///
    /// # Errors
    /// `file_checksum_mismatch` (409), naming the file.
    pub(crate) async fn store(
        &self,
        upload: &Upload,
        position: usize,
        attempt: Attempt,
    ) -> Result<StoredFile, ApiError> {
        let file = &upload.files[position];
        let is_html = file.name.to_lowercase().ends_with(".html");
        let method = if is_html {
            Method::Deflated
        } else {
            Method::Stored
        };
        let key = report_key(upload, attempt, position);
        let mut object = ObjectWriter::new(self, &key, method);
        let (payload, last) = match self.write(upload.id, position, file, &mut object).await {
            Ok((payload, last)) if payload.sha256 == file.sha256 => (payload, last),
            Ok((payload, _)) => {
                object.abort().await;
                let message = format!(
                    "'{}' was declared with SHA-256 {} and has {}",
                    file.name, file.sha256, payload.sha256
                );
                return Err(conflict(ErrorCode::FileChecksumMismatch, position, message));
            }
            Err(error) => {
                object.abort().await;
                return Err(error
                    .context(format!("store '{}' of upload {}", file.name, upload.id))
                    .into());
            }
        };
        let version_id = object
            .finish(last)
            .await
            .with_context(|| format!("write object {key}"))?;
        Ok(StoredFile {
            name: file.name.clone(),
            key,
            version_id,
            method: payload.method,
            payload_offset: payload.offset,
            payload_size: payload.length,
            crc32: payload.crc32,
            size: payload.size,
            sha256: payload.sha256,
        })
    }

    /// Writes the stored form of an uploaded file, except for the last bytes, which it gives: [`ObjectWriter::finish`]
    /// writes them, and only with them the object.
    async fn write(
        &self,
        upload: UploadId,
        position: usize,
        file: &DeclaredFile,
        object: &mut ObjectWriter<'_>,
    ) -> anyhow::Result<(Payload, Vec<u8>)> {
        let mut writer = PayloadWriter::new(object.method);
        // There is no range of an empty object.
        if file.size > 0 {
            let (client, bucket, key) = (
                self.reading.clone(),
                self.name.clone(),
                upload_key(upload, position),
            );
            let mut read = ObjectRead::open(client, bucket, key, None, 0, file.size).await?;
            while let Some(chunk) = read.next().await? {
                writer.write(&chunk)?;
                if let Some(part) = writer.take(PART_BYTES) {
                    object.write_part(part).await?;
                }
            }
        }
        writer.finish()
    }

    /// Removes what an attempt wrote that came to nothing. Best effort: what remains costs a little, and is read by nobody.
    pub(crate) async fn discard(&self, upload: &Upload, attempt: Attempt) {
        let keys = (0..upload.files.len())
            .map(|position| {
                ObjectIdentifier::builder()
                    .key(report_key(upload, attempt, position))
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
                .bucket(&self.name)
                .delete(delete);
            let output = request.send().await.map_err(describe)?;
            // An object that could not be deleted does not fail the request.
            anyhow::ensure!(output.errors().is_empty(), "{:?}", output.errors());
            Ok(())
        };
        if let Err(error) = result.await {
            tracing::warn!(upload = %upload.id, "the objects of attempt {attempt} remain: {error:#}");
        }
    }

    /// Tags objects that no report refers to any more, so that they do not stay for ever. Downloads that have begun with them
    /// are not disturbed by a tag. Best effort, like [`Self::discard`].
    pub(crate) async fn mark_superseded(&self, upload: &Upload, objects: &[SupersededObject]) {
        if objects.is_empty() {
            return;
        }
        let tags = join_all(objects.iter().map(|object| self.tag_superseded(object)));
        for error in tags.await.into_iter().filter_map(Result::err) {
            tracing::warn!(upload = %upload.id, "an object that upload {} replaced remains: {error:#}", upload.id);
        }
    }

    async fn tag_superseded(&self, object: &SupersededObject) -> anyhow::Result<()> {
        let (key, value) = SUPERSEDED;
        let tag = Tag::builder().key(key).value(value).build()?;
        let request = self
            .client
            .put_object_tagging()
            .bucket(&self.name)
            .key(&object.key)
            .set_version_id(object.version_id.clone())
            .tagging(Tagging::builder().tag_set(tag).build()?);
        let result = match tokio::time::timeout(TAGGING_DEADLINE, request.send()).await {
            Ok(result) => result.map(drop).map_err(describe),
            Err(_) => Err(anyhow::anyhow!("S3 does not answer")),
        };
        result.with_context(|| format!("tag object {}", object.key))
    }
}

fn conflict(code: ErrorCode, position: usize, message: String) -> ApiError {
    ApiError::new(code, message).parameter(format!("files[{position}]"))
}

/// Where a publisher puts a file.
fn upload_key(upload: UploadId, position: usize) -> String {
    format!("uploads/{upload}/{position}")
}

/// Where the stored form of a file goes. The attempt makes the key unique, so that no object is ever written twice: two
/// attempts at the same revision, even by different versions of this code, never mix.
fn report_key(upload: &Upload, attempt: Attempt, position: usize) -> String {
    format!(
        "reports/{}/{}/{attempt}/{position}",
        upload.org, upload.report_id
    )
}

/// Writes an object of unknown length: small ones in one request, others in parts.
struct ObjectWriter<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    method: Method,
    multipart: Option<String>,
    parts: Vec<CompletedPart>,
}

impl<'a> ObjectWriter<'a> {
    fn new(bucket: &'a Bucket, key: &'a str, method: Method) -> Self {
        Self {
            bucket,
            key,
            method,
            multipart: None,
            parts: Vec::new(),
        }
    }

    /// Writes a part, of at least [`PART_BYTES`] unless it is the last.
    async fn write_part(&mut self, part: Vec<u8>) -> anyhow::Result<()> {
        let Bucket { client, name, .. } = self.bucket;
        let upload = match &self.multipart {
            Some(upload) => upload,
            None => {
                let create = client
                    .create_multipart_upload()
                    .bucket(name)
                    .key(self.key)
                    .content_type(self.content_type())
                    .set_content_encoding(self.content_encoding())
                    // The SDK computes it for each part, and S3 wants to be told beforehand.
                    .checksum_algorithm(ChecksumAlgorithm::Crc32);
                let upload = create
                    .send()
                    .await
                    .map_err(describe)?
                    .upload_id
                    .context("a multipart upload has an id")?;
                self.multipart.insert(upload)
            }
        };
        let number = i32::try_from(self.parts.len() + 1)?;
        let put = client
            .upload_part()
            .bucket(name)
            .key(self.key)
            .upload_id(upload)
            .part_number(number);
        let output = put
            .body(ByteStream::from(part))
            .send()
            .await
            .map_err(describe)?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(output.e_tag)
            .set_checksum_crc32(output.checksum_crc32);
        self.parts.push(part.build());
        Ok(())
    }

    /// Writes the last bytes and with them the object. Gives its version, in a bucket that keeps versions.
    async fn finish(mut self, last: Vec<u8>) -> anyhow::Result<Option<String>> {
        let Bucket { client, name, .. } = self.bucket;
        if self.multipart.is_none() {
            let put = client
                .put_object()
                .bucket(name)
                .key(self.key)
                .content_type(self.content_type())
                .set_content_encoding(self.content_encoding());
            return Ok(put
                .body(ByteStream::from(last))
                .send()
                .await
                .map_err(describe)?
                .version_id);
        }
        // S3 refuses an empty part.
        if !last.is_empty()
            && let Err(error) = self.write_part(last).await
        {
            self.abort().await;
            return Err(error);
        }
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(std::mem::take(&mut self.parts)))
            .build();
        let complete = client
            .complete_multipart_upload()
            .bucket(name)
            .key(self.key)
            .set_upload_id(self.multipart.clone())
            .multipart_upload(parts);
        match complete.send().await {
            Ok(output) => Ok(output.version_id),
            Err(error) => {
                self.abort().await;
                Err(describe(error))
            }
        }
    }

    /// Best effort: a lifecycle rule of the bucket removes what is left.
    async fn abort(&self) {
        let Some(upload) = &self.multipart else {
            return;
        };
        let Bucket { client, name, .. } = self.bucket;
        let abort = client
            .abort_multipart_upload()
            .bucket(name)
            .key(self.key)
            .upload_id(upload);
        if let Err(error) = abort.send().await {
            tracing::warn!(
                key = self.key,
                "the parts of {} remain: {:#}",
                self.key,
                describe(error)
            );
        }
    }

    fn content_type(&self) -> &'static str {
        match self.method {
            Method::Deflated => "text/html",
            Method::Stored => "application/pdf",
        }
    }

    fn content_encoding(&self) -> Option<String> {
        (self.method == Method::Deflated).then(|| "gzip".to_owned())
    }
}
