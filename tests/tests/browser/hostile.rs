//! What others have written: reports, names, answers. None of it does anything in the panel.

use bytes::Bytes;
use local::DEMO_ORGANIZATION;
use local::client::File;
use serde_json::json;
use tests::receiver::{Answer, Receiver};
use tests::samples::{files, metadata};
use tests::source::Source;
use tests::system::text;

use crate::support::browser::{Browser, button};
use crate::support::crawl::{Found, crawl, requested};
use crate::support::looks::assert_fits;
use crate::support::stage::Stage;

/// A report that tries everything: to run, to tell `beacon`, and to take the page away.
fn hostile(beacon: &str) -> String {
    let take = "document.title = 'taken'; top.document.title = 'taken'";
    format!(
        r#"<!DOCTYPE html><html><head><title>report</title><base href="{beacon}base/">
        <meta http-equiv="refresh" content="0;url={beacon}refresh">
        <link rel="stylesheet" href="{beacon}style.css"><link rel="prefetch" href="{beacon}prefetch">
        <style>@import url("{beacon}import.css"); body {{ background: url("{beacon}background") }}</style>
        <script>{take}; fetch("{beacon}fetch", {{ mode: "no-cors" }}); top.location = "{beacon}location"</script>
        <script src="{beacon}script.js"></script></head>
        <body onload="{take}"><p id="here">A report</p>
        <p><a id="javascript" href="javascript:{take}">one</a> <a id="top" target="_top" href="{beacon}top">two</a>
        <a id="blank" target="_blank" href="{beacon}blank">three</a></p>
        <form action="{beacon}form" target="_top"><button id="send">four</button></form>
        <img src="{beacon}image"><img src="x" onerror="{take}">
        <svg onload="{take}"><script>{take}</script><image href="{beacon}svg"/></svg>
        <iframe src="{beacon}frame"></iframe><object data="{beacon}object"></object>
        <embed src="{beacon}embed"><video src="{beacon}video" autoplay></video></body></html>"#
    )
}

#[tokio::test]
async fn a_report_does_nothing_but_being_looked_at() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let beacon = Receiver::start().await;
    let html = hostile(&beacon.url);
    let files = [File {
        name: "report.html".to_owned(),
        bytes: html.clone().into_bytes(),
    }];
    let report = metadata("1.0");
    let id = stage.system.publish(DEMO_ORGANIZATION, &report, &files);
    let path = format!("/reports/acme:shop/{}", id.await);
    let windows = stage.client.windows().await.unwrap().len();
    for clicked in ["#here", "#javascript", "#top", "#blank", "#send"] {
        stage.visit(&path).await;
        stage.network().await;
        let frame = stage.find("iframe").await;
        frame.enter_frame().await.unwrap();
        stage.click(clicked).await;
        stage.client.enter_parent_frame().await.unwrap();
        assert_untouched(&stage, &beacon, &path, clicked).await;
        assert_eq!(
            stage.client.title().await.unwrap(),
            "Test product 1.0 · SonarQube Reports"
        );
    }
    // Opened alone it is no more.
    let path = format!("{path}/files/report.html");
    for clicked in ["#here", "#javascript", "#send"] {
        stage.visit(&path).await;
        stage.click(clicked).await;
        assert_untouched(&stage, &beacon, &path, clicked).await;
        assert_eq!(stage.client.title().await.unwrap(), "report");
    }
    let left = stage.client.windows().await.unwrap().len();
    assert_eq!(left, windows);

    // Where nothing hinders it, it does what it can: this test would see it.
    let elsewhere = Receiver::start().await;
    elsewhere.answer(Answer::Full {
        status: 200,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: Bytes::from(html),
    });
    stage.client.goto(&elsewhere.url).await.unwrap();
    beacon.wait_for(1).await;
}

async fn assert_untouched(browser: &Browser, beacon: &Receiver, path: &str, clicked: &str) {
    // Once the page is drawn again, whatever was to happen at once has happened.
    browser.client.screenshot().await.unwrap();
    browser.client.screenshot().await.unwrap();
    assert!(browser.path().await.ends_with(path), "{clicked}");
    let network = browser.network().await;
    let asked: Vec<_> = requested(&network)
        .into_iter()
        .filter(|url| url.starts_with(&beacon.url))
        .collect();
    let received = beacon.received();
    assert!(received.is_empty(), "{clicked}: {received:?} {asked:?}");
}

/// Ends whatever it may stand in, and runs.
const MARKUP: &str = r#""'></title></textarea></script><script>window.__x = 1</script><img src=x onerror="window.__x = 1">{{7*7}}"#;
/// Shows what follows in another order (Unicode Standard Annex #9).
const OVERRIDE: char = '\u{202e}';

fn hostile_text(length: usize) -> String {
    let mut text = format!("{OVERRIDE}{MARKUP}");
    assert!(text.chars().count() < length);
    text.extend(std::iter::repeat_n('W', length - text.chars().count()));
    text
}

#[tokio::test]
async fn what_others_have_named_is_text_and_breaks_no_page() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    let (system, org) = (&stage.system, DEMO_ORGANIZATION);
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Full {
        status: 500,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: Bytes::from(hostile_text(2000)),
    });
    let short = "\"><img src=x onerror=window.__x=1></script><script>window.__x=1</script>";
    let webhook = json!({
        "name": format!("{OVERRIDE}{short}{}", "W".repeat(20)), "url": format!("{}{}", receiver.url, "w".repeat(300)),
        "headers": [{ "name": format!("x-{}", "w".repeat(90)), "value": short }], "projects": [],
    });
    let webhook = system.webhook_with(org, webhook).await;
    let mut report = metadata("1.0");
    for (field, length) in [("projectName", 500), ("branch", 255)] {
        report[field] = json!(hostile_text(length));
    }
    report["reportType"] = json!(short);
    report["projectVersion"] = json!(format!("1.0-{}", "w".repeat(90)));
    report["properties"] = json!({ (hostile_text(200)): hostile_text(400) });
    system.publish(org, &report, &files("a")).await;
    report["projectVersion"] = json!("1.1");
    system.publish(org, &report, &files("a")).await;
    stage.deliver().await;
    assert!(!receiver.take().is_empty());
    let source = Source::create_with(system, org, json!({ "name": short }));
    let source = source.await;
    source.call(system, hostile_text(300).as_bytes()).await;
    stage.visit("/tokens/new").await;
    stage.fill("#name", short).await;
    stage.click("[name=rights][value=publish]").await;
    stage.look(320, "light").await;
    stage.follow(&button("Make the token")).await;
    assert_harmless(&stage, "the token").await;

    stage.log("browser").await;
    let found = crawl(&stage, async |page: Found<'_>| {
        let open = "for (const it of document.querySelectorAll('details')) it.open = true";
        stage.script(open).await;
        assert_harmless(&stage, page.path).await;
        let complaints = stage.log("browser").await;
        assert!(complaints.is_empty(), "{}: {complaints:?}", page.path);
    });
    let found = found.await;
    let id = text(&webhook["id"]);
    for part in [
        "/reports/acme:shop/",
        &id,
        "/deliveries/",
        "/revoke",
        &source.id,
    ] {
        assert!(
            found.iter().any(|it| it.contains(part)),
            "{part}: {found:?}"
        );
    }
    let path = format!("/webhooks/{id}");
    stage.visit(&path).await;
    stage.follow(&button("Test it")).await;
    assert!(
        stage
            .says()
            .await
            .contains("<script>window.__x = 1</script>")
    );
    assert_harmless(&stage, "the test").await;
}

async fn assert_harmless(browser: &Browser, page: &str) {
    let made = "return [window.__x ?? null, document.querySelectorAll('img, script:not([src]), [onerror]').length]";
    assert_eq!(browser.script(made).await, json!([null, 0]), "{page}");
    assert_fits(browser, page).await;
}
