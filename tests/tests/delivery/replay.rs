//! What somebody wants to be sent once more.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::date::timestamp;
use domain::delivery::{DeliveryId, DeliveryState};
use domain::webhook::WebhookKey;
use local::Options;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::deliveries::{Count, Range};
use store::queue::work::{Replay, Work};
use tests::receiver::{Answer, Received, Receiver, assert_signed};
use tests::system::{Reply, System, organization, text};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::support::{
    AMPLE, NONE, backdate, batch, change, deliver, failures, handle, hours, ids, json as body,
    kept, key, published, round, states, stored, stored_at, taken, tell, tell_each,
};

/// Asks for the first of a webhook's deliveries to be sent again.
async fn redeliver(system: &System, webhook: WebhookKey) -> Reply {
    let id = kept(system, webhook).await[0].id;
    let path = format!("/webhooks/{}/deliveries/{id}/redeliver", webhook.id);
    system.manage(webhook.org, "POST", &path, None).await
}

async fn replay(system: &System, webhook: WebhookKey, request: Value) -> Reply {
    let path = format!("/webhooks/{}/replay", webhook.id);
    system
        .manage(webhook.org, "POST", &path, Some(request))
        .await
}

/// How many deliveries a replay says that it is of, and then what came of it.
async fn replayed(
    system: &System,
    receiver: &Receiver,
    webhook: WebhookKey,
    request: Value,
) -> Vec<String> {
    let mut dry = request.clone();
    dry["dryRun"] = json!(true);
    let expected = replay(system, webhook, dry).await;
    assert_eq!(expected.status, StatusCode::OK, "{expected:?}");
    assert!(taken(system).await.is_empty() && receiver.take().is_empty());
    let reply = replay(system, webhook, request).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    assert_eq!(reply.json(), json!({"dryRun": false}));
    deliver(system, OffsetDateTime::now_utc()).await;
    let told = told(&receiver.take());
    assert_eq!(
        expected.json(),
        json!({"count": told.len(), "hasMore": false, "dryRun": true})
    );
    told
}

/// The ids of the reports that requests told of, sorted.
fn told(received: &[Received]) -> Vec<String> {
    let mut ids: Vec<String> = received.iter().flat_map(Received::report_ids).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_redelivery_is_the_same_message_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = system.webhook(org, &receiver.url).await;
    let secret = text(&webhook["secret"]);
    let webhook = key(org, &webhook);
    tell(&system, &stored(&system, org, 1).await[0], now - hours(5)).await;
    let first = receiver.take();
    for attempts in 2..=3 {
        let reply = redeliver(&system, webhook).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        let summary = reply.json();
        assert_eq!(summary["state"], "pending");
        assert_eq!(summary["attemptCount"], attempts - 1);
        assert!(summary.get("dueAt").is_some(), "{summary}");
        let expected = [(DeliveryState::Pending, attempts - 1)];
        assert_eq!(states(&system, webhook).await, expected);

        deliver(&system, OffsetDateTime::now_utc()).await;
        let again = receiver.take();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].header("webhook-id"), first[0].header("webhook-id"));
        assert_eq!(again[0].body, first[0].body);
        assert_ne!(
            again[0].header("webhook-timestamp"),
            first[0].header("webhook-timestamp")
        );
        assert_signed(&again[0], &secret);
        assert_eq!(
            states(&system, webhook).await,
            [(DeliveryState::Delivered, attempts)]
        );
    }
}

#[tokio::test]
async fn a_redelivery_whose_message_is_lost_is_made_by_the_next_round() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell(&system, &stored(&system, org, 1).await[0], now - hours(5)).await;
    receiver.take();
    redeliver(&system, webhook).await;
    assert_eq!(taken(&system).await.len(), 1);
    round(&system, now + hours(1)).await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 2)]
    );
}

#[tokio::test]
async fn nothing_is_sent_again_while_disabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell(&system, &stored(&system, org, 1).await[0], now - hours(5)).await;
    receiver.take();
    let path = format!("/webhooks/{}/disable", webhook.id);
    system.manage(org, "POST", &path, None).await;
    let all = json!({"states": ["delivered"]});
    for reply in [
        redeliver(&system, webhook).await,
        replay(&system, webhook, all).await,
    ] {
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::CONFLICT, "webhook_disabled")
        );
    }
    let dry = json!({"states": ["delivered"], "dryRun": true});
    let reply = replay(&system, webhook, dry).await;
    assert_eq!(
        (reply.status, &reply.json()["count"]),
        (StatusCode::OK, &json!(1))
    );
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert!(receiver.take().is_empty());
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn what_is_being_tried_is_not_sent_a_second_time() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 1).await;
    let permits = Arc::new(Semaphore::new(0));
    receiver.answer(Answer::Hold(Arc::clone(&permits)));
    let delivering = system.stack.delivering.clone();
    let works = [Work::change(published(&reports[0]))];
    let running = tokio::spawn(async move { handle(&delivering, works, now).await });
    receiver.wait_for(1).await;
    let reply = redeliver(&system, webhook).await;
    let conflict = (StatusCode::CONFLICT, "delivery_in_progress");
    assert_eq!((reply.status, reply.code().as_str()), conflict);
    // A replay leaves it out.
    let all = json!({"states": ["pending", "failed", "held", "delivered"]});
    assert_eq!(
        replay(&system, webhook, all).await.status,
        StatusCode::ACCEPTED
    );
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert_eq!(receiver.received().len(), 1);
    permits.add_permits(1);
    assert!(running.await.unwrap().is_empty());
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn a_redelivery_is_tried_also_when_the_webhook_is_left_alone() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Full {
        status: 503,
        headers: vec![("retry-after".to_owned(), "86400".to_owned())],
        body: bytes::Bytes::new(),
    });
    let reports = stored(&system, org, 2).await;
    tell(&system, &reports[0], now - hours(1)).await;
    tell(
        &system,
        &reports[1],
        now - hours(1) + time::Duration::SECOND,
    )
    .await;
    assert_eq!(receiver.take().len(), 1);
    receiver.answer(Answer::Status(200));
    round(&system, now).await;
    assert!(receiver.take().is_empty());

    assert_eq!(
        redeliver(&system, webhook).await.status,
        StatusCode::ACCEPTED
    );
    let seen = system.webhook_now(org, &json!(webhook.id)).await;
    assert!(seen.get("pausedUntil").is_none(), "{seen}");
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert_eq!(told(&receiver.take()), ids(&reports[..1]));
    let seen = system.webhook_now(org, &json!(webhook.id)).await;
    assert!(seen.get("failingSince").is_none(), "{seen}");
    // The other one was never tried, and is due.
    round(&system, now + hours(1)).await;
    assert_eq!(told(&receiver.take()), ids(&reports[1..]));
}

#[tokio::test]
async fn a_replay_is_of_the_states_and_the_time_that_it_names() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    backdate(&system, webhook, now - hours(11)).await;
    let reports = stored(&system, org, 8).await;
    // Every second one fails, an hour apart.
    for (number, report) in (0..).zip(&reports) {
        receiver.answer(Answer::Status(if number % 2 == 0 { 200 } else { 404 }));
        let at = now - hours(10 - number);
        tell(&system, &stored_at(report, at), at).await;
    }
    receiver.answer(Answer::Status(404));
    receiver.take();
    let of = |numbers: &[usize]| {
        let mut ids = ids(numbers.iter().map(|number| &reports[*number]));
        ids.sort_unstable();
        ids
    };
    let at = |number: i64| timestamp(now - hours(10 - number));
    let replayed = async |request: Value| replayed(&system, &receiver, webhook, request).await;

    assert_eq!(replayed(json!({})).await, of(&[1, 3, 5, 7]));
    assert_eq!(replayed(json!({"since": at(3)})).await, of(&[3, 5, 7]));
    assert_eq!(replayed(json!({"until": at(3)})).await, of(&[1]));
    let just_behind = timestamp(now - hours(7) + time::Duration::MINUTE);
    assert_eq!(replayed(json!({"until": just_behind})).await, of(&[1, 3]));
    assert_eq!(
        replayed(json!({"since": at(2), "until": at(6)})).await,
        of(&[3, 5])
    );
    assert_eq!(
        replayed(json!({"since": at(6), "until": at(2)})).await,
        of(&[])
    );
    assert_eq!(replayed(json!({"states": ["held"]})).await, of(&[]));
    let delivered = json!({"states": ["delivered"], "since": at(1), "until": at(5)});
    assert_eq!(replayed(delivered).await, of(&[2, 4]));
    // Those were refused this time.
    assert_eq!(
        replayed(json!({"states": ["delivered"]})).await,
        of(&[0, 6])
    );
    receiver.answer(Answer::Status(200));
    assert_eq!(replayed(json!({"until": at(4)})).await, of(&[0, 1, 2, 3]));
    let all = json!({"states": ["delivered", "failed", "held", "pending"]});
    assert_eq!(replayed(all).await, of(&[0, 1, 2, 3, 4, 5, 6, 7]));
    let states = states(&system, webhook).await;
    assert!(
        states
            .iter()
            .all(|(state, _)| *state == DeliveryState::Delivered)
    );
}

#[tokio::test]
async fn a_replay_is_also_of_what_was_never_tried() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer_next([Answer::Status(200), Answer::Status(503)]);
    for (second, report) in (0..).zip(&reports) {
        tell(&system, report, now - time::Duration::seconds(60 - second)).await;
    }
    receiver.take();
    let expected = [
        (DeliveryState::Delivered, 1),
        (DeliveryState::Failed, 1),
        (DeliveryState::Pending, 0),
    ];
    assert_eq!(states(&system, webhook).await, expected);
    let mut expected = ids(&reports[1..]);
    expected.sort_unstable();
    assert_eq!(
        replayed(&system, &receiver, webhook, json!({})).await,
        expected
    );
}

#[tokio::test]
async fn a_state_that_stands_twice_is_refused_as_in_other_lists() {
    let system = System::start().await;
    let org = organization();
    let webhook = key(org, &system.webhook(org, "http://127.0.0.1:9/").await);
    let twice = json!({"states": ["held", "failed", "held"]});
    let reply = replay(&system, webhook, twice).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    assert_eq!(reply.json()["code"], "invalid_state");
    assert_eq!(reply.json()["parameter"], "states[2]");
}

#[tokio::test]
async fn a_replay_may_be_of_more_than_a_page() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 120).await;
    tell_each(&system, &reports, now - hours(1)).await;
    receiver.take();
    let mut expected = ids(&reports);
    expected.sort_unstable();
    let request = json!({"states": ["delivered"]});
    assert_eq!(
        replayed(&system, &receiver, webhook, request).await,
        expected
    );
    let states = states(&system, webhook).await;
    assert!(states.iter().all(|it| *it == (DeliveryState::Delivered, 2)));
}

#[tokio::test]
async fn a_replay_without_time_goes_on_by_a_further_message() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 120).await;
    tell_each(&system, &reports, now - hours(1)).await;
    receiver.take();
    let replay = |from| {
        Work::Replay(Replay {
            org,
            webhook: webhook.id,
            replay: DeliveryState::Delivered,
            early: true,
            from,
            to: DeliveryId::LAST,
        })
    };
    let deliveries = kept(&system, webhook).await;
    let ids: Vec<DeliveryId> = deliveries.iter().map(|it| it.id).collect();
    let (mut bodies, mut made_due) = (Vec::new(), Vec::new());
    let mut next = Some(replay(DeliveryId::FIRST));
    // Without any time nothing is done. How far it comes with a little is not known, but it leaves nothing out.
    for budget in 0.. {
        let Some(work) = next.take() else { break };
        let event = batch([body(&work)]);
        let budget = NONE + std::time::Duration::from_millis(budget);
        let response = deliver_webhooks::handle(&system.stack.delivering, event, now, budget).await;
        assert!(failures(&response).is_empty());
        for message in taken(&system).await {
            match serde_json::from_str(&message).unwrap() {
                Work::Due(due) => {
                    made_due.extend(due.due);
                    bodies.push(message);
                }
                rest => assert_eq!(next.replace(rest), None),
            }
        }
        if budget == NONE {
            assert_eq!((next.as_ref(), made_due.len()), (Some(&work), 0));
        } else if let Some(rest) = &next {
            let goes_on = ids[..made_due.len()].last().map(|last| replay(last.next()));
            assert!(
                *rest == goes_on.unwrap_or_else(|| replay(DeliveryId::FIRST)),
                "{}: {rest:?}",
                made_due.len()
            );
        }
    }
    assert_eq!(made_due, ids, "each once");
    let response = deliver_webhooks::handle(
        &system.stack.delivering,
        batch(bodies),
        now + time::Duration::MINUTE,
        AMPLE,
    )
    .await;
    assert!(failures(&response).is_empty());
    let received = receiver.take();
    let told: BTreeSet<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    assert_eq!((received.len(), told.len()), (120, 120));
}

#[tokio::test]
async fn what_is_counted_is_counted_up_to_a_limit() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell_each(&system, &stored(&system, org, 5).await, now).await;
    let deliveries = &system.stack.tables.deliveries;
    let all = Range::all(webhook.id);
    let delivered = Range {
        state: Some(DeliveryState::Delivered),
        ..all
    };
    for range in [all, delivered] {
        for (most, count) in [(0, 0), (1, 1), (4, 4), (5, 5), (6, 5)] {
            let has_more = count < 5;
            let expected = Count { count, has_more };
            assert_eq!(deliveries.count(&range, most).await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn a_replay_does_not_wait_for_a_slow_receiver() {
    let system = System::start_with(Options {
        // Longer than the batch's budget.
        delivery_deadline: std::time::Duration::from_secs(2),
        ..Options::default()
    })
    .await;
    let (slow, receiver) = (Receiver::start().await, Receiver::start().await);
    let (org, other, now) = (organization(), organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    tell(&system, &stored(&system, org, 1).await[0], now).await;
    slow.answer(Answer::Silence);
    system.webhook(other, &slow.url).await;
    let late = stored(&system, other, 1).await;
    let replay = Work::Replay(Replay {
        org,
        webhook: webhook.id,
        replay: DeliveryState::Delivered,
        early: true,
        from: DeliveryId::FIRST,
        to: DeliveryId::LAST,
    });
    let event = batch([body(&change(&late[0])), body(&replay)]);
    let budget = std::time::Duration::from_secs(1);
    let response = deliver_webhooks::handle(&system.stack.delivering, event, now, budget).await;
    assert!(failures(&response).is_empty());
    let left: Vec<Work> = taken(&system)
        .await
        .iter()
        .map(|message| serde_json::from_str(message).unwrap())
        .collect();
    let [Work::Due(due)] = left.as_slice() else {
        panic!("what was to be replayed is due, and nothing is left of the replay: {left:?}");
    };
    assert_eq!((due.webhook, due.due.len()), (webhook.id, 1));
}

#[tokio::test]
async fn a_replay_that_fails_midway_is_made_once_more() {
    use store::deliveries::DeliveryStore;
    use tests::failures::{Failures, Seam};

    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 5).await;
    tell_each(&system, &reports, now - hours(1)).await;
    receiver.take();
    let work = Work::Replay(Replay {
        org,
        webhook: webhook.id,
        replay: DeliveryState::Delivered,
        early: true,
        from: DeliveryId::FIRST,
        to: DeliveryId::LAST,
    });
    let faults = Failures::at(4, Seam::Before, true);
    let mut delivering = system.stack.delivering.clone();
    let dynamodb = faults.dynamodb(&system.stack.clients["DeliverWebhooks"].dynamodb);
    delivering.deliveries = DeliveryStore::new(dynamodb, "DeliveriesTable");
    assert_eq!(handle(&delivering, [work.clone()], now).await, ["0"]);
    assert!(
        handle(&system.stack.delivering, [work], now)
            .await
            .is_empty()
    );
    deliver(&system, now).await;
    // Those that were made due before the fault are due still, in no message.
    round(&system, now + hours(1)).await;
    let mut expected = ids(&reports);
    expected.sort_unstable();
    assert_eq!(told(&receiver.take()), expected);
    let states = states(&system, webhook).await;
    assert!(states.iter().all(|it| *it == (DeliveryState::Delivered, 2)));
}
