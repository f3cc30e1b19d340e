//! The figures that a batch and a round record.

use deliver_webhooks::Delivering;
use retry_webhooks::Retrying;
use serde_json::json;
use store::queue::work::Work;
use store::reports::Commit;
use tests::metrics::{Figures, Records};
use tests::receiver::{Answer, Receiver};
use tests::samples::stored_report;
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::{handle, hours, published, stored, taken, tell};

/// What the function works with, recording.
fn recording(system: &System, records: &Records) -> Delivering {
    Delivering {
        metrics: records.metrics(),
        ..system.stack.delivering.clone()
    }
}

/// The four counts of a batch.
fn counts(figures: &Figures) -> [u64; 4] {
    [
        "DeliveriesSucceeded",
        "DeliveriesFailed",
        "DeliveriesHeld",
        "WebhooksDisabled",
    ]
    .map(|name| figures[name].iter().sum())
}

#[tokio::test]
async fn a_batch_records_what_came_of_its_deliveries() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let [good, bad, gone, never] = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    bad.answer(Answer::Status(400));
    gone.answer(Answer::Status(410));
    for receiver in [&good, &bad, &gone] {
        system.webhook(org, &receiver.url).await;
    }
    let held = json!({"name": "held", "url": never.url, "enabled": false});
    system.webhook_with(org, held).await;
    let reports = stored(&system, org, 1).await;
    let delivering = recording(&system, &records);

    let change = Work::change(published(&reports[0]));
    assert!(handle(&delivering, [change.clone()], now).await.is_empty());

    let recorded = records.figures();
    let [figures] = recorded.as_slice() else {
        panic!("a batch is one record: {recorded:?}");
    };
    assert_eq!(counts(figures), [1, 2, 1, 1]);
    assert_eq!(figures["AttemptDuration"].len(), 3);
    assert_eq!(figures.len(), 5);

    // The message comes again, and finds everything done.
    assert!(handle(&delivering, [change], now).await.is_empty());
    assert_eq!(records.figures().len(), 1, "nothing was done");
}

#[tokio::test]
async fn a_batch_that_only_holds_has_no_durations() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let receiver = Receiver::start().await;
    let held = json!({"name": "held", "url": receiver.url, "enabled": false});
    system.webhook_with(org, held).await;
    let reports = stored(&system, org, 1).await;
    let change = Work::change(published(&reports[0]));
    handle(&recording(&system, &records), [change], now).await;
    let recorded = records.figures();
    assert_eq!(counts(&recorded[0]), [0, 0, 1, 0]);
    assert!(!recorded[0].contains_key("AttemptDuration"));
}

#[tokio::test]
async fn a_round_records_what_it_found() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(400));
    let webhook = system.webhook(org, &receiver.url).await;
    let retrying = Retrying {
        metrics: records.metrics(),
        ..system.stack.retrying.clone()
    };
    let reports = stored(&system, org, 2).await;
    for report in &reports {
        tell(&system, report, now).await;
    }
    let mut unannounced = stored_report(org, 2);
    unannounced.announced_revision = 0;
    let reports = &system.stack.tables.reports;
    let stored = reports.store(&unannounced, Vec::new(), now).await.unwrap();
    assert!(matches!(stored, Commit::Stored), "{stored:?}");

    retry_webhooks::round(&retrying, now, retry_webhooks::BUDGET).await;
    retry_webhooks::round(&retrying, now + hours(1), retry_webhooks::BUDGET).await;
    let queued = taken(&system).await;
    assert_eq!(queued.len(), 2, "what is due, and the change: {queued:?}");
    // What waits for its webhook is due all the same.
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let disabled = json!({"enabled": false});
    system.manage(org, "PATCH", &path, Some(disabled)).await;
    retry_webhooks::round(&retrying, now + hours(1), retry_webhooks::BUDGET).await;

    let found: Vec<_> = records
        .figures()
        .iter()
        .map(|it| {
            (
                it["DeliveriesDue"].clone(),
                it["ChangesUnannounced"].clone(),
            )
        })
        .collect();
    let figures = |due, unannounced| (vec![due], vec![unannounced]);
    assert_eq!(found, [figures(0, 0), figures(2, 1), figures(2, 0)]);
}

#[tokio::test]
async fn a_round_without_time_says_so_and_records_what_it_has_seen() {
    let (system, records) = (System::start().await, Records::default());
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(400));
    system.webhook(org, &receiver.url).await;
    for report in &stored(&system, org, 2).await {
        tell(&system, report, now).await;
    }
    let mut unannounced = stored_report(org, 2);
    unannounced.announced_revision = 0;
    let reports = &system.stack.tables.reports;
    let stored = reports.store(&unannounced, Vec::new(), now).await.unwrap();
    assert!(matches!(stored, Commit::Stored), "{stored:?}");
    let retrying = Retrying {
        metrics: records.metrics(),
        ..system.stack.retrying.clone()
    };
    let later = now + hours(1);
    let cut = retry_webhooks::round(&retrying, later, std::time::Duration::ZERO).await;
    assert!(cut.is_cut_short && cut.swept.is_cut_short, "{cut:?}");
    assert_eq!((cut.queued, cut.swept.announced, cut.failed), (0, 0, 0));
    assert_eq!(records.figures().len(), 1, "it shows that there was one");
    assert!(taken(&system).await.is_empty());
    let whole = retry_webhooks::round(&retrying, later, retry_webhooks::BUDGET).await;
    assert!(!whole.is_cut_short, "{whole:?}");
    let cut = records
        .figures()
        .iter()
        .map(|it| it["RoundsCutShort"].clone())
        .collect::<Vec<_>>();
    assert_eq!(cut, [[1], [0]]);
    assert_eq!((whole.queued, whole.swept.announced), (2, 1));
}
