//! Without scripts.

use serde_json::json;
use tests::receiver::{Receiver, assert_standard_signature};
use tests::system::System;

use crate::support::browser::{Browser, button, link};
use crate::support::stage::Stage;

#[tokio::test]
async fn every_page_works_without_scripts() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let off = json!({ "value": true });
    browser
        .devtools("Emulation.setScriptExecutionDisabled", off)
        .await;
    browser.enter(&system, "administrator").await;
    let stage = Stage::of(browser, system).await;
    // Scripts would have said this time in the reader's zone, and so they do not run.
    stage.follow(&link("Organization")).await;
    let time = stage.find("main time").await;
    assert_eq!(time.attr("title").await.unwrap(), None);

    let receiver = Receiver::start().await;
    stage.follow(&link("Webhooks")).await;
    stage.follow(&link("Create a webhook")).await;
    stage.fill("#name", "Ticket system").await;
    stage.fill("#url", &receiver.url).await;
    stage.follow(&button("Test it")).await;
    let result = stage.text("[aria-label='Result of the test']").await;
    assert!(result.contains("200"), "{result}");
    stage.follow(&button("Create the webhook")).await;
    let secret = stage.text("#secret").await;
    for version in ["1.0", "1.1"] {
        stage.publish(version).await;
    }
    let received = receiver.take();
    assert_eq!(received.len(), 3);
    assert_standard_signature(&received[2], &secret);
    stage.follow(&link("I have stored it")).await;
    assert_eq!(stage.states().await, ["✓ Delivered"; 2]);
    stage.follow("tbody th a").await;
    let attempts = stage.texts("main summary").await;
    assert!(attempts[0].starts_with("1. ✓ 200"), "{attempts:?}");

    stage.follow(&link("Reports")).await;
    stage.follow(&link("Test product")).await;
    stage.fill("#from", "1.1").await;
    stage.follow(&button("Filter")).await;
    assert_eq!(stage.texts("tbody th a").await, ["1.1"]);
}
