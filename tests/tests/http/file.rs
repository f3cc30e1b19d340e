//! `GET` and `HEAD /security/report/file`.

use std::io::Read as _;

use domain::organization::OrganizationId;
use flate2::read::MultiGzDecoder;
use local::Options;
use local::client::File;
use tests::samples::{files, metadata, noise};
use tests::system::{System, organization};

const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

fn path(org: OrganizationId, report: &str, name: &str) -> String {
    format!("/security/report/file?org={org}&report={report}&name={name}")
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_page_is_sent_as_it_is_stored_and_into_a_sandbox() {
    let system = System::start().await;
    let org = organization();
    let published = files("one");
    let id = system.publish(org, &metadata("1.0"), &published).await;
    let page = path(org, &id, "report.html");
    let reply = system.get(&page).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-encoding", "gzip"),
        ("content-disposition", "inline; filename=\"report.html\""),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-cache"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(unpacked(&reply.body), published[0].bytes);
    assert!(
        reply.body.len() < published[0].bytes.len() / 2,
        "it is compressed"
    );

    let head = system.send(system.request("HEAD", &page)).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for name in [
        "content-length",
        "etag",
        "content-encoding",
        "content-security-policy",
    ] {
        assert_eq!(head.header(name), reply.header(name), "{name}");
    }

    let document = system.get(&path(org, &id, "report.pdf")).await;
    assert_eq!(document.body, published[1].bytes);
    for (name, value) in [
        ("content-type", "application/pdf"),
        ("content-disposition", "attachment; filename=\"report.pdf\""),
        ("content-security-policy", POLICY),
    ] {
        assert_eq!(document.header(name), value, "{name}");
    }
    assert!(!document.headers.contains_key("content-encoding"));
    assert_ne!(document.header("etag"), reply.header("etag"));
}

#[tokio::test]
async fn ranges_and_preconditions_are_about_what_is_sent() {
    let system = System::start().await;
    let org = organization();
    let id = system.publish(org, &metadata("1.0"), &files("one")).await;
    let page = path(org, &id, "report.html");
    let whole = system.get(&page).await;
    let etag = whole.header("etag").to_owned();
    let get = async |name: &str, value: &str| {
        system
            .send(system.request("GET", &page).header(name, value))
            .await
    };
    let part = get("range", "bytes=10-19").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, whole.body[10..20]);
    let range = format!("bytes 10-19/{}", whole.body.len());
    assert_eq!(part.header("content-range"), range);
    assert_eq!(part.header("content-security-policy"), POLICY);
    assert_eq!(
        get("range", "bytes=999999-").await.code(),
        "range_not_satisfiable"
    );
    let same = get("if-none-match", &etag).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    assert_eq!(same.header("content-security-policy"), POLICY);
    assert_eq!(
        get("if-match", "\"other\"").await.code(),
        "precondition_failed"
    );

    // Another revision has other files.
    system.publish(org, &metadata("1.0"), &files("two")).await;
    let other = get("if-none-match", &etag).await;
    assert_eq!(other.status, 200);
    assert_eq!(unpacked(&other.body), files("two")[0].bytes);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    let id = system.publish(org, &metadata("1.0"), &files("one")).await;
    let prefix = format!("/security/report/file?org={org}");
    for (path, status, code) in [
        (path(org, &id, "report.htm"), 404, "file_not_found"),
        (path(org, &id, "REPORT.HTML"), 404, "file_not_found"),
        (path(org, &id, "..%2Freport.html"), 404, "file_not_found"),
        (path(other, &id, "report.html"), 404, "report_not_found"),
        (
            path(org, &org.to_string(), "report.html"),
            404,
            "report_not_found",
        ),
        (path(org, "7", "report.html"), 400, "invalid_report_id"),
        (format!("{prefix}&report={id}"), 400, "missing_parameter"),
        (
            format!("{prefix}&name=report.html"),
            400,
            "missing_parameter",
        ),
        (
            format!("{}&x=1", path(org, &id, "report.html")),
            400,
            "unknown_parameter",
        ),
    ] {
        let reply = system.get(&path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (status, code.to_owned()),
            "{path}"
        );
    }
    let deleted = format!("/reports/{id}");
    system.manage(org, "DELETE", &deleted, None).await;
    let reply = system.get(&path(org, &id, "report.html")).await;
    assert_eq!(reply.code(), "report_not_found");
}

#[tokio::test]
async fn a_name_that_is_not_ascii_is_a_name() {
    let system = System::start().await;
    let org = organization();
    let file = File {
        name: "Отчёт \"1\".html".replace('"', "'"),
        bytes: b"<!DOCTYPE html><p>Hello".to_vec(),
    };
    let id = system
        .publish(org, &metadata("1.0"), std::slice::from_ref(&file))
        .await;
    let name: String = url::form_urlencoded::byte_serialize(file.name.as_bytes()).collect();
    let reply = system.get(&path(org, &id, &name)).await;
    assert_eq!(unpacked(&reply.body), file.bytes);
    let disposition = reply.header("content-disposition");
    assert!(
        disposition.starts_with("inline; filename=\"_____ '1'.html\"; filename*=UTF-8''"),
        "{disposition}"
    );
}

#[tokio::test]
async fn a_file_that_is_too_large_comes_in_parts() {
    let system = System::start_with(Options {
        max_response_bytes: Some(2000),
        ..Options::default()
    })
    .await;
    let org = organization();
    let file = File {
        name: "a.pdf".to_owned(),
        bytes: noise(4000),
    };
    let id = system
        .publish(org, &metadata("1.0"), std::slice::from_ref(&file))
        .await;
    let path = path(org, &id, "a.pdf");
    let reply = system.get(&path).await;
    assert_eq!(reply.code(), "response_too_large");
    let etag = reply.header("etag").to_owned();
    let mut whole = Vec::new();
    for range in ["bytes=0-1999", "bytes=2000-3999"] {
        let request = system.request("GET", &path).header("range", range);
        let part = system.send(request.header("if-match", &etag)).await;
        assert_eq!(part.status, 206);
        whole.extend_from_slice(&part.body);
    }
    assert_eq!(whole, file.bytes);
}
