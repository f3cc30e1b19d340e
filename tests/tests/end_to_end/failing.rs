//! Webhooks whose receivers fail.

use tests::api::text;
use tests::receiver::{Answer, assert_signed};

use crate::support::Stage;

#[tokio::test]
async fn what_failed_is_tried_again_an_hour_later_as_the_same_message() {
    let stage = Stage::new().await;
    stage.receiver.answer_next([Answer::Status(500)]);
    stage.publish("1.0").await;
    let failed = stage.told_once().await;
    let [delivery] = stage.settled(&["failed"]).await.try_into().unwrap();
    assert_eq!(delivery["attemptCount"], 1);

    stage.hour_passes().await;
    let again = stage.told_once().await;
    assert_eq!(again.header("webhook-id"), failed.header("webhook-id"));
    assert_eq!(again.body, failed.body);
    assert_signed(&again, &text(&stage.webhook["secret"]));
    let [delivery] = stage.settled(&["delivered"]).await.try_into().unwrap();
    assert_eq!(delivery["attemptCount"], 2);
}

#[tokio::test]
async fn what_waits_for_a_receiver_that_is_down_comes_when_it_is_back() {
    let stage = Stage::new().await;
    stage.receiver.answer(Answer::Status(503));
    let mut published = Vec::new();
    for (version, states) in [
        ("1.0", &["failed"][..]),
        ("2.0", &["pending", "failed"]),
        ("3.0", &["pending", "pending", "failed"]),
    ] {
        published.push(stage.publish(version).await);
        stage.settled(states).await;
    }
    assert_eq!(stage.receiver.take().len(), 1, "it is left alone");

    stage.receiver.answer(Answer::Status(204));
    stage.hour_passes().await;
    let told = stage.system.told(&stage.receiver, 3).await;
    let mut told: Vec<_> = told.iter().flat_map(|one| one.report_ids()).collect();
    told.sort();
    published.sort();
    assert_eq!(told, published, "each once");
    stage.settled(&["delivered"; 3]).await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_messages_gets_none() {
    let stage = Stage::new().await;
    stage.receiver.answer_next([Answer::Status(410)]);
    stage.publish("1.0").await;
    stage.told_once().await;
    let first = stage.settled(&["failed"]).await;
    assert_eq!(first.len(), 1);
    let webhook = stage.system.disabled(stage.org, &stage.webhook["id"]).await;
    assert_eq!(webhook["disabledReason"], "gone");
    stage.publish("2.0").await;
    stage.settled(&["held", "failed"]).await;
    assert!(stage.receiver.take().is_empty());
}
