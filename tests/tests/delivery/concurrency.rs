//! Several at once: each report is told, and as a rule once.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::delivery::DeliveryState;
use store::deliveries::lease::{Claimed, LEASE_VALIDITY, Next, Outcome};
use store::queue::work::Work;
use tests::receiver::{Answer, Received, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{
    SECOND, attempt_of, change, due, failed_deliveries, handle, hours, ids, kept, key, key_of,
    states, stored, taken, tell, tell_each,
};

/// Hands a batch to the function, and lets it run.
fn begin(system: &System, works: Vec<Work>, now: OffsetDateTime) -> JoinHandle<Vec<String>> {
    let delivering = system.stack.delivering.clone();
    tokio::spawn(async move { handle(&delivering, works, now).await })
}

#[tokio::test]
async fn a_message_that_two_have_makes_one_request() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 2).await;
    let permits = Arc::new(Semaphore::new(0));
    receiver.answer(Answer::Hold(Arc::clone(&permits)));
    let first = begin(&system, vec![change(&reports[0])], now);
    receiver.wait_for(1).await;

    // What comes of it is not known yet, so the message has to come again; the one beside it need not.
    let stored_then = kept(&system, webhook).await[0].id;
    let works = || vec![change(&reports[0]), due(webhook, &[stored_then])];
    let second = handle(&system.stack.delivering, works(), now + SECOND).await;
    assert_eq!(second, ["0", "1"]);
    assert_eq!(receiver.received().len(), 1);

    permits.add_permits(1);
    assert!(first.await.unwrap().is_empty());
    assert!(
        handle(&system.stack.delivering, works(), now + SECOND)
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
async fn of_many_that_have_a_message_at_the_same_moment_one_sends_it() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    let works: Vec<Work> = reports.iter().map(change).collect();
    // Grouped in every way.
    let groups = [
        vec![0, 1, 2],
        vec![0, 1, 2],
        vec![0],
        vec![1],
        vec![2, 1],
        vec![0, 2],
    ];
    let batches = groups.map(|group| {
        let works = group.iter().map(|it: &usize| works[*it].clone()).collect();
        begin(&system, works, now)
    });
    for batch in batches {
        batch.await.unwrap();
    }
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let mut told: Vec<String> = receiver
        .take()
        .iter()
        .flat_map(Received::report_ids)
        .collect();
    told.sort_unstable();
    let mut expected = ids(&reports);
    expected.sort_unstable();
    assert_eq!(told, expected);
    let states = states(&system, webhook).await;
    assert!(
        states.iter().all(|it| *it == (DeliveryState::Delivered, 1)),
        "{states:?}"
    );
}

#[tokio::test]
async fn two_rounds_at_once_send_each_delivery_once() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 60).await;
    receiver.answer(Answer::Status(404));
    tell_each(&system, &reports, start).await;
    receiver.take();
    receiver.answer(Answer::Status(200));
    let now = start + hours(1);
    let retrying = &system.stack.retrying;
    let (one, other) = tokio::join!(
        retry_webhooks::round(retrying, now, retry_webhooks::BUDGET),
        retry_webhooks::round(retrying, now, retry_webhooks::BUDGET)
    );
    assert_eq!((one.queued, other.queued), (60, 60));
    // Each message is handled at the same time as all the others.
    let consumers: Vec<_> = taken(&system)
        .await
        .iter()
        .map(|body| begin(&system, vec![serde_json::from_str(body).unwrap()], now))
        .collect();
    assert_eq!(consumers.len(), 4);
    for consumer in consumers {
        consumer.await.unwrap();
    }
    let received = receiver.take();
    let told: BTreeSet<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    assert_eq!((received.len(), told.len()), (60, 60));
    let states = states(&system, webhook).await;
    assert!(states.iter().all(|it| *it == (DeliveryState::Delivered, 2)));
}

#[tokio::test]
async fn two_rounds_at_once_try_a_dead_receiver_once() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let reports = stored(&system, org, 5).await;
    receiver.answer(Answer::Status(500));
    tell(&system, &reports[0], start).await;
    tell_each(&system, &reports[1..], start).await;
    receiver.take();
    let now = start + hours(1);
    let retrying = &system.stack.retrying;
    tokio::join!(
        retry_webhooks::round(retrying, now, retry_webhooks::BUDGET),
        retry_webhooks::round(retrying, now, retry_webhooks::BUDGET)
    );
    let consumers: Vec<_> = taken(&system)
        .await
        .iter()
        .map(|body| begin(&system, vec![serde_json::from_str(body).unwrap()], now))
        .collect();
    assert_eq!(consumers.len(), 2);
    for consumer in consumers {
        assert!(consumer.await.unwrap().is_empty());
    }
    assert_eq!(receiver.take().len(), 1);
}

#[tokio::test]
async fn a_failure_counts_only_for_who_has_the_lease_and_a_success_always() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    let store = &system.stack.tables.deliveries;
    let delivery = key_of(&kept(&system, webhook).await[0]);
    let now = start + hours(1);
    let claim = async |now| match store.claim(delivery, now).await.unwrap() {
        Claimed::Started(leased) => leased,
        other => panic!("{other:?}"),
    };
    let attempt = |number| attempt_of(500, number, now);
    let late = claim(now).await;
    assert_eq!(
        store.claim(delivery, now).await.unwrap(),
        Claimed::InProgress
    );
    let almost = now + LEASE_VALIDITY - SECOND;
    assert_eq!(
        store.claim(delivery, almost).await.unwrap(),
        Claimed::InProgress
    );
    let now = now + LEASE_VALIDITY + SECOND;
    let current = claim(now).await;
    let before = kept(&system, webhook).await;

    let failed = Outcome::Failed(Next::at(now + hours(1)));
    let recorded = store.record(&late, attempt(2), failed).await;
    assert_eq!(recorded.unwrap(), None);
    store.release(&late, now).await.unwrap();
    assert_eq!(
        kept(&system, webhook).await,
        before,
        "who is late changes nothing"
    );
    let delivered = Outcome::Delivered;
    let recorded = store.record(&late, attempt(2), delivered).await;
    assert_eq!(recorded.unwrap().unwrap().number, 2);
    let expected = [(DeliveryState::Delivered, 2)];
    assert_eq!(
        states(&system, webhook).await,
        expected,
        "the receiver has it"
    );
    let attempt = attempt(2);
    let recorded = store.record(&current, attempt, failed).await;
    assert_eq!(recorded.unwrap(), None);
    assert_eq!(states(&system, webhook).await, expected);
    let never = now + hours(100);
    assert_eq!(
        store.claim(delivery, never).await.unwrap(),
        Claimed::AlreadyDelivered
    );
}

#[tokio::test]
async fn a_receiver_that_takes_its_time_delays_no_other() {
    let (system, fast) = (System::start().await, Receiver::start().await);
    let (slow, now) = (Receiver::start().await, OffsetDateTime::now_utc());
    let permits = Arc::new(Semaphore::new(0));
    slow.answer(Answer::Hold(Arc::clone(&permits)));
    let (org, other) = (organization(), organization());
    system.webhook(org, &slow.url).await;
    system.webhook(org, &fast.url).await;
    system.webhook(other, &fast.url).await;
    let mut works = Vec::new();
    for org in [org, other] {
        works.extend(stored(&system, org, 60).await.iter().map(change));
    }
    let running = begin(&system, works, now);
    // Two messages for each of three webhooks.
    let received = fast.wait_for(4).await;
    let told: usize = received.iter().map(|it| it.report_ids().len()).sum();
    assert_eq!(told, 120);
    assert!(!running.is_finished());
    permits.add_permits(2);
    assert!(running.await.unwrap().is_empty());
    assert_eq!(slow.take().len(), 2);
}

#[tokio::test]
async fn eight_at_once_go_to_a_receiver() {
    let (system, start) = (System::start().await, OffsetDateTime::now_utc());
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    let (slow_hook, slow_ids) = failed_deliveries(&system, organization(), &slow, 20, start).await;
    let (fast_hook, fast_ids) = failed_deliveries(&system, organization(), &fast, 40, start).await;
    let permits = Arc::new(Semaphore::new(0));
    slow.answer(Answer::Hold(Arc::clone(&permits)));
    let works = vec![due(slow_hook, &slow_ids), due(fast_hook, &fast_ids)];
    let running = begin(&system, works, start + hours(1));
    slow.wait_for(8).await;
    // All that goes to the other one takes its time, in which more would have come.
    fast.wait_for(40).await;
    assert_eq!(slow.received().len(), 8);
    permits.add_permits(3);
    slow.wait_for(11).await;
    permits.add_permits(17);
    assert!(running.await.unwrap().is_empty());
    assert_eq!(slow.take().len(), 20);
}

#[tokio::test]
async fn a_late_success_and_a_failure_have_a_number_each() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    let store = &system.stack.tables.deliveries;
    let delivery = key_of(&kept(&system, webhook).await[0]);
    let attempt = |status| attempt_of(status, 2, start);
    let claim = async |now| match store.claim(delivery, now).await.unwrap() {
        Claimed::Started(leased) => leased,
        other => panic!("{other:?}"),
    };
    let now = start + hours(1);
    let late = claim(now).await;
    let now = now + LEASE_VALIDITY + SECOND;
    let current = claim(now).await;
    let failed = Outcome::Failed(Next::at(now + hours(1)));
    let failed = store.record(&current, attempt(500), failed);
    assert_eq!(failed.await.unwrap().unwrap().number, 2);
    let delivered = store.record(&late, attempt(200), Outcome::Delivered);
    assert_eq!(delivered.await.unwrap().unwrap().number, 3);

    let expected = [(DeliveryState::Delivered, 3)];
    assert_eq!(states(&system, webhook).await, expected);
    let whole = store.whole(delivery, false).await.unwrap().unwrap();
    let attempts: Vec<_> = whole
        .attempts
        .iter()
        .map(|it| (it.number, it.status))
        .collect();
    assert_eq!(attempts, [(1, Some(404)), (2, Some(500)), (3, Some(200))]);
}
