//! Webhooks whose receivers are there.

use reqwest::StatusCode;
use serde_json::json;
use tests::api::text;
use tests::deployment::Deployment;
use tests::receiver::{assert_signed, assert_standard_signature};
use tests::system::organization;

use crate::support::Stage;

#[tokio::test]
async fn what_is_published_and_updated_is_told_and_signed() {
    let stage = Stage::new().await;
    for (event, revision) in [("report.published", 1), ("report.updated", 2)] {
        let id = stage.publish("1.0").await;
        let told = stage.told_once().await;
        assert_eq!(told.reports(), [(id, revision)]);
        assert_eq!(told.header("x-webhook-event"), event);
        assert_eq!(told.header("x-sonarqube-project"), "acme:shop");
        assert_eq!(told.json()["organizationId"], stage.org.to_string());
        assert_signed(&told, &text(&stage.webhook["secret"]));
    }
    stage.settled(&["delivered", "delivered"]).await;
}

#[tokio::test]
async fn a_test_call_is_a_signed_message() {
    let stage = Stage::new().await;
    let result = stage.ask("test", None).await.json();
    assert_eq!(result["delivered"], true, "{result}");
    let [called] = stage.receiver.take().try_into().unwrap();
    assert_eq!(called.header("x-webhook-event"), "report.test");
    assert_signed(&called, &text(&stage.webhook["secret"]));
}

#[tokio::test]
async fn a_new_secret_and_the_old_one_sign_for_a_while() {
    let stage = Stage::new().await;
    let secret = stage.ask("secret", None).await.json()["secret"].clone();
    stage.publish("1.0").await;
    let told = stage.told_once().await;
    assert_signed(&told, &text(&secret));
    assert_standard_signature(&told, &text(&stage.webhook["secret"]));
}

#[tokio::test]
async fn what_was_delivered_is_sent_again_when_somebody_asks() {
    let stage = Stage::new().await;
    stage.publish("1.0").await;
    let first = stage.told_once().await;
    let [delivery] = stage.settled(&["delivered"]).await.try_into().unwrap();
    let redeliver = format!("deliveries/{}/redeliver", text(&delivery["id"]));
    let since = delivery["createdAt"].clone();
    let replay = |dry| json!({"since": since, "states": ["delivered"], "dryRun": dry});

    let counted = stage.ask("replay", Some(replay(true))).await;
    assert_eq!(
        (counted.status, &counted.json()["count"]),
        (StatusCode::OK, &json!(1))
    );
    for (action, body) in [(redeliver.as_str(), None), ("replay", Some(replay(false)))] {
        let reply = stage.ask(action, body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        let again = stage.told_once().await;
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(again.body, first.body);
        assert_signed(&again, &text(&stage.webhook["secret"]));
        stage.settled(&["delivered"]).await;
    }
}

#[tokio::test]
async fn a_disabled_webhook_is_told_of_all_it_missed_when_it_is_enabled() {
    let stage = Stage::new().await;
    assert_eq!(stage.ask("disable", None).await.status, StatusCode::OK);
    let mut missed = Vec::new();
    for (version, states) in [("1.0", &["held"][..]), ("2.0", &["held", "held"])] {
        missed.push(stage.publish(version).await);
        stage.settled(states).await;
    }
    assert!(stage.receiver.take().is_empty());

    assert_eq!(stage.ask("enable", None).await.status, StatusCode::OK);
    let told = stage.system.told(&stage.receiver, 2).await;
    let mut told: Vec<_> = told.iter().flat_map(|one| one.report_ids()).collect();
    told.sort();
    missed.sort();
    assert_eq!(told, missed);
    stage.settled(&["delivered", "delivered"]).await;
}

#[tokio::test]
async fn an_address_inside_of_a_network_is_refused() {
    let (system, org) = (Deployment::open().await, organization());
    for url in ["https://10.0.0.1/", "https://169.254.169.254/"] {
        let webhook = json!({"name": "test", "url": url});
        for path in ["/webhooks", "/webhooks/test"] {
            let reply = system
                .manage(org, "POST", path, Some(webhook.clone()))
                .await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (StatusCode::BAD_REQUEST, "address_refused"),
                "{path}"
            );
        }
    }
}
