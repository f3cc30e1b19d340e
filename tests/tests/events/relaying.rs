//! What becomes of a call: messages to webhooks, in the format that they have.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{Answer, Receiver, assert_signed};
use tests::source::{Source, call_of, gate_changed};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn in_our_own_format_who_names_the_event_is_told_what_was_sent() {
    let (system, receiver, silent) = (
        System::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let org = organization();
    let webhook = json!({
        "name": "n", "url": receiver.url, "events": ["analysis.completed", "quality_gate.changed"],
    });
    let webhook = system.webhook_with(org, webhook).await;
    system.webhook(org, &silent.url).await;
    let source = Source::create(&system, org).await;
    let calls = [
        call_of("AZ1"),
        call_of("AZ2"),
        gate_changed("2026-03-01T00:00:00+0000"),
    ];
    for call in &calls {
        source.call(&system, call.as_bytes()).await;
    }
    system.deliver(now()).await;
    assert!(
        silent.received().is_empty(),
        "it has never heard of analyses"
    );
    let [received] = receiver.take().try_into().unwrap();
    assert_signed(&received, &text(&webhook["secret"]));
    let events = "analysis.completed, quality_gate.changed";
    assert_eq!(received.header("x-webhook-event"), events);
    assert_eq!(received.header("x-sonarqube-project"), "acme:shop");
    assert_eq!(received.header("x-report-hops"), "1");
    let body = received.json();
    assert_eq!(body["organizationId"], org.to_string());
    let told: Vec<&Value> = body["analyses"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 3);
    // As JSON, but character for character what was sent.
    let text_of = String::from_utf8(received.body.to_vec()).unwrap();
    for call in &calls {
        assert!(text_of.contains(call.as_str()), "{text_of}");
    }
    assert!(told.iter().all(|it| it["source"] == source.id));
    let delivery = &system.deliveries(org, &webhook["id"]).await[0];
    assert_eq!(
        (&delivery["reports"], &delivery["analyses"]),
        (&json!(0), &json!(3))
    );
}

#[tokio::test]
async fn a_webhook_is_told_of_its_projects_and_of_what_came_after_it_was_made() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let source = Source::create(&system, org).await;
    source.call(&system, call_of("early").as_bytes()).await;
    let later = now() + Duration::seconds(5);
    let webhook = json!({
        "name": "n", "url": receiver.url, "events": ["analysis.completed"], "projects": ["b", "acme:shop"],
    });
    let created = system.webhook_with(org, webhook).await;
    assert_eq!(created["projects"], json!(["acme:shop", "b"]));
    assert_eq!(created["project"], Value::Null);
    // The webhook is as if it were made later than the call came, by more than clocks differ.
    let key = domain::webhook::WebhookKey {
        org,
        id: text(&created["id"]).parse().unwrap(),
    };
    let webhooks = &system.stack.tables.webhooks;
    let mut stored = webhooks.get(key).await.unwrap().unwrap();
    stored.created_at = domain::date::timestamp(later);
    stored.revision += 1;
    let nothing = store::webhooks::Forgotten::Nothing;
    webhooks
        .replace(&stored, nothing, None, None)
        .await
        .unwrap();
    system.deliver(now()).await;
    assert!(receiver.take().is_empty());
    stored.created_at = domain::date::timestamp(now());
    stored.revision += 1;
    webhooks
        .replace(&stored, nothing, None, None)
        .await
        .unwrap();
    let other = call_of("other").replace("acme:shop", "acme:else");
    source.call(&system, other.as_bytes()).await;
    source.call(&system, call_of("mine").as_bytes()).await;
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    let body = received.json();
    assert_eq!(body["analyses"][0]["payload"]["taskId"], "mine");
}

#[tokio::test]
async fn a_call_that_comes_again_is_no_second_message() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let webhook = json!({"name": "n", "url": receiver.url, "format": "sonarqube"});
    system.webhook_with(org, webhook).await;
    let source = Source::create(&system, org).await;
    let call = call_of("AZ1");
    source.call(&system, call.as_bytes()).await;
    let queued = system.queued().await;
    for _ in 0..2 {
        system.stack.managing.queue.send(&queued).await.unwrap();
        system.deliver(now()).await;
    }
    source.call(&system, call.as_bytes()).await;
    system.deliver(now()).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_bytes_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let webhook = json!({"name": "n", "url": receiver.url, "format": "sonarqube"});
    system.webhook_with(org, webhook).await;
    let source = Source::create(&system, org).await;
    receiver.answer_next([Answer::Status(500), Answer::Status(500)]);
    let call = call_of("AZ1");
    source.call(&system, call.as_bytes()).await;
    for hour in 0..3 {
        system.round(now() + Duration::hours(hour)).await;
    }
    let received = receiver.take();
    assert_eq!(received.len(), 3);
    for one in &received {
        assert_eq!(one.body, call.as_bytes());
        assert_eq!(one.header("webhook-id"), received[0].header("webhook-id"));
    }
}

#[tokio::test]
async fn through_three_stacks_a_call_goes_and_no_further() {
    // One stack plays them all: its webhook calls its own source.
    let system = System::start().await;
    let org = organization();
    let source = Source::create_with(&system, org, json!({"secret": "a secret of sixteen"})).await;
    let webhook = json!({
        "name": "ring", "url": system.url(&source.path()), "format": "sonarqube",
        "secret": "a secret of sixteen",
    });
    let webhook = system.webhook_with(org, webhook).await;
    source.call(&system, call_of("AZ1").as_bytes()).await;
    system.deliver(now()).await;
    // It is the same call, so it is stored once, and the ring ends at once.
    let deliveries = system.deliveries(org, &webhook["id"]).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["state"], "delivered");

    // A call that has come through two is told as the third, and refused after that.
    let body = call_of("AZ2");
    let headers = [("x-report-hops", "2")];
    let reply = source.call_with(&system, body.as_bytes(), &headers).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    system.deliver(now()).await;
    let newest = &system.deliveries(org, &webhook["id"]).await[0];
    assert_eq!(newest["lastAttempt"]["status"], 403, "{newest}");
}
