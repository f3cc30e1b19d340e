//! What scripts of other web sites may do: read what is public, and nothing else.

use local::Options;
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization};

const LIST: &str = "/security/report/list";
const FILES: &str = "/security/report/files";
const FILE: &str = "/security/report/file";

/// What a browser says of the page whose script it is.
const ORIGIN: (&str, &str) = ("origin", "https://dashboard.example");

/// The headers of CORS in an answer. Panics if any header stands twice, since API Gateway does not say what becomes of it.
fn cors_of(reply: &Reply) -> Vec<(&str, &str)> {
    let keys = reply.headers.keys();
    let twice = keys.filter(|name| reply.headers.get_all(*name).iter().count() > 1);
    assert_eq!(twice.count(), 0, "{reply:?}");
    let of_cors = |name: &&str| name.starts_with("access-control-") || *name == "vary";
    let names = reply.headers.keys().map(|name| name.as_str());
    let mut headers: Vec<_> = names
        .filter(of_cors)
        .map(|name| (name, reply.header(name)))
        .collect();
    headers.sort_unstable();
    headers
}

async fn preflight(system: &System, path: &str, method: &str, headers: &str) -> Reply {
    let request = system
        .request("OPTIONS", path)
        .header(ORIGIN.0, ORIGIN.1)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers);
    system.send(request).await
}

#[tokio::test]
async fn a_preflight_tells_what_a_script_may_send() {
    let system = System::start().await;
    for (path, method, headers, understood) in [
        (LIST, "GET", "content-type", "content-type"),
        (
            FILES,
            "GET",
            "if-range,range",
            "content-type,if-match,if-none-match,if-range,range",
        ),
        (
            FILES,
            "HEAD",
            "if-none-match",
            "content-type,if-match,if-none-match,if-range,range",
        ),
        (
            FILE,
            "GET",
            "range",
            "content-type,if-match,if-none-match,if-range,range",
        ),
    ] {
        let with_query = format!("{path}?org=1&unknown=2");
        for path in [path, &with_query] {
            let reply = preflight(&system, path, method, headers).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
            let expected = [
                ("access-control-allow-headers", understood),
                ("access-control-allow-methods", "GET,HEAD"),
                ("access-control-allow-origin", "*"),
                ("access-control-max-age", "7200"),
            ];
            assert_eq!(cors_of(&reply), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_script_can_read_every_answer_about_what_is_public() {
    let system = System::start_with(Options {
        max_response_bytes: Some(2000),
        ..Options::default()
    })
    .await;
    let org = organization();
    let id = system.publish(org, &metadata("1.0"), &files("a")).await;
    let large = vec![local::client::File {
        name: "a.pdf".to_owned(),
        bytes: vec![7; 4000],
    }];
    let large = system.publish(org, &metadata("2.0"), &large).await;
    let list = format!("{LIST}?org={org}");
    let files = format!("{FILES}?org={org}&reports={id}");
    let file = format!("{FILE}?org={org}&report={id}&name=report.html");
    let too_large = format!("{FILES}?org={org}&reports={large}");
    let unknown = format!("{FILES}?org={org}&reports={org}");
    let etag = system.get(&files).await.header("etag").to_owned();

    let of_list = vec![("access-control-allow-origin", "*")];
    let exposed =
        "accept-ranges,content-disposition,content-length,content-range,etag,x-missing-reports";
    let of_files = vec![
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", exposed),
    ];
    let none = ("accept", "*/*");
    for (method, path, header, status, expected) in [
        ("GET", format!("{list}&minver=0"), none, 200, &of_list),
        ("HEAD", format!("{list}&minver=0"), none, 200, &of_list),
        ("GET", format!("{list}&minver=9"), none, 204, &of_list),
        ("GET", format!("{list}&minver=x"), none, 400, &of_list),
        ("POST", list.clone(), none, 405, &of_list),
        ("GET", files.clone(), none, 200, &of_files),
        ("GET", file.clone(), none, 200, &of_files),
        ("GET", format!("{file}x"), none, 404, &of_files),
        ("HEAD", files.clone(), none, 200, &of_files),
        ("GET", files.clone(), ("range", "bytes=1-2"), 206, &of_files),
        ("GET", unknown, none, 204, &of_files),
        (
            "GET",
            files.clone(),
            ("if-none-match", &etag),
            304,
            &of_files,
        ),
        ("GET", FILES.to_owned(), none, 400, &of_files),
        ("GET", files.clone(), ("if-match", "\"x\""), 412, &of_files),
        ("GET", too_large, none, 413, &of_files),
        (
            "GET",
            files.clone(),
            ("range", "bytes=9999-"),
            416,
            &of_files,
        ),
        ("DELETE", files.clone(), none, 405, &of_files),
    ] {
        for is_cross_origin in [false, true] {
            let mut request = system.request(method, &path).header(header.0, header.1);
            if is_cross_origin {
                request = request.header(ORIGIN.0, ORIGIN.1);
            }
            let reply = system.send(request).await;
            assert_eq!(reply.status.as_u16(), status, "{method} {path}");
            // With or without an origin, so that a cache can give the answer to anybody.
            assert_eq!(cors_of(&reply), *expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_script_can_do_nothing_else() {
    let system = System::start().await;
    let org = organization();
    for path in [
        "/security/report".to_owned(),
        format!("/security/report/uploads/{org}/complete"),
        format!("/organizations/{org}/webhooks"),
        format!("/organizations/{org}/tokens"),
        "/webhook-events".to_owned(),
        "/security".to_owned(),
    ] {
        for method in ["GET", "POST"] {
            let reply = preflight(&system, &path, method, "authorization").await;
            assert!(matches!(reply.status.as_u16(), 404 | 405), "{reply:?}");
            assert_eq!(cors_of(&reply), [], "OPTIONS {path}");
            let request = system.request(method, &path).header(ORIGIN.0, ORIGIN.1);
            let reply = system.send(request).await;
            assert_eq!(cors_of(&reply), [], "{method} {path}");
        }
    }
}
