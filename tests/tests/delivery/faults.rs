//! In the middle of something, out of time, or without what is needed: no report is lost, and no receiver is blamed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use deliver_webhooks::Delivering;
use domain::delivery::DeliveryState;
use domain::webhook::health::Health;
use domain::webhook::{WebhookId, WebhookKey};
use outbound::address::AddressPolicy;
use outbound::sender::{Sender, SenderOptions};
use reqwest::dns::{Name, Resolve, Resolving};
use serde_json::json;
use store::deliveries::lease::{Claimed, LEASE_VALIDITY};
use store::queue::EventsQueue;
use store::queue::work::Work;
use tests::failures::{Failures, Seam};
use tests::receiver::{Answer, Received, Receiver};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};

use crate::support::{
    AMPLE, NONE, SECOND, batch, change, deliver, due, failed_deliveries, failures, handle, hours,
    ids, json as body, kept, key, key_of, round, states, stored, tell,
};

/// What the function works with, where calls of DynamoDB and SQS fail.
fn failing(system: &System, failures: &Failures) -> Delivering {
    let clients = failures.clients(&system.stack.clients["DeliverWebhooks"]);
    system.stack.delivering_with(&clients).unwrap()
}

/// The same, but only calls that are about deliveries fail.
fn failing_deliveries(system: &System, failures: &Failures) -> Delivering {
    let clients = failures.clients(&system.stack.clients["DeliverWebhooks"]);
    Delivering {
        deliveries: clients.tables().deliveries,
        ..system.stack.delivering.clone()
    }
}

#[tokio::test]
async fn a_batch_that_is_grouped_anew_tells_each_report_once() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    let [a, b, c] = [0, 1, 2].map(|it: usize| change(&reports[it]));
    // The process ends when {a, b} is stored and before anything is sent.
    let kill = Failures::at(1, Seam::After, true);
    let killed = failing_deliveries(&system, &kill);
    let failed = handle(&killed, [a.clone(), b.clone()], now).await;
    assert_eq!(failed, ["0", "1"]);
    assert!(receiver.take().is_empty());
    let [first] = kept(&system, webhook).await.try_into().unwrap();

    // For all that is known it still runs.
    let works = [a.clone(), c.clone()];
    let failed = handle(&system.stack.delivering, works.clone(), now + SECOND).await;
    assert!(failed.contains(&"0".to_owned()), "{failed:?}");
    let later = now + LEASE_VALIDITY + SECOND;
    assert!(
        handle(&system.stack.delivering, works, later)
            .await
            .is_empty()
    );
    assert!(
        handle(&system.stack.delivering, [b, c, a], later)
            .await
            .is_empty()
    );
    let received: BTreeMap<String, Vec<String>> = receiver
        .received()
        .iter()
        .map(|it| (it.header("webhook-id").to_owned(), it.report_ids()))
        .collect();
    assert_eq!(receiver.take().len(), 2);
    assert_eq!(received[&first.id.to_string()], ids(&reports[..2]));
    let second = kept(&system, webhook).await[1].id.to_string();
    assert_eq!(received[&second], ids(&reports[2..]));
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1); 2]
    );
}

#[tokio::test]
async fn what_was_sent_and_not_recorded_is_sent_again_when_its_lease_has_ended() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let report = &stored(&system, org, 1).await[0];
    // The second call of the table is the one that records.
    let kill = Failures::at(2, Seam::Before, true);
    let failed = handle(&failing_deliveries(&system, &kill), [change(report)], now).await;
    assert_eq!(failed, ["0"]);
    assert!(kill.has_struck());
    let first = receiver.take();
    assert_eq!(first.len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Pending, 0)],
        "no attempt counts"
    );
    assert_eq!(
        system
            .stack
            .tables
            .webhooks
            .get(webhook)
            .await
            .unwrap()
            .unwrap()
            .health,
        Health::default()
    );

    let before = now + LEASE_VALIDITY - SECOND;
    round(&system, before).await;
    assert_eq!(
        handle(&system.stack.delivering, [change(report)], before).await,
        ["0"]
    );
    assert!(receiver.take().is_empty());
    let after = now + LEASE_VALIDITY + Duration::minutes(1);
    assert!(
        handle(&system.stack.delivering, [change(report)], after)
            .await
            .is_empty()
    );
    let second = receiver.take();
    assert_eq!(second.len(), 1);
    assert_eq!(
        second[0].header("webhook-id"),
        first[0].header("webhook-id")
    );
    assert_eq!(second[0].body, first[0].body);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

/// The message may be in the dead-letter queue by then.
#[tokio::test]
async fn a_round_takes_up_what_nobody_finished() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let report = &stored(&system, org, 1).await[0];
    let kill = Failures::at(1, Seam::After, true);
    handle(&failing_deliveries(&system, &kill), [change(report)], now).await;
    assert_eq!(round(&system, now + SECOND).await.queued, 0);
    assert_eq!(
        round(&system, now + LEASE_VALIDITY + SECOND).await.queued,
        1
    );
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn without_time_everything_is_stored_and_goes_back_on_the_queue() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 60).await;
    let (other, old) =
        failed_deliveries(&system, organization(), &receiver, 3, now - hours(2)).await;
    let bodies = reports.iter().map(|it| body(&change(it)));
    let bodies = bodies.chain([body(&due(other, &old))]);
    let response =
        deliver_webhooks::handle(&system.stack.delivering, batch(bodies), now, NONE).await;
    assert!(failures(&response).is_empty());
    assert!(receiver.take().is_empty());
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Pending, 0); 2]
    );
    assert_eq!(
        states(&system, other).await,
        [(DeliveryState::Failed, 1); 3]
    );

    deliver(&system, now + SECOND).await;
    assert_eq!(receiver.take().len(), 5);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1); 2]
    );
    assert_eq!(
        states(&system, other).await,
        [(DeliveryState::Delivered, 2); 3]
    );
}

#[tokio::test]
async fn what_the_queue_does_not_take_back_the_next_round_does() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let report = &stored(&system, org, 1).await[0];
    let no_queue = Failures::at(1, Seam::Before, true);
    let sqs = no_queue.sqs(&system.stack.clients["DeliverWebhooks"].sqs);
    let delivering = Delivering {
        queue: EventsQueue::new(sqs, system.stack.events_queue()),
        ..system.stack.delivering.clone()
    };
    let event = batch([body(&change(report))]);
    let response = deliver_webhooks::handle(&delivering, event, now, NONE).await;
    assert!(no_queue.has_struck() && failures(&response).is_empty());
    round(&system, now + hours(1)).await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn a_delivery_without_its_message_is_our_fault() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let (webhook, ids) = failed_deliveries(&system, org, &receiver, 2, start).await;
    let dynamodb = &system.stack.dynamodb;
    let change_message = async |expression: &str, message: Option<AttributeValue>| {
        let update = dynamodb.update_item().table_name("DeliveriesTable");
        let update = update
            .key("webhook", AttributeValue::S(webhook.id.to_string()))
            .key("id", AttributeValue::S(ids[0].to_string()))
            .update_expression(expression)
            .return_values(ReturnValue::AllOld);
        let update = match message {
            None => update,
            Some(message) => update.expression_attribute_values(":message", message),
        };
        update.send().await.unwrap().attributes.unwrap()
    };
    let before = change_message("REMOVE message", None).await;
    let now = start + hours(1);
    let works = [due(webhook, &ids[..1]), due(webhook, &ids[1..])];
    let failed = handle(&system.stack.delivering, works.clone(), now).await;
    assert_eq!(failed, ["0"], "it comes again, the other one is done");
    assert_eq!(receiver.take().len(), 1);
    let expected = [(DeliveryState::Failed, 1), (DeliveryState::Delivered, 2)];
    assert_eq!(states(&system, webhook).await, expected);

    let message = before["message"].clone();
    change_message("SET message = :message", Some(message)).await;
    // Nobody is at work at it, so it need not wait until the lease ends.
    let later = now + SECOND;
    assert!(
        handle(&system.stack.delivering, works, later)
            .await
            .is_empty()
    );
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 2); 2]
    );
}

/// A resolver on a machine that has as many files open as it may.
struct TooManyFiles;

impl Resolve for TooManyFiles {
    fn resolve(&self, _: Name) -> Resolving {
        /// EMFILE of Linux.
        const TOO_MANY_OPEN_FILES: i32 = 24;
        let error = std::io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        Box::pin(async move { Err(error.into()) })
    }
}

#[tokio::test]
async fn what_this_machine_lacks_is_no_failure_of_the_receiver() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let url = receiver.url.replace("127.0.0.1", "localhost");
    let webhook = key(org, &system.webhook(org, &url).await);
    let report = &stored(&system, org, 1).await[0];
    let options = SenderOptions {
        addresses: AddressPolicy::PublicAndLoopback,
        plain_http: true,
        deadline: AMPLE,
    };
    let delivering = Delivering {
        sender: Sender::with_resolver(options, Arc::new(TooManyFiles)).unwrap(),
        ..system.stack.delivering.clone()
    };
    assert_eq!(handle(&delivering, [change(report)], now).await, ["0"]);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Pending, 0)]
    );
    let webhooks = &system.stack.tables.webhooks;
    let health = webhooks.get(webhook).await.unwrap().unwrap().health;
    assert_eq!(health, Health::default());
    // Nobody is at work at it, so it need not wait until the lease ends.
    assert!(
        handle(&system.stack.delivering, [change(report)], now + SECOND)
            .await
            .is_empty()
    );
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn exactly_the_messages_that_are_not_done_come_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let start = OffsetDateTime::now_utc();
    let (org, other) = (organization(), organization());
    system.webhook(org, &receiver.url).await;
    let (webhook, ids) = failed_deliveries(&system, other, &receiver, 3, start).await;
    let now = start + hours(1);
    // Somebody else is at one of them.
    let store = &system.stack.tables.deliveries;
    let busy = key_of(&kept(&system, webhook).await[1]);
    assert!(matches!(
        store.claim(busy, now).await.unwrap(),
        Claimed::Started(..)
    ));
    let reports = stored(&system, org, 1).await;
    let gone = WebhookKey {
        id: WebhookId::new(uuid::Uuid::new_v4()),
        org,
    };
    let bodies = [
        body(&change(&reports[0])),
        "{".to_owned(),
        body(&due(webhook, &ids[..1])),
        body(&due(webhook, &ids[..2])),
        body(&due(webhook, &ids[2..])),
        body(&due(gone, &ids)),
        json!({"event": "report.deleted", "org": org, "report": reports[0].id, "revision": 1})
            .to_string(),
        String::new(),
        body(&change(&reports[0])),
        body(&due(webhook, &ids[1..2])),
    ];
    let response =
        deliver_webhooks::handle(&system.stack.delivering, batch(bodies), now, AMPLE).await;
    assert_eq!(failures(&response), ["1", "3", "6", "7", "9"]);
    assert_eq!(receiver.take().len(), 3);
}

/// Wherever a process ends, or DynamoDB or the queue fails once: every report is told in the end, by one delivery, and
/// nothing counts as an attempt that was none.
#[tokio::test]
async fn no_fault_of_ours_loses_a_report_or_blames_a_receiver() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let now = OffsetDateTime::now_utc();
    let mut struck = BTreeMap::new();
    for (seam, kill) in [
        (Seam::Before, false),
        (Seam::After, false),
        (Seam::Before, true),
        (Seam::After, true),
    ] {
        for n in 1.. {
            let org = organization();
            let case = format!("call {n}, {seam:?}, kill: {kill}");
            let webhook = key(org, &system.webhook(org, &receiver.url).await);
            let reports = stored(&system, org, 3).await;
            // One that has failed before, so that the webhook's health is written too.
            receiver.answer(Answer::Status(500));
            tell(&system, &reports[0], now - hours(1)).await;
            receiver.answer(Answer::Status(200));
            let before = receiver.take()[0].header("webhook-id").to_owned();
            let works = [
                due(webhook, &[before.parse().unwrap()]),
                change(&reports[1]),
                change(&reports[2]),
            ];
            let faults = Failures::at(n, seam, kill);
            let failed = handle(&failing(&system, &faults), works.clone(), now).await;
            let first = receiver.take();

            // Those that were not done come again, when nobody can be at work at them any more.
            let again: Vec<Work> = failed
                .iter()
                .map(|it| works[it.parse::<usize>().unwrap()].clone())
                .collect();
            let later = now + LEASE_VALIDITY + SECOND;
            let failed = handle(&system.stack.delivering, again, later).await;
            assert!(failed.is_empty(), "{case}: {failed:?}");
            // What the webhook's pause has kept back.
            deliver(&system, later).await;
            round(&system, now + hours(1)).await;
            let received: Vec<Received> = first.into_iter().chain(receiver.take()).collect();

            let mut deliveries_of = BTreeMap::<String, BTreeSet<String>>::new();
            for request in &received {
                for id in request.report_ids() {
                    let ids = deliveries_of.entry(id).or_default();
                    ids.insert(request.header("webhook-id").to_owned());
                }
            }
            assert_eq!(
                deliveries_of.len(),
                3,
                "{case}: one is lost: {deliveries_of:?}"
            );
            assert!(
                deliveries_of.values().all(|ids| ids.len() == 1),
                "{case}: {deliveries_of:?}"
            );
            for delivery in kept(&system, webhook).await {
                let id = delivery.id.to_string();
                let sent = received
                    .iter()
                    .filter(|it| it.header("webhook-id") == id)
                    .count();
                let tried = u32::from(id == before);
                assert_eq!(
                    delivery.state,
                    DeliveryState::Delivered,
                    "{case}: {delivery:?}"
                );
                assert!(
                    (tried + 1..=tried + u32::try_from(sent).unwrap()).contains(&delivery.attempts),
                    "{case}: {delivery:?}"
                );
                // At the most one more than needed: once in vain, once more.
                assert!(sent <= 2, "{case}: {sent}");
            }
            let webhook = system.webhook_now(org, &json!(webhook.id)).await;
            assert_eq!(text(&webhook["name"]), "test");
            assert_eq!(webhook["enabled"], true, "{case}");
            if !faults.has_struck() {
                break;
            }
            struck.insert((seam == Seam::After, kill), n);
        }
    }
    // Two reads, the probe, the lease, a creation, two records, the health: all of them were made to fail.
    assert!(
        struck.len() == 4 && struck.values().all(|calls| *calls >= 8),
        "{struck:?}"
    );
}
