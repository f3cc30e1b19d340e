//! What deliveries use of DynamoDB and SQS: exact figures, so that nobody loses them by accident.

use deliver_webhooks::Delivering;
use domain::organization::OrganizationId;
use domain::report::Report;
use retry_webhooks::Retrying;
use serde_json::json;
use tests::at_once::AtOnce;
use tests::meter::{Meter, Usage};
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{change, handle, hours, stored};

/// Functions whose clients are metered, and an organization with one webhook.
struct Metered {
    system: System,
    org: OrganizationId,
    receiver: Receiver,
    meter: Meter,
    delivering: Delivering,
    retrying: Retrying,
}

impl Metered {
    async fn new() -> Self {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, meter) = (organization(), Meter::default());
        system.webhook(org, &receiver.url).await;
        let stack = &system.stack;
        let clients = |function| AtOnce.of(meter.of(&system, function));
        Self {
            org,
            receiver,
            delivering: stack.delivering_with(&clients("DeliverWebhooks")).unwrap(),
            retrying: stack.retrying_with(&clients("RetryWebhooks")).unwrap(),
            meter,
            system,
        }
    }

    /// Tells of these reports in one batch.
    async fn tell(&self, reports: &[Report], now: OffsetDateTime) -> Usage {
        let failed = handle(&self.delivering, reports.iter().map(change), now).await;
        assert!(failed.is_empty(), "{failed:?}");
        self.meter.read()
    }

    async fn round(&self, now: OffsetDateTime) -> Usage {
        retry_webhooks::round(&self.retrying, now, retry_webhooks::BUDGET).await;
        self.meter.read()
    }

    /// Delivers what a round has put on the queue.
    async fn deliver(&self, now: OffsetDateTime) -> Usage {
        let works = self.system.queued().await;
        let failed = handle(&self.delivering, works, now).await;
        assert!(failed.is_empty(), "{failed:?}");
        self.meter.read()
    }
}

fn assert_calls(usage: &Usage, expected: &[(&str, u64)]) {
    let calls = usage.calls.iter();
    let calls: Vec<(&str, u64)> = calls.map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(calls, expected, "{usage:?}");
}

#[tokio::test]
async fn a_first_try_that_succeeds_is_one_read_and_two_single_writes() {
    let (metered, now) = (Metered::new().await, OffsetDateTime::now_utc());
    let reports = stored(&metered.system, metered.org, 52).await;
    let usage = metered.tell(&reports[..1], now).await;
    assert_calls(&usage, &[("PutItem", 1), ("Query", 1), ("UpdateItem", 1)]);
    // A kilobyte each, and what is due in and out of its index.
    assert_eq!(usage.write_units, 4.0);

    // Two reports: the delivery and a signpost in one transaction, which costs twice as much.
    let usage = metered.tell(&reports[50..], now).await;
    let calls = [("Query", 1), ("TransactWriteItems", 1), ("UpdateItem", 1)];
    assert_calls(&usage, &calls);
    assert_eq!(usage.write_units, 7.0);

    let usage = metered.tell(&reports[1..50], now).await;
    assert_calls(&usage, &calls);
    assert_eq!(metered.receiver.take().len(), 3);
}

#[tokio::test]
async fn what_gathers_costs_another_read_and_a_message() {
    let (metered, now) = (Metered::new().await, OffsetDateTime::now_utc());
    let format = json!({"format": "codescoring", "token": "t"});
    let webhooks = metered.system.stack.tables.webhooks.all(metered.org).await;
    let path = format!("/webhooks/{}", webhooks.unwrap()[0].id);
    let patched = metered
        .system
        .manage(metered.org, "PATCH", &path, Some(format));
    assert!(patched.await.status.is_success());
    // It has what waits tried, which is nothing.
    metered.system.queued().await;
    let reports = stored(&metered.system, metered.org, 1).await;
    let usage = metered.tell(&reports, now).await;
    assert_calls(&usage, &[("Query", 1), ("SendMessageBatch", 1)]);
    assert_eq!(usage.write_units, 0.0);
    let usage = metered.deliver(now).await;
    assert_calls(&usage, &[("PutItem", 1), ("Query", 1), ("UpdateItem", 1)]);
    assert_eq!(metered.receiver.take().len(), 1);
}

#[tokio::test]
async fn a_retry_that_succeeds() {
    let (metered, now) = (Metered::new().await, OffsetDateTime::now_utc());
    metered.receiver.answer_next([Answer::Status(400)]);
    let reports = stored(&metered.system, metered.org, 1).await;
    let usage = metered.tell(&reports, now).await;
    // One of them is the webhook's.
    assert_calls(&usage, &[("PutItem", 1), ("Query", 1), ("UpdateItem", 2)]);

    let round = metered.round(now + hours(1)).await;
    assert_calls(
        &round,
        &[("GetItem", 1), ("Query", 13), ("SendMessageBatch", 1)],
    );
    let retry = metered.deliver(now + hours(1)).await;
    // The webhook, claimed, recorded beside the attempt before, the webhook.
    assert_calls(&retry, &[("GetItem", 1), ("UpdateItem", 3)]);
    // Claimed: the item, and both indexes, one of which it leaves and enters. Recorded: the item, and out of both. The webhook.
    assert_eq!(retry.write_units, 8.0);
    assert_eq!(metered.receiver.take().len(), 2);
}

#[tokio::test]
async fn a_round_with_nothing_due_is_thirteen_queries() {
    let metered = Metered::new().await;
    let usage = metered.round(OffsetDateTime::now_utc()).await;
    assert_calls(&usage, &[("Query", 13)]);
    assert_eq!((usage.read_units, usage.write_units), (6.5, 0.0));
}

#[tokio::test]
async fn a_dead_receiver_costs_the_same_an_hour_however_much_waits() {
    for waiting in [1, 2, 70] {
        let (metered, now) = (Metered::new().await, OffsetDateTime::now_utc());
        metered.receiver.answer(Answer::Status(503));
        for report in stored(&metered.system, metered.org, waiting).await {
            metered.tell(&[report], now).await;
        }
        let round = metered.round(now + hours(1)).await;
        assert_calls(
            &round,
            &[("GetItem", 1), ("Query", 13), ("SendMessageBatch", 1)],
        );
        let delivering = metered.deliver(now + hours(1)).await;
        // The webhook, its probe, the delivery claimed and recorded, the webhook.
        assert_calls(&delivering, &[("GetItem", 1), ("UpdateItem", 4)]);
    }
}

#[tokio::test]
async fn a_large_message_lies_in_an_item_of_its_own() {
    let (metered, now) = (Metered::new().await, OffsetDateTime::now_utc());
    let mut reports = stored(&metered.system, metered.org, 1).await;
    let properties = (0..90).map(|it| (format!("sonar.analysis.{it}"), "é".repeat(it)));
    reports[0].metadata.properties = properties.collect();
    let usage = metered.tell(&reports, now).await;
    let calls = [("Query", 1), ("TransactWriteItems", 1), ("UpdateItem", 1)];
    assert_calls(&usage, &calls);
    let [received] = metered.receiver.take().try_into().unwrap();
    let list = format!("/organizations/{}/webhooks", metered.org);
    let jwt = metered
        .system
        .jwt(metered.org, identity::Role::Administrator);
    let list = metered.system.call("GET", &list, &jwt, None).await.json();
    let webhook = &list["webhooks"][0];
    let delivery = &webhook["latestDelivery"]["id"];
    let path = format!(
        "/webhooks/{}/deliveries/{}",
        webhook["id"].as_str().unwrap(),
        delivery.as_str().unwrap()
    );
    let seen = metered.system.manage(metered.org, "GET", &path, None).await;
    let payload = seen.json()["payload"].clone();
    assert_eq!(payload, json!(String::from_utf8_lossy(&received.body)));
}
