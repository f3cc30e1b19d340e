//! A receiver that is down or refuses, and what waits for it.

use domain::webhook::health::Admission;
use std::collections::BTreeSet;
use std::sync::Arc;

use domain::delivery::{DeliveryId, DeliveryState};
use domain::report::Report;
use serde_json::json;
use store::dynamodb::Changed;
use store::queue::work::Work;
use store::webhooks::WebhookStore;
use tests::failures::Failures;
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{
    deliver, due, handle, hours, ids, kept, key, key_of, published, round, seen, sorted, states,
    stored, tell, tell_each, told,
};

fn attempts(states: &[(DeliveryState, u32)]) -> u32 {
    states.iter().map(|(_, attempts)| attempts).sum()
}

#[tokio::test]
async fn a_dead_receiver_costs_one_request_a_round_and_nothing_is_lost() {
    for silence in [
        Answer::Status(502),
        Answer::Status(503),
        Answer::Status(504),
        Answer::Status(429),
        Answer::CloseBeforeHead,
    ] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 30).await;
        receiver.answer(silence);
        tell(&system, &reports[0], start).await;
        tell_each(&system, &reports[1..], start + Duration::seconds(1)).await;
        assert_eq!(receiver.take().len(), 1, "the others wait");

        let mut tried = BTreeSet::new();
        for hour in 1..=5 {
            let made = round(&system, start + hours(hour)).await;
            assert_eq!((made.queued, made.waiting), (30, 0), "hour {hour}");
            let received = receiver.take();
            assert_eq!(received.len(), 1, "hour {hour}");
            tried.insert(received[0].header("webhook-id").to_owned());
            let states = states(&system, webhook).await;
            assert_eq!(attempts(&states), u32::try_from(hour).unwrap() + 1);
        }
        assert_eq!(tried.len(), 5, "the one that has waited longest is tried");

        receiver.answer(Answer::Status(200));
        round(&system, start + hours(6)).await;
        assert_eq!(told(&receiver.take()), sorted(ids(&reports)), "each once");
        let states = states(&system, webhook).await;
        assert!(
            states
                .iter()
                .all(|(state, _)| *state == DeliveryState::Delivered)
        );
        assert_eq!(attempts(&states), 6 + 30);
        let webhook = seen(&system, webhook).await;
        assert!(webhook.get("failingSince").is_none() && webhook.get("pausedUntil").is_none());
    }
}

/// It answers, so what is new may be what it takes.
#[tokio::test]
async fn a_receiver_with_errors_of_its_own_costs_one_request_a_round_and_one_for_each_new_batch() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 30).await;
    receiver.answer(Answer::Status(500));
    tell(&system, &reports[0], start).await;
    tell_each(&system, &reports[1..], start + Duration::seconds(1)).await;
    assert_eq!(told(&receiver.take()), sorted(ids(&reports)), "each once");
    for hour in 1..=3 {
        round(&system, start + hours(hour)).await;
        assert_eq!(receiver.take().len(), 1, "hour {hour}");
    }
    receiver.answer(Answer::Status(200));
    round(&system, start + hours(4)).await;
    assert_eq!(told(&receiver.take()), sorted(ids(&reports)), "each once");
    let states = states(&system, webhook).await;
    assert!(
        states
            .iter()
            .all(|(state, _)| *state == DeliveryState::Delivered)
    );
}

#[tokio::test]
async fn what_is_new_for_a_paused_webhook_waits_untried() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer_next([Answer::Status(503)]);
    tell(&system, &reports[0], start).await;
    receiver.take();
    for report in &reports[1..] {
        tell(&system, report, start + Duration::minutes(30)).await;
    }
    assert!(receiver.take().is_empty());
    let waiting = (DeliveryState::Pending, 0);
    let expected = [(DeliveryState::Failed, 1), waiting, waiting];
    assert_eq!(states(&system, webhook).await, expected);
    let seen = seen(&system, webhook).await;
    assert!(
        seen["enabled"] == true && seen.get("pausedUntil").is_some(),
        "{seen}"
    );
    assert!(seen.get("failingSince").is_some());

    // A round in the pause is none for it.
    let made = round(&system, start + Duration::minutes(45)).await;
    assert_eq!((made.queued, made.waiting), (0, 2));
    assert!(receiver.take().is_empty());

    // It is tried again by whatever comes first after the pause, and that brings the others.
    let report = &stored(&system, org, 4).await[3];
    tell(&system, report, start + Duration::minutes(51)).await;
    assert_eq!(told(&receiver.take()), ids([report]));
    deliver(&system, start + Duration::minutes(52)).await;
    assert_eq!(told(&receiver.take()), sorted(ids(&reports)));
}

/// What comes at the same moment after a pause does not become several trials.
#[tokio::test]
async fn after_a_pause_one_delivery_is_tried_also_when_many_come_at_once() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 21).await;
    receiver.answer(Answer::Status(500));
    tell(&system, &reports[0], start).await;
    receiver.take();
    tell_each(&system, &reports[1..], start + hours(1)).await;
    assert_eq!(receiver.take().len(), 1, "in different batches");
    let waiting: Vec<DeliveryId> = kept(&system, webhook)
        .await
        .iter()
        .map(|it| it.id)
        .collect();
    let works = [due(webhook, &waiting)];
    assert!(
        handle(&system.stack.delivering, works, start + hours(2))
            .await
            .is_empty()
    );
    assert_eq!(receiver.take().len(), 1, "in one batch");
    assert_eq!(attempts(&states(&system, webhook).await), 3);
}

#[tokio::test]
async fn a_poisonous_message_keeps_no_other_back() {
    for status in [500, 400] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 20).await;
        let poison = reports[0].id.to_string();
        receiver.answer_by(move |received| {
            let is_poisonous = received.report_ids().contains(&poison);
            Answer::Status(if is_poisonous { status } else { 200 })
        });
        for (minute, report) in (0..).zip(&reports) {
            tell(&system, report, start + Duration::minutes(minute)).await;
        }
        for hour in 1..=5 {
            round(&system, start + hours(hour)).await;
        }
        let states = states(&system, webhook).await;
        assert_eq!(states[0].0, DeliveryState::Failed);
        let others = &states[1..];
        assert!(
            others.iter().all(|it| *it == (DeliveryState::Delivered, 1)),
            "{states:?}"
        );
        let of_poison = receiver.take().len() - others.len();
        assert!((5..=11).contains(&of_poison), "{of_poison}");
        assert_eq!(seen(&system, webhook).await["enabled"], true);
    }
}

#[tokio::test]
async fn what_always_gets_a_500_makes_nothing_new_late_and_is_tried_once_an_hour() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 16).await;
    let (poisonous, others) = reports.split_first().unwrap();
    let poison = poisonous.id.to_string();
    receiver.answer_by(move |received| {
        let is_poisonous = received.report_ids().contains(&poison);
        Answer::Status(if is_poisonous { 500 } else { 200 })
    });
    tell(&system, poisonous, start).await;
    assert_eq!(receiver.take().len(), 1);
    for (hour, new) in (1..=5).zip(others.chunks(3)) {
        let begun = start + hours(hour - 1);
        for (minute, report) in [1, 20, 40].into_iter().zip(new) {
            let now = begun + Duration::minutes(minute);
            tell(&system, report, now).await;
            assert_eq!(told(&receiver.take()), ids([report]), "in its own batch");
            // The success calls what is due, and the poisonous one is not.
            deliver(&system, now).await;
            round(&system, now).await;
            assert!(receiver.take().is_empty(), "{hour}:{minute}");
        }
        round(&system, start + hours(hour)).await;
        assert_eq!(told(&receiver.take()), ids([poisonous]), "hour {hour}");
        let seen = seen(&system, webhook).await;
        assert!(seen.get("pausedUntil").is_some(), "{seen}");
    }
    let states = states(&system, webhook).await;
    assert_eq!(states[0], (DeliveryState::Failed, 6));
    assert!(
        states[1..]
            .iter()
            .all(|it| *it == (DeliveryState::Delivered, 1))
    );
}

/// Messages of one project always fail and never cease, and another project's has failed once.
#[tokio::test]
async fn what_is_new_and_fails_does_not_put_off_for_ever_what_waits() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 30).await;
    let (old, new) = reports.split_first().unwrap();
    receiver.answer(Answer::Status(500));
    tell(&system, old, start).await;
    let old = kept(&system, webhook).await[0].id.to_string();
    let is_old = old.clone();
    receiver.answer_by(move |received| {
        let is_old = received.header("webhook-id") == is_old;
        Answer::Status(if is_old { 200 } else { 500 })
    });
    for (number, report) in (1..).zip(new) {
        let now = start + Duration::minutes(10 * number);
        tell(&system, report, now).await;
        if number % 6 == 0 {
            round(&system, now).await;
        }
    }
    let received = receiver.take();
    let of_old = received.iter().filter(|it| it.header("webhook-id") == old);
    assert_eq!(of_old.count(), 2, "it was tried again, and taken");
}

#[tokio::test]
async fn in_the_pause_what_is_new_is_tried_first_and_alone() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 62).await;
    receiver.answer(Answer::Status(500));
    tell(&system, &reports[0], start).await;
    receiver.take();
    // It is due, but waits.
    let now = start + Duration::minutes(10);
    let old = key_of(&kept(&system, webhook).await[0]);
    let store = &system.stack.tables.deliveries;
    store.make_due(old, true, now).await.unwrap();
    let works = |new: &[Report]| -> Vec<Work> {
        let changes = new.iter().map(published).map(Work::change);
        std::iter::once(due(webhook, &[old.id]))
            .chain(changes)
            .collect()
    };
    let now = now + Duration::SECOND;
    assert!(
        handle(&system.stack.delivering, works(&reports[1..61]), now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    assert_eq!(received.len(), 1, "of two messages");
    assert_ne!(received[0].header("webhook-id"), old.id.to_string());
    let states_then = states(&system, webhook).await;
    assert_eq!(attempts(&states_then), 2);

    // Without anything new, one of what waits is tried, and its failure does not make the pause longer.
    let until = seen(&system, webhook).await["pausedUntil"].clone();
    assert!(
        handle(&system.stack.delivering, works(&[]), now)
            .await
            .is_empty()
    );
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(seen(&system, webhook).await["pausedUntil"], until);
    store.make_due(old, true, now).await.unwrap();

    // With a success before it, it is to blame itself for a failure.
    receiver.answer_next([Answer::Status(200), Answer::Status(500)]);
    receiver.take();
    assert!(
        handle(&system.stack.delivering, works(&reports[61..]), now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    assert_eq!(told(&received[..1]), ids(&reports[61..]));
    assert_eq!(told(&received[1..]), ids(&reports[..1]));
    let seen = seen(&system, webhook).await;
    assert!(
        seen.get("pausedUntil").is_none() && seen.get("failingSince").is_some(),
        "{seen}"
    );
    assert_eq!(states(&system, webhook).await[0].0, DeliveryState::Failed);
}

#[tokio::test]
async fn a_refusal_after_a_pause_calls_what_waits() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 5).await;
    receiver.answer_next([Answer::Status(503), Answer::Status(404)]);
    tell(&system, &reports[0], start).await;
    for report in &reports[1..4] {
        tell(&system, report, start + Duration::minutes(1)).await;
    }
    assert_eq!(receiver.take().len(), 1);
    let now = start + hours(1);
    tell(&system, &reports[4], now).await;
    assert_eq!(told(&receiver.take()), ids(&reports[4..]));
    let seen = seen(&system, webhook).await;
    assert!(
        seen.get("pausedUntil").is_none() && seen.get("failingSince").is_some(),
        "{seen}"
    );
    deliver(&system, now + Duration::SECOND).await;
    assert_eq!(told(&receiver.take()), sorted(ids(&reports[..4])));
}

#[tokio::test]
async fn a_trial_of_nothing_leaves_the_pause_as_it_was() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let webhooks = &system.stack.tables.webhooks;
    let stored_webhook = async || webhooks.get(webhook).await.unwrap().unwrap();
    let reports = stored(&system, org, 2).await;
    receiver.answer_next([Answer::Status(503)]);
    tell(&system, &reports[0], start).await;
    receiver.take();
    let paused = stored_webhook().await;
    assert!(paused.health.paused_until.is_some());
    // A delivery that there is not.
    let now = start + hours(1);
    let works = [due(webhook, &[DeliveryId::FIRST])];
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    assert_eq!(stored_webhook().await, paused);

    // Who asks twice for the same trial has it, since the answer may have been lost; nobody else has.
    let until = now + hours(1);
    let claim = async |until| webhooks.claim_probe(&paused, until).await.unwrap();
    assert_eq!(claim(until).await, Changed::Stored);
    assert_eq!(claim(until).await, Changed::Stored);
    assert_eq!(claim(until + Duration::SECOND).await, Changed::Lost);
    let claimed = stored_webhook().await;
    assert_eq!(
        claimed.admission(until - Duration::SECOND),
        Admission::Paused
    );

    // Only who has it gives it back, and not what somebody has noted since.
    let not_ours = until + Duration::SECOND;
    webhooks.return_probe(&paused, not_ours).await.unwrap();
    assert_eq!(stored_webhook().await, claimed);
    webhooks.return_probe(&paused, until).await.unwrap();
    assert_eq!(stored_webhook().await, paused);

    tell(&system, &reports[1], now).await;
    assert_eq!(told(&receiver.take()), ids(&reports[1..]));
}

/// A receiver that answers one request with this status, when there is a permit. The first permit that it gives says that
/// the request came.
async fn late(status: u16) -> (String, Arc<Semaphore>, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (came, may_answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (request, permits) = (Arc::clone(&came), Arc::clone(&may_answer));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut beginning = [0; 1024];
        assert!(stream.read(&mut beginning).await.unwrap() > 0);
        request.add_permits(1);
        let _permit = permits.acquire().await.unwrap();
        let answer = format!("HTTP/1.1 {status} \r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the other side closes.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    (url, came, may_answer)
}

#[tokio::test]
async fn what_the_old_receiver_answers_after_a_change_says_nothing_of_the_new_one() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    for status in [410, 503, 500, 404] {
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let (url, came, may_answer) = late(status).await;
        let webhook = key(org, &system.webhook(org, &url).await);
        let reports = stored(&system, org, 2).await;
        let delivering = system.stack.delivering.clone();
        let works = [Work::change(published(&reports[0]))];
        let running = tokio::spawn(async move { handle(&delivering, works, start).await });
        let _came = came.acquire().await.unwrap();
        let path = format!("/webhooks/{}", webhook.id);
        let moved = json!({"url": receiver.url});
        let reply = system.manage(org, "PATCH", &path, Some(moved)).await;
        let moved = reply.json();
        may_answer.add_permits(1);
        assert!(running.await.unwrap().is_empty());
        assert_eq!(states(&system, webhook).await, [(DeliveryState::Failed, 1)]);

        let seen = seen(&system, webhook).await;
        assert_eq!(seen["enabled"], true, "{status}: {seen}");
        for absent in ["disabledReason", "failingSince", "pausedUntil"] {
            assert!(seen.get(absent).is_none(), "{status}: {seen}");
        }
        assert_eq!(seen["updatedAt"], moved["updatedAt"]);
        tell(&system, &reports[1], start + Duration::SECOND).await;
        assert_eq!(told(&receiver.take()), ids(&reports[1..]), "{status}");
        // And what it did not take goes to the new one at once.
        deliver(&system, start + Duration::SECOND).await;
        assert_eq!(told(&receiver.take()), ids(&reports[..1]), "{status}");
    }
}

#[tokio::test]
async fn what_a_receiver_answers_after_its_webhook_was_renamed_holds() {
    let system = System::start().await;
    for (status, pauses) in [(503, true), (404, false)] {
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let (url, came, may_answer) = late(status).await;
        let webhook = key(org, &system.webhook(org, &url).await);
        let reports = stored(&system, org, 1).await;
        let delivering = system.stack.delivering.clone();
        let works = [Work::change(published(&reports[0]))];
        let running = tokio::spawn(async move { handle(&delivering, works, start).await });
        let _came = came.acquire().await.unwrap();
        let path = format!("/webhooks/{}", webhook.id);
        let renamed = Some(json!({"name": "renamed"}));
        system.manage(org, "PATCH", &path, renamed).await;
        may_answer.add_permits(1);
        assert!(running.await.unwrap().is_empty());

        let seen = seen(&system, webhook).await;
        assert!(seen["failingSince"].is_string(), "{status}: {seen}");
        assert_eq!(seen.get("pausedUntil").is_some(), pauses, "{status}");
        assert!(system.queued().await.is_empty(), "it is not sent at once");
        assert_eq!(states(&system, webhook).await, [(DeliveryState::Failed, 1)]);
    }
}

#[tokio::test]
async fn a_refusal_does_not_pause() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 4).await;
    receiver.answer_next([
        Answer::Status(404),
        Answer::Status(302),
        Answer::Status(422),
    ]);
    for (second, report) in (0..).zip(&reports) {
        tell(&system, report, start + Duration::seconds(second)).await;
    }
    assert_eq!(receiver.take().len(), 4);
    let failed = (DeliveryState::Failed, 1);
    let expected = [failed, failed, failed, (DeliveryState::Delivered, 1)];
    assert_eq!(states(&system, webhook).await, expected);

    // Also a refusal after a pause: the receiver is there.
    receiver.answer_next([Answer::Status(500), Answer::Status(404)]);
    let reports = &stored(&system, org, 8).await[4..];
    tell(&system, &reports[0], start).await;
    tell(&system, &reports[1], start + hours(1)).await;
    receiver.take();
    tell(&system, &reports[2], start + hours(1)).await;
    assert_eq!(told(&receiver.take()), ids([&reports[2]]));
}

#[tokio::test]
async fn a_success_writes_the_webhook_only_after_a_failure() {
    let (mut system, receiver) = (System::start().await, Receiver::start().await);
    let failures = Failures::none();
    let dynamodb = failures.dynamodb(&system.stack.clients["DeliverWebhooks"].dynamodb);
    system.stack.delivering.webhooks = WebhookStore::new(dynamodb, "WebhooksTable");
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let reports = stored(&system, org, 10).await;
    let writes = || {
        failures
            .log()
            .iter()
            .filter(|it| *it == "UpdateItem")
            .count()
    };
    tell_each(&system, &reports[..5], start).await;
    assert_eq!(
        (receiver.take().len(), writes()),
        (5, 0),
        "{:?}",
        failures.log()
    );

    receiver.answer_next([Answer::Status(404)]);
    tell(&system, &reports[5], start).await;
    assert_eq!(writes(), 1, "a failure is noted");
    tell(&system, &reports[6], start).await;
    assert_eq!(writes(), 2, "and removed by the next success");
    tell_each(&system, &reports[7..], start).await;
    assert_eq!((receiver.take().len(), writes()), (5, 2));
}
