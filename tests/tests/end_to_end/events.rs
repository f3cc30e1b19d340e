//! Calls of SonarQube and `CodeScoring` that are passed on.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::api::text;
use tests::deployment::Deployment;
use tests::receiver::assert_signed;
use tests::source::{Source, call_of, event_of, events_of, gate_changed};
use tests::system::organization;

#[tokio::test]
async fn a_call_reaches_receivers_in_the_form_that_they_know() {
    let (system, org) = (Deployment::open().await, organization());
    let events = json!(["analysis.completed", "quality_gate.changed"]);
    let secret = "a secret of the receiver's";
    let (own, sonar) = (system.receiver().await, system.receiver().await);
    for (receiver, format) in [(&own, "reports"), (&sonar, "sonarqube")] {
        let webhook = json!({
            "name": "n", "url": receiver.url, "format": format, "events": events, "secret": secret,
        });
        system.webhook_with(org, webhook).await;
    }
    let source = Source::create(&system, org).await;
    for call in [call_of("AZ1"), gate_changed("2026-03-01T00:00:00+0000")] {
        let reply = source.call(&system, call.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        let [told] = system.told(&own, 1).await.try_into().unwrap();
        assert_signed(&told, secret);
        let expected: Value = serde_json::from_str(&call).unwrap();
        assert_eq!(told.json()["analyses"][0]["payload"], expected);
        let [told] = system.told(&sonar, 1).await.try_into().unwrap();
        assert_signed(&told, secret);
        assert_eq!(told.body, call.as_bytes(), "byte for byte");
    }
    let forged = Source {
        secret: "another secret of sixteen".to_owned(),
        ..source.clone()
    };
    let reply = forged.call(&system, call_of("AZ2").as_bytes()).await;
    assert_eq!(reply.code(), "invalid_signature");
    let calls = source.calls(&system, org).await;
    assert_eq!(calls.len(), 2);
    assert_eq!(text(&calls[1]["payload"]), call_of("AZ1"));
}

#[tokio::test]
async fn events_of_codescoring_reach_their_receiver_as_they_came() {
    let (system, org) = (Deployment::open().await, organization());
    let receiver = system.receiver().await;
    let webhook = json!({
        "name": "n", "url": receiver.url, "format": "codescoring", "token": "the receiver's",
    });
    system.webhook_with(org, webhook).await;
    let source = Source::codescoring(&system, org).await;
    let event = event_of("project_sca_analysis_finished", 7);
    let call = events_of(std::slice::from_ref(&event));
    let reply = source.call(&system, call.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    let [told] = system.told(&receiver, 1).await.try_into().unwrap();
    assert_eq!(
        told.header("x-codescoring-authentication"),
        "the receiver's"
    );
    assert_eq!(told.body, format!(r#"{{"events":[{event}]}}"#));
    let test = source
        .call(&system, br#"{"events":[{"trigger":"test","payload":{}}]}"#)
        .await;
    assert_eq!(test.status, StatusCode::OK, "{test:?}");
    let forged = Source {
        secret: "another token of sixteen".to_owned(),
        ..source.clone()
    };
    let reply = forged.call(&system, call.as_bytes()).await;
    assert_eq!(reply.code(), "invalid_signature");
    assert_eq!(source.calls(&system, org).await.len(), 2);
}
