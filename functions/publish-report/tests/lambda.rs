//! The binary of the function, as a process against a Runtime API.

use domain::token::Right;
use local::client::{File, Publisher};
use tests::lambda::{Function, event};
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};

#[tokio::test]
async fn api_gateway_publishes_a_report() {
    let system = System::start().await;
    let org = organization();
    let token = system
        .stack
        .create_token("t", org, &[Right::Publish])
        .await
        .unwrap();
    let authorization = format!("Bearer {}", token.reveal());
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut function = Function::start(
        env!("CARGO_BIN_EXE_publish-report"),
        &system.stack.environment(),
    )
    .await;

    let mut body = metadata("1.0");
    body["projectName"] = "Склад".into();
    body["files"] = files("a").iter().map(File::declaration).collect();
    let begun = function
        .invoke(event(
            "POST",
            "/security/report",
            &[],
            &headers,
            Some(&body.to_string()),
        ))
        .await
        .into_reply();
    assert_eq!(begun.status, 201, "{begun:?}");
    let publisher = Publisher::new(&system.stack.api_url, token).unwrap();
    publisher.upload(&begun.json(), &files("a")).await.unwrap();

    let path = format!(
        "/security/report/uploads/{}/complete",
        text(&begun.json()["uploadId"])
    );
    for _ in 0..2 {
        let completed = function
            .invoke(event("POST", &path, &[], &headers, None))
            .await
            .into_reply();
        assert_eq!(
            (completed.status.as_u16(), &completed.json()["projectName"]),
            (201, &"Склад".into())
        );
    }
    assert_eq!(
        system.listed(&format!("org={org}&minver=0")).await,
        [text(&begun.json()["reportId"])]
    );
    assert_eq!(system.changes().await.len(), 1);

    let refused = function
        .invoke(event("POST", &path, &[], &[], None))
        .await
        .into_reply();
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (401, "missing_token")
    );
    let encoded = function
        .invoke(event("POST", "/security/report", &[], &headers, Some("{")))
        .await
        .into_reply();
    assert_eq!(
        (encoded.status.as_u16(), encoded.code().as_str()),
        (400, "invalid_json")
    );
}
