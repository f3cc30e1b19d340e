//! The bytes of an archive, read from the bucket while they are sent.
//!
//! A task of its own reads ahead, so the bucket works while the receiver does. It is bounded in three ways, none of which
//! grows with the archive: [`OPEN_AHEAD`] objects are open, each holding what the connection has buffered;
//! [`FRAMES_AHEAD`] frames wait in a channel; one frame is being filled.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};
use shared::report_store::describe;
use tokio::sync::mpsc;

use crate::archive::{Object, Segment};

/// How many objects are opened before their turn, to hide the time that S3 takes to its first byte. With small files that
/// time is nearly all there is.
const OPEN_AHEAD: usize = 8;
/// The largest size of a frame in bytes; most have it. The Lambda runtime hands over one frame at a time, so small ones
/// would be slow.
const FRAME: usize = 128 * 1024;
/// How many frames are read before their turn.
const FRAMES_AHEAD: usize = 16;

/// How long a connection may take to the first byte, and between bytes, before it counts as broken.
const SILENCE: Duration = Duration::from_secs(10);
/// How often in a row a read may break without having got a single byte, before the download is given up.
const FRUITLESS_ATTEMPTS: u32 = 5;
/// The pause before the second fruitless attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The bucket with the reports' files.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket with this name, with timeouts as downloads need them. `config` says the rest.
    pub fn new(config: aws_sdk_s3::config::Builder, name: impl Into<String>) -> Self {
        let config = config
            .timeout_config(TimeoutConfig::builder().read_timeout(SILENCE).build())
            // It takes a receiver that is slow for a bucket that is. Our own watch is the constant SILENCE.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.into(),
        }
    }
}

/// The body of a response with these segments.
///
/// Returns when the first object is open, so that whatever fails up to then is still an error of the request. What fails
/// later is an `Err` of the body: see [`crate::abort_process_on_error`].
pub(crate) async fn body(bucket: Bucket, segments: Vec<Segment>) -> anyhow::Result<Body> {
    let mut sources = Box::pin(
        stream::iter(segments)
            .map(move |segment| open(bucket.clone(), segment))
            .buffered(OPEN_AHEAD),
    );
    let mut settled = Vec::new();
    while let Some(source) = sources.next().await {
        let source = source?;
        let is_object = matches!(source, Source::Object(_));
        settled.push(Ok(source));
        if is_object {
            break;
        }
    }

    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    tokio::spawn(send_frames(stream::iter(settled).chain(sources), sender));
    let frames = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    Ok(Body::from_stream(frames))
}

/// Joins the sources' bytes into frames until the end, an error, or until nobody receives any more.
async fn send_frames(
    sources: impl Stream<Item = anyhow::Result<Source>>,
    sender: mpsc::Sender<anyhow::Result<Bytes>>,
) {
    let mut chunks = std::pin::pin!(sources.flat_map(chunks));
    let mut frame = BytesMut::with_capacity(FRAME);
    while let Some(chunk) = chunks.next().await {
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                // If the receiver is gone, nobody needs to know.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(FRAME - frame.len()));
            let full = if part.len() == FRAME {
                part
            } else {
                frame.extend_from_slice(&part);
                if frame.len() < FRAME {
                    continue;
                }
                frame.split().freeze()
            };
            if sender.send(Ok(full)).await.is_err() {
                return;
            }
        }
    }
    if !frame.is_empty() {
        let _ = sender.send(Ok(frame.freeze())).await;
    }
}

enum Source {
    Bytes(Bytes),
    Object(Box<Read>),
}

async fn open(bucket: Bucket, segment: Segment) -> anyhow::Result<Source> {
    Ok(match segment {
        Segment::Bytes(bytes) => Source::Bytes(bytes),
        Segment::Object { object, length } => {
            Source::Object(Box::new(Read::open(bucket, object, length).await?))
        }
    })
}

fn chunks(source: anyhow::Result<Source>) -> stream::BoxStream<'static, anyhow::Result<Bytes>> {
    match source {
        Ok(Source::Bytes(bytes)) => stream::iter([Ok(bytes)]).boxed(),
        Ok(Source::Object(read)) => stream::try_unfold(read, |mut read| async {
            Ok(read.next().await?.map(|chunk| (chunk, read)))
        })
        .boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// An object that is being read, and goes on behind the last byte when the connection breaks.
struct Read {
    bucket: Bucket,
    /// From the next byte on.
    object: Object,
    /// How many bytes are left.
    left: u64,
    /// The object's entity tag: what is read after a break must be of the same object.
    etag: Option<String>,
    stream: ByteStream,
    fruitless: u32,
}

impl Read {
    async fn open(bucket: Bucket, object: Object, length: u64) -> anyhow::Result<Self> {
        let (stream, etag) = get(&bucket, &object, length, None).await?;
        Ok(Self {
            bucket,
            object,
            left: length,
            etag,
            stream,
            fruitless: 0,
        })
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        while self.left > 0 {
            let broken = match tokio::time::timeout(SILENCE, self.stream.next()).await {
                Ok(Some(Ok(mut chunk))) => {
                    if chunk.is_empty() {
                        continue;
                    }
                    chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.object.offset += chunk.len() as u64;
                    self.left -= chunk.len() as u64;
                    self.fruitless = 0;
                    return Ok(Some(chunk));
                }
                Ok(Some(Err(error))) => describe(error),
                Ok(None) => anyhow::anyhow!("the connection ended {} bytes early", self.left),
                Err(_) => anyhow::anyhow!("no byte came for {} s", SILENCE.as_secs()),
            };
            self.resume(broken).await?;
        }
        Ok(None)
    }

    /// Opens the object anew behind the last byte. `broken` is what ended the connection.
    async fn resume(&mut self, mut broken: anyhow::Error) -> anyhow::Result<()> {
        let key = &self.object.key;
        loop {
            self.fruitless += 1;
            if self.fruitless == FRUITLESS_ATTEMPTS {
                return Err(broken)
                    .with_context(|| format!("give up {key} at byte {}", self.object.offset));
            }
            if self.fruitless > 1 {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.fruitless - 2)).await;
            }
            tracing::warn!(
                key,
                "the read of {key} broke at byte {}, going on: {broken:#}",
                self.object.offset
            );
            match get(&self.bucket, &self.object, self.left, self.etag.as_deref()).await {
                Ok((stream, _)) => {
                    self.stream = stream;
                    return Ok(());
                }
                Err(GetError::Final(error)) => return Err(error),
                Err(GetError::Transient(error)) => broken = error,
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum GetError {
    /// The object is not there, is another one, or must not be read: asking again changes nothing.
    #[error(transparent)]
    Final(anyhow::Error),
    /// The SDK's own attempts failed too; a later one may not.
    #[error(transparent)]
    Transient(anyhow::Error),
}

/// `length` bytes of the object from its offset on, and its entity tag; only of the object that has `etag` when given.
async fn get(
    bucket: &Bucket,
    object: &Object,
    length: u64,
    etag: Option<&str>,
) -> Result<(ByteStream, Option<String>), GetError> {
    let Object {
        key,
        version_id,
        offset,
    } = object;
    let request = bucket
        .client
        .get_object()
        .bucket(&bucket.name)
        .key(key)
        .set_version_id(version_id.clone())
        .range(format!("bytes={offset}-{}", offset + length - 1))
        .set_if_match(etag.map(str::to_owned));
    let output = request.send().await.map_err(|error| {
        let is_final = error
            .raw_response()
            .is_some_and(|response| response.status().is_client_error());
        let error = describe(error).context(format!("get object {key} from byte {offset} on"));
        if is_final {
            GetError::Final(error)
        } else {
            GetError::Transient(error)
        }
    })?;
    match output.content_length {
        Some(got) if u64::try_from(got).is_ok_and(|got| got == length) => {
            Ok((output.body, output.e_tag))
        }
        got => {
            let error = anyhow::anyhow!(
                "object {key} has {got:?} bytes from byte {offset} on, and {length} were recorded"
            );
            Err(GetError::Final(error))
        }
    }
}
