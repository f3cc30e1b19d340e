//! The bytes of an archive, read from the bucket while they are sent.
//!
//! A task of its own reads ahead, so the bucket works while the receiver does. It is bounded in three ways, none of which
//! grows with the archive: [`OPEN_AHEAD`] objects are open, each holding what the connection has buffered;
//! [`FRAMES_AHEAD`] frames wait in a channel; one frame is being filled.

use anyhow::Context as _;
use aws_sdk_s3::Client;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};
use store::objects::{ObjectRead, reading_client};
use tokio::sync::mpsc;

use crate::archive::Segment;

/// How many objects are opened before their turn, to hide the time that S3 takes to its first byte. With small files that
/// time is nearly all there is.
const OPEN_AHEAD: usize = 8;
/// The largest size of a frame in bytes; most have it. The Lambda runtime hands over one frame at a time, so small ones
/// would be slow.
const FRAME: usize = 128 * 1024;
/// How many frames are read before their turn.
const FRAMES_AHEAD: usize = 16;

/// The bucket with the reports' files.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket with this name. `config` says where and as whom; timeouts and retries are a download's own.
    pub fn new(config: aws_sdk_s3::config::Builder, name: impl Into<String>) -> Self {
        Self {
            client: reading_client(config),
            name: name.into(),
        }
    }
}

/// The body of a response with these segments.
///
/// Returns when the first object is open, so that whatever fails up to then is still an error of the request. What fails
/// later is an `Err` of the body: see [`crate::abort_process_on_error`].
pub(crate) async fn body(bucket: Bucket, segments: Vec<Segment>) -> anyhow::Result<Body> {
    let length = segments.iter().map(Segment::length).sum();
    let open = move |segment| {
        // A task, so that it goes on while an earlier object is being read.
        let opened = tokio::spawn(open(bucket.clone(), segment));
        async { opened.await.context("open an object")? }
    };
    // Between two objects lies a header.
    let mut sources = Box::pin(stream::iter(segments).map(open).buffered(2 * OPEN_AHEAD));
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
    Ok(Body::from_stream(stream::try_unfold(
        (receiver, length),
        next_frame,
    )))
}

type Receiving = (mpsc::Receiver<anyhow::Result<Bytes>>, u64);

/// The next frame of `left` bytes. When no more frames come although bytes are missing, for whatever reason, it is an
/// error: the end of a body is the end of the archive.
async fn next_frame((mut receiver, left): Receiving) -> anyhow::Result<Option<(Bytes, Receiving)>> {
    match receiver.recv().await {
        Some(frame) => {
            let frame = frame?;
            let left = left
                .checked_sub(frame.len() as u64)
                .context("more bytes came than were planned")?;
            Ok(Some((frame, (receiver, left))))
        }
        None if left == 0 => Ok(None),
        None => anyhow::bail!("the download ended {left} bytes early"),
    }
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
                tracing::error!("a download cannot be finished: {error:#}");
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
    Object(Box<ObjectRead>),
}

async fn open(bucket: Bucket, segment: Segment) -> anyhow::Result<Source> {
    Ok(match segment {
        Segment::Bytes(bytes) => Source::Bytes(bytes),
        Segment::Object { object, length } => {
            let Bucket { client, name } = bucket;
            let read = ObjectRead::open(
                client,
                name,
                object.key,
                object.version_id,
                object.offset,
                length,
            );
            Source::Object(Box::new(read.await?))
        }
    })
}

fn chunks(source: anyhow::Result<Source>) -> stream::BoxStream<'static, anyhow::Result<Bytes>> {
    match source {
        Ok(Source::Bytes(bytes)) => stream::iter([Ok(bytes)]).boxed(),
        Ok(Source::Object(read)) => {
            let next =
                async |mut read: Box<ObjectRead>| Ok(read.next().await?.map(|chunk| (chunk, read)));
            stream::try_unfold(read, next).boxed()
        }
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_that_end_early_or_late_are_an_error() {
        for (length, expected) in [(3, true), (4, false), (2, false)] {
            let (sender, receiver) = mpsc::channel(1);
            sender.send(Ok(Bytes::from_static(b"abc"))).await.unwrap();
            drop(sender);
            let mut frames = Box::pin(stream::try_unfold((receiver, length), next_frame));
            let mut is_complete = true;
            while let Some(frame) = frames.next().await {
                is_complete &= frame.is_ok();
            }
            assert_eq!(is_complete, expected, "3 of {length} bytes");
        }
    }
}
