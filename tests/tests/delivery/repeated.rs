//! Writes whose answers get lost: the SDK asks once more, and what it has done already must not look like somebody else's.

use domain::date::timestamp;
use domain::delivery::DeliveryState;
use domain::webhook::health::DisabledReason;
use store::deliveries::DeliveryStore;
use store::deliveries::lease::{Claimed, MadeDue, Next, Outcome};
use store::dynamodb::Changed;
use store::webhooks::{Deleted, Forgotten, WebhookStore};
use tests::failures::{asking_twice, colliding_once};
use tests::receiver::Receiver;
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{attempt_of, change, handle, hours, kept, key, key_of, states, stored, tell};

fn webhooks(system: &System, operation: &'static str) -> WebhookStore {
    let client = asking_twice(&system.stack.dynamodb, operation);
    WebhookStore::new(client, "WebhooksTable")
}

fn deliveries(system: &System, operation: &'static str) -> DeliveryStore {
    let client = asking_twice(&system.stack.dynamodb, operation);
    DeliveryStore::new(client, "DeliveriesTable")
}

#[tokio::test]
async fn a_change_of_a_webhook_is_known_for_ones_own() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let key = key(org, &system.webhook(org, &receiver.url).await);
    let current = async || {
        let webhook = system.stack.tables.webhooks.get(key).await.unwrap();
        webhook.unwrap()
    };
    let mut renamed = current().await;
    renamed.settings.name = "renamed".to_owned();
    renamed.revision += 1;
    renamed.updated_at = timestamp(now);
    let store = webhooks(&system, "UpdateItem");
    let replaced = store
        .replace(&renamed, Forgotten::Nothing, None, None)
        .await;
    assert_eq!(replaced.unwrap(), Changed::Stored);
    assert_eq!(current().await.settings.name, "renamed");
    // Somebody else's of the same revision is not.
    renamed.settings.name = "otherwise".to_owned();
    let replaced = system
        .stack
        .tables
        .webhooks
        .replace(&renamed, Forgotten::Nothing, None, None);
    assert_eq!(replaced.await.unwrap(), Changed::Lost);

    let webhook = current().await;
    let gone = DisabledReason::Gone;
    let disabled = webhooks(&system, "UpdateItem");
    let disabled = disabled.disable(&webhook, gone, None, now);
    assert_eq!(disabled.await.unwrap(), Changed::Stored);
    let tables = &system.stack.tables;
    let later = now + hours(1);
    let again = tables.webhooks.disable(&webhook, gone, None, later);
    assert_eq!(again.await.unwrap(), Changed::Lost);

    let store = webhooks(&system, "DeleteItem");
    assert_eq!(store.delete(key, None).await.unwrap(), Deleted::Done);
    let again = tables.webhooks.delete(key, None).await.unwrap();
    assert_eq!(again, Deleted::Gone);
}

#[tokio::test]
async fn a_delivery_that_was_made_due_and_claimed_is_ones_own() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell(&system, &stored(&system, org, 1).await[0], now).await;
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
    let delivery = key_of(&kept(&system, webhook).await[0]);
    let store = deliveries(&system, "UpdateItem");
    let due = store.make_due(delivery, true, now).await.unwrap();
    assert!(matches!(due, MadeDue::Due(_)));
    let store = deliveries(&system, "UpdateItem");
    let claimed = store.claim(delivery, now).await.unwrap();
    let Claimed::Started(leased) = claimed else {
        panic!("{claimed:?}");
    };
    let again = system
        .stack
        .tables
        .deliveries
        .make_due(delivery, true, now)
        .await;
    assert_eq!(again.unwrap(), MadeDue::InProgress);

    // Nor does an attempt count twice.
    for (outcome, state) in [
        (Outcome::Failed(Next::at(now)), DeliveryState::Failed),
        (Outcome::Delivered, DeliveryState::Delivered),
    ] {
        let store = deliveries(&system, "UpdateItem");
        let attempt = attempt_of(200, 1, OffsetDateTime::now_utc());
        let recorded = store.record(&leased, attempt, outcome).await.unwrap();
        let number = recorded.unwrap().number;
        assert_eq!(states(&system, webhook).await, [(state, number)]);
    }
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 3)]
    );
}

#[tokio::test]
async fn a_delivery_that_is_stored_twice_is_ones_own() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    for (operation, reports) in [
        ("PutItem", &reports[..1]),
        ("TransactWriteItems", &reports[1..]),
    ] {
        let mut clients = system.stack.clients["DeliverWebhooks"].clone();
        clients.dynamodb = asking_twice(&clients.dynamodb, operation);
        let delivering = system.stack.delivering_with(&clients).unwrap();
        let failed = handle(&delivering, reports.iter().map(change), now).await;
        assert!(failed.is_empty(), "{operation}: {failed:?}");
        assert_eq!(receiver.take().len(), 1, "{operation}");
    }
    let states = states(&system, webhook).await;
    assert_eq!(states, [(DeliveryState::Delivered, 1); 2]);
}

#[tokio::test]
async fn a_single_write_that_collides_with_a_transaction_is_made_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 2).await;
    for (operation, report) in ["PutItem", "UpdateItem"].into_iter().zip(&reports) {
        let mut clients = system.stack.clients["DeliverWebhooks"].clone();
        clients.dynamodb = colliding_once(&clients.dynamodb, operation);
        let delivering = system.stack.delivering_with(&clients).unwrap();
        let failed = handle(&delivering, [change(report)], now).await;
        assert!(failed.is_empty(), "{operation}: {failed:?}");
        assert_eq!(receiver.take().len(), 1, "{operation}");
    }
    let delivered = states(&system, webhook).await;
    assert_eq!(delivered, [(DeliveryState::Delivered, 1); 2]);

    // A claim.
    let delivery = key_of(&kept(&system, webhook).await[0]);
    let tables = &system.stack.tables;
    tables
        .deliveries
        .make_due(delivery, true, now)
        .await
        .unwrap();
    let client = colliding_once(&system.stack.dynamodb, "UpdateItem");
    let store = DeliveryStore::new(client, "DeliveriesTable");
    let claimed = store.claim(delivery, now).await.unwrap();
    assert!(matches!(claimed, Claimed::Started(_)), "{claimed:?}");
    // A webhook.
    let client = colliding_once(&system.stack.dynamodb, "DeleteItem");
    let store = WebhookStore::new(client, "WebhooksTable");
    assert_eq!(store.delete(webhook, None).await.unwrap(), Deleted::Done);
}
