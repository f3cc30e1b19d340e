//! Pages of other origins: what they cannot do with somebody's session.

use bytes::Bytes;
use tests::receiver::{Answer, Receiver};

use crate::support::browser::button;
use crate::support::stage::Stage;

/// Has a receiver be a page.
fn serve(receiver: &Receiver, body: &str) {
    receiver.answer(Answer::Full {
        status: 200,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: Bytes::from(format!("<!DOCTYPE html><title>Elsewhere</title>{body}")),
    });
}

#[tokio::test]
async fn a_form_of_another_page_changes_nothing() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let elsewhere = Receiver::start().await;
    let action = stage.system.url(&format!("{}/webhooks/new", stage.base));
    let fields = [
        ("name", "Theirs"),
        ("url", "https://example.com/"),
        ("do", "save"),
        ("format", "reports"),
        ("schedule", "hourly"),
        ("events-mode", "usual"),
        ("secret-mode", "generate"),
    ];
    let fields = fields.map(|(name, value)| format!("<input name={name} value={value}>"));
    let form = |action: &str| {
        let fields = fields.concat();
        format!("<form method=post action={action}>{fields}<button>Win a prize</button></form>")
    };
    // Another port is the same site, so that cookies come along; another name is another site.
    serve(&elsewhere, &form(&action));
    for page in [
        elsewhere.url.clone(),
        elsewhere.url.replace("127.0.0.1", "localhost"),
    ] {
        stage.open(&page).await;
        assert_eq!(stage.client.title().await.unwrap(), "Elsewhere");
        stage.follow(&button("Win a prize")).await;
        assert_eq!(stage.status().await, 403, "{page}");
        assert!(stage.webhooks().await.is_empty(), "{page}");
    }
    // The same form makes a webhook where it is ours.
    stage.visit("/webhooks/new").await;
    let ours = "document.querySelector('main').replaceChildren();
        const form = document.createElement('form');
        form.method = 'post';
        form.append(...arguments[0].map(([name, value]) => Object.assign(document.createElement('input'), { name, value })));
        document.querySelector('main').append(form);
        form.submit()";
    let before = stage.document().await;
    let fields = serde_json::json!([
        ["name", "Ours"],
        ["url", "https://example.com/"],
        ["do", "save"],
        ["format", "reports"],
        ["schedule", "hourly"],
        ["events-mode", "usual"],
        ["secret-mode", "generate"],
    ]);
    stage.client.execute(ours, vec![fields]).await.unwrap();
    stage.until_another(&before).await;
    assert_eq!(stage.webhooks().await[0]["name"], "Ours");
}

#[tokio::test]
async fn the_panel_is_in_no_frame_of_another_page() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    stage.publish("1.0").await;
    let elsewhere = Receiver::start().await;
    let panel = stage.system.url(&format!("{}/reports", stage.base));
    serve(&elsewhere, &format!("<iframe src={panel}></iframe>"));
    stage.log("browser").await;
    stage.open(&elsewhere.url).await;
    stage.client.enter_frame(0).await.unwrap();
    let source = stage.source().await;
    assert!(!source.contains("Test product"), "{source}");
    stage.client.enter_parent_frame().await.unwrap();
    let complaints = stage.log("browser").await;
    let said = complaints
        .iter()
        .any(|it| it["message"].as_str().unwrap().contains("frame-ancestors"));
    assert!(said, "{complaints:?}");
    // Where it is no frame it is shown.
    stage.open(&panel).await;
    assert!(stage.says().await.contains("Test product"));
}
