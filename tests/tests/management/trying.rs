//! Test calls, to a webhook and to what might become one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::organization::OrganizationId;
use local::Options;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{Answer, Received, Receiver, assert_signed};
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::expect;

const SECRET: &str = "the given secret";

/// Makes a test call with these settings, once before there is a webhook and once to the webhook. Gives both results.
async fn try_out(system: &System, org: OrganizationId, settings: &Value) -> [Value; 2] {
    let draft = Some(settings.clone());
    let unstored = system.manage(org, "POST", "/webhooks/test", draft).await;
    let mut webhook = settings.clone();
    webhook["name"] = json!("n");
    let webhook = system.webhook_with(org, webhook).await;
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let stored = system
        .manage(org, "POST", &format!("{path}/test"), None)
        .await;
    let left = system.deliveries(org, &webhook["id"]).await;
    assert!(left.is_empty(), "a test call is no delivery: {left:?}");
    system.manage(org, "DELETE", &path, None).await;
    [unstored, stored].map(|reply| {
        let result = expect(&reply, StatusCode::OK);
        assert_eq!(result["attempt"]["number"], 1);
        let failed = result["attempt"].get("error").is_some();
        assert_eq!(result["delivered"], !failed, "{result}");
        result
    })
}

/// Asserts that a request shows its headers in the result, but for secrets.
fn assert_shown(result: &Value, received: &Received) {
    let shown = result["attempt"]["requestHeaders"].as_object().unwrap();
    assert!(!shown.is_empty());
    for (name, value) in shown {
        let value = text(value);
        if value != "***" {
            assert_eq!(received.header(name), value, "{name}");
        }
    }
}

#[tokio::test]
async fn a_test_call_is_a_signed_message_with_the_event_report_test() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let settings = json!({"url": receiver.url, "secret": SECRET, "events": ["report.updated"]});
    let results = try_out(&system, org, &settings).await;
    let received = receiver.take();
    assert_eq!(received.len(), 2);
    for (received, result) in received.iter().zip(&results) {
        assert_eq!(result["delivered"], true);
        assert_eq!(result["attempt"]["status"], 200);
        assert_eq!(result["attempt"]["response"], "");
        assert_eq!(
            (received.method.as_str(), received.path.as_str()),
            ("POST", "/")
        );
        assert_signed(received, SECRET);
        assert_eq!(received.header("x-webhook-event"), "report.test");
        assert_eq!(received.header("x-sonarqube-project"), "test");
        assert_eq!(
            received.header("content-type"),
            "application/json; charset=utf-8"
        );
        assert!(
            received
                .header("user-agent")
                .starts_with("SonarQube-Reports/")
        );
        assert_eq!(
            result["payload"].as_str().unwrap().as_bytes(),
            received.body
        );
        let body = received.json();
        assert_eq!(body["organizationId"], org.to_string());
        assert_eq!(body["reports"][0]["event"], "report.test");
        assert_eq!(body["reports"][0]["projectKey"], "test");
        assert_shown(result, received);
    }
    assert_ne!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
}

#[tokio::test]
async fn without_a_secret_a_test_call_is_signed_all_the_same() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    try_out(&system, org, &json!({"url": receiver.url})).await;
    for received in receiver.take() {
        assert!(received.header("webhook-signature").starts_with("v1,"));
        assert_eq!(received.header("x-sonar-webhook-hmac-sha256").len(), 64);
    }
}

#[tokio::test]
async fn a_test_call_is_about_the_webhooks_project() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    for project in ["acme:shop", "0-a_B.9:z", "7:"] {
        try_out(
            &system,
            org,
            &json!({"url": receiver.url, "project": project}),
        )
        .await;
        for received in receiver.take() {
            assert_eq!(received.header("x-sonarqube-project"), project);
            assert_eq!(received.json()["reports"][0]["projectKey"], project);
        }
    }
}

#[tokio::test]
async fn own_headers_and_a_user_arrive_and_are_not_shown() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let settings = json!({
        "url": receiver.url.replace("http://", "http://us%20er:p%C3%A4ss@"),
        "headers": [{"name": "X-Tenant", "value": "tenant one"}],
    });
    let results = try_out(&system, org, &settings).await;
    let basic = STANDARD.encode("us er:päss");
    for (received, result) in receiver.take().iter().zip(&results) {
        assert_eq!(received.header("x-tenant"), "tenant one");
        assert_eq!(received.header("authorization"), format!("Basic {basic}"));
        let headers = &result["attempt"]["requestHeaders"];
        assert_eq!(
            (&headers["x-tenant"], &headers["authorization"]),
            (&json!("***"), &json!("***"))
        );
        let shown = result.to_string();
        assert!(
            !shown.contains("tenant one") && !shown.contains(&basic),
            "{shown}"
        );
        assert_shown(result, received);
    }
    let settings = json!({
        "url": receiver.url,
        "headers": [{"name": "Authorization", "value": "Bearer abcdef"}],
    });
    for result in try_out(&system, org, &settings).await {
        assert_eq!(result["attempt"]["requestHeaders"]["authorization"], "***");
    }
    for received in receiver.take() {
        assert_eq!(received.header("authorization"), "Bearer abcdef");
    }
}

#[tokio::test]
async fn what_a_receiver_repeats_of_secrets_is_masked() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    receiver.answer_by(|received| Answer::Full {
        status: 200,
        headers: Vec::new(),
        body: format!(
            "{:?} knows user password and signed\\/with\\u0026this=secret",
            received.headers
        )
        .into(),
    });
    let with_user = json!({
        "url": receiver.url.replace("http://", "http://user:password@"),
        "headers": [{"name": "x-key", "value": "the key of all"}],
        "secret": "signed/with&this=secret",
    });
    let with_bearer = json!({
        "url": receiver.url,
        "headers": [{"name": "authorization", "value": "Bearer the-token"}],
    });
    let basic = STANDARD.encode("user:password");
    for (settings, secrets) in [
        (
            with_user,
            ["the key of all", &basic, "knows user password", "signed"],
        ),
        (with_bearer, ["Bearer the-token"; 4]),
    ] {
        for result in try_out(&system, org, &settings).await {
            let response = text(&result["attempt"]["response"]);
            assert!(response.contains("***"), "{response}");
            for secret in secrets {
                assert!(!response.contains(secret), "{response}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_a_receiver_repeats_without_its_scheme_is_masked() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    receiver.answer(Answer::Full {
        status: 401,
        headers: Vec::new(),
        body: "there is no token 'opaque-token-1234'".into(),
    });
    let settings = json!({
        "url": receiver.url,
        "headers": [{"name": "authorization", "value": "Bearer opaque-token-1234"}],
    });
    for result in try_out(&system, org, &settings).await {
        let response = text(&result["attempt"]["response"]);
        assert!(!response.contains("opaque-token-1234"), "{response}");
    }
}

#[tokio::test]
async fn whatever_fails_is_in_the_attempt() {
    let system = System::start_with(Options {
        delivery_deadline: Duration::from_millis(300),
        ..Options::default()
    })
    .await;
    let receiver = Receiver::start().await;
    let other = Receiver::start().await;
    let body = |status| Answer::Full {
        status,
        headers: Vec::new(),
        body: "a reason".into(),
    };
    let redirect = |status| Answer::Redirect {
        status,
        location: other.url.clone(),
    };
    for (answer, kind, status, response) in [
        (body(500), "status", json!(500), json!("a reason")),
        (body(404), "status", json!(404), json!("a reason")),
        (body(410), "status", json!(410), json!("a reason")),
        (redirect(301), "status", json!(301), json!("")),
        (redirect(307), "status", json!(307), json!("")),
        (Answer::CloseBeforeHead, "connect", Value::Null, Value::Null),
        (Answer::CloseInHead, "connect", Value::Null, Value::Null),
        (Answer::Silence, "timeout", Value::Null, Value::Null),
        (Answer::TrickleHead, "timeout", Value::Null, Value::Null),
    ] {
        receiver.answer(answer.clone());
        for result in try_out(&system, organization(), &json!({"url": receiver.url})).await {
            let attempt = &result["attempt"];
            assert_eq!(attempt["error"]["kind"], kind, "{answer:?}: {result}");
            assert_eq!(attempt["status"], status, "{answer:?}: {result}");
            assert_eq!(attempt["response"], response, "{answer:?}: {result}");
        }
    }
    assert!(other.received().is_empty(), "redirects are not followed");

    for (answer, kind) in [
        (Answer::CloseInBody { status: 200 }, "body"),
        (Answer::TrickleBody { status: 200 }, "timeout"),
    ] {
        receiver.answer(answer);
        for result in try_out(&system, organization(), &json!({"url": receiver.url})).await {
            let attempt = &result["attempt"];
            assert_eq!(attempt["responseError"]["kind"], kind, "{result}");
            assert!(attempt.get("error").is_none(), "{result}");
            assert_eq!(
                (&attempt["status"], &result["delivered"]),
                (&json!(200), &json!(true))
            );
        }
    }
    for url in [receiver.gone().await.as_str(), "https://127.0.0.1:9/"] {
        for result in try_out(&system, organization(), &json!({"url": url})).await {
            assert_eq!(result["attempt"]["error"]["kind"], "connect", "{result}");
        }
    }
    for result in try_out(
        &system,
        organization(),
        &json!({"url": "http://receiver.invalid/"}),
    )
    .await
    {
        assert_eq!(result["attempt"]["error"]["kind"], "dns", "{result}");
    }
}

#[tokio::test]
async fn of_an_answer_the_beginning_is_kept() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let full = |text: String| Answer::Full {
        status: 500,
        headers: Vec::new(),
        body: text.into(),
    };
    for (answer, expected) in [
        (full("a".repeat(4096)), "a".repeat(4096)),
        (full("a".repeat(4097)), "a".repeat(4096)),
        // No half of a character.
        (
            full(format!("a{}", "ä".repeat(4000))),
            format!("a{}", "ä".repeat(2047)),
        ),
        (
            Answer::Endless {
                status: 500,
                bytes: 1 << 40,
            },
            "a".repeat(4096),
        ),
    ] {
        receiver.answer(answer);
        for result in try_out(&system, org, &json!({"url": receiver.url})).await {
            assert_eq!(result["attempt"]["response"], expected);
        }
    }
}

#[tokio::test]
async fn a_disabled_webhook_can_be_tried_and_stays_disabled() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = json!({"name": "n", "url": receiver.url, "enabled": false});
    let webhook = system.webhook_with(org, webhook).await;
    let path = format!("/webhooks/{}/test", text(&webhook["id"]));
    let reply = system.manage(org, "POST", &path, None).await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    assert_signed(&receiver.take()[0], &text(&webhook["secret"]));
    let now = system.webhook_now(org, &webhook["id"]).await;
    assert_eq!(now["enabled"], false);
}

#[tokio::test]
async fn a_test_call_says_nothing_of_how_the_receiver_does() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    receiver.answer_next([Answer::Status(500), Answer::Status(410)]);
    let webhook = system.webhook(org, &receiver.url).await;
    let path = format!("/webhooks/{}/test", text(&webhook["id"]));
    let before = system.webhook_now(org, &webhook["id"]).await;
    for _ in 0..2 {
        let reply = system.manage(org, "POST", &path, None).await;
        assert_eq!(reply.json()["delivered"], false, "{reply:?}");
    }
    assert_eq!(system.webhook_now(org, &webhook["id"]).await, before);
}

#[tokio::test]
async fn what_was_tried_before_it_was_created_is_not_stored() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let draft = Some(json!({"url": receiver.url, "name": "n", "enabled": false}));
    let reply = system.manage(org, "POST", "/webhooks/test", draft).await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    let list = system.manage(org, "GET", "/webhooks", None).await;
    assert_eq!(list.json(), json!({"webhooks": []}));
}

#[tokio::test]
async fn what_is_typed_and_not_saved_can_be_tried() {
    let system = System::start().await;
    let org = organization();
    let (saved, typed) = (Receiver::start().await, Receiver::start().await);
    let headers = json!([{"name": "x-tenant", "value": "acme"}]);
    let webhook = json!({"name": "n", "url": saved.url, "headers": headers});
    let webhook = system.webhook_with(org, webhook).await;
    let id = &webhook["id"];
    let before = system.webhook_now(org, id).await;
    let path = format!("/webhooks/{}/test", text(id));
    let test = async |body: Value| system.manage(org, "POST", &path, Some(body)).await;

    // Values that are not shown need not be typed again.
    let reply =
        test(json!({"headers": [{"name": "x-tenant"}, {"name": "x-new", "value": "1"}]})).await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    let [received] = saved.take().try_into().unwrap();
    assert_signed(&received, &text(&webhook["secret"]));
    assert_eq!(
        (received.header("x-tenant"), received.header("x-new")),
        ("acme", "1")
    );
    // Nor do they go along to another host.
    let reply = test(json!({"url": typed.url})).await;
    assert_eq!(reply.code(), "missing_field", "{reply:?}");
    let reply = test(json!({"url": typed.url, "headers": []})).await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    assert_eq!((typed.take().len(), saved.take().len()), (1, 0));
    for (body, code) in [
        (json!({"url": "ftp://example.com"}), "invalid_url"),
        (json!({"nmae": "n"}), "unknown_field"),
        (json!([]), "invalid_json"),
    ] {
        assert_eq!(test(body.clone()).await.code(), code, "{body}");
    }
    assert_eq!(
        system.webhook_now(org, id).await,
        before,
        "nothing is stored"
    );
}

#[tokio::test]
async fn what_works_with_other_settings_ends_no_pause() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    receiver.answer_next([Answer::Status(503)]);
    system.publish(org, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let paused = system.webhook_now(org, &webhook["id"]).await;
    assert!(paused["pausedUntil"].is_string(), "{paused}");
    let path = format!("/webhooks/{}/test", text(&webhook["id"]));
    let other = json!({"headers": [{"name": "x-a", "value": "b"}]});
    let reply = system.manage(org, "POST", &path, Some(other)).await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    let still = system.webhook_now(org, &webhook["id"]).await;
    assert_eq!(still["pausedUntil"], paused["pausedUntil"]);
    // What is saved already is the webhook itself.
    let reply = system
        .manage(org, "POST", &path, Some(json!({"name": "test"})))
        .await;
    assert_eq!(reply.json()["delivered"], true, "{reply:?}");
    let now = system.webhook_now(org, &webhook["id"]).await;
    assert_eq!(now.get("pausedUntil"), None);
}
