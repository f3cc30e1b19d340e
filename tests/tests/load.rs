//! Many reports, several webhooks, receivers that fail, messages that come twice, consumers that work at once: everything
//! arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use store::queue::work::Work;
use tests::receiver::{Answer, Receiver};
use tests::samples::{change, stored_report};
use tests::system::{System, organization};
use time::{Duration, OffsetDateTime};

const REPORTS: u64 = 2000;
const WEBHOOKS: usize = 5;
/// More rounds than it takes by far.
const MAX_ROUNDS: i32 = 100;

/// One in five answers is a failure, of one kind or another.
fn fails_often() -> impl Fn(&tests::receiver::Received) -> Answer + Send + Sync {
    let answered = AtomicUsize::new(0);
    move |_| {
        let number = answered.fetch_add(1, Ordering::Relaxed);
        match (number % 5, number / 5 % 4) {
            (0, 0) => Answer::Status(500),
            (0, 1) => Answer::Status(422),
            (0, 2) => Answer::CloseBeforeHead,
            (0, _) => Answer::Status(503),
            _ => Answer::Status(200),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_reports_reach_five_webhooks() {
    let system = System::start().await;
    let org = organization();
    let mut receivers = Vec::new();
    for _ in 0..WEBHOOKS {
        let receiver = Receiver::start().await;
        receiver.answer_by(fails_often());
        system.webhook(org, &receiver.url).await;
        receivers.push(receiver);
    }
    let reports: Vec<_> = (0..REPORTS)
        .map(|number| stored_report(org, number))
        .collect();
    system.seed(reports.clone()).await;
    let changes: Vec<Work> = reports
        .iter()
        .map(|report| Work::change(change(report, 1)))
        .collect();
    // Each third one comes twice, and much later.
    let again: Vec<Work> = changes.iter().step_by(3).cloned().collect();
    let queue = &system.stack.delivering.queue;
    queue.send(&changes).await.unwrap();
    queue.send(&again).await.unwrap();

    let start = OffsetDateTime::now_utc();
    let consumers = || system.deliver(start);
    tokio::join!(consumers(), consumers(), consumers());
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < MAX_ROUNDS, "something does not arrive");
        let round = system.round(start + Duration::HOUR * rounds).await;
        if round == retry_webhooks::Round::default() {
            break;
        }
    }

    let expected: BTreeSet<String> = reports.iter().map(|report| report.id.to_string()).collect();
    for receiver in &receivers {
        let received = receiver.take();
        let told: BTreeSet<String> = received.iter().flat_map(|it| it.report_ids()).collect();
        assert_eq!(told, expected);
        // A message is sent again only after a failure, so each report is in one message.
        let mut messages = BTreeMap::new();
        for message in &received {
            let id = message.header("webhook-id").to_owned();
            messages.insert(id, message.report_ids());
        }
        let of_messages: usize = messages.values().map(Vec::len).sum();
        assert_eq!(of_messages, expected.len(), "each report is in one message");
    }
    let webhooks = system.manage(org, "GET", "/webhooks", None).await.json();
    for webhook in webhooks["webhooks"].as_array().unwrap() {
        let deliveries = system.deliveries(org, &webhook["id"]).await;
        assert!(
            deliveries
                .iter()
                .all(|it| it["state"] == json!("delivered"))
        );
    }
}
