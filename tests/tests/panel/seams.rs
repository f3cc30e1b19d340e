//! What happens when the table of sessions fails, at any call.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tests::failures::{Failures, Seam};
use tests::system::System;
use tests::visitor::Visitor;
use tower::ServiceExt as _;

/// Sends a request to a panel whose calls of DynamoDB fail as said, with the visitor's session.
async fn through(
    system: &System,
    failures: &Failures,
    request: Request<Body>,
) -> (StatusCode, String) {
    let panel = system
        .stack
        .panel_with(&failures.clients(&system.stack.clients["Panel"]))
        .unwrap();
    let functions = local::Functions {
        panel: &panel,
        ..system.stack.functions()
    };
    let response = local::service(&functions).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn nobody_is_signed_in_as_somebody_else_and_nothing_typed_is_lost() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let cookie = visitor.session();
    let host = system.stack.api_url.strip_prefix("http://").unwrap();
    let get = |cookie: &str| {
        Request::get(format!("{home}/tokens"))
            .header("host", host)
            .header("cookie", cookie)
            .body(Body::empty())
            .unwrap()
    };
    let post = || {
        Request::post(format!("{home}/tokens/new"))
            .header("host", host)
            .header("cookie", &cookie)
            .header("sec-fetch-site", "same-origin")
            .body(Body::from("name=typed+name&rights=publish&secret=s3cr3t"))
            .unwrap()
    };
    let counted = Failures::none();
    let (status, page) = through(&system, &counted, get(&cookie)).await;
    assert_eq!(status, 200, "{page}");
    for call in 1..=counted.log().len() {
        for seam in [Seam::Before, Seam::After] {
            let failures = Failures::at(call, seam, true);
            let (status, page) = through(&system, &failures, get(&cookie)).await;
            assert_eq!(status, 500, "call {call}, {seam:?}: {page}");
            assert!(!page.contains("<table>"), "call {call}, {seam:?}: {page}");
        }
    }
    // The first call is that of the session.
    let failures = Failures::at(1, Seam::Before, true);
    let (status, page) = through(&system, &failures, post()).await;
    assert_eq!(status, 500, "{page}");
    assert!(
        page.contains("value=\"typed name\"") && !page.contains("s3cr3t"),
        "{page}"
    );
    // The others are the API's: the form itself comes back.
    let counted = Failures::none();
    let (status, _) = through(&system, &counted, post()).await;
    assert_eq!(status, 200);
    for call in 2..=counted.log().len() {
        let failures = Failures::at(call, Seam::Before, true);
        let (status, page) = through(&system, &failures, post()).await;
        assert_eq!(status, 500, "call {call}: {page}");
        assert!(page.contains("value=\"typed name\""), "call {call}: {page}");
    }
    // A cookie that is of nobody.
    let name = cookie.split('=').next().unwrap();
    let other = format!("{name}={}", "A".repeat(43));
    let (status, _) = through(&system, &Failures::none(), get(&other)).await;
    assert_eq!(status, 303);
}
