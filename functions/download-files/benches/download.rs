//! What a download costs in CPU time: `cargo bench -p download-files`.
//!
//! The bucket is replaced by memory, so that only our code and the SDK's are measured, and the body is sent nowhere. In the same
//! run the same files are only copied, and zipped by the zip crate, which is what a download would cost if archives were not
//! planned.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::io::Write as _;
use std::time::Duration;

use aws_sdk_s3::primitives::SdkBody;
use axum::body::Body;
use axum::http::Request;
use bytes::{Bytes, BytesMut};
use domain::report::{Method, StoredFile};
use download_files::{Bucket, Files};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tests::bucket;
use tests::samples::{noise, stored_report};
use tests::system::{System, organization};
use tower::ServiceExt as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MB: usize = 1_000_000;
/// How large the files of the archive are, together 1 GB: a few large ones, and many small ones.
const SHAPES: [(&str, usize, usize); 2] = [
    ("10 files of 100 MB", 10, 100 * MB),
    ("2,000 files of 500 kB", 2000, MB / 2),
];
/// As much as hyper reads at a time from a fast connection.
const CHUNK: usize = 64 * 1024;

/// With one thread, as the function has it.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("CPU seconds per GB");
    let content = Bytes::from(noise(100 * MB));
    for (shape, count, size) in SHAPES {
        let file = content.slice(..size);
        let copied = cpu_time(async || copy(&file, count)).await;
        let system = System::start().await;
        let service = planned(&system, &file, count).await;
        let planned = cpu_time(async || drain(&service).await).await;
        let stored = cpu_time(async || zipped(&file, count, CompressionMethod::Stored)).await;
        let deflated = cpu_time(async || zipped(&file, count, CompressionMethod::Deflated)).await;
        println!("\n{shape}");
        for (name, time) in [
            ("copied once", copied),
            ("planned and streamed by us", planned),
            ("zip crate, stored", stored),
            ("zip crate, deflated", deflated),
        ] {
            let ratio = time.as_secs_f64() / planned.as_secs_f64();
            println!(
                "  {name:<28} {:>7.2} s   {ratio:>6.2} × ours",
                time.as_secs_f64()
            );
        }
    }
}

/// The CPU time that the process spends, the mean of three runs after a first one.
async fn cpu_time(mut run: impl AsyncFnMut()) -> Duration {
    const RUNS: u32 = 3;
    run().await;
    let before = process_time();
    for _ in 0..RUNS {
        run().await;
    }
    (process_time() - before) / RUNS
}

/// User and system time of this process, as Linux tells it.
fn process_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in parentheses, which may hold spaces, the 12th and 13th field, in hundredths of a second.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

fn copy(file: &Bytes, count: usize) {
    for _ in 0..count {
        for chunk in file.chunks(CHUNK) {
            std::hint::black_box(BytesMut::from(chunk));
        }
    }
}

fn zipped(file: &Bytes, count: usize, method: CompressionMethod) {
    let mut archive = ZipWriter::new_stream(std::io::sink());
    for number in 0..count {
        let options = SimpleFileOptions::default().compression_method(method);
        archive
            .start_file(format!("{number}.pdf"), options)
            .unwrap();
        archive.write_all(file).unwrap();
    }
    archive.finish().unwrap();
}

/// The service of a system whose bucket holds `file` under every key, and the request for `count` of them.
async fn planned(system: &System, file: &Bytes, count: usize) -> (axum::Router, String) {
    let org = organization();
    let stored = StoredFile {
        name: "report.pdf".to_owned(),
        key: "key".to_owned(),
        version_id: None,
        method: Method::Stored,
        payload_offset: 0,
        payload_size: file.len() as u64,
        crc32: crc32fast::hash(file),
        size: file.len() as u64,
        sha256: "0".repeat(64),
    };
    let per_report = count.div_ceil(100);
    let mut ids = Vec::new();
    let mut reports = Vec::new();
    for number in 0..count / per_report {
        let mut report = stored_report(org, number as u64);
        report.files = vec![stored.clone(); per_report];
        ids.push(report.id.to_string());
        reports.push(report);
    }
    system.seed(reports).await;

    let memory = file.clone();
    let config = bucket::in_memory(move |get| {
        let part = memory.slice(get.offset..get.offset + get.length);
        let chunks = (0..part.len()).step_by(CHUNK).map(move |at| {
            let chunk = part.slice(at..part.len().min(at + CHUNK));
            Ok::<_, std::io::Error>(Frame::data(chunk))
        });
        let body = SdkBody::from_body_1_x(StreamBody::new(stream::iter(chunks)));
        bucket::found(get.length, "\"e\"", body)
    });
    let files = Files {
        bucket: Bucket::new(config, "bucket"),
        max_response_bytes: u64::MAX,
        ..system.stack.files.clone()
    };
    let request = format!(
        "{}?org={org}&reports={}",
        download_files::PATH,
        ids.join(",")
    );
    (download_files::router(files), request)
}

async fn drain((service, request): &(axum::Router, String)) {
    let request = Request::get(request).body(Body::empty()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert!(length > 1000 * MB);
}
