//! Items in the tables that this version of the product cannot read: each costs only itself.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use deliver_webhooks::Delivering;
use domain::token::Right;
use domain::version::VersionRange;
use list_reports::Listing;
use reqwest::StatusCode;
use retry_webhooks::Retrying;
use serde_json::{Value, json};
use store::queue::work::Work;
use store::reports::{Order, Part};
use store::tokens::Found;
use tests::metrics::Records;
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization, text};
use time::OffsetDateTime;
use tower::ServiceExt as _;

use crate::support::{change, deliver, handle, hours, kept, key, stored, tell};

/// Sets an attribute of an item, past every check.
async fn set(system: &System, table: &str, item_key: [(&str, &str); 2], name: &str, value: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let item_key = item_key.map(|(name, value)| (name.to_owned(), text(value)));
    let update = system.stack.dynamodb.update_item().table_name(table);
    update
        .set_key(Some(HashMap::from(item_key)))
        .update_expression("SET #name = :value")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", text(value))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_costs_only_itself_and_misses_nothing() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let (lost, good) = (Receiver::start().await, Receiver::start().await);
    let broken = system.webhook(org, &lost.url).await;
    let (org_text, id) = (org.to_string(), text(&broken["id"]));
    let broken_key = [("org", org_text.as_str()), ("id", id.as_str())];
    set(&system, "WebhooksTable", broken_key, "url", "no url").await;
    let other = system.webhook(org, &good.url).await;

    let reports = stored(&system, org, 1).await;
    let delivering = Delivering {
        metrics: records.metrics(),
        ..system.stack.delivering.clone()
    };
    let failed = handle(&delivering, [change(&reports[0])], now).await;
    assert_eq!(failed.len(), 1, "the change comes again");
    assert_eq!(good.take().len(), 1);
    assert!(lost.take().is_empty());
    let counted = records.figures();
    let counted = counted.iter().filter_map(|it| it.get("ItemsUnreadable"));
    assert_eq!(counted.flatten().sum::<u64>(), 1);

    let list = system.manage(org, "GET", "/webhooks", None).await.json();
    let ids: Vec<&Value> = list["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| &webhook["id"])
        .collect();
    assert_eq!(ids, [&other["id"]]);
    // Once it is mended it is told, and the other one not again.
    set(&system, "WebhooksTable", broken_key, "url", &lost.url).await;
    let failed = handle(&delivering, [change(&reports[0])], now).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((lost.take().len(), good.take().len()), (1, 0));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_can_be_deleted() {
    let system = System::start().await;
    let org = organization();
    let broken = system.webhook(org, "http://127.0.0.1:9/").await;
    let (org_text, id) = (org.to_string(), text(&broken["id"]));
    let broken_key = [("org", org_text.as_str()), ("id", id.as_str())];
    set(&system, "WebhooksTable", broken_key, "url", "no url").await;
    let path = format!("/webhooks/{id}");
    let stale = system
        .request("DELETE", &format!("/organizations/{org}{path}"))
        .bearer_auth(system.jwt(org, identity::Role::Owner))
        .header("if-match", "\"7\", \"8\"");
    let stale = system.send(stale).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    for expected in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        let deleted = system.manage(org, "DELETE", &path, None).await;
        assert_eq!(deleted.status, expected);
    }
}

#[tokio::test]
async fn a_url_of_former_rules_goes_on_being_called() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = system.webhook(org, &receiver.url).await;
    let url = format!("{}#part", receiver.url);
    let refused = json!({"name": "n", "url": url});
    let refused = system.manage(org, "POST", "/webhooks", Some(refused)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let (org_text, id) = (org.to_string(), text(&webhook["id"]));
    let webhook_key = [("org", org_text.as_str()), ("id", id.as_str())];
    set(&system, "WebhooksTable", webhook_key, "url", &url).await;
    tell(&system, &stored(&system, org, 1).await[0], now).await;
    assert_eq!(receiver.take().len(), 1);
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_left_out_of_lists_and_archives() {
    let (system, records) = (System::start().await, Records::default());
    let org = organization();
    let reports = stored(&system, org, 4).await;
    let (org_text, id) = (org.to_string(), reports[1].id.to_string());
    let report_key = [("org", org_text.as_str()), ("id", id.as_str())];
    set(&system, "ReportsTable", report_key, "securityRating", "Z").await;
    let store = &system.stack.tables.reports;
    let range = VersionRange::ALL;
    let part = |after| Part {
        range: &range,
        order: Order::Ascending,
        after,
        limit: 2,
    };
    let page = store.page(org, part(None)).await;
    let page = page.unwrap();
    assert_eq!((page.reports.len(), page.next.is_some()), (2, true));
    let next = page.next.as_ref();
    let rest = store.page(org, part(next)).await;
    let rest = rest.unwrap();
    assert_eq!((rest.reports.len(), rest.next.is_some()), (1, false));
    let ids: Vec<_> = reports.iter().map(|report| report.id).collect();
    assert_eq!(store.get_all(org, &ids).await.unwrap().len(), 3);

    let listing = Listing {
        metrics: records.metrics(),
        ..system.stack.listing.clone()
    };
    let request = Request::get(format!("/security/report/list?org={org}&minver=0"));
    let request = request.body(Body::empty()).unwrap();
    let response = list_reports::router(listing)
        .oneshot(request)
        .await
        .unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let listed: Value = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(listed["reports"].as_array().unwrap().len(), 3);
    let counted = records.figures();
    let counted = counted.iter().filter_map(|it| it.get("ItemsUnreadable"));
    assert_eq!(counted.flatten().sum::<u64>(), 1);
    // An archive is without it too. It has no other report here.
    let archive = format!("/security/report/files?org={org}&reports={id}");
    let archive = system.get(&archive).await;
    assert_eq!(archive.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_due_and_cannot_be_read_waits_for_somebody_to_mend_it() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(404));
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    for report in &stored(&system, org, 2).await {
        tell(&system, report, now).await;
    }
    receiver.answer(Answer::Status(200));
    receiver.take();
    let ids: Vec<String> = kept(&system, webhook)
        .await
        .iter()
        .map(|it| it.id.to_string())
        .collect();
    let webhook_text = webhook.id.to_string();
    let delivery_key = [("webhook", webhook_text.as_str()), ("id", ids[0].as_str())];
    set(&system, "DeliveriesTable", delivery_key, "events", "none").await;
    let retrying = Retrying {
        metrics: records.metrics(),
        ..system.stack.retrying.clone()
    };
    let later = now + hours(1);
    let round = retry_webhooks::round(&retrying, later, retry_webhooks::BUDGET).await;
    assert_eq!((round.queued, round.failed), (2, 0));
    // The message is done, also for the other one in it: it would be a dead letter every hour.
    deliver(&system, later).await;
    assert_eq!(receiver.take().len(), 1);

    // The webhook itself cannot be read.
    let org_text = org.to_string();
    let webhook_key = [("org", org_text.as_str()), ("id", webhook_text.as_str())];
    set(&system, "WebhooksTable", webhook_key, "url", "no url").await;
    let later = later + hours(1);
    let round = retry_webhooks::round(&retrying, later, retry_webhooks::BUDGET).await;
    assert_eq!((round.due, round.waiting, round.failed), (1, 1, 0));
    let due = ids[0].parse().unwrap();
    let due = Work::due(org, webhook.id, &[due]);
    let failed = handle(&system.stack.delivering, due, later).await;
    assert!(failed.is_empty(), "{failed:?}");
    let counted = records.figures();
    let counted = counted.iter().filter_map(|it| it.get("ItemsUnreadable"));
    assert_eq!(counted.flatten().sum::<u64>(), 1);
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_keeps_no_other_from_being_seen_and_tried() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    for report in &stored(&system, org, 3).await {
        tell(&system, report, now).await;
    }
    receiver.take();
    let path = format!("/webhooks/{}/deliveries", webhook.id);
    let list = async || {
        let list = system.manage(org, "GET", &path, None).await.json();
        list["deliveries"].as_array().unwrap().clone()
    };
    let all = list().await;
    let broken = text(&all[1]["id"]);
    let webhook_text = webhook.id.to_string();
    let delivery_key = [("webhook", webhook_text.as_str()), ("id", broken.as_str())];
    set(&system, "DeliveriesTable", delivery_key, "createdAt", "x").await;
    set(&system, "DeliveriesTable", delivery_key, "state", "lost").await;
    assert_eq!(list().await, [all[0].clone(), all[2].clone()]);
    let replay = json!({"states": ["delivered"]});
    let replay_path = format!("/webhooks/{}/replay", webhook.id);
    let replay = system.manage(org, "POST", &replay_path, Some(replay)).await;
    assert_eq!(replay.status, StatusCode::ACCEPTED, "{replay:?}");
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert_eq!(receiver.take().len(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_read_can_be_revoked() {
    let system = System::start().await;
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let secret = system.stack.create_token("broken", org, &[Right::Publish]);
    let secret = secret.await.unwrap();
    let tokens = &system.stack.tables.tokens;
    let Found::Good(broken) = tokens.look_up(secret.reveal(), now).await.unwrap() else {
        panic!("it is good");
    };
    let good = system.stack.create_token("good", org, &[Right::Publish]);
    good.await.unwrap();
    let update = system.stack.dynamodb.update_item();
    update
        .table_name("TokensTable")
        .key("sha256", AttributeValue::S(broken.sha256.clone()))
        .update_expression("SET rights = :rights")
        .expression_attribute_values(":rights", AttributeValue::S("all".to_owned()))
        .send()
        .await
        .unwrap();
    let list = system.manage(org, "GET", "/tokens", None).await.json();
    let names: Vec<&Value> = list["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| &token["name"])
        .collect();
    assert_eq!(names, ["good"]);
    let path = format!("/tokens/{}", broken.id);
    let revoked = system.manage(org, "DELETE", &path, None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let get = system.stack.dynamodb.get_item().table_name("TokensTable");
    let get = get.key("sha256", AttributeValue::S(broken.sha256));
    let item = get.send().await.unwrap().item.unwrap();
    assert!(item.contains_key("revokedAt"));
}
