//! What waits for a receiver that has told us to wait, when somebody changes or tries its webhook.

use bytes::Bytes;
use domain::delivery::DeliveryState;
use domain::organization::OrganizationId;
use domain::report::Report;
use domain::webhook::WebhookKey;
use domain::webhook::health::Pause;
use serde_json::{Value, json};
use store::dynamodb::Changed;
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{SECOND, deliver, hours, ids, key, seen, sorted, states, stored, tell, told};

/// A webhook that two reports wait for: its receiver has answered the first that it wants to be left alone for a day. From
/// now on it takes everything.
async fn told_to_wait(
    system: &System,
    org: OrganizationId,
    receiver: &Receiver,
) -> (WebhookKey, Vec<Report>) {
    let start = OffsetDateTime::now_utc() - hours(1);
    let webhook = json!({
        "name": "n", "url": receiver.url, "secret": "the first secret", "headers": [{"name": "x-a", "value": "one"}],
    });
    let webhook = key(org, &system.webhook_with(org, webhook).await);
    let reports = stored(system, org, 2).await;
    receiver.answer_next([Answer::Full {
        status: 429,
        headers: vec![("retry-after".to_owned(), "86400".to_owned())],
        body: Bytes::new(),
    }]);
    tell(system, &reports[0], start).await;
    tell(system, &reports[1], start + SECOND).await;
    assert_eq!(told(&receiver.take()), ids(&reports[..1]));
    assert_eq!(
        states(system, webhook).await,
        [(DeliveryState::Failed, 1), (DeliveryState::Pending, 0)]
    );
    assert!(seen(system, webhook).await["pausedUntil"].is_string());
    (webhook, reports)
}

async fn manage(
    system: &System,
    webhook: WebhookKey,
    method: &str,
    action: &str,
    body: Option<Value>,
) {
    let path = format!("/webhooks/{}{action}", webhook.id);
    let reply = system.manage(webhook.org, method, &path, body).await;
    assert!(reply.status.is_success(), "{reply:?}");
}

#[tokio::test]
async fn another_receiver_header_or_secret_gets_at_once_what_waits() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let moved = format!("{}moved", receiver.url);
    for (method, action, body) in [
        ("PATCH", "", json!({"url": moved})),
        ("PUT", "", json!({"name": "n", "url": moved, "headers": []})),
        (
            "PATCH",
            "",
            json!({"headers": [{"name": "x-a", "value": "two"}]}),
        ),
        ("PATCH", "", json!({"headers": []})),
        ("PATCH", "", json!({"secret": "the second secret"})),
        ("POST", "/secret", json!({"secret": "the second secret"})),
    ] {
        let (webhook, reports) = told_to_wait(&system, organization(), &receiver).await;
        manage(&system, webhook, method, action, Some(body.clone())).await;
        let seen = seen(&system, webhook).await;
        assert!(seen.get("pausedUntil").is_none(), "{body}: {seen}");
        // The same receiver has been failing since then, whatever login it got.
        let is_another = body.get("url").is_some();
        assert_eq!(seen.get("failingSince").is_none(), is_another, "{body}");
        deliver(&system, OffsetDateTime::now_utc()).await;
        assert_eq!(told(&receiver.take()), sorted(ids(&reports)), "{body}");
    }
}

#[tokio::test]
async fn a_change_of_something_else_leaves_a_receiver_alone() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    for (action, method, body) in [
        (
            "",
            "PATCH",
            json!({"name": "m", "events": ["report.updated"]}),
        ),
        (
            "",
            "PATCH",
            json!({"url": receiver.url, "headers": [{"name": "x-a"}]}),
        ),
        ("/secret", "POST", json!({"secret": "the first secret"})),
    ] {
        let (webhook, _) = told_to_wait(&system, organization(), &receiver).await;
        manage(&system, webhook, method, action, Some(body.clone())).await;
        assert!(
            seen(&system, webhook).await["pausedUntil"].is_string(),
            "{body}"
        );
        deliver(&system, OffsetDateTime::now_utc()).await;
        assert!(receiver.take().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_test_call_that_succeeds_ends_a_pause_and_one_that_fails_does_not() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (webhook, reports) = told_to_wait(&system, organization(), &receiver).await;
    receiver.answer_next([Answer::Status(503)]);
    for (status, waiting) in [(503, true), (200, false)] {
        manage(&system, webhook, "POST", "/test", None).await;
        assert_eq!(receiver.take().len(), 1, "the test call");
        let seen = seen(&system, webhook).await;
        assert_eq!(
            seen.get("pausedUntil").is_some(),
            waiting,
            "{status}: {seen}"
        );
        assert!(
            seen["failingSince"].is_string(),
            "no delivery has succeeded: {seen}"
        );
        deliver(&system, OffsetDateTime::now_utc()).await;
        let expected = if waiting {
            Vec::new()
        } else {
            sorted(ids(&reports))
        };
        assert_eq!(told(&receiver.take()), expected, "{status}");
    }
}

#[tokio::test]
async fn a_test_call_sends_nothing_to_a_webhook_that_is_disabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (webhook, _) = told_to_wait(&system, organization(), &receiver).await;
    manage(&system, webhook, "POST", "/disable", None).await;
    manage(&system, webhook, "POST", "/test", None).await;
    assert_eq!(receiver.take().len(), 1, "the test call");
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert!(receiver.take().is_empty());
}

/// While a test call was on its way, a delivery may have begun another pause, or an administrator changed the webhook.
#[tokio::test]
async fn only_the_pause_that_was_read_is_ended() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (webhook, _) = told_to_wait(&system, organization(), &receiver).await;
    let webhooks = &system.stack.tables.webhooks;
    let stored = async || webhooks.get(webhook).await.unwrap().unwrap();
    let now = OffsetDateTime::now_utc();
    let pause = |until| Pause {
        until,
        is_answering: false,
        is_told_to_wait: false,
    };
    let read = stored().await;
    webhooks
        .failed(&read, now, Some(pause(now + hours(2))))
        .await
        .unwrap();
    assert_eq!(webhooks.end_pause(&read).await.unwrap(), Changed::Lost);

    let paused = stored().await;
    manage(&system, webhook, "PATCH", "", Some(json!({"name": "m"}))).await;
    assert_eq!(webhooks.end_pause(&paused).await.unwrap(), Changed::Lost);

    let paused = stored().await;
    assert_eq!(webhooks.end_pause(&paused).await.unwrap(), Changed::Stored);
    // Who asks twice has ended it, since the answer may have been lost.
    assert_eq!(webhooks.end_pause(&paused).await.unwrap(), Changed::Stored);
    let free = stored().await;
    assert_eq!(free.health.paused_until, None);
    webhooks
        .failed(&free, now, Some(pause(now + hours(1))))
        .await
        .unwrap();
    assert_eq!(
        webhooks.end_pause(&free).await.unwrap(),
        Changed::Lost,
        "there was none"
    );
}
