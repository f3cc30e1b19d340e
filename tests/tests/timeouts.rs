//! What functions wait for, in all, and how long template.yaml lets them run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use outbound::sender::DEADLINE;
use runtime::config::{ATTEMPT, LONGEST_CALL};
use serde_json::Value;
use store::deliveries::lease::LEASE_VALIDITY;
use store::idempotency::LEASE;

/// The end of a buffered integration (API Gateway, "Quotas").
const BUFFERED: Duration = Duration::from_secs(29);

fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().unwrap())
}

fn timeout(function: &str) -> Duration {
    seconds(&template()["Resources"][function]["Properties"]["Timeout"])
}

#[test]
fn a_slow_dynamodb_is_asked_again_and_the_function_is_there_for_the_answer() {
    // A token, and a page.
    assert!(2 * LONGEST_CALL <= timeout("ListReports"));
    // Keys and configuration of the identity provider, the name of the receiver, its answer, and one attempt in vain.
    let test_call = Duration::from_secs(5 + 5 + 3) + DEADLINE + ATTEMPT;
    assert!(test_call <= timeout("ManageWebhooks"));
    // Who has begun a request is not at work any more when another one may carry it out.
    assert!(timeout("ManageWebhooks") < LEASE);
    // A request is begun, the upload counted and stored, and the request perhaps released.
    assert!(4 * LONGEST_CALL < LEASE);
    // A source, a call, a message.
    assert!(3 * LONGEST_CALL <= timeout("ReceiveEvents"));
    for function in ["ListReports", "ManageWebhooks", "ReceiveEvents"] {
        assert!(timeout(function) < BUFFERED);
    }
}

#[test]
fn what_a_batch_has_begun_is_recorded_before_its_end_however_slow_dynamodb_is() {
    // Claimed, read, sent, attempts put beside it, recorded, the receiver's health twice, a replay, the rest put back on the
    // queue.
    let begun = 8 * LONGEST_CALL + DEADLINE;
    assert!(begun <= deliver_webhooks::RESERVE);
    let timeout = timeout("DeliverWebhooks");
    assert!(
        2 * deliver_webhooks::RESERVE < timeout,
        "most of it is for work"
    );
    // Who still has a lease is at work, and who has none is not.
    assert!(timeout < LEASE_VALIDITY);
    let queue = &template()["Resources"]["EventsQueue"]["Properties"];
    assert!(6 * timeout <= seconds(&queue["VisibilityTimeout"]));
}

#[test]
fn a_round_ends_by_itself() {
    // A page of what is due, a webhook, a message.
    assert!(3 * LONGEST_CALL <= retry_webhooks::RESERVE);
    let timeout = timeout("RetryWebhooks");
    assert_eq!(timeout - retry_webhooks::RESERVE, retry_webhooks::BUDGET);
}
