//! What lies among a webhook's deliveries, and is none: nobody sees it.

use std::collections::BTreeSet;

use domain::delivery::{DeliveryId, DeliveryKey, DeliveryState};
use domain::report::Report;
use domain::webhook::WebhookKey;
use reqwest::StatusCode;
use serde_json::json;
use store::deliveries::lease::MadeDue;
use store::deliveries::{Count, Range};
use tests::receiver::Receiver;
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::{change, handle, hours, kept, key, key_of, published, states, stored, tell};

/// A webhook with three deliveries, of 20, 1 and 30 reports, the newest ones last.
async fn webhook(system: &System, receiver: &Receiver) -> (WebhookKey, Vec<Report>) {
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(system, org, 51).await;
    for batch in [&reports[..20], &reports[20..21], &reports[21..]] {
        let failed = handle(&system.stack.delivering, batch.iter().map(change), now).await;
        assert!(failed.is_empty(), "{failed:?}");
    }
    (webhook, reports)
}

#[tokio::test]
async fn a_list_has_the_deliveries_alone() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (webhook, _) = webhook(&system, &receiver).await;
    for filter in ["", "&state=delivered"] {
        for limit in [1, 2, 3, 100] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let query = format!("?limit={limit}{filter}{cursor}");
                let path = format!("/webhooks/{}/deliveries{query}", webhook.id);
                let page = system.manage(webhook.org, "GET", &path, None).await.json();
                let deliveries = page["deliveries"].as_array().unwrap().clone();
                assert!((1..=limit).contains(&deliveries.len()), "{page}");
                found.extend(deliveries);
                assert!(found.len() <= 3, "the list does not go on");
                match page.get("nextCursor") {
                    None => break,
                    Some(next) => cursor = format!("&cursor={}", text(next)),
                }
            }
            let reports: Vec<_> = found.iter().map(|it| it["reports"].clone()).collect();
            assert_eq!(reports, [30, 1, 20].map(|it| json!(it)), "{limit}{filter}");
        }
    }
    let seen = system.webhook_now(webhook.org, &json!(webhook.id)).await;
    assert_eq!(seen["latestDelivery"]["reports"], 30);
    let range = Range {
        state: Some(DeliveryState::Delivered),
        ..Range::all(webhook.id)
    };
    let count = system.stack.tables.deliveries.count(&range, 100).await;
    let expected = Count {
        count: 3,
        has_more: false,
    };
    assert_eq!(count.unwrap(), expected);
    let managing = &system.stack.managing.deliveries;
    let unreadable = managing.unreadable.take() + system.stack.tables.deliveries.unreadable.take();
    assert_eq!(unreadable, 0, "nor do they count as what cannot be read");
}

#[tokio::test]
async fn a_signpost_is_no_delivery() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (webhook, reports) = webhook(&system, &receiver).await;
    let ids: BTreeSet<DeliveryId> = kept(&system, webhook)
        .await
        .iter()
        .map(|it| it.id)
        .collect();
    let telling = |report: &Report| DeliveryId::telling(webhook.id, &published(report).into());
    let of_changes: BTreeSet<DeliveryId> = reports.iter().map(telling).collect();
    assert!(ids.is_subset(&of_changes));
    let signpost = *of_changes.difference(&ids).next().unwrap();
    let path = format!("/webhooks/{}/deliveries/{signpost}", webhook.id);
    for (method, path) in [("GET", path.clone()), ("POST", format!("{path}/redeliver"))] {
        let reply = system.manage(webhook.org, method, &path, None).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method}");
    }
    let store = &system.stack.tables.deliveries;
    let signpost = DeliveryKey {
        webhook: webhook.id,
        id: signpost,
    };
    let now = OffsetDateTime::now_utc();
    let made_due = store.make_due(signpost, true, now).await.unwrap();
    assert_eq!(made_due, MadeDue::Gone);
}

#[tokio::test]
async fn what_was_delivered_meanwhile_is_not_made_due_by_a_replay_of_what_failed() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell(&system, &stored(&system, org, 1).await[0], now).await;
    let delivery = key_of(&kept(&system, webhook).await[0]);
    let store = &system.stack.tables.deliveries;
    let later = now + hours(1);
    let made_due = store.make_due(delivery, false, later).await.unwrap();
    assert_eq!(made_due, MadeDue::Delivered);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
    let made_due = store.make_due(delivery, true, later).await.unwrap();
    assert!(matches!(made_due, MadeDue::Due(_)), "{made_due:?}");
}
