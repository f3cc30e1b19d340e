//! The binary of the function, as a process against a Runtime API.

use serde_json::{Value, json};
use store::queue::work::Work;
use tests::lambda::Function;
use tests::receiver::{Answer, Receiver};
use tests::samples::{change, stored_report};
use tests::system::{System, organization};
use time::{Duration, OffsetDateTime};

#[tokio::test]
async fn the_hourly_rule_puts_what_is_due_on_the_queue() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(400));
    system.webhook(org, &receiver.url).await;
    let report = stored_report(org, 1);
    let change = Work::change(change(&report, 1));
    system.seed([report]).await;
    system.stack.delivering.queue.send(&[change]).await.unwrap();
    // It failed an hour ago.
    system
        .deliver(OffsetDateTime::now_utc() - Duration::HOUR)
        .await;
    let binary = env!("CARGO_BIN_EXE_retry-webhooks");
    let mut function = Function::start(binary, &system.stack.environment()).await;

    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    assert_eq!(function.invoke(event).await.json(), Value::Null);

    let queued = system.queued().await;
    assert!(
        matches!(queued.as_slice(), [Work::Due(due)] if due.due.len() == 1),
        "{queued:?}"
    );

    let recorded = function.recorded().await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0]["DeliveriesDue"], [1]);
}
