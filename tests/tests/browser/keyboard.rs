//! Without a mouse.

use tests::receiver::Receiver;

use crate::support::stage::Stage;

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';
const TAB: char = '\u{e004}';
/// No page has as many places to go to.
const STOPS: usize = 80;

/// Goes on from where the focus is until it is at an element, and sees at each stop where it is.
async fn go_to(stage: &Stage, what: &str) {
    let is_here = format!("return document.activeElement.matches({what:?})");
    for _ in 0..STOPS {
        stage.press(TAB, false).await;
        let look = "const it = document.activeElement, box = it.getBoundingClientRect();
            const isSeen = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
            return it === document.body || (isSeen && getComputedStyle(it).outlineStyle !== 'none')
                || it.outerHTML";
        assert_eq!(stage.script(look).await, true, "the focus is not seen");
        if stage.script(&is_here).await == true {
            return;
        }
    }
    panic!("nobody gets to {what} by the keyboard");
}

/// Presses Enter, and waits for the page that it leads to.
async fn enter(stage: &Stage) {
    let before = stage.document().await;
    stage.press(ENTER, false).await;
    stage.until_another(&before).await;
}

async fn type_in(stage: &Stage, text: &str) {
    let field = stage.client.active_element().await.unwrap();
    field.send_keys(text).await.unwrap();
}

#[tokio::test]
async fn a_webhook_is_made_tried_and_deleted_by_the_keyboard() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let receiver = Receiver::start().await;
    go_to(&stage, "nav a[href$='/webhooks']").await;
    enter(&stage).await;
    go_to(&stage, "a[href$='/webhooks/new']").await;
    enter(&stage).await;
    go_to(&stage, "#name").await;
    type_in(&stage, "By hand").await;
    go_to(&stage, "#url").await;
    type_in(&stage, &receiver.url).await;
    go_to(&stage, "button[name=do][value=test]").await;
    enter(&stage).await;
    let focused = stage.script("return document.activeElement.ariaLabel");
    assert_eq!(focused.await, "Result of the test");
    assert_eq!(receiver.take().len(), 1);
    // Enter in a field does what the form is for.
    go_to(&stage, "#name").await;
    enter(&stage).await;
    assert!(stage.text("h1").await.starts_with("Secret of By hand"));
    go_to(&stage, "main a.primary").await;
    enter(&stage).await;
    assert_eq!(stage.text("h1").await, "By hand");

    stage.visit("/webhooks").await;
    go_to(&stage, "[popovertarget]").await;
    let open = "return document.querySelectorAll(':popover-open').length";
    assert_eq!(stage.script(open).await, 0);
    stage.press(ENTER, false).await;
    assert_eq!(stage.script(open).await, 1);
    stage.press(TAB, false).await;
    let inside = "return document.activeElement.closest('.menu') !== null";
    assert_eq!(stage.script(inside).await, true);
    stage.press(ESCAPE, false).await;
    assert_eq!(stage.script(open).await, 0);
    let back = "return document.activeElement.matches('[popovertarget]')";
    assert_eq!(stage.script(back).await, true);
    stage.press(ENTER, false).await;
    go_to(&stage, ".menu a.danger").await;
    enter(&stage).await;
    assert_eq!(stage.text("h1").await, "Delete By hand?");
    go_to(&stage, "main button").await;
    enter(&stage).await;
    assert!(stage.webhooks().await.is_empty());
    assert!(stage.path().await.ends_with("/webhooks"));
}
