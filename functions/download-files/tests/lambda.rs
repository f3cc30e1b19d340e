//! The binary of the function, as a process against a Runtime API.

use tests::faults::Proxy;
use tests::lambda::{Function, event};
use tests::samples::{files, metadata};
use tests::system::{System, organization};

const BINARY: &str = env!("CARGO_BIN_EXE_download-files");
const UNKNOWN: &str = "00000000-0000-0000-0000-0000000000ff";

#[tokio::test]
async fn a_request_of_api_gateway_is_answered_like_plain_http() {
    let system = System::start().await;
    let org = organization().to_string();
    let id = system
        .publish(org.parse().unwrap(), &metadata("1.0"), &files("a"))
        .await;
    let whole = system
        .get(&format!(
            "/security/report/files?org={org}&reports={id},{UNKNOWN}"
        ))
        .await;
    let etag = whole.header("etag").to_owned();
    let mut function = Function::start(BINARY, &system.stack.environment()).await;

    let both = format!("{id},{UNKNOWN}");
    let twice = [id.as_str(), UNKNOWN];
    type Case<'a> = (
        &'a str,
        Vec<(&'a str, &'a str)>,
        Vec<(&'a str, &'a str)>,
        u16,
    );
    let cases: [Case<'_>; 10] = [
        ("GET", vec![("org", &org), ("reports", &both)], vec![], 200),
        (
            "GET",
            vec![("org", &org), ("reports", twice[0]), ("reports", twice[1])],
            vec![],
            200,
        ),
        (
            "GET",
            vec![("org", &org), ("reports[]", &both)],
            vec![],
            200,
        ),
        (
            "GET",
            vec![("org", &org), ("reports", &both)],
            vec![("Range", "bytes=10-99")],
            206,
        ),
        (
            "GET",
            vec![("org", &org), ("reports", &both)],
            vec![("If-None-Match", &etag)],
            304,
        ),
        ("HEAD", vec![("org", &org), ("reports", &both)], vec![], 200),
        (
            "GET",
            vec![("org", &org), ("reports", UNKNOWN)],
            vec![],
            204,
        ),
        (
            "GET",
            vec![("org", &org), ("reports", "é+ &=")],
            vec![],
            400,
        ),
        ("GET", vec![("org", &org)], vec![], 400),
        (
            "OPTIONS",
            vec![("org", &org), ("reports", &both)],
            vec![("Origin", "https://dashboard.example")],
            200,
        ),
    ];
    for (method, query, headers, status) in cases {
        let path = "/security/report/files";
        let answer = function
            .invoke(event(method, path, &query, &headers, None))
            .await;
        assert!(answer.is_complete);
        let reply = answer.into_reply();
        let request = headers.iter().fold(
            system.request(method, path).query(&query),
            |it, (name, value)| it.header(*name, *value),
        );
        assert_eq!(reply.status.as_u16(), status, "{query:?}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        if matches!(status, 204 | 304) {
            assert_eq!(reply.header("content-length"), "", "RFC 9110, section 8.6");
        }
        tests::lambda::assert_same_answer(&reply, &system.send(request).await);
    }

    let recorded = function.recorded().await;
    let sizes: Vec<u64> = recorded
        .iter()
        .flat_map(|it| it["ArchiveBytes"].clone())
        .collect();
    let whole = whole.body.len() as u64;
    assert_eq!(sizes, [whole, whole, whole, 90], "archives only");
}

/// *Invariant:* a download that cannot be finished is visibly broken, never a complete-looking archive.
#[tokio::test]
async fn a_bucket_that_fails_for_good_ends_the_process_and_breaks_the_connection() {
    let system = System::start().await;
    let org = organization().to_string();
    let large = vec![local::client::File {
        name: "a.pdf".to_owned(),
        bytes: vec![7; 12 << 20],
    }];
    let id = system
        .publish(org.parse().unwrap(), &metadata("1.0"), &large)
        .await;
    let mut environment = system.stack.environment();
    let endpoint = environment
        .iter_mut()
        .find(|(name, _)| *name == "AWS_ENDPOINT_URL_S3")
        .unwrap();
    let proxy = Proxy::to(&endpoint.1).await;
    endpoint.1 = proxy.url.clone();
    let mut function = Function::start(BINARY, &environment).await;
    let event = event(
        "GET",
        "/security/report/files",
        &[("org", &org), ("reports", &id)],
        &[],
        None,
    );

    let whole = function.invoke(event.clone()).await;
    assert!(whole.is_complete);
    let whole = whole.into_reply();
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());

    proxy.break_for_good_after(8 << 20);
    let broken = function.invoke(event).await;
    assert!(!broken.is_complete, "the response must not look complete");
    let broken = broken.into_reply();
    assert_eq!(broken.status, 200);
    assert!(whole.body.starts_with(&broken.body) && broken.body.len() < whole.body.len());
    assert!(!function.process.wait().await.unwrap().success());
}
