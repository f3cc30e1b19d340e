//! Objects of a bucket, read in spite of connections that break.

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
/// How many failures in a row, without a single byte between them, are the end. A break after some bytes is the first.
const FRUITLESS_ATTEMPTS: u32 = 6;
/// The pause after the second failure in a row; it doubles with each further one, to 1.5 s in all. S3 asks for exponential
/// pauses when it answers 503 (S3 User Guide, "Best practices design patterns").
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A client whose reads fail fast, so that [`ObjectRead`] goes on where they did; for reading only.
pub fn reading_client(config: Builder) -> Client {
    let config = config
        .timeout_config(TimeoutConfig::builder().read_timeout(SILENCE).build())
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        // It takes a receiver that is slow for a bucket that is. Our own watch is the constant SILENCE.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // What is read is checked against hashes of our own, or was when it was written; the SDK would hash it all again.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

/// A part of an object that is being read, and goes on behind the last byte when the connection breaks.
#[derive(Debug)]
pub struct ObjectRead {
    client: Client,
    bucket: String,
    key: String,
    version_id: Option<String>,
    /// Of the next byte.
    offset: u64,
    /// How many bytes are left.
    left: u64,
    /// The object's entity tag: what is read after a break must be of the same object.
    etag: Option<String>,
    stream: ByteStream,
    fruitless: u32,
}

impl ObjectRead {
    /// Opens `length` bytes of an object from `offset` on; `length` is not 0.
    ///
    /// # Errors
    /// The object is not there, is shorter, or S3 does not answer in spite of some attempts.
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
    /// The object has changed, or S3 does not answer in spite of some attempts.
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

    /// Connects anew until it succeeds or is given up. `failure` is what went wrong before.
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
                "the read of {key} broke at byte {}, going on: {broken}",
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

    /// Asks for what is left; after the first time only of the object that was read before.
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
    /// The object is not there, is another one, or must not be read: asking again changes nothing.
    Final(Error),
    /// Asking again may help.
    Transient(Error),
}
