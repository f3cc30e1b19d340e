//! Whether a server is good for making reports, before anybody relies on it.

use axum::response::{IntoResponse as _, Redirect};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{Imports, TOKEN, project};
use time::{Duration, OffsetDateTime};

async fn check(imports: &Imports, body: Option<Value>) -> Value {
    let path = format!("/sources/{}/check", imports.source.id);
    let reply = imports
        .system
        .manage(imports.org, "POST", &path, body)
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(!format!("{reply:?}").contains(TOKEN));
    reply.json()
}

#[tokio::test]
async fn a_good_server_says_who_it_is() {
    let imports = Imports::start().await;
    imports
        .server
        .accept(TOKEN, Some("2030-01-02T03:04:05+0000"));
    let expected = json!({
        "ok": true, "reachable": true, "tokenValid": true, "tokenExpiresAt": "2030-01-02T03:04:05.0000000+00:00",
        "projects": 1, "edition": "community", "version": "2025.1.0.102418", "mode": "standard",
    });
    assert_eq!(check(&imports, None).await, expected);
}

#[tokio::test]
async fn each_fault_says_what_is_to_be_mended() {
    let imports = Imports::start().await;
    let problem = |checked: &Value| checked["problem"].as_str().unwrap().to_owned();

    let wrong = check(&imports, Some(json!({"token": "squ_wrong"}))).await;
    assert_eq!(
        (&wrong["ok"], &wrong["reachable"], &wrong["tokenValid"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert!(problem(&wrong).contains("does not accept the token"));

    let nobody = json!({"baseUrl": "http://127.0.0.1:1", "token": TOKEN});
    let nobody = check(&imports, Some(nobody)).await;
    assert_eq!(
        (&nobody["ok"], &nobody["reachable"]),
        (&json!(false), &json!(false))
    );
    assert!(problem(&nobody).contains("cannot be reached"), "{nobody}");

    imports.server.change(|project| project.is_visible = false);
    let blind = check(&imports, None).await;
    assert_eq!(
        (&blind["ok"], &blind["projects"]),
        (&json!(false), &json!(0))
    );
    assert!(problem(&blind).contains("Browse"));

    imports.server.trouble(|_, _| {
        Some(Redirect::to("http://169.254.169.254/latest/meta-data/?secret").into_response())
    });
    let elsewhere = check(&imports, None).await;
    assert!(
        problem(&elsewhere).contains("leads elsewhere"),
        "{elsewhere}"
    );
    imports
        .server
        .trouble(|_, _| Some("<html>Log in</html>".into_response()));
    let login = check(&imports, None).await;
    assert_eq!(
        (&login["ok"], &login["reachable"]),
        (&json!(false), &json!(false))
    );
}

#[tokio::test]
async fn what_is_checked_counts_as_a_test_and_needs_a_server() {
    let imports = Imports::start().await;
    imports.set(json!({"baseUrl": null})).await;
    let system = &imports.system;
    let path = format!("/sources/{}/check", imports.source.id);
    let reply = system.manage(imports.org, "POST", &path, None).await;
    assert_eq!(
        (reply.code().as_str(), &reply.json()["parameter"]),
        ("missing_field", &json!("baseUrl"))
    );
    let typed = json!({"baseUrl": imports.server.url, "token": TOKEN});
    let mut codes = Vec::new();
    for _ in 0..21 {
        let reply = system
            .manage(imports.org, "POST", &path, Some(typed.clone()))
            .await;
        codes.push(reply.status.as_u16());
    }
    // The minute may end meanwhile, and so twice as many may be made.
    assert!(codes.contains(&200) && codes.contains(&429), "{codes:?}");
}

#[tokio::test]
async fn what_waits_goes_on_after_a_check_that_is_good() {
    let imports = Imports::start_with(project(1), json!({})).await;
    let now = OffsetDateTime::now_utc();
    imports.server.accept("squ_other", None);
    imports.call("trunk", "AZ1").await;
    imports.import(now).await;
    assert_eq!(imports.standing().await["state"], "unauthorized");
    // Somebody has mended it there.
    imports.server.accept(TOKEN, None);
    let before = imports.server.asked().len();
    imports.call("trunk", "AZ1").await;
    imports.import(now + Duration::SECOND).await;
    assert_eq!(imports.server.asked().len(), before, "it is left alone");
    assert_eq!(check(&imports, None).await["ok"], true);
    imports.import(now + Duration::minutes(1)).await;
    assert_eq!(imports.standing().await["state"], "working");
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
}
