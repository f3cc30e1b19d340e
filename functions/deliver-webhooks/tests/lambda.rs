//! The binary of the function, as a process against a Runtime API.

use serde_json::json;
use store::queue::work::Work;
use tests::lambda::Function;
use tests::receiver::Receiver;
use tests::samples::{change, stored_report};
use tests::system::{System, organization};

#[tokio::test]
async fn a_batch_is_answered_with_what_has_to_come_again_and_nothing_is_sent_to_this_machine() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = system.webhook(org, &receiver.url).await;
    let report = stored_report(org, 1);
    let change = Work::change(change(&report, 1));
    system.seed([report]).await;
    let binary = env!("CARGO_BIN_EXE_deliver-webhooks");
    let mut function = Function::start(binary, &system.stack.environment()).await;

    let records = json!({"Records": [
        {"messageId": "good", "body": change.to_json()},
        {"messageId": "bad", "body": "{}"},
    ]});
    let answer = function.invoke(records).await.json();
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "bad"}]})
    );

    let deliveries = system.deliveries(org, &webhook["id"]).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["lastAttempt"]["error"], "address_refused");
    assert!(receiver.received().is_empty(), "loopback is not public");

    let recorded = function.recorded().await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0]["DeliveriesFailed"], [1]);
}
