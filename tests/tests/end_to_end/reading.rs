//! Listing and downloading.

use std::io::{Cursor, Read as _};

use bytes::Bytes;
use domain::organization::OrganizationId;
use serde_json::Value;
use tests::api::text;
use tests::deployment::Deployment;
use tests::samples::{files, metadata};
use tests::system::organization;
use zip::ZipArchive;

const UNKNOWN: &str = "00000000-0000-0000-0000-0000000000ff";

/// A system with a report for each version, and their ids.
async fn with(versions: &[&str]) -> (Deployment, OrganizationId, Vec<String>) {
    let (system, org) = (Deployment::open().await, organization());
    let publisher = system.publisher(org).await;
    let mut ids = Vec::new();
    for version in versions {
        let published = publisher.publish(&metadata(version), &files(version)).await;
        ids.push(text(&published.unwrap()["id"]));
    }
    (system, org, ids)
}

fn archive_of(org: OrganizationId, reports: &[&str]) -> String {
    let reports = reports.join(",");
    format!("/security/report/files?org={org}&reports={reports}")
}

fn entries(archive: &Bytes) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let count = archive.len();
    let entry = |number| {
        let mut entry = archive.by_index(number).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(entry).collect()
}

#[tokio::test]
async fn versions_are_filtered_ordered_and_paged() {
    let (system, org, ids) = with(&["v1.0", "1.10", "1.2.3.4", "2.0-rc.1"]).await;
    let [v1_0, v1_10, v1_2_3_4, v2_0_rc_1] = ids.as_slice() else {
        panic!("{ids:?}")
    };
    let ascending = [v1_0, v1_2_3_4, v1_10, v2_0_rc_1].map(String::as_str);
    let listed = async |query: &str| system.listed(&format!("org={org}&{query}")).await;
    assert_eq!(listed("minver=0&order=asc").await, ascending);
    assert_eq!(
        listed("minver=1.1&maxver=1.10").await,
        [v1_10.as_str(), v1_2_3_4]
    );
    assert_eq!(listed("version=1").await, [v1_0.as_str()]);
    assert!(listed("minver=2").await.is_empty());
    for (minver, status) in [("1", 200), ("2", 204)] {
        let path = format!("/security/report/list?org={org}&minver={minver}");
        let head = system.send(system.request("HEAD", &path)).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (status, 0));
    }

    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("org={org}&minver=0&order=asc&limit=3{cursor}");
        let reply = system.get(&format!("/security/report/list?{query}")).await;
        let page = reply.json();
        let reports = page["reports"].as_array().unwrap().clone();
        paged.extend(reports.iter().map(|report| text(&report["id"])));
        match page.get("nextCursor") {
            None => break,
            Some(next) => cursor = format!("&cursor={}", text(next)),
        }
    }
    assert_eq!(paged, ascending);
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said() {
    let (system, org) = (Deployment::open().await, organization());
    for (path, code, parameter) in [
        (format!("list?org={org}"), "missing_parameter", None),
        (
            format!("list?org={org}&minver=1.x"),
            "invalid_version",
            Some("minver"),
        ),
        (
            format!("list?org={org}&minversion=1"),
            "unknown_parameter",
            Some("minversion"),
        ),
        (
            format!("files?org=1&reports={UNKNOWN}"),
            "invalid_organization",
            Some("org"),
        ),
    ] {
        let reply = system.get(&format!("/security/report/{path}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, code),
            "{path}"
        );
        if let Some(parameter) = parameter {
            assert_eq!(reply.json()["parameter"], parameter, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let system = Deployment::open().await;
    let unknown = format!("/organizations/{}/unknown", organization());
    for (method, path, code) in [
        ("GET", "/security/report/unknown", "not_found"),
        ("GET", unknown.as_str(), "not_found"),
        ("DELETE", "/security/report", "method_not_allowed"),
        ("DELETE", "/webhook-events", "method_not_allowed"),
    ] {
        let reply = system.send(system.request(method, path)).await;
        assert_eq!(reply.code(), code, "{method} {path}");
    }
    // On AWS a method that the list does not have comes to another function, which knows no list.
    let list = system.request("DELETE", "/security/report/list");
    let code = system.send(list).await.code();
    assert!(["not_found", "method_not_allowed"].contains(&code.as_str()));
}

#[tokio::test]
async fn an_archive_has_the_published_bytes() {
    let (system, org, ids) = with(&["1.0", "2.0"]).await;
    let path = archive_of(org, &[&ids[1], UNKNOWN, &ids[0]]);
    let reply = system.get(&path).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(reply.header("x-missing-reports"), UNKNOWN);

    let mut entries = entries(&reply.body);
    let (name, manifest) = entries.remove(0);
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(
        (name.as_str(), text(&manifest["missing"][0]).as_str()),
        ("reports.json", UNKNOWN)
    );
    let published = ["2.0", "1.0"].into_iter().flat_map(|version| {
        let folder = format!("Test product {version} CWE Top 25 2024");
        let named =
            move |file: local::client::File| (format!("{folder}/{}", file.name), file.bytes);
        files(version).into_iter().map(named)
    });
    assert!(entries.into_iter().eq(published));

    let nothing = system.get(&archive_of(org, &[UNKNOWN])).await;
    assert_eq!((nothing.status.as_u16(), nothing.body.len()), (204, 0));
}

#[tokio::test]
async fn an_archive_is_fetched_in_parts_and_not_twice() {
    let (system, org, ids) = with(&["1.0"]).await;
    let path = archive_of(org, &[&ids[0]]);
    let whole = system.get(&path).await;
    let length = whole.body.len();
    let with = async |method: &str, header: &str, value: &str| {
        let request = system.request(method, &path).header(header, value);
        system.send(request).await
    };

    let part = with("GET", "range", "bytes=100-1099").await;
    assert_eq!(
        (part.status, &part.body),
        (206.try_into().unwrap(), &whole.body.slice(100..1100))
    );
    let range = format!("bytes 100-1099/{length}");
    assert_eq!(part.header("content-range"), range);
    let behind = with("GET", "range", &format!("bytes={length}-")).await;
    assert_eq!(behind.code(), "range_not_satisfiable");
    let same = with("GET", "if-none-match", whole.header("etag")).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));

    let head = system.send(system.request("HEAD", &path)).await;
    assert_eq!((head.status, head.body.len()), (whole.status, 0));
    for name in ["content-length", "content-type", "etag", "accept-ranges"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
}
