//! Downloads from a bucket that misbehaves, or whose receiver does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::primitives::SdkBody;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use domain::report::{Method, StoredFile};
use download_files::{Bucket, Files};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tests::bucket::{self, Get, failed, found};
use tests::samples::stored_report;
use tests::system::{System, organization};
use tower::ServiceExt as _;

const CHUNK: usize = 64 * 1024;

/// The bytes of a body, one chunk after the other, as they are asked for.
fn chunks(length: usize, on_read: impl Fn(usize) + Send + Sync + 'static) -> SdkBody {
    let chunks = (0..length).step_by(CHUNK).map(move |at| {
        let chunk = Bytes::from(vec![7; CHUNK.min(length - at)]);
        on_read(chunk.len());
        Ok::<_, std::io::Error>(Frame::data(chunk))
    });
    SdkBody::from_body_1_x(StreamBody::new(stream::iter(chunks)))
}

/// The response to a download of so many stored files of this size from the bucket.
async fn download(
    count: usize,
    size: usize,
    answer: impl Fn(Get) -> Response<SdkBody> + Send + Sync + 'static,
) -> Response<Body> {
    let system = System::start().await;
    let org = organization();
    let mut report = stored_report(org, 1);
    let file = |number: usize| StoredFile {
        name: format!("{number}.pdf"),
        key: number.to_string(),
        version_id: None,
        method: Method::Stored,
        payload_offset: 0,
        payload_size: size as u64,
        crc32: 0,
        size: size as u64,
        sha256: "0".repeat(64),
    };
    report.files = (0..count).map(file).collect();
    let id = report.id;
    system.seed([report]).await;

    let config = bucket::in_memory(answer);
    let files = Files {
        bucket: Bucket::new(config, "bucket"),
        max_response_bytes: u64::MAX,
        ..system.stack.files.clone()
    };
    let uri = format!("{}?org={org}&reports={id}", download_files::PATH);
    let request = Request::get(uri).body(Body::empty()).unwrap();
    web::api::service(download_files::router(files))
        .oneshot(request)
        .await
        .unwrap()
}

fn length_of(response: &Response<Body>) -> usize {
    response.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn assert_complete(response: Response<Body>) {
    assert_eq!(response.status(), 200);
    let length = length_of(&response);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), length);
}

/// *Invariant:* memory for a download does not grow with the archive. Nothing is read before it is asked for, and eight objects are
/// open at the most.
#[tokio::test]
async fn no_more_is_read_than_is_asked_for() {
    const SIZE: usize = 400 << 20;
    let (read, opened) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counters = (Arc::clone(&read), Arc::clone(&opened));
    let answer = move |get: Get| {
        let read = Arc::clone(&counters.0);
        counters.1.fetch_add(1, Ordering::SeqCst);
        let body = chunks(get.length, move |bytes| {
            read.fetch_add(bytes, Ordering::SeqCst);
        });
        found(get.length, "\"e\"", body)
    };
    let mut response = download(20, SIZE, answer).await;
    assert!(length_of(&response) > 20 * SIZE);

    let mut received = 0;
    for _ in 0..50 {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        received += frame.into_data().unwrap().len();
        // Everything that wants to run has run.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let ahead = read.load(Ordering::SeqCst).saturating_sub(received);
        assert_eq!(ahead, 0, "bytes are read and not received");
    }
    assert_eq!(opened.load(Ordering::SeqCst), 8, "objects are open");
}

#[tokio::test]
async fn an_object_that_changed_is_not_read_on() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let answer = move |get: Get| {
        requests.lock().unwrap().push(get.if_match.clone());
        match get.if_match {
            // Half of it comes.
            None => found(get.length, "\"one\"", chunks(get.length / 2, |_| {})),
            Some(_) => failed(412),
        }
    };
    let response = download(1, 10 * CHUNK, answer).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(
        *seen.lock().unwrap(),
        [None, Some("\"one\"".to_owned())],
        "and it is not asked for again"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_opened_at_once_does_not_end_the_download() {
    let attempts = Mutex::new(HashMap::<String, usize>::new());
    let answer = move |get: Get| {
        let mut attempts = attempts.lock().unwrap();
        let attempt = attempts.entry(get.key.clone()).or_default();
        *attempt += 1;
        // Each object, also the first one, is there at the fourth attempt.
        if *attempt < 4 {
            failed(503)
        } else {
            found(get.length, "\"e\"", chunks(get.length, |_| {}))
        }
    };
    let response = download(12, CHUNK, answer).await;
    assert_complete(response).await;
}

#[tokio::test]
async fn a_body_that_breaks_again_and_again_is_read_to_its_end() {
    let answer = |get: Get| {
        let is_right = get.offset == 0 || get.if_match.as_deref() == Some("\"e\"");
        // Never more than one chunk at a time.
        if is_right {
            found(get.length, "\"e\"", chunks(get.length.min(CHUNK), |_| {}))
        } else {
            failed(412)
        }
    };
    let response = download(2, 20 * CHUNK, answer).await;
    assert_complete(response).await;
}

#[tokio::test]
async fn an_object_that_is_missing_or_too_short_is_an_error_of_the_request() {
    for answer in [
        |_: Get| failed(404),
        |_: Get| found(1, "\"e\"", chunks(1, |_| {})),
        |_: Get| failed(403),
    ] {
        assert_eq!(download(1, CHUNK, answer).await.status(), 500);
    }
}
