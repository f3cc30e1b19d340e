//! Writes the stored form of a file into the bucket.

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use domain::organization::loggable;
use domain::report::{Method, StoredFile};
use store::describe;

use crate::payload::{Payload, PayloadWriter};

/// The size of the parts of a multipart upload, in bytes. S3 allows 5 MiB or more, and 10,000 parts at most.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Writes a file from its chunks. Its memory is bounded by one part.
///
/// There is no object before [`Written::store`].
#[must_use = "a file that is not stored should be aborted"]
pub struct FileWriter<'a> {
    name: String,
    payload: PayloadWriter,
    object: ObjectWriter<'a>,
}

/// A file with all its bytes. It is not stored yet.
#[must_use = "a file that is not stored should be aborted"]
pub struct Written<'a> {
    name: String,
    payload: Payload,
    last: Vec<u8>,
    object: ObjectWriter<'a>,
}

impl<'a> FileWriter<'a> {
    pub(crate) fn new(client: &'a Client, bucket: &'a str, key: String, name: &str) -> Self {
        let method = if name.to_lowercase().ends_with(".html") {
            Method::Deflated
        } else {
            Method::Stored
        };
        Self {
            name: name.to_owned(),
            payload: PayloadWriter::new(method),
            object: ObjectWriter {
                client,
                bucket,
                key,
                method,
                multipart: None,
                parts: Vec::new(),
            },
        }
    }

    /// Adds the file's next bytes.
    ///
    /// # Errors
    /// S3 did not take a part. The caller should abort the file.
    pub async fn write(&mut self, chunk: &[u8]) -> anyhow::Result<()> {
        self.payload.write(chunk)?;
        if let Some(part) = self.payload.take(PART_BYTES) {
            self.object.write_part(part).await?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The end could not be compressed. What was written is removed.
    pub async fn finish(self) -> anyhow::Result<Written<'a>> {
        match self.payload.finish() {
            Ok((payload, last)) => Ok(Written {
                name: self.name,
                payload,
                last,
                object: self.object,
            }),
            Err(error) => {
                self.object.abort().await;
                Err(error)
            }
        }
    }

    /// Removes what was written so far.
    pub async fn abort(self) {
        self.object.abort().await;
    }
}

impl Written<'_> {
    /// SHA-256 of the file in lower-case hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.payload.sha256
    }

    /// Makes the object.
    ///
    /// # Errors
    /// S3 refused it, or did not answer. In the latter case the object may exist.
    pub async fn store(self) -> anyhow::Result<StoredFile> {
        let key = self.object.key.clone();
        let version_id = self
            .object
            .complete(self.last)
            .await
            .with_context(|| format!("write object {}", loggable(&key)))?;
        let payload = self.payload;
        Ok(StoredFile {
            name: self.name,
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

    /// Removes what was written.
    pub async fn abort(self) {
        self.object.abort().await;
    }
}

/// Writes an object of unknown length: a small one in one request, a larger one in parts.
struct ObjectWriter<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: String,
    method: Method,
    multipart: Option<String>,
    parts: Vec<CompletedPart>,
}

impl ObjectWriter<'_> {
    /// Writes a part, of at least [`PART_BYTES`] unless it is the last.
    async fn write_part(&mut self, part: Vec<u8>) -> anyhow::Result<()> {
        let (client, name) = (self.client, self.bucket);
        let upload = match &self.multipart {
            Some(upload) => upload,
            None => {
                let create = client
                    .create_multipart_upload()
                    .bucket(name)
                    .key(&self.key)
                    .content_type(self.content_type())
                    .set_content_encoding(self.content_encoding())
                    // The SDK computes it for each part, and S3 has to know that beforehand.
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
            .key(&self.key)
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

    /// Writes the last bytes and makes the object. Gives its version, in a bucket that keeps versions.
    async fn complete(mut self, last: Vec<u8>) -> anyhow::Result<Option<String>> {
        let (client, name) = (self.client, self.bucket);
        if self.multipart.is_none() {
            let put = client
                .put_object()
                .bucket(name)
                .key(&self.key)
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
            .key(&self.key)
            .set_upload_id(self.multipart.clone())
            .multipart_upload(parts);
        match complete.send().await {
            Ok(output) => Ok(output.version_id),
            Err(error) => {
                self.abort().await;
                Err(describe(error).into())
            }
        }
    }

    /// Removes the parts as far as possible: a lifecycle rule of the bucket removes the rest.
    async fn abort(&self) {
        let Some(upload) = &self.multipart else {
            return;
        };
        let (client, name) = (self.client, self.bucket);
        let abort = client
            .abort_multipart_upload()
            .bucket(name)
            .key(&self.key)
            .upload_id(upload);
        if let Err(error) = abort.send().await {
            let key = loggable(&self.key);
            tracing::warn!(%key, "the parts of {key} remain: {}", describe(error));
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
