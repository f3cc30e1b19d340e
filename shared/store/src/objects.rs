//! Reads objects of a bucket, and continues when a connection breaks.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use domain::organization::loggable;

use crate::error::{Error, Result, describe};

/// How long a connection may take to the first byte, and between bytes, before it counts as broken.
const SILENCE: Duration = Duration::from_secs(10);
/// After this many failures in a row, without a byte between them, the read fails. A break after some bytes counts as the
/// first failure.
const FRUITLESS_ATTEMPTS: u32 = 6;
/// The pause after the second failure in a row. It doubles with each further one, to 1.5 s in all. S3 asks for exponential
/// pauses when it answers 503 (S3 User Guide, "Best practices design patterns").
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A client whose reads fail fast, so that [`ObjectRead`] can continue. It is for reading only.
pub fn reading_client(config: Builder) -> Client {
    let config = config
        .timeout_config(TimeoutConfig::builder().read_timeout(SILENCE).build())
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        // It would take a slow receiver for a slow bucket. Our own limit is the constant SILENCE.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The bytes are checked against hashes of our own, now or when they were written. The SDK would hash them all again.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

/// A read of a part of an object. When the connection breaks, it continues after the last byte.
#[derive(Debug)]
pub struct ObjectRead {
    client: Client,
    bucket: String,
    key: String,
    version_id: Option<String>,
    /// The offset of the next byte.
    offset: u64,
    /// How many bytes are left.
    left: u64,
    /// The object's entity tag. After a break, the rest must come from the same object.
    etag: Option<String>,
    stream: ByteStream,
    fruitless: u32,
}

impl ObjectRead {
    /// Opens `length` bytes of an object from `offset` on. `length` is not 0.
    ///
    /// # Errors
    /// The object does not exist or is shorter, or S3 does not answer after several attempts.
    pub async fn open(
        client: Client,
        bucket: String,
        key: String,
        version_id: Option<String>,
        offset: u64,
        length: u64,
    ) -> Result<Self> {
        let (etag, stream) = (None, ByteStream::default());
        let mut read = Self {
            client,
            bucket,
            key,
            version_id,
            offset,
            left: length,
            etag,
            stream,
            fruitless: 0,
        };
        if let Err(error) = read.connect().await {
            read.reconnect(error).await?;
        }
        Ok(read)
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The object has changed, or S3 does not answer after several attempts.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.left > 0 {
            let broken = match tokio::time::timeout(SILENCE, self.stream.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Ok(mut chunk))) => {
                    chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.offset += chunk.len() as u64;
                    self.left -= chunk.len() as u64;
                    self.fruitless = 0;
                    return Ok(Some(chunk));
                }
                Ok(Some(Err(error))) => describe(error),
                Ok(None) => Error::new(format_args!(
                    "the connection ended {} bytes early",
                    self.left
                )),
                Err(_) => Error::new(format_args!("no byte came for {} s", SILENCE.as_secs())),
            };
            self.reconnect(ConnectError::Transient(broken)).await?;
        }
        Ok(None)
    }

    /// Connects again, until it succeeds or gives up. `failure` is the failure before.
    async fn reconnect(&mut self, mut failure: ConnectError) -> Result<()> {
        let key = loggable(&self.key).into_owned();
        loop {
            let broken = match failure {
                ConnectError::Final(error) => return Err(error),
                ConnectError::Transient(error) => error,
            };
            self.fruitless += 1;
            if self.fruitless == FRUITLESS_ATTEMPTS {
                return Err(broken.during(format_args!("give up {key} at byte {}", self.offset)));
            }
            tracing::warn!(
                key,
                "the read of {key} broke at byte {}, continuing: {broken}",
                self.offset
            );
            if self.fruitless > 1 {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.fruitless - 2)).await;
            }
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
    }

    /// Requests the rest. After the first time it asks only for the same object.
    async fn connect(&mut self) -> Result<(), ConnectError> {
        let Self {
            bucket,
            key,
            offset,
            left,
            ..
        } = &*self;
        let request = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_version_id(self.version_id.clone())
            .range(format!("bytes={offset}-{}", offset + left - 1))
            .set_if_match(self.etag.clone());
        let output = request.send().await.map_err(|error| {
            let is_final = error
                .raw_response()
                .is_some_and(|response| response.status().is_client_error());
            let error =
                describe(error).during(format_args!("get object {key} from byte {offset} on"));
            if is_final {
                ConnectError::Final(error)
            } else {
                ConnectError::Transient(error)
            }
        })?;
        if output
            .content_length
            .and_then(|length| u64::try_from(length).ok())
            != Some(*left)
        {
            let got = output.content_length;
            return Err(ConnectError::Final(Error::new(format_args!(
                "object {key} has {got:?} bytes from byte {offset} on, and {left} were expected"
            ))));
        }
        self.stream = output.body;
        self.etag = output.e_tag;
        Ok(())
    }
}

enum ConnectError {
    /// The object does not exist, is another one, or must not be read. Another attempt does not help.
    Final(Error),
    /// Another attempt may help.
    Transient(Error),
}
