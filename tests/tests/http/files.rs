//! `GET` and `HEAD /security/report/files`.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use domain::organization::OrganizationId;
use download_files::Files;
use local::client::File;
use local::{Functions, Options, service};
use reqwest::Client;
use serde_json::json;
use tests::faults::Proxy;
use tests::metrics::Records;
use tests::samples::{files, metadata, noise};
use tests::system::{Reply, System, organization, text};
use tower::ServiceExt as _;
use zip::ZipArchive;

const UNKNOWN: &str = "00000000-0000-0000-0000-0000000000ff";

/// A system with two reports, and their ids.
async fn with_two_reports() -> (System, OrganizationId, [String; 2]) {
    let system = System::start().await;
    let org = organization();
    let one = system.publish(org, &metadata("1.0"), &files("one")).await;
    let two = system.publish(org, &metadata("2.0"), &files("two")).await;
    (system, org, [one, two])
}

fn path(org: OrganizationId, reports: &str) -> String {
    format!("/security/report/files?org={org}&reports={reports}")
}

fn entries(archive: &Bytes) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    (0..archive.len())
        .map(|number| {
            let mut entry = archive.by_index(number).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

#[tokio::test]
async fn an_archive_holds_the_files_as_they_were_published() {
    let (system, org, [one, two]) = with_two_reports().await;

    let reply = system.get(&path(org, &format!("{two},{one}"))).await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/zip");
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename=\"2 security reports.zip\""
    );
    assert!(
        reply.header("etag").starts_with('"') && !reply.headers.contains_key("x-missing-reports")
    );

    let entries = entries(&reply.body);
    let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let of =
        |version: &str, file: &str| format!("Test product {version} CWE Top 25 2024/report.{file}");
    assert_eq!(
        names,
        [
            "reports.json",
            &of("2.0", "html"),
            &of("2.0", "pdf"),
            &of("1.0", "html"),
            &of("1.0", "pdf")
        ]
    );
    let published: Vec<Vec<u8>> = ["two", "one"]
        .into_iter()
        .flat_map(files)
        .map(|file| file.bytes)
        .collect();
    assert!(entries[1..].iter().map(|(_, bytes)| bytes).eq(&published));

    let manifest: serde_json::Value = serde_json::from_slice(&entries[0].1).unwrap();
    assert_eq!(manifest["organizationId"], org.to_string());
    assert_eq!(manifest["missing"], json!([]));
    let described = &manifest["reports"][1];
    assert_eq!(
        (&described["id"], &described["revision"]),
        (&json!(one), &json!(1))
    );
    assert_eq!(described["folder"], "Test product 1.0 CWE Top 25 2024");
    assert_eq!(described["date"], "2025-12-17T09:05:48.5946432+00:00");
    let mut declared = files("one")[0].declaration();
    declared["name"] = json!("report.html");
    assert_eq!(described["files"][0], declared, "name, size and SHA-256");
    // What calls are made of is for who is called, and for nobody else.
    let fields = described.as_object().unwrap().keys();
    let fields: Vec<&str> = fields.map(String::as_str).collect();
    for internal in ["origin", "serverUrl", "projectUrl"] {
        assert!(!fields.contains(&internal), "{fields:?}");
    }
}

#[tokio::test]
async fn reports_may_be_named_in_three_ways() {
    let (system, org, [one, two]) = with_two_reports().await;
    let expected = system.get(&path(org, &format!("{one},{two}"))).await;
    for reports in [
        format!("reports={one}&reports={two}"),
        format!("reports%5B%5D={one}&reports[]={two}"),
        format!("reports={one}&reports={one}&reports={two},{one}"),
        format!("reports={one}%2C%20{two},"),
    ] {
        let reply = system
            .get(&format!("/security/report/files?org={org}&{reports}"))
            .await;
        assert_eq!(reply.header("etag"), expected.header("etag"), "{reports}");
        assert_eq!(reply.body, expected.body);
    }
    let reversed = system.get(&path(org, &format!("{two},{one}"))).await;
    assert_ne!(reversed.header("etag"), expected.header("etag"));
}

#[tokio::test]
async fn what_is_not_found_is_named() {
    let (system, org, [one, _]) = with_two_reports().await;
    let reply = system.get(&path(org, &format!("{UNKNOWN},{one}"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("x-missing-reports"), UNKNOWN);
    let manifest: serde_json::Value = serde_json::from_slice(&entries(&reply.body)[0].1).unwrap();
    assert_eq!(manifest["missing"], json!([UNKNOWN]));

    let nothing = system.get(&path(org, UNKNOWN)).await;
    assert_eq!((nothing.status.as_u16(), nothing.body.len()), (204, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said() {
    let system = System::start().await;
    let org = organization();
    let ids = |count: u128| {
        (0..count)
            .map(|n| uuid::Uuid::from_u128(n).to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    for (query, code) in [
        (format!("reports={UNKNOWN}"), "missing_parameter"),
        (format!("org={org}"), "missing_parameter"),
        (format!("org={org}&reports="), "missing_parameter"),
        (format!("org={org}&reports=,"), "missing_parameter"),
        (format!("org={org}&reports=1"), "invalid_report_id"),
        (format!("org=1&reports={UNKNOWN}"), "invalid_organization"),
        (format!("org={org}&report={UNKNOWN}"), "unknown_parameter"),
        (
            format!("org={org}&reports={}", ids(101)),
            "too_many_reports",
        ),
    ] {
        let reply = system.get(&format!("/security/report/files?{query}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, code),
            "{query}"
        );
    }
    assert_eq!(system.get(&path(org, &ids(100))).await.status, 204);
}

#[tokio::test]
async fn any_range_is_the_slice_of_the_whole() {
    let (system, org, ids) = with_two_reports().await;
    let path = path(org, &ids.join(","));
    let whole = system.get(&path).await;
    let length = whole.body.len();
    // A spread of ranges that begin and end in headers, in payloads, and across several of them.
    for step in 0..60 {
        let first = (step * 37) % length;
        let last = (first + step * step * 3).min(length - 1);
        let reply = system
            .send(
                system
                    .request("GET", &path)
                    .header("range", format!("bytes={first}-{last}")),
            )
            .await;
        assert_eq!(reply.status, 206);
        assert_eq!(
            reply.header("content-range"),
            format!("bytes {first}-{last}/{length}")
        );
        assert_eq!(
            reply.header("content-length"),
            (last - first + 1).to_string()
        );
        assert_eq!(reply.header("etag"), whole.header("etag"));
        assert_eq!(
            reply.body,
            whole.body.slice(first..=last),
            "bytes {first} to {last}"
        );
    }
    let tail = system
        .send(system.request("GET", &path).header("range", "bytes=-22"))
        .await;
    assert_eq!(tail.body, whole.body.slice(length - 22..));
    let behind = system
        .send(
            system
                .request("GET", &path)
                .header("range", format!("bytes={length}-")),
        )
        .await;
    assert_eq!(
        (behind.status.as_u16(), behind.code().as_str()),
        (416, "range_not_satisfiable")
    );
    assert_eq!(behind.header("content-range"), format!("bytes */{length}"));
    let several = system
        .send(
            system
                .request("GET", &path)
                .header("range", "bytes=0-1,5-6"),
        )
        .await;
    assert_eq!(
        (several.status.as_u16(), several.body),
        (200, whole.body.clone())
    );
}

#[tokio::test]
async fn requests_may_be_conditional() {
    let (system, org, [one, _]) = with_two_reports().await;
    let path = path(org, &one);
    let whole = system.get(&path).await;
    let etag = whole.header("etag");
    let with = async |name: &str, value: &str| {
        system
            .send(system.request("GET", &path).header(name, value))
            .await
    };

    let unchanged = with("if-none-match", etag).await;
    assert_eq!(
        (
            unchanged.status.as_u16(),
            unchanged.header("etag"),
            unchanged.body.len()
        ),
        (304, etag, 0)
    );
    assert_eq!(
        with("if-none-match", &format!("\"x\", W/{etag}"))
            .await
            .status,
        304
    );
    assert_eq!(with("if-none-match", "\"x\"").await.status, 200);
    assert_eq!(with("if-match", etag).await.status, 200);
    assert_eq!(
        with("if-match", "\"x\"").await.code(),
        "precondition_failed"
    );

    let range = |if_range| {
        system
            .request("GET", &path)
            .header("range", "bytes=0-3")
            .header("if-range", if_range)
    };
    assert_eq!(system.send(range(etag)).await.body, "PK\x03\x04");
    assert_eq!(system.send(range("\"x\"")).await.body, whole.body);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let (system, org, ids) = with_two_reports().await;
    let path = path(org, &format!("{},{UNKNOWN}", ids.join(",")));
    let get = system.get(&path).await;
    // A range has no meaning for HEAD.
    let head = system
        .send(system.request("HEAD", &path).header("range", "bytes=0-3"))
        .await;
    assert_eq!((head.status, head.body.len()), (get.status, 0));
    for name in [
        "content-length",
        "content-type",
        "etag",
        "accept-ranges",
        "content-disposition",
        "x-missing-reports",
    ] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    let none = system
        .send(
            system
                .request("HEAD", &path)
                .header("if-none-match", get.header("etag")),
        )
        .await;
    assert_eq!(none.status, 304);
}

#[tokio::test]
async fn the_same_request_gives_the_same_bytes_until_a_report_changes() {
    let (system, org, [one, _]) = with_two_reports().await;
    let path = path(org, &one);
    let before = system.get(&path).await;
    assert_eq!(system.get(&path).await.body, before.body);
    system
        .publish(org, &metadata("1.0"), &files("changed"))
        .await;
    let after = system.get(&path).await;
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(entries(&after.body)[2].1, files("changed")[1].bytes);
}

#[tokio::test]
async fn an_archive_over_the_limit_is_refused_and_may_be_fetched_in_parts() {
    let system = System::start_with(Options {
        max_response_bytes: Some(2000),
        ..Options::default()
    })
    .await;
    let org = organization();
    let big = vec![File {
        name: "report.pdf".to_owned(),
        bytes: (0..3000_u32).map(|n| n as u8).collect(),
    }];
    let id = system.publish(org, &metadata("1.0"), &big).await;
    let path = path(org, &id);

    let refused = system.get(&path).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (413, "archive_too_large")
    );
    assert!(
        text(&refused.json()["message"]).contains("Range"),
        "{refused:?}"
    );
    assert_eq!(system.send(system.request("HEAD", &path)).await.status, 413);

    let etag = refused.header("etag");
    let mut whole = Vec::new();
    for first in (0..).step_by(2000) {
        let range = format!("bytes={first}-{}", first + 1999);
        let part = system
            .send(
                system
                    .request("GET", &path)
                    .header("range", range)
                    .header("if-match", etag),
            )
            .await;
        if part.status == 416 {
            break;
        }
        assert_eq!(part.status, 206);
        whole.extend_from_slice(&part.body);
    }
    assert_eq!(entries(&whole.into())[1].1, big[0].bytes);
    let too_much = system
        .send(system.request("GET", &path).header("range", "bytes=0-2000"))
        .await;
    assert_eq!(too_much.status, 413);
}

#[tokio::test]
async fn names_in_an_archive_are_told_apart_and_harmless() {
    let system = System::start().await;
    let org = organization();
    let mut ids = Vec::new();
    for key in ["one", "two", "three"] {
        let mut metadata = metadata("1.0");
        metadata["projectKey"] = json!(key);
        metadata["projectName"] = json!(if key == "three" {
            "../Склад\u{202e}"
        } else {
            "Test product"
        });
        let files = ["a?.html", "A*.html", "Отчёт.pdf"].map(|name| File {
            name: name.to_owned(),
            bytes: name.into(),
        });
        ids.push(system.publish(org, &metadata, &files).await);
    }
    let reply = system.get(&path(org, &ids.join(","))).await;
    let names: BTreeSet<String> = entries(&reply.body)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let folders = [
        "Test product 1.0 CWE Top 25 2024",
        "Test product 1.0 CWE Top 25 2024 (2)",
        "_Склад_ 1.0 CWE Top 25 2024",
    ];
    let mut expected = BTreeSet::from(["reports.json".to_owned()]);
    for folder in folders {
        expected
            .extend(["a_.html", "A_ (2).html", "Отчёт.pdf"].map(|name| format!("{folder}/{name}")));
    }
    assert_eq!(names, expected);

    let mut long = metadata("3.0-rc.1");
    long["projectName"] = json!("Й".repeat(500));
    let id = system.publish(org, &long, &files("a")).await;
    let reply = system.get(&path(org, &id)).await;
    let name = &entries(&reply.body)[1].0;
    assert!(
        name.ends_with("Й 3.0-rc.1 CWE Top 25 2024/report.html"),
        "a long name leaves room for the version: {name}"
    );

    let alone = system.get(&path(org, &ids[2])).await;
    let disposition = alone.header("content-disposition");
    assert!(
        disposition.starts_with("attachment; filename=\"_______ 1.0 CWE Top 25 2024.zip\""),
        "{disposition}"
    );
    assert!(
        disposition.contains("filename*=UTF-8''_%D0%A1%D0%BA"),
        "{disposition}"
    );
}

#[tokio::test]
async fn an_archive_of_many_and_empty_files_is_complete() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    let mut ids = Vec::new();
    for version in 1..=10 {
        let file = |number: usize| File {
            name: format!("{number}.pdf"),
            bytes: vec![b'x'; number * 700],
        };
        let published = publisher
            .publish(
                &metadata(&version.to_string()),
                &(0..20).map(file).collect::<Vec<_>>(),
            )
            .await;
        ids.push(text(&published.unwrap()["id"]));
    }
    let entries = entries(&system.get(&path(org, &ids.join(","))).await.body);
    assert_eq!(entries.len(), 201);
    for (number, (name, bytes)) in entries[1..].iter().enumerate() {
        assert_eq!(bytes, &vec![b'x'; number % 20 * 700], "{name}");
    }
}

#[tokio::test]
async fn what_is_recorded_are_the_archives_that_are_sent() {
    let (system, org, [one, two]) = with_two_reports().await;
    let both = path(org, &format!("{one},{two}"));
    let length = system.get(&both).await.body.len() as u64;
    let records = Records::default();
    let router = download_files::router(Files {
        metrics: records.metrics(),
        ..system.stack.files.clone()
    });
    for (method, path, range, recorded) in [
        ("GET", &both, None, Some(length)),
        ("GET", &both, Some("bytes=10-99"), Some(90)),
        ("GET", &both, Some("bytes=99999999-"), None),
        ("HEAD", &both, None, None),
        ("GET", &path(org, UNKNOWN), None, None),
        ("GET", &path(org, "7"), None, None),
    ] {
        let before = records.figures().len();
        let request = Request::builder().method(method).uri(path);
        let request = match range {
            Some(range) => request.header("range", range),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(records.figures().len(), before, "not before its first byte");
        to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let figures = records.figures();
        let figures = figures[before..].iter();
        let sizes: Vec<u64> = figures.flat_map(|it| it["ArchiveBytes"].clone()).collect();
        assert_eq!(sizes, Vec::from_iter(recorded), "{method} {path} {range:?}");
    }
    for figures in records.figures() {
        assert_eq!(figures["TimeToFirstByte"].len(), 1);
    }
}

/// *Invariant:* a download that cannot be finished is visibly broken, never a complete-looking archive.
mod with_a_broken_bucket {
    use super::*;

    /// An API that reads its files through a proxy, a large archive of it, and the whole of it.
    async fn through_proxy() -> (System, Proxy, String, Bytes) {
        let system = System::start().await;
        let org = organization();
        // Not compressible, and larger than everything that is read ahead.
        let files = ["a", "b", "c"].map(|name| File {
            name: format!("{name}.pdf"),
            bytes: noise(4 << 20),
        });
        let id = system.publish(org, &metadata("1.0"), &files).await;
        let path = path(org, &id);
        let whole = system.get(&path).await.body;

        let (_, endpoint) = system
            .stack
            .environment()
            .into_iter()
            .find(|(name, _)| *name == "AWS_ENDPOINT_URL_S3")
            .unwrap();
        let proxy = Proxy::to(&endpoint).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let service = service(&Functions {
            files: &system.stack.files_through(&proxy.url),
            ..system.stack.functions()
        });
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        (system, proxy, url, whole)
    }

    async fn get(url: &str) -> Reply {
        Reply::of(
            Client::builder()
                .no_proxy()
                .build()
                .unwrap()
                .get(url)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    #[tokio::test]
    async fn a_broken_read_goes_on_behind_its_last_byte() {
        let (_system, proxy, url, whole) = through_proxy().await;
        for (after, times) in [(3 << 20, 1), (1 << 20, 3), (100_000, 2)] {
            proxy.break_after(after, times);
            assert!(
                get(&url).await.body == whole,
                "broken {times} times after {after} bytes"
            );
            assert_eq!(proxy.breaks_left(), 0);
        }
        let sent = proxy.sent().to_lowercase();
        assert!(
            sent.contains("\r\nif-match: \""),
            "what is read after a break is of the same object: {sent}"
        );
    }

    #[tokio::test]
    async fn a_bucket_that_fails_for_good_breaks_the_download() {
        let (_system, proxy, url, whole) = through_proxy().await;
        proxy.break_for_good_after(3 << 20);
        let mut response = Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(&url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let mut got = 0;
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => panic!("{got} bytes of {} look like the whole", whole.len()),
                Err(error) => break error,
            }
        };
        assert!(got > 0 && got < whole.len(), "{error}");
    }

    #[tokio::test]
    async fn a_bucket_that_fails_before_the_first_byte_is_an_error_of_the_request() {
        let (_system, proxy, url, _) = through_proxy().await;
        proxy.break_for_good_after(0);
        let reply = get(&url).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (500, "internal_error")
        );
        let message = text(&reply.json()["message"]);
        assert!(
            !message.contains("reports/") && !message.contains("127.0.0.1"),
            "no internals: {message}"
        );
    }

    #[tokio::test]
    async fn an_object_that_is_not_what_was_recorded_is_an_error() {
        let system = System::start().await;
        let org = organization();
        let id = system.publish(org, &metadata("1.0"), &files("a")).await;
        let objects = system
            .stack
            .s3
            .list_objects_v2()
            .bucket(system.stack.bucket())
            .prefix("reports/")
            .send()
            .await
            .unwrap();
        for object in objects.contents.unwrap() {
            let put = system
                .stack
                .s3
                .put_object()
                .bucket(system.stack.bucket())
                .key(object.key.unwrap());
            put.body(b"something else".to_vec().into())
                .send()
                .await
                .unwrap();
        }
        let reply = system.get(&path(org, &id)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (500, "internal_error")
        );
    }
}
