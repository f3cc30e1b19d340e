//! A receiver that is down, refuses, or is gone, and what waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use shared::aws::Changed;
use shared::delivery::{DeliveryId, DeliveryState};
use shared::queue::Work;
use shared::report::Report;
use shared::webhook::{DisabledReason, WebhookKey};
use shared::webhook_store::WebhookStore;
use tests::failures::Failures;
use tests::receiver::{Answer, Received, Receiver};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::batch::{
    deliver, due, handle, hours, ids, kept, key, key_of, published, round, states, stored, taken,
    tell, tell_each,
};

/// The ids of the reports that requests told of, sorted.
fn told(received: &[Received]) -> Vec<String> {
    let mut ids: Vec<String> = received.iter().flat_map(Received::report_ids).collect();
    ids.sort_unstable();
    ids
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

fn attempts(states: &[(DeliveryState, u32)]) -> u32 {
    states.iter().map(|(_, attempts)| attempts).sum()
}

async fn manage(system: &System, webhook: WebhookKey, method: &str, action: &str) {
    let path = format!("/webhooks/{}{action}", webhook.id);
    let reply = system.manage(webhook.org, method, &path, None).await;
    assert!(reply.status.is_success(), "{reply:?}");
}

/// The webhook as an administrator sees it.
async fn seen(system: &System, webhook: WebhookKey) -> Value {
    system.webhook_now(webhook.org, &json!(webhook.id)).await
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
    store.make_due(old, now).await.unwrap();
    let works = |new: &[Report]| -> Vec<Work> {
        let changes = new.iter().map(published).map(Work::Change);
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
    store.make_due(old, now).await.unwrap();

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
    assert_eq!(claim(until).await, Changed::Yes);
    assert_eq!(claim(until).await, Changed::Yes);
    assert_eq!(claim(until + Duration::SECOND).await, Changed::No);
    let claimed = stored_webhook().await;
    assert!(claimed.health.is_paused(until - Duration::SECOND));

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
        let works = [Work::Change(published(&reports[0]))];
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
        round(&system, start + hours(1)).await;
        assert_eq!(told(&receiver.take()), ids(&reports[..1]), "{status}");
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
        Answer::CloseInBody { status: 200 },
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
async fn a_receiver_that_is_gone_is_not_called_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer(Answer::Status(410));
    tell(&system, &reports[0], start).await;
    assert_eq!(receiver.take().len(), 1);
    let disabled = seen(&system, webhook).await;
    assert_eq!(disabled["enabled"], false);
    assert_eq!(disabled["disabledReason"], "gone");
    assert!(disabled.get("disabledAt").is_some());

    receiver.answer(Answer::Status(200));
    tell_each(&system, &reports[1..], start + hours(1)).await;
    let made = round(&system, start + hours(2)).await;
    assert_eq!((made.queued, made.waiting), (0, 3));
    round(&system, start + Duration::days(9)).await;
    assert!(receiver.take().is_empty());
    let held = (DeliveryState::Held, 0);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Failed, 1), held, held]
    );
}

#[tokio::test]
async fn five_days_without_success_disable() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 3).await;
        receiver.answer(Answer::Status(status));
        tell(&system, &reports[0], start).await;
        for hour in [24, 72, 119] {
            round(&system, start + hours(hour)).await;
            let seen = seen(&system, webhook).await;
            assert_eq!(seen["enabled"], true, "{status}: {hour} hours");
        }
        assert_eq!(receiver.take().len(), 4);
        round(&system, start + hours(121)).await;
        assert_eq!(receiver.take().len(), 1);
        let disabled = seen(&system, webhook).await;
        assert_eq!(disabled["enabled"], false, "{status}");
        assert_eq!(disabled["disabledReason"], "no_success");

        receiver.answer(Answer::Status(200));
        tell(&system, &reports[1], start + hours(122)).await;
        round(&system, start + hours(123)).await;
        assert!(receiver.take().is_empty());
        let expected = [(DeliveryState::Failed, 5), (DeliveryState::Held, 0)];
        assert_eq!(states(&system, webhook).await, expected);
    }
}

#[tokio::test]
async fn a_success_begins_the_five_days_anew() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 2).await;
        let poison = reports[0].id.to_string();
        receiver.answer_by(move |received| {
            let is_poisonous = received.report_ids().contains(&poison);
            Answer::Status(if is_poisonous { status } else { 200 })
        });
        tell(&system, &reports[0], start).await;
        round(&system, start + hours(99)).await;
        // The only success, after the pause and before the five days are over.
        tell(&system, &reports[1], start + hours(100)).await;
        for hour in [121, 150, 218] {
            round(&system, start + hours(hour)).await;
            let seen = seen(&system, webhook).await;
            assert_eq!(seen["enabled"], true, "{status}: {hour} hours");
        }
        round(&system, start + hours(242)).await;
        let disabled = seen(&system, webhook).await;
        assert_eq!(disabled["disabledReason"], "no_success", "{status}");
    }
}

/// Somebody else's delivery succeeds between the failure and the decision.
#[tokio::test]
async fn a_success_at_the_last_moment_keeps_a_webhook_enabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let webhooks = &system.stack.tables.webhooks;
    let read = webhooks.get(webhook).await.unwrap().unwrap();
    let failed = async |now| webhooks.failed(&read, now, None).await.unwrap().unwrap();
    let since = failed(start).await.failing_since.unwrap();
    assert_eq!(
        failed(start + hours(1)).await.failing_since,
        Some(since.clone())
    );
    let now = start + hours(121);
    let disable = async || {
        let reason = DisabledReason::NoSuccess;
        webhooks
            .disable(&read, reason, Some(&since), now)
            .await
            .unwrap()
    };
    webhooks.succeeded(webhook, now).await.unwrap();
    assert_eq!(disable().await, Changed::No);
    failed(now).await;
    assert_eq!(disable().await, Changed::No, "it fails since a moment ago");
    assert_eq!(seen(&system, webhook).await["enabled"], true);
}

#[tokio::test]
async fn a_webhook_without_traffic_is_not_disabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 2).await;
    receiver.answer_next([Answer::Status(500)]);
    tell(&system, &reports[0], start).await;
    round(&system, start + hours(1)).await;
    for day in [2, 6, 10] {
        round(&system, start + Duration::days(day)).await;
    }
    // A failure long after the success is the first one.
    receiver.answer(Answer::Status(500));
    let late = start + Duration::days(20);
    tell(&system, &reports[1], late).await;
    round(&system, late + hours(100)).await;
    assert_eq!(seen(&system, webhook).await["enabled"], true);
    assert_eq!(receiver.take().len(), 4);
}

#[tokio::test]
async fn enabling_sends_everything_that_was_missed() {
    for is_message_lost in [false, true] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, now) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 30).await;
        receiver.answer_next([Answer::Status(404), Answer::Status(503)]);
        tell(&system, &reports[0], now - hours(8)).await;
        tell(&system, &reports[1], now - hours(8) + Duration::seconds(1)).await;
        tell(&system, &reports[2], now - hours(8) + Duration::seconds(2)).await;
        manage(&system, webhook, "POST", "/disable").await;
        receiver.take();
        tell_each(&system, &reports[3..], now - hours(6)).await;
        for ago in [5, 4, 3] {
            round(&system, now - hours(ago)).await;
        }
        assert!(
            receiver.take().is_empty(),
            "nothing is sent while it is disabled"
        );
        let states_then = states(&system, webhook).await;
        let failed = (DeliveryState::Failed, 1);
        assert_eq!(
            states_then[..3],
            [failed, failed, (DeliveryState::Pending, 0)]
        );
        assert!(
            states_then[3..]
                .iter()
                .all(|it| *it == (DeliveryState::Held, 0))
        );
        assert_eq!(
            seen(&system, webhook).await["disabledReason"],
            "administrator"
        );

        manage(&system, webhook, "POST", "/enable").await;
        let enabled = seen(&system, webhook).await;
        assert!(enabled["enabled"] == true && enabled.get("failingSince").is_none());
        if is_message_lost {
            assert!(!taken(&system).await.is_empty());
            deliver(&system, now).await;
            assert!(receiver.take().is_empty());
            round(&system, now + hours(1)).await;
        } else {
            deliver(&system, OffsetDateTime::now_utc()).await;
        }
        assert_eq!(
            told(&receiver.take()),
            sorted(ids(&reports)),
            "{is_message_lost}"
        );
        let states = states(&system, webhook).await;
        assert!(
            states
                .iter()
                .all(|(state, _)| *state == DeliveryState::Delivered)
        );
        round(&system, now + hours(2)).await;
        assert!(receiver.take().is_empty(), "each once");
    }
}

#[tokio::test]
async fn after_enabling_five_days_begin_anew() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(500));
    tell(&system, &stored(&system, org, 1).await[0], now - hours(130)).await;
    round(&system, now - hours(1)).await;
    assert_eq!(seen(&system, webhook).await["disabledReason"], "no_success");
    manage(&system, webhook, "POST", "/enable").await;
    receiver.take();
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert_eq!(receiver.take().len(), 1);
    for hour in [50, 119] {
        round(&system, now + hours(hour)).await;
        assert_eq!(seen(&system, webhook).await["enabled"], true);
    }
    round(&system, now + hours(121)).await;
    assert_eq!(seen(&system, webhook).await["disabledReason"], "no_success");
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

#[tokio::test]
async fn deliveries_of_a_deleted_webhook_are_forgotten() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer(Answer::Status(500));
    tell_each(&system, &reports[..1], start).await;
    tell_each(&system, &reports[1..2], start).await;
    let deliveries = kept(&system, webhook).await;
    assert_eq!(deliveries.len(), 2);
    receiver.take();
    manage(&system, webhook, "DELETE", "").await;

    receiver.answer(Answer::Status(200));
    let works = [Work::Change(published(&reports[2]))];
    let failed = handle(&system.stack.delivering, works, start + hours(1)).await;
    assert!(failed.is_empty());
    let made = round(&system, start + hours(1)).await;
    assert_eq!((made.queued, made.failed), (2, 0));
    assert!(receiver.take().is_empty());
    for delivery in &deliveries {
        let found = system.stack.tables.deliveries.get(key_of(delivery)).await;
        assert_eq!(found.unwrap(), None);
    }
    assert_eq!(
        round(&system, start + hours(2)).await,
        retry_webhooks::Round::default()
    );
    let path = format!("/webhooks/{}", webhook.id);
    let gone = system.manage(org, "GET", &path, None).await;
    assert_eq!(text(&gone.json()["code"]), "webhook_not_found");
}
