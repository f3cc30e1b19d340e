//! Attempts that have no room in their delivery's item.

use domain::delivery::attempt::Attempt;
use domain::delivery::{DeliveryKey, DeliveryState};
use domain::webhook::WebhookKey;
use store::deliveries::DeliveryStore;
use store::deliveries::lease::{Claimed, LEASE_VALIDITY, Leased, Next, Outcome};
use tests::failures::{Failures, Seam};
use tests::receiver::{Answer, Receiver};
use tests::samples::noise;
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{SECOND, attempt_of, hours, kept, key, key_of, states, stored, tell};

/// A webhook and its delivery, which was refused once.
async fn refused(system: &System, start: OffsetDateTime) -> (WebhookKey, DeliveryKey) {
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell(system, &stored(system, org, 1).await[0], start).await;
    (webhook, key_of(&kept(system, webhook).await[0]))
}

async fn claim(store: &DeliveryStore, delivery: DeliveryKey, now: OffsetDateTime) -> Leased {
    match store.claim(delivery, now).await.unwrap() {
        Claimed::Started(leased) => *leased,
        other => panic!("{other:?}"),
    }
}

/// As large as an answer may be, of which nothing repeats.
fn large(status: u16, at: OffsetDateTime) -> Attempt {
    let mut attempt = attempt_of(status, 1, at);
    attempt.response = Some(hex::encode(noise(2048)));
    attempt
}

/// Number and status of each attempt, and whether it has the whole answer.
async fn attempts(store: &DeliveryStore, delivery: DeliveryKey) -> Vec<(u32, u16, bool)> {
    let whole = store.whole(delivery, true).await.unwrap().unwrap();
    assert!(whole.message.is_some());
    let attempts = whole.attempts.into_iter();
    let attempts = attempts.map(|it| {
        let is_large = it.response.is_some_and(|response| response.len() == 4096);
        (it.number, it.status.unwrap(), is_large)
    });
    attempts.collect()
}

#[tokio::test]
async fn a_large_answer_is_kept_and_takes_no_other_ones_place() {
    let (system, start) = (System::start().await, OffsetDateTime::now_utc());
    let (webhook, delivery) = refused(&system, start).await;
    let store = &system.stack.tables.deliveries;
    let now = start + hours(1);
    let late = claim(store, delivery, now).await;
    let later = now + LEASE_VALIDITY + SECOND;
    let current = claim(store, delivery, later).await;
    let failed = Outcome::Failed(Next::at(later));
    let recorded = store.record(&current, large(500, later), failed).await;
    assert_eq!(recorded.unwrap().unwrap().number, 2);
    // Who comes late and has failed too is not recorded; who has succeeded is the next one.
    let recorded = store.record(&late, large(503, later), failed).await;
    assert_eq!(recorded.unwrap(), None);
    let expected = [(1, 404, false), (2, 500, true)];
    assert_eq!(attempts(store, delivery).await, expected);
    let recorded = store
        .record(&late, large(200, later), Outcome::Delivered)
        .await;
    assert_eq!(recorded.unwrap().unwrap().number, 3);
    let expected = [(1, 404, false), (2, 500, true), (3, 200, true)];
    assert_eq!(attempts(store, delivery).await, expected);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 3)]
    );
}

#[tokio::test]
async fn each_is_shown_once_wherever_recording_the_next_one_fails() {
    let (system, start) = (System::start().await, OffsetDateTime::now_utc());
    let (_, delivery) = refused(&system, start).await;
    let store = &system.stack.tables.deliveries;
    let mut now = start;
    // The attempt before is put beside the delivery, and then the next one is recorded.
    let calls = ["PutItem", "TransactWriteItems"];
    let counted = Failures::none();
    for (number, call) in [(2, 0), (3, 1), (3, 2)] {
        now += hours(1);
        let leased = claim(store, delivery, now).await;
        // So that the item has one small attempt each time.
        let small = store
            .record(
                &leased,
                attempt_of(404, 1, now),
                Outcome::Failed(Next::at(now)),
            )
            .await;
        let before = small.unwrap().unwrap().number;
        assert!(before >= number);
        let leased = claim(store, delivery, now).await;
        let failures = match call {
            0 => counted.clone(),
            call => Failures::at(call, Seam::Before, true),
        };
        let dynamodb = failures.dynamodb(&system.stack.dynamodb);
        let failing = DeliveryStore::new(dynamodb, "DeliveriesTable");
        let recorded = failing
            .record(&leased, large(500, now), Outcome::Failed(Next::at(now)))
            .await;
        assert_eq!(recorded.is_ok(), call == 0, "{recorded:?}");
        let shown = attempts(store, delivery).await;
        let numbers: Vec<u32> = shown.iter().map(|(number, ..)| *number).collect();
        let last = if call == 0 { before + 1 } else { before };
        assert_eq!(numbers, (1..=last).collect::<Vec<u32>>(), "{call}");
        store.release(&leased, now).await.unwrap();
    }
    let log = counted.log();
    assert!(
        log.ends_with(&[calls[1].to_owned()]) && log.contains(&calls[0].to_owned()),
        "{log:?}"
    );
}
