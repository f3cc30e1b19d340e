//! Changes that come again in other batches: whatever overlaps, and wherever somebody dies, each is told under one id, with one
//! body.

use std::collections::{BTreeMap, BTreeSet};

use deliver_webhooks::Delivering;
use domain::report::Report;
use store::deliveries::DeliveryStore;
use store::deliveries::lease::LEASE_VALIDITY;
use store::queue::work::Work;
use tests::failures::{Failures, Seam};
use tests::receiver::{Received, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{SECOND, change, handle, ids, kept, key, sorted, states, stored};

/// So many changes there are.
const CHANGES: usize = 4;

/// Which changes a batch has: bit by bit, and none is empty.
const BATCHES: std::ops::Range<usize> = 1..1 << CHANGES;

/// All pairs of batches.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    BATCHES.flat_map(|one| BATCHES.map(move |other| (one, other)))
}

fn of_batch(batch: usize, reports: &[Report]) -> Vec<Report> {
    let has = |number: usize| batch >> number & 1 == 1;
    let of_batch = (0..CHANGES).filter(|number| has(*number));
    of_batch.map(|number| reports[number].clone()).collect()
}

fn works(reports: &[Report]) -> Vec<Work> {
    reports.iter().map(change).collect()
}

/// Panics unless all of these reports were told, each under one id, each id with one body, and sent once but for `again`.
fn assert_told_once(received: &[Received], reports: &[Report], again: usize, what: &str) {
    let mut messages: BTreeMap<&str, (&[u8], Vec<String>)> = BTreeMap::new();
    for message in received {
        let told = (&message.body[..], message.report_ids());
        let first = messages.entry(message.header("webhook-id"));
        let first = first.or_insert_with(|| told.clone());
        assert_eq!(*first, told, "{what}: one id, one body");
    }
    let sent = messages.len()..=messages.len() + again;
    assert!(sent.contains(&received.len()), "{what}: {}", received.len());
    let told = messages.into_values().flat_map(|(_, ids)| ids).collect();
    assert_eq!(sorted(told), sorted(ids(reports)), "{what}");
}

/// What happens to two batches, by which so many messages may be sent again; afterwards both come again, after any lease.
async fn live(
    system: &System,
    (one, other): (usize, usize),
    again: usize,
    batches: impl AsyncFnOnce(Vec<Work>, Vec<Work>, OffsetDateTime),
) {
    let receiver = Receiver::start().await;
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(system, org, CHANGES as u64).await;
    let (ones, others) = (of_batch(one, &reports), of_batch(other, &reports));
    batches(works(&ones), works(&others), now).await;
    let later = now + LEASE_VALIDITY + SECOND;
    for reports in [&others, &ones] {
        let failed = handle(&system.stack.delivering, works(reports), later).await;
        assert!(failed.is_empty(), "{one:04b} {other:04b}: {failed:?}");
    }

    let all = of_batch(one | other, &reports);
    let what = format!("{one:04b} {other:04b}");
    assert_told_once(&receiver.take(), &all, again, &what);
    let states = states(system, webhook).await;
    let states: BTreeSet<_> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["delivered"].into(), "{what}");
    let told: u32 = kept(system, webhook)
        .await
        .iter()
        .map(|it| it.changes)
        .sum();
    assert_eq!(usize::try_from(told).unwrap(), all.len(), "{what}");
}

#[tokio::test]
async fn two_batches_one_after_the_other() {
    let system = System::start().await;
    for pair in pairs() {
        let delivering = &system.stack.delivering;
        live(&system, pair, 0, async |one, other, now| {
            assert!(handle(delivering, one, now).await.is_empty());
            assert!(handle(delivering, other, now).await.is_empty());
        })
        .await;
    }
}

#[tokio::test]
async fn two_batches_at_once() {
    let system = System::start().await;
    for pair in pairs().filter(|(one, other)| one <= other) {
        let delivering = &system.stack.delivering;
        live(&system, pair, 0, async |one, other, now| {
            // What the other one has a lease of comes again.
            tokio::join!(handle(delivering, one, now), handle(delivering, other, now));
        })
        .await;
    }
}

fn failing(system: &System, failures: &Failures) -> Delivering {
    let dynamodb = &system.stack.clients["DeliverWebhooks"].dynamodb;
    Delivering {
        deliveries: DeliveryStore::new(failures.dynamodb(dynamodb), "DeliveriesTable"),
        ..system.stack.delivering.clone()
    }
}

/// The first batch is killed at one of its calls of the table, by which it is stored and then recorded: each pair at another
/// one than the pair before.
#[tokio::test]
async fn a_batch_that_dies_and_another_one() {
    let system = System::start().await;
    let seams = [
        (1, Seam::Before),
        (1, Seam::After),
        (2, Seam::Before),
        (2, Seam::After),
    ];
    for (pair, (call, seam)) in pairs().zip(seams.into_iter().cycle()) {
        live(&system, pair, 1, async |one, other, now| {
            let kill = Failures::at(call, seam, true);
            let failed = handle(&failing(&system, &kill), one, now).await;
            assert!(kill.has_struck() && !failed.is_empty());
            // What the dead one has a lease of comes again.
            handle(&system.stack.delivering, other, now).await;
        })
        .await;
    }
}
