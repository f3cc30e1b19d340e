//! The bytes of an archive, read from the bucket while they are sent.
//!
//! They are passed on as they come. No byte is copied, and none is read before hyper asks for it. hyper holds 16 chunks or a
//! megabyte for the connection. What the bucket sends ahead waits in the buffers of its connections, of which [`OPEN_AHEAD`]
//! are open. So memory does not grow with the archive.

use std::collections::VecDeque;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use store::objects::{ObjectRead, reading_client};

use crate::archive::Segment;

/// How many objects are opened before their turn, to hide the time until S3 sends the first byte. For small files that is
/// nearly the whole time.
const OPEN_AHEAD: usize = 8;

/// The bucket with the reports' files.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket with this name. `config` has the region and the credentials. The timeouts and retries are a download's own.
    pub fn new(config: aws_sdk_s3::config::Builder, name: impl Into<String>) -> Self {
        Self {
            client: reading_client(config),
            name: name.into(),
        }
    }
}

/// The body of a response with these segments.
///
/// Returns when the first object is open, so that a failure up to then is still an error of the request. A later failure is
/// an `Err` of the body, and breaks the connection: see [`web::lambda::run_streaming`].
pub(crate) async fn body(bucket: Bucket, segments: Vec<Segment>) -> anyhow::Result<Body> {
    let length = segments.iter().map(Segment::length).sum();
    let open = move |segment| {
        // A task, so that it continues while an earlier object is being read.
        let opened = tokio::spawn(open(bucket.clone(), segment));
        async { opened.await.context("open an object")? }
    };
    // A header lies between two objects.
    let sources = stream::iter(segments).map(open).buffered(2 * OPEN_AHEAD);
    let mut archive = Archive::of(sources.boxed(), length);
    archive.settle().await?;
    let frames = stream::try_unfold(Box::new(archive), async |mut archive| {
        let frame = archive.next().await.inspect_err(|error| {
            tracing::error!("a download cannot be finished: {error:#}");
        })?;
        anyhow::Ok(frame.map(|frame| (frame, archive)))
    });
    Ok(Body::from_stream(frames))
}

type Sources = BoxStream<'static, anyhow::Result<Source>>;

/// An archive that is being sent.
struct Archive {
    sources: Sources,
    /// The sources that are open already, before the others.
    settled: VecDeque<Source>,
    /// The object that is being read.
    current: Option<Box<ObjectRead>>,
    /// How many bytes are left.
    left: u64,
}

impl Archive {
    fn of(sources: Sources, length: u64) -> Self {
        Self {
            sources,
            settled: VecDeque::new(),
            current: None,
            left: length,
        }
    }

    /// Waits until the first object is open.
    async fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(source) = self.sources.next().await.transpose()? {
            let is_object = matches!(source, Source::Object(_));
            self.settled.push_back(source);
            if is_object {
                break;
            }
        }
        Ok(())
    }

    /// The next bytes. It is an error if no more come although some are missing, for whatever reason: the end of a body is
    /// the end of the archive.
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let Some(bytes) = self.read().await? else {
            anyhow::ensure!(
                self.left == 0,
                "the download ended {} bytes early",
                self.left
            );
            return Ok(None);
        };
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.context("more bytes came than were planned")?;
        Ok(Some(bytes))
    }

    async fn read(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(object) = &mut self.current {
                match object.next().await? {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => self.current = None,
                }
            }
            let source = match self.settled.pop_front() {
                None => self.sources.next().await.transpose()?,
                settled => settled,
            };
            match source {
                Some(Source::Bytes(bytes)) => return Ok(Some(bytes)),
                Some(Source::Object(object)) => self.current = Some(object),
                None => return Ok(None),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_that_end_early_or_late_are_an_error() {
        for (length, expected) in [(3, true), (4, false), (2, false)] {
            let sources = ["a", "bc"].map(|text| Ok(Source::Bytes(Bytes::from(text))));
            let mut archive = Archive::of(stream::iter(sources).boxed(), length);
            archive.settle().await.unwrap();
            let mut result = archive.next().await;
            while matches!(result, Ok(Some(_))) {
                result = archive.next().await;
            }
            assert_eq!(result.is_ok(), expected, "3 of {length} bytes");
        }
    }
}
