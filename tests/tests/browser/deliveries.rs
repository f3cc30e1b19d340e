//! Deliveries: found, and made once more.

use std::collections::BTreeSet;

use local::DEMO_ORGANIZATION;
use tests::receiver::{Answer, Received, Receiver};
use time::{Duration, OffsetDateTime};

use crate::support::browser::{button, link};
use crate::support::stage::Stage;

fn ids(received: &[Received]) -> Vec<&str> {
    let ids = received.iter().map(|it| it.header("webhook-id"));
    ids.collect()
}

#[tokio::test]
async fn a_delivery_shows_each_attempt_and_is_sent_again_as_the_same_message() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    let path = stage.webhook("test", &receiver.url).await;
    receiver.answer_next([503, 204].map(Answer::Status));
    stage.publish("1.0").await;
    stage.visit(&path).await;
    assert_eq!(stage.states().await, ["✕ Failed"]);
    let later = OffsetDateTime::now_utc() + Duration::hours(2);
    stage.system.round(later).await;
    stage.visit(&path).await;
    stage.follow("tbody th a").await;
    let attempts = stage.texts("main summary").await;
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(attempts[0].starts_with("2. ✓ 204"), "{attempts:?}");
    assert!(attempts[1].starts_with("1. ✕ 503"), "{attempts:?}");
    assert!(attempts.iter().all(|it| it.contains(" ms · ")));
    assert_eq!(stage.text("main p .state").await, "✓ Delivered");

    stage.follow(&button("Send it again")).await;
    stage.deliver().await;
    let received = receiver.take();
    assert_eq!(received.len(), 3);
    let id = stage.text("dd code").await;
    assert_eq!(ids(&received), [&*id; 3]);
    assert_eq!(received[0].body, received[2].body);
}

#[tokio::test]
async fn as_many_are_sent_again_as_were_counted() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    let path = stage.webhook("test", &receiver.url).await;
    for version in ["1.0", "1.1", "1.2"] {
        stage.publish(version).await;
    }
    let first = receiver.take();
    stage.visit(&path).await;
    stage.follow(&link("Send several again")).await;
    stage.follow(&button("Count them")).await;
    let counted = "[role=status]";
    assert!(stage.text(counted).await.starts_with("0 deliveries"));
    assert_eq!(stage.count(&button("Send them again")).await, 0);
    stage.click("[name=states][value=delivered]").await;
    stage.follow(&button("Count them")).await;
    assert!(stage.text(counted).await.starts_with("3 deliveries"));
    stage.deliver().await;
    assert!(receiver.take().is_empty(), "counting sends nothing");
    stage.follow(&button("Send them again")).await;
    stage.deliver().await;
    let again = receiver.take();
    assert_eq!(again.len(), 3);
    let set = |received| ids(received).into_iter().map(str::to_owned).collect();
    let (first, again): (BTreeSet<String>, BTreeSet<String>) = (set(&first), set(&again));
    assert_eq!(first, again);
}

#[tokio::test]
async fn the_address_of_what_was_filtered_shows_the_same_to_others() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    let path = stage.webhook("test", &receiver.url).await;
    receiver.answer_next([Answer::Status(200), Answer::Status(500)]);
    stage.publish("1.0").await;
    stage.publish("1.1").await;
    stage.visit(&path).await;
    assert_eq!(stage.states().await.len(), 2);
    stage.click("#state option[value=failed]").await;
    stage.follow(&button("Filter")).await;
    assert_eq!(stage.states().await, ["✕ Failed"]);
    let (address, rows) = (stage.path().await, stage.text("tbody").await);
    assert!(address.contains("state=failed"), "{address}");

    stage.client.delete_all_cookies().await.unwrap();
    stage.open(&stage.system.url(&address)).await;
    assert!(stage.path().await.starts_with("/panel/sign-in?to="));
    stage.sign_in("administrator").await;
    assert_eq!(stage.path().await, address);
    assert_eq!(stage.text("tbody").await, rows);
    assert_eq!(stage.value("#state").await, "failed");
    let webhooks = stage.webhooks().await;
    let webhook = &webhooks[0]["id"];
    let all = stage.system.deliveries(DEMO_ORGANIZATION, webhook).await;
    assert_eq!(all.len(), 2);
}
