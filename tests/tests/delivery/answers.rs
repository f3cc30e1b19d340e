//! What a receiver answers with, beside its status.

use std::time::Duration;

use domain::webhook::WebhookKey;
use local::Options;
use serde_json::Value;
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{SECOND, hours, kept, key, round, seen, stored, tell};

/// The latest delivery of a webhook as the API shows it.
async fn latest(system: &System, webhook: WebhookKey) -> Value {
    let id = kept(system, webhook).await.pop().unwrap().id;
    let path = format!("/webhooks/{}/deliveries/{id}", webhook.id);
    system.manage(webhook.org, "GET", &path, None).await.json()
}

#[tokio::test]
async fn a_2xx_whose_body_does_not_end_is_delivered_and_the_attempt_says_so() {
    let options = Options {
        delivery_deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let (system, receiver) = (System::start_with(options).await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    let mut now = start;
    for (report, answer, expected) in [
        (
            &reports[0],
            Answer::CloseInBody { status: 200 },
            Some("body"),
        ),
        (
            &reports[1],
            Answer::TrickleBody { status: 202 },
            Some("timeout"),
        ),
        (&reports[2], Answer::Status(204), None),
    ] {
        receiver.answer(answer);
        now += SECOND;
        tell(&system, report, now).await;
        let shown = latest(&system, webhook).await;
        assert_eq!(shown["state"], "delivered", "{shown}");
        let attempt = &shown["attempts"][0];
        assert!(attempt.get("error").is_none(), "{shown}");
        let kind = attempt["responseError"]["kind"].as_str();
        assert_eq!(kind, expected, "{shown}");
    }
    let webhook = seen(&system, webhook).await;
    assert!(webhook.get("failingSince").is_none(), "{webhook}");
    round(&system, start + hours(1)).await;
    assert_eq!(receiver.take().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn an_endless_answer_is_success_and_its_beginning_is_kept() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Endless {
        status: 200,
        bytes: 1 << 40,
    });
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    let shown = latest(&system, webhook).await;
    assert_eq!(shown["state"], "delivered");
    assert_eq!(shown["attempts"][0]["response"], "a".repeat(4096));
}
