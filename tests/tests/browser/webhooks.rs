//! Webhooks: made, changed, stopped.

use bytes::Bytes;
use local::DEMO_ORGANIZATION;
use tests::receiver::{Answer, Receiver, assert_standard_signature};
use tests::system::text;

use crate::support::browser::{button, link};
use crate::support::stage::Stage;

#[tokio::test]
async fn a_webhook_is_tried_before_it_is_made_and_its_secret_is_shown_once() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    stage.follow(&link("Webhooks")).await;
    stage.follow(&link("Create a webhook")).await;

    // What is wrong is marked, and nothing of it is lost.
    stage.fill("#name", "Ticket system").await;
    stage.fill("#url", "https://10.0.0.1/").await;
    stage.follow(&button("Create the webhook")).await;
    assert_eq!(stage.status().await, 400);
    let focused = stage.script("return document.activeElement.id").await;
    assert_eq!(focused, "complaint");
    assert!(stage.text("#complaint").await.starts_with("url: "));
    assert_eq!(stage.count("[aria-invalid=true]").await, 1);
    assert_eq!(stage.count("#url[aria-invalid=true]").await, 1);
    assert_eq!(stage.value("#name").await, "Ticket system");
    assert_eq!(stage.value("#url").await, "https://10.0.0.1/");

    // A test sends what is in the form, and makes nothing.
    receiver.answer_next([Answer::Full {
        status: 202,
        headers: Vec::new(),
        body: Bytes::from_static(b"thank you"),
    }]);
    stage.fill("#url", &receiver.url).await;
    stage.follow(&button("Test it")).await;
    let result = stage.text("[aria-label='Result of the test']").await;
    assert!(result.contains("202") && result.contains("thank you"));
    assert!(has_milliseconds(&result), "{result}");
    assert_eq!(receiver.take().len(), 1);
    assert!(stage.webhooks().await.is_empty());
    assert_eq!(stage.value("#name").await, "Ticket system");

    // The secret is shown once, and it is the one that messages are signed with.
    stage.follow(&button("Create the webhook")).await;
    let secret = stage.text("#secret").await;
    stage.publish("1.0").await;
    let received = receiver.take();
    assert_eq!(received.len(), 1);
    assert_standard_signature(&received[0], &secret);

    // Whoever loads the page again sends the form again.
    let before = stage.document().await;
    stage.client.refresh().await.unwrap();
    stage.until_another(&before).await;
    assert!(stage.says().await.contains("This was done already"));
    assert!(!stage.source().await.contains(&secret));
    let webhooks = stage.webhooks().await;
    assert_eq!(webhooks.len(), 1, "{webhooks:?}");
    let path = format!("/webhooks/{}", text(&webhooks[0]["id"]));
    let of_delivery = format!("{path}/deliveries");
    stage.visit(&path).await;
    let delivery = stage.find("tbody th a").await.attr("href").await.unwrap();
    let delivery = delivery.unwrap();
    assert!(delivery.contains(&of_delivery), "{delivery}");
    let delivery = delivery.strip_prefix(&stage.base).unwrap().to_owned();
    for page in [
        "/webhooks",
        &path,
        &format!("{path}/edit"),
        &format!("{path}/secret"),
        &delivery,
    ] {
        stage.visit(page).await;
        assert_eq!(stage.status().await, 200, "{page}");
        assert!(!stage.source().await.contains(&secret), "{page}");
    }
}

fn has_milliseconds(text: &str) -> bool {
    text.split('(').any(|part| {
        let number = part.split_once(" ms)").map(|(number, _)| number);
        number.is_some_and(|it| it.parse::<u64>().is_ok())
    })
}

#[tokio::test]
async fn of_two_who_change_a_webhook_the_second_sees_what_the_first_has_made() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let path = stage.webhook("Ticket system", "https://example.com/").await;
    let edit = format!("{path}/edit");
    let first = stage.client.window().await.unwrap();
    stage.visit(&edit).await;
    let second = stage.client.new_window(true).await.unwrap().handle;
    stage.client.switch_to_window(second.clone()).await.unwrap();
    stage.visit(&edit).await;
    stage.fill("#name", "Of the second").await;
    stage.fill("#projects", "acme:shop").await;

    stage.client.switch_to_window(first).await.unwrap();
    stage.fill("#name", "Of the first").await;
    stage.follow(&button("Save")).await;
    assert_eq!(stage.text("h1").await, "Of the first");
    assert!(stage.says().await.contains("The changes are saved."));

    stage.client.switch_to_window(second).await.unwrap();
    stage.follow(&button("Save")).await;
    assert_eq!(stage.status().await, 412);
    let complaint = stage.text("#complaint").await;
    assert!(complaint.contains("Somebody else has changed this"));
    let stored = stage.text("[aria-label='What is stored now']").await;
    assert!(stored.contains("Of the first"), "{stored}");
    assert_eq!(stage.value("#name").await, "Of the second");
    assert_eq!(stage.value("#projects").await, "acme:shop");
    assert_eq!(stage.webhooks().await[0]["name"], "Of the first");
    stage.follow(&button("Save")).await;
    assert_eq!(stage.text("h1").await, "Of the second");
    let webhooks = stage.webhooks().await;
    assert_eq!(webhooks[0]["name"], "Of the second");
    assert_eq!(webhooks[0]["projects"][0], "acme:shop");
}

#[tokio::test]
async fn a_secret_is_replaced_and_a_disabled_webhook_misses_nothing() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    let webhook = stage.system.webhook(DEMO_ORGANIZATION, &receiver.url).await;
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    stage.visit(&path).await;
    stage.follow(&link("Replace the secret")).await;
    stage.follow(&button("Replace it")).await;
    let secret = stage.text("#secret").await;
    let before = text(&webhook["secret"]);
    assert_ne!(secret, before);
    stage.publish("1.0").await;
    let received = receiver.take();
    assert_eq!(received.len(), 1);
    let signatures = received[0].header("webhook-signature").split(' ');
    assert_eq!(signatures.count(), 2);
    assert_standard_signature(&received[0], &secret);
    assert_standard_signature(&received[0], &before);

    stage.follow(&link("I have stored it")).await;
    stage.follow(&button("Disable")).await;
    let says = stage.says().await;
    assert!(
        says.contains("Disabled: an administrator has disabled it"),
        "{says}"
    );
    stage.publish("1.1").await;
    assert!(receiver.take().is_empty());
    stage.visit(&path).await;
    assert_eq!(stage.states().await, ["‖ Held", "✓ Delivered"]);
    stage.follow("tbody th a").await;
    let send = stage.find(&button("Send it again")).await;
    assert!(!send.is_enabled().await.unwrap());
    assert!(stage.text("#hindrance").await.contains("disabled"));

    stage.visit(&path).await;
    stage.follow(&button("Enable")).await;
    assert_eq!(stage.states().await, ["‖ Held", "✓ Delivered"]);
    stage.deliver().await;
    let received = receiver.take();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()["reports"][0]["projectVersion"], "1.1");
    // The page looks by itself, as long as something is to come.
    let delivered = "const states = [...document.querySelectorAll('tbody th .state')].map((it) => it.innerText);
        return states.length === 2 && states.every((it) => it === '✓ Delivered')";
    stage.until_script("the delivery", delivered).await;
    assert_eq!(stage.count("#reload").await, 0);
}
