//! The server of a source, as administrators enter it.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::answers::Answers;
use tests::server::{Imports, TOKEN, project};
use tests::source::Source;
use tests::system::{System, organization};
use time::OffsetDateTime;

fn with(settings: Value) -> Value {
    let mut body = json!({"name": "n", "kind": "sonarqube"});
    body.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_server_is_shown_without_its_token() {
    let imports = Imports::start().await;
    let path = format!("/sources/{}", imports.source.id);
    let shown = imports.system.manage(imports.org, "GET", &path, None).await;
    let source = shown.json();
    assert_eq!(
        (
            &source["hasToken"],
            &source["versionFallback"],
            &source["branches"]
        ),
        (&json!(true), &json!("date"), &json!([]))
    );
    assert_eq!(source["standards"], json!(["cwe-top-25-2024"]));
    assert_eq!(source["baseUrl"], imports.server.url);
    for method in ["GET", "PUT"] {
        let body = (method == "PUT").then(|| source.clone());
        let reply = imports
            .system
            .manage(imports.org, method, &path, body)
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert!(!format!("{reply:?}").contains(TOKEN));
    }
    // What was read was sent back, and the token is still there.
    imports.call("trunk", "AZ1").await;
    imports.import(OffsetDateTime::now_utc()).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
}

#[tokio::test]
async fn what_is_no_server_is_refused() {
    let system = System::start().await;
    let org = organization();
    let url = "https://sonarqube.example.com";
    let server = |more: Value| {
        let mut settings = json!({"baseUrl": url, "token": "t"});
        let settings_of = settings.as_object_mut().unwrap();
        settings_of.extend(more.as_object().unwrap().clone());
        settings
    };
    let mut answers = Answers::default();
    for (row, settings) in [
        ("a token and no server", json!({"token": "t"})),
        ("branches and no server", json!({"branches": ["a"]})),
        ("no token", json!({"baseUrl": url})),
        ("a token that is empty", server(json!({"token": ""}))),
        ("a token with a space", server(json!({"token": "a b"}))),
        (
            "a token with a line break",
            server(json!({"token": "a\nb"})),
        ),
        (
            "a server that is no URL",
            server(json!({"baseUrl": "sonar"})),
        ),
        (
            "a server of ftp",
            server(json!({"baseUrl": "ftp://a.example"})),
        ),
        (
            "a server with a password",
            server(json!({"baseUrl": "https://u:p@a.example"})),
        ),
        (
            "a server with a query",
            server(json!({"baseUrl": "https://a.example?b"})),
        ),
        (
            "SonarQube Cloud without an organization",
            server(json!({"baseUrl": "https://sonarcloud.io"})),
        ),
        (
            "an inner address",
            server(json!({"baseUrl": "https://10.0.0.1"})),
        ),
        (
            "the address of a machine's metadata",
            server(json!({"baseUrl": "http://169.254.169.254"})),
        ),
        (
            "a standard that there is not",
            server(json!({"standards": ["cwe"]})),
        ),
        (
            "standards that are text",
            server(json!({"standards": "cwe-top-25-2024"})),
        ),
        ("a branch twice", server(json!({"branches": ["a", "a"]}))),
        ("21 branches", server(json!({"branches": vec!["a"; 21]}))),
        ("a branch that is empty", server(json!({"branches": [""]}))),
        (
            "a fallback that there is not",
            server(json!({"versionFallback": "now"})),
        ),
        (
            "a server of CodeScoring",
            json!({"kind": "codescoring", "baseUrl": url}),
        ),
        (
            "branches of CodeScoring",
            json!({"kind": "codescoring", "branches": []}),
        ),
    ] {
        let reply = system.manage(org, "POST", "/sources", Some(with(settings)));
        answers.add(row, &reply.await);
    }
    insta::assert_snapshot!(answers);
    let good = json!({
        "baseUrl": "https://sonarcloud.io", "organization": "acme", "token": "squ_1", "branches": ["main", "release/*"],
        "standards": ["owasp-top-10-2021"], "versionFallback": "property:sonar.analysis.v",
    });
    let reply = system
        .manage(org, "POST", "/sources", Some(with(good.clone())))
        .await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    for (name, value) in good.as_object().unwrap() {
        if !["token", "baseUrl"].contains(&name.as_str()) {
            assert_eq!(&reply.json()[name], value);
        }
    }
}

#[tokio::test]
async fn a_token_does_not_follow_to_another_server() {
    let system = System::start().await;
    let org = organization();
    let settings = json!({"baseUrl": "https://one.example.com", "token": "squ_secret"});
    let source = Source::create_with(&system, org, settings).await;
    let path = format!("/sources/{}", source.id);
    let patch = async |body: Value| system.manage(org, "PATCH", &path, Some(body)).await;
    let reply = patch(json!({"baseUrl": "https://two.example.com"})).await;
    assert_eq!(
        (reply.code().as_str(), &reply.json()["parameter"]),
        ("missing_field", &json!("token"))
    );
    for good in [
        json!({"baseUrl": "https://one.example.com/sonar"}),
        json!({"baseUrl": "https://two.example.com", "token": "squ_other"}),
        json!({"branches": ["main"]}),
        json!({"name": "other"}),
    ] {
        let reply = patch(good.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{good}: {reply:?}");
        assert_eq!(reply.json()["hasToken"], true);
    }
    let shown = system.manage(org, "GET", &path, None).await.json();
    assert_eq!(shown["branches"], json!(["main"]));
    assert_eq!(shown["baseUrl"], "https://two.example.com");
}

#[tokio::test]
async fn what_waits_is_imported_by_the_settings_of_then() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    imports.server.accept("squ_new", None);
    imports.call("trunk", "AZ1").await;
    imports.call("release/1.x", "AZ2").await;
    let now = OffsetDateTime::now_utc();
    imports.import(now).await;
    let settings = json!({"branches": ["trunk"], "token": "squ_new"});
    imports.set(settings).await;
    imports.import(now).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
    let skipped = imports.of_task("AZ2").await;
    assert_eq!(skipped["state"], "skipped", "{skipped}");
    assert_eq!(
        skipped["reason"],
        "the source does not want branch 'release/1.x'"
    );
}

#[tokio::test]
async fn what_waits_is_skipped_when_the_source_has_no_server_any_more() {
    let imports = Imports::start().await;
    imports.server.accept("squ_new", None);
    imports.call("trunk", "AZ1").await;
    let now = OffsetDateTime::now_utc();
    imports.import(now).await;
    imports.set(json!({"baseUrl": null})).await;
    imports.import(now).await;
    let skipped = imports.of_task("AZ1").await;
    assert_eq!(skipped["state"], "skipped", "{skipped}");
}
