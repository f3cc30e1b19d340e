//! Secrets are replaced so that no receiver misses a message.

use domain::organization::OrganizationId;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{
    Received, Receiver, assert_signed, assert_sonar_signature, assert_standard_signature,
};
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization, text};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::{assert_refused, assert_wrong, expect, manage_if};

async fn rotate(
    system: &System,
    org: OrganizationId,
    webhook: &Value,
    body: Option<Value>,
) -> Reply {
    let path = format!("/webhooks/{}/secret", text(&webhook["id"]));
    system.manage(org, "POST", &path, body).await
}

/// Publishes a report and delivers it as if it were `now`; gives what the receiver got.
async fn tell(
    system: &System,
    org: OrganizationId,
    receiver: &Receiver,
    now: OffsetDateTime,
) -> Received {
    receiver.take();
    system.publish(org, &metadata("1.0"), &files("a")).await;
    system.deliver(now).await;
    let mut received = receiver.take();
    assert_eq!(received.len(), 1);
    received.remove(0)
}

fn signatures(received: &Received) -> usize {
    received.header("webhook-signature").split(' ').count()
}

#[tokio::test]
async fn a_secret_and_the_one_before_sign_for_a_day_and_then_the_new_one_alone() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let old = text(&webhook["secret"]);
    let before = OffsetDateTime::now_utc();
    let rotated = expect(&rotate(&system, org, &webhook, None).await, StatusCode::OK);
    let new = text(&rotated["secret"]);
    assert_ne!(old, new);

    let until = OffsetDateTime::parse(&text(&rotated["previousSecretUntil"]), &Rfc3339).unwrap();
    let day = Duration::days(1);
    assert!(
        before + day <= until && until <= OffsetDateTime::now_utc() + day,
        "{until}"
    );
    let mut shown = system.webhook_now(org, &webhook["id"]).await;
    assert_eq!(shown["previousSecretUntil"], rotated["previousSecretUntil"]);
    shown["secret"] = new.clone().into();
    assert_eq!(shown, rotated, "the secret is all that is shown once");

    let received = tell(&system, org, &receiver, until - Duration::SECOND).await;
    assert_eq!(signatures(&received), 2);
    assert_signed(&received, &new);
    assert_standard_signature(&received, &old);

    let received = tell(&system, org, &receiver, until).await;
    assert_eq!(signatures(&received), 1);
    assert_signed(&received, &new);
}

#[tokio::test]
async fn a_test_call_is_signed_with_both_secrets_too() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let new = rotate(&system, org, &webhook, None).await.json();
    let path = format!("/webhooks/{}/test", text(&webhook["id"]));
    system.manage(org, "POST", &path, None).await;
    let received = receiver.take().remove(0);
    assert_standard_signature(&received, &text(&webhook["secret"]));
    assert_signed(&received, &text(&new["secret"]));
}

#[tokio::test]
async fn a_rotation_that_is_repeated_cuts_no_receiver_off() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let mut secrets = vec![text(&webhook["secret"])];
    for _ in 0..4 {
        let rotated = expect(&rotate(&system, org, &webhook, None).await, StatusCode::OK);
        secrets.push(text(&rotated["secret"]));
    }
    let newest = secrets.last().unwrap();
    let now = OffsetDateTime::now_utc();
    let received = tell(&system, org, &receiver, now).await;
    assert_eq!(signatures(&received), 5);
    assert_signed(&received, newest);
    for secret in &secrets {
        assert_standard_signature(&received, secret);
    }

    // There is no room for another one, whichever way it comes.
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let change = json!({"name": "n", "url": receiver.url, "secret": "a secret of sixteen"});
    let refused = [
        rotate(&system, org, &webhook, None).await,
        system.manage(org, "PUT", &path, Some(change.clone())).await,
        system.manage(org, "PATCH", &path, Some(change)).await,
    ];
    for refused in refused {
        assert_refused(&refused, 409, "too_many_secrets");
        let message = text(&refused.json()["message"]);
        let tomorrow = (now + Duration::days(1)).date();
        assert!(message.contains(&tomorrow.to_string()), "{message}");
    }
    let received = tell(&system, org, &receiver, now).await;
    assert_signed(&received, newest);
}

#[tokio::test]
async fn a_given_secret_is_taken_and_not_shown() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let given = json!({"secret": "a secret of sixteen"});
    let reply = rotate(&system, org, &webhook, Some(given)).await;
    let rotated = expect(&reply, StatusCode::OK);
    assert!(rotated.get("secret").is_none(), "{rotated}");
    let received = tell(&system, org, &receiver, OffsetDateTime::now_utc()).await;
    assert_signed(&received, "a secret of sixteen");
    assert_standard_signature(&received, &text(&webhook["secret"]));

    for body in [json!({}), json!({"secret": null})] {
        let rotated = rotate(&system, org, &webhook, Some(body)).await.json();
        assert!(text(&rotated["secret"]).starts_with("whsec_"));
    }
}

#[tokio::test]
async fn a_secret_that_is_given_with_a_change_is_a_rotation() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    for method in ["PUT", "PATCH"] {
        let webhook = system.webhook(org, &receiver.url).await;
        let path = format!("/webhooks/{}", text(&webhook["id"]));
        let change = json!({"name": "n", "url": receiver.url, "secret": "a secret of sixteen"});
        let first = system
            .manage(org, method, &path, Some(change.clone()))
            .await
            .json();
        assert!(
            first.get("secret").is_none() && first["previousSecretUntil"].is_string(),
            "{first}"
        );
        // The same once more is not another one.
        let second = system.manage(org, method, &path, Some(change)).await.json();
        assert_eq!(second["previousSecretUntil"], first["previousSecretUntil"]);
        let received = tell(&system, org, &receiver, OffsetDateTime::now_utc()).await;
        assert_signed(&received, "a secret of sixteen");
        assert_standard_signature(&received, &text(&webhook["secret"]));
        system.manage(org, "DELETE", &path, None).await;
    }
}

#[tokio::test]
async fn a_rotation_to_the_same_secret_leaves_the_one_before_its_time() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    let given = Some(json!({"secret": "a secret of sixteen"}));
    let first = rotate(&system, org, &webhook, given.clone()).await.json();
    let second = rotate(&system, org, &webhook, given).await;
    let second = expect(&second, StatusCode::OK);
    assert!(first["previousSecretUntil"].is_string());
    assert_eq!(second["previousSecretUntil"], first["previousSecretUntil"]);
    let received = tell(&system, org, &receiver, OffsetDateTime::now_utc()).await;
    assert_signed(&received, "a secret of sixteen");
    assert_standard_signature(&received, &text(&webhook["secret"]));

    // Also the very first one.
    let other = json!({"name": "n", "url": receiver.url, "secret": "a secret of sixteen"});
    let other = system.webhook_with(org, other).await;
    let given = json!({"secret": "a secret of sixteen"});
    let same = rotate(&system, org, &other, Some(given)).await.json();
    assert!(same.get("previousSecretUntil").is_none(), "{same}");
}

#[tokio::test]
async fn a_rotation_that_is_refused_leaves_the_secret() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    for (body, code, parameter) in [
        (json!({"secret": "too short"}), "invalid_secret", "secret"),
        (json!({"secret": 5}), "invalid_secret", "secret"),
        (
            json!({"secrets": "a secret of sixteen"}),
            "unknown_field",
            "secrets",
        ),
    ] {
        let reply = rotate(&system, org, &webhook, Some(body)).await;
        assert_wrong(&reply, code, parameter);
    }
    let path = format!("/webhooks/{}/secret", text(&webhook["id"]));
    let reply = manage_if(&system, org, ("POST", &path), "\"2\"", None).await;
    assert_refused(&reply, 412, "precondition_failed");
    let received = tell(&system, org, &receiver, OffsetDateTime::now_utc()).await;
    assert_eq!(signatures(&received), 1);
    assert_signed(&received, &text(&webhook["secret"]));

    let reply = manage_if(&system, org, ("POST", &path), "\"1\"", None).await;
    assert_eq!(reply.header("etag"), "\"2\"", "{reply:?}");
    let received = tell(&system, org, &receiver, OffsetDateTime::now_utc()).await;
    assert_sonar_signature(&received, &text(&reply.json()["secret"]));
}
