//! Deliveries in `SonarQube`'s words.

use domain::date::timestamp;
use domain::delivery::DeliveryState;
use domain::delivery::attempt::AttemptSummary;
use domain::delivery::exchange::FailureKind;
use domain::webhook::WebhookKey;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{Answer, Receiver};
use tests::samples::files;
use tests::source::Source;
use tests::system::{Reply, System, organization, text};
use time::{Duration, OffsetDateTime};

use super::support::{Sonar, analysis, assert_sonar_error, now};
use crate::support::store_delivery;

/// The names of an object's fields, with the type of each, and of those within.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), shape(value)))
                .collect()
        }
        Value::Array(values) => values.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("boolean"),
        Value::Null => Value::Null,
    }
}

#[tokio::test]
async fn a_call_of_sonarqube_that_was_passed_on_is_a_delivery_of_its_task() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let receiver = Receiver::start().await;
    let key = sonar
        .create(&[("name", "Jenkins"), ("url", &receiver.url)])
        .await;
    let source = Source::create(&system, sonar.org).await;
    let call = json!({
        "serverUrl": "https://sonarqube.example", "taskId": "AZsr7Qe2dVb1kXo9TnPw", "status": "SUCCESS",
        "analysedAt": "2025-12-17T09:05:48+0000", "changedAt": "2025-12-17T09:05:48+0000",
        "project": {"key": "acme:shop", "name": "Shop", "url": "https://sonarqube.example/dashboard?id=acme%3Ashop"},
        "properties": {},
    })
    .to_string();
    assert_eq!(
        source.call(&system, call.as_bytes()).await.status,
        StatusCode::ACCEPTED
    );
    let begin = now();
    system.deliver(begin).await;

    let listed = sonar
        .get("webhooks/deliveries", &[("webhook", &key)])
        .await
        .json();
    assert_eq!(
        listed["paging"],
        json!({"pageIndex": 1, "pageSize": 10, "total": 1})
    );
    let [delivery] = listed["deliveries"].as_array().unwrap().as_slice() else {
        panic!("there is another number of deliveries: {listed}");
    };
    assert_eq!(
        shape(delivery),
        json!({
            "id": "text", "componentKey": "text", "ceTaskId": "text", "name": "text", "url": "text", "at": "text",
            "success": "boolean", "httpStatus": "number", "durationMs": "number",
        })
    );
    assert_eq!(
        (
            &delivery["componentKey"],
            &delivery["ceTaskId"],
            &delivery["name"],
            &delivery["httpStatus"]
        ),
        (
            &json!("acme:shop"),
            &json!("AZsr7Qe2dVb1kXo9TnPw"),
            &json!("Jenkins"),
            &json!(200)
        )
    );
    assert_eq!(delivery["success"], true);

    let id = text(&delivery["id"]);
    let one = sonar
        .get("webhooks/delivery", &[("deliveryId", &id)])
        .await
        .json();
    let mut expected = delivery.clone();
    expected["payload"] = json!(call);
    assert_eq!(one, json!({"delivery": expected}));

    let [listed] = sonar.list(&[]).await.try_into().unwrap();
    let mut latest = delivery.clone();
    for field in ["componentKey", "ceTaskId", "name", "url"] {
        latest.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(listed["latestDelivery"], latest);
    // It is the same as here.
    let here = system.deliveries(sonar.org, &json!(key)).await;
    assert_eq!(id, format!("{key}.{}", text(&here[0]["id"])));
}

#[tokio::test]
async fn what_has_failed_says_how_and_what_was_not_tried_is_not_listed() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let receiver = Receiver::start().await;
    let key = sonar.create(&[("name", "n"), ("url", &receiver.url)]).await;
    receiver.answer(Answer::Status(503));
    system.publish(sonar.org, &analysis(1), &files("a")).await;
    system.deliver(now()).await;
    // The receiver is left alone now, so this waits.
    system.publish(sonar.org, &analysis(2), &files("b")).await;
    system.deliver(now()).await;
    let here = system.deliveries(sonar.org, &json!(key)).await;
    assert_eq!(
        here.iter().filter(|it| it["attemptCount"] == 0).count(),
        1,
        "{here:?}"
    );

    let listed = sonar
        .get("webhooks/deliveries", &[("webhook", &key)])
        .await
        .json();
    assert_eq!(listed["paging"]["total"], 1);
    let delivery = &listed["deliveries"][0];
    assert_eq!(
        (&delivery["success"], &delivery["httpStatus"]),
        (&json!(false), &json!(503))
    );
    // What a report is made into a call of is of no task that is known.
    assert_eq!(delivery.get("ceTaskId"), None);
    let [webhook] = sonar.list(&[]).await.try_into().unwrap();
    assert_eq!(webhook["latestDelivery"]["success"], false, "{webhook}");
    assert_eq!(webhook["latestDelivery"]["id"], delivery["id"]);
    let one = sonar
        .get(
            "webhooks/delivery",
            &[("deliveryId", &text(&delivery["id"]))],
        )
        .await;
    assert_eq!(one.json()["delivery"].get("errorStacktrace"), None);

    // Nobody answers.
    drop(receiver);
    let later = now() + Duration::hours(2);
    system.round(later).await;
    system.deliver(later).await;
    let listed = sonar
        .get("webhooks/deliveries", &[("webhook", &key)])
        .await
        .json();
    for delivery in listed["deliveries"].as_array().unwrap() {
        if delivery.get("httpStatus").is_some() {
            continue;
        }
        let id = text(&delivery["id"]);
        let one = sonar
            .get("webhooks/delivery", &[("deliveryId", &id)])
            .await
            .json();
        assert!(
            !text(&one["delivery"]["errorStacktrace"]).is_empty(),
            "{one}"
        );
        return;
    }
    panic!("all were answered: {listed}");
}

/// Stores a delivery that was tried once, or never.
async fn store(system: &System, webhook: WebhookKey, at: OffsetDateTime, is_tried: bool) {
    let state = match is_tried {
        true => DeliveryState::Failed,
        false => DeliveryState::Pending,
    };
    let attempt = is_tried.then(|| AttemptSummary {
        at: timestamp(at),
        duration_ms: 7,
        status: None,
        error: Some(FailureKind::Connect),
    });
    store_delivery(system, webhook, state, at, attempt).await;
}

/// A new webhook: its key there and here.
async fn created(sonar: &Sonar<'_>) -> (String, WebhookKey) {
    let parameters = [("name", "n"), ("url", crate::support::URL)];
    let key = sonar.create(&parameters).await;
    let id = key.parse().unwrap();
    (key, WebhookKey { org: sonar.org, id })
}

async fn page(sonar: &Sonar<'_>, key: &str, p: usize, ps: usize) -> Reply {
    let (p, ps) = (p.to_string(), ps.to_string());
    let parameters = [("webhook", key), ("p", &p), ("ps", &ps)];
    sonar.get("webhooks/deliveries", &parameters).await
}

#[tokio::test]
async fn the_newest_thousand_are_counted_and_can_be_read_page_by_page() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let (key, webhook) = created(&sonar).await;
    let begin = now() - Duration::HOUR;
    let mut stored = 0;
    for (count, total) in [(0, 0), (25, 25), (1010, 1000)] {
        while stored < count {
            store(&system, webhook, begin + Duration::SECOND * stored, true).await;
            stored += 1;
        }
        let first = page(&sonar, &key, 1, 10).await.json();
        assert_eq!(first["paging"]["total"], total, "{first}");
        let mut seen = Vec::new();
        for (p, ps) in [(1, 500), (2, 500)] {
            let page = page(&sonar, &key, p, ps).await.json();
            assert_eq!(
                page["paging"],
                json!({"pageIndex": p, "pageSize": ps, "total": total})
            );
            let deliveries = page["deliveries"].as_array().unwrap();
            seen.extend(deliveries.iter().map(|it| text(&it["at"])));
        }
        assert_eq!(seen.len(), total);
        assert!(
            seen.windows(2).all(|pair| pair[0] > pair[1]),
            "the newest first"
        );
        // The last page of three hundred begins among them.
        let last = page(&sonar, &key, 4, 300).await.json();
        let rest = if total == 1000 { 100 } else { 0 };
        assert_eq!(last["deliveries"].as_array().unwrap().len(), rest);
        let last = page(&sonar, &key, 100, 10).await.json();
        assert_eq!(
            last["deliveries"].as_array().unwrap().len(),
            if total == 1000 { 10 } else { 0 }
        );
    }
}

#[tokio::test]
async fn the_latest_that_has_failed_is_known_however_much_waits() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let (key, webhook) = created(&sonar).await;
    let begin = now() - Duration::HOUR;
    store(&system, webhook, begin, true).await;
    for number in 1..=1002 {
        store(&system, webhook, begin + Duration::SECOND * number, false).await;
    }
    let [listed] = sonar.list(&[]).await.try_into().unwrap();
    assert_eq!(listed["latestDelivery"]["success"], false, "{listed}");
    // It is not among those that are looked at for a list.
    let page = page(&sonar, &key, 1, 10).await.json();
    assert_eq!(page["paging"]["total"], 0);
}

#[tokio::test]
async fn those_of_a_webhook_that_is_gone_are_none_and_those_of_others_are_not_there() {
    let system = System::start().await;
    let (ours, theirs) = (organization(), organization());
    let (ours, theirs) = (
        Sonar::new(&system, ours).await,
        Sonar::new(&system, theirs).await,
    );
    let (key, webhook) = created(&theirs).await;
    store(&system, webhook, now(), true).await;
    store(&system, webhook, now(), false).await;
    let listed = page(&theirs, &key, 1, 10).await.json();
    assert_eq!(listed["paging"]["total"], 1);
    let id = text(&listed["deliveries"][0]["id"]);
    let not_tried = system.deliveries(theirs.org, &json!(key)).await;
    let not_tried = not_tried
        .iter()
        .find(|it| it.get("lastAttempt").is_none())
        .unwrap();
    let not_tried = format!("{key}.{}", text(&not_tried["id"]));

    let none = json!({"paging": {"pageIndex": 1, "pageSize": 10, "total": 0}, "deliveries": []});
    assert_eq!(page(&ours, &key, 1, 10).await.json(), none);
    for (sonar, id) in [(&ours, &id), (&theirs, &not_tried)] {
        let reply = sonar.get("webhooks/delivery", &[("deliveryId", id)]).await;
        assert_sonar_error(&reply, 404, "Webhook delivery not found");
    }
    let parameters = [
        ("webhook", &*key),
        ("name", "taken"),
        ("url", crate::support::URL),
    ];
    let message = format!("No webhook with key '{key}'");
    for action in ["webhooks/update", "webhooks/delete"] {
        assert_sonar_error(&ours.post(action, &parameters).await, 404, &message);
    }
    assert_eq!(theirs.list(&[]).await[0]["name"], "n");

    theirs.post("webhooks/delete", &[("webhook", &key)]).await;
    assert_eq!(page(&theirs, &key, 1, 10).await.json(), none);
    let reply = theirs
        .get("webhooks/delivery", &[("deliveryId", &id)])
        .await;
    assert_sonar_error(&reply, 404, "Webhook delivery not found");
}
