//! Webhooks that lead back to us, and how often settings may be tried.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use store::dynamodb::Changed;
use tests::receiver::Receiver;
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{URL, assert_refused, expect, path_of};

#[tokio::test]
async fn a_webhook_that_leads_to_its_own_test_calls_it_once() {
    let system = System::start().await;
    let org = organization();
    let token = json!({"name": "t", "rights": ["manage-webhooks"]});
    let token = system.manage(org, "POST", "/tokens", Some(token)).await;
    let bearer = format!("Bearer {}", token.json()["token"].as_str().unwrap());
    let webhook = system.webhook(org, URL).await;
    let test = format!("{}/test", path_of(&webhook));
    let url = format!("{}/organizations/{org}{test}", system.stack.api_url);
    let headers = json!([{"name": "authorization", "value": bearer}]);
    let moved = Some(json!({"url": url, "headers": headers}));
    let moved = system.manage(org, "PATCH", &path_of(&webhook), moved).await;
    expect(&moved, StatusCode::OK);

    let result = system.manage(org, "POST", &test, None).await;
    let result = expect(&result, StatusCode::OK);
    assert_eq!(result["attempt"]["status"], 403, "{result}");
    let answer = result["attempt"]["response"].as_str().unwrap();
    assert!(answer.contains("\"loop\""), "{answer}");
}

#[tokio::test]
async fn what_comes_from_a_webhook_manages_nothing() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let webhook = path_of(&webhook);
    let delivery = "/deliveries/00000000-0000-0000-0000-000000000001";
    let calls = [
        ("GET", "/webhooks".to_owned()),
        ("POST", "/webhooks".to_owned()),
        ("POST", "/webhooks/test".to_owned()),
        ("PATCH", webhook.clone()),
        ("DELETE", webhook.clone()),
        ("POST", format!("{webhook}/test")),
        ("POST", format!("{webhook}/secret")),
        ("POST", format!("{webhook}/enable")),
        ("POST", format!("{webhook}/replay")),
        ("GET", format!("{webhook}/deliveries")),
        ("POST", format!("{webhook}{delivery}/redeliver")),
        ("GET", "/tokens".to_owned()),
        ("POST", "/tokens".to_owned()),
        (
            "DELETE",
            "/tokens/00000000-0000-0000-0000-000000000001".to_owned(),
        ),
    ];
    for (method, path) in calls {
        for (name, value) in [
            ("webhook-id", ""),
            ("Webhook-Id", "a"),
            ("x-webhook-event", "report.test"),
            ("user-agent", "SonarQube-Reports/0.0.1"),
        ] {
            let jwt = system.jwt(org, identity::Role::Owner);
            let request = system.request(method, &format!("/organizations/{org}{path}"));
            let request = request.bearer_auth(jwt).header(name, value);
            assert_refused(&system.send(request).await, 403, "loop");
        }
    }
    let is_there = system.manage(org, "GET", &webhook, None).await;
    expect(&is_there, StatusCode::OK);
    assert!(receiver.take().is_empty());
}

#[tokio::test]
async fn an_organization_may_make_ten_test_calls_a_minute() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let stored = format!("{}/test", path_of(&webhook));
    let draft = json!({"url": receiver.url});
    // A minute of the clock may end meanwhile, but not two.
    let mut made = 0;
    let refused = loop {
        let is_stored = made % 2 == 0;
        let (path, body) = match is_stored {
            true => (stored.as_str(), None),
            false => ("/webhooks/test", Some(draft.clone())),
        };
        let reply = system.manage(org, "POST", path, body).await;
        if reply.status != StatusCode::OK {
            break reply;
        }
        made += 1;
        assert!(made <= 20, "{made} test calls were made");
    };
    assert!(made >= 10, "only {made} test calls were made");
    assert_refused(&refused, 429, "too_many_tests");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(receiver.take().len(), made, "what is refused is not sent");

    let other = organization();
    let reply = system.manage(other, "POST", "/webhooks/test", Some(draft));
    expect(&reply.await, StatusCode::OK);
}

#[tokio::test]
async fn of_any_number_of_test_calls_at_once_a_minute_has_ten() {
    let system = System::start().await;
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let deliveries = &system.stack.managing.deliveries;
    let count = |at| deliveries.count_test(org, at, 10);
    let counted = futures_util::future::join_all((0..30).map(|_| count(now))).await;
    let stored = |it: &Result<_, _>| matches!(it, Ok(Changed::Stored));
    assert_eq!(counted.iter().filter(|it| stored(it)).count(), 10);
    let later = count(now + Duration::from_secs(60)).await.unwrap();
    assert_eq!(later, Changed::Stored);
}
