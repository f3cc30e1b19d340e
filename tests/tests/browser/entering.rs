//! Coming in, seeing what one may, and leaving.

use local::DEMO_ORGANIZATION;
use tests::samples::{files, metadata};
use tests::system::System;

use crate::support::browser::{Browser, button, link};
use crate::support::crawl::{Found, crawl};
use crate::support::stage::Stage;

#[tokio::test]
async fn one_link_and_two_clicks_lead_to_the_products() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let system = System::start().await;
    let report = metadata("1.0");
    system
        .publish(DEMO_ORGANIZATION, &report, &files("a"))
        .await;
    browser.open(&system.stack.issuer.enter_url()).await;
    browser.click(&button("Sign in")).await;
    browser.click("#administrator").await;
    browser.find(&link("Test product")).await;
    assert_eq!(browser.text("h1").await, "Reports");
    assert!(browser.path().await.ends_with("/reports"));
    let sections = ["Reports", "Webhooks", "Sources", "Tokens", "Organization"];
    assert_eq!(browser.texts("nav a").await, sections);
}

#[tokio::test]
async fn everybody_sees_what_he_may_and_is_told_the_rest() {
    let Some(stage) = Stage::enter("viewer").await else {
        return;
    };
    stage.publish("1.0").await;
    assert_eq!(stage.texts("nav a").await, ["Reports", "Organization"]);
    // The organization's id is the key to read, and no viewer has it.
    let id = DEMO_ORGANIZATION.to_string();
    let found = crawl(&stage, async |found: Found<'_>| {
        let is_told = found.source.contains(&id) || found.path.contains(&id);
        assert!(!is_told, "{} tells the id", found.path);
    });
    let found = found.await;
    for page in ["/reports", "/reports/acme:shop", "/organization"] {
        let page = format!("{}{page}", stage.base);
        assert!(found.contains(&page), "{page} is not in {found:?}");
    }
    for page in [
        "/webhooks",
        "/webhooks/new",
        "/sources",
        "/tokens",
        "/tokens/new",
    ] {
        stage.visit(page).await;
        assert_eq!(stage.status().await, 403, "{page}");
        assert!(stage.says().await.contains("for administrators"), "{page}");
    }
    let nowhere = stage.base.chars().rev().collect::<String>();
    let nowhere = format!("/panel/{}/reports", nowhere.split('/').next().unwrap());
    for page in [nowhere, format!("{}/nothing", stage.base)] {
        stage.open(&stage.system.url(&page)).await;
        assert_eq!(stage.status().await, 404, "{page}");
        assert_eq!(stage.text("h1").await, "Not found");
    }
    stage.visit("/reports").await;
    stage.follow(&button("Sign out")).await;
    stage.find(&link("Sign in again")).await;
    stage.follow(&link("Sign in again")).await;
    stage.sign_in("nobody").await;
    assert_eq!(
        stage.text("h1").await,
        "You have no part in any organization"
    );
    assert_eq!(stage.count("nav").await, 0);
    stage.visit("/reports").await;
    assert_eq!(stage.status().await, 404);
}

#[tokio::test]
async fn after_signing_out_nothing_of_before_is_shown() {
    let Some(stage) = Stage::enter("administrator").await else {
        return;
    };
    stage.publish("1.0").await;
    stage.visit("/reports/acme:shop").await;
    assert_eq!(stage.text("h1").await, "Test product acme:shop");
    let cookies = stage.cookies().await;
    stage.follow(&link("Organization")).await;
    assert!(stage.says().await.contains(&DEMO_ORGANIZATION.to_string()));
    stage.click(&button("Sign out")).await;
    stage.find(&link("Sign in again")).await;
    assert_eq!(stage.path().await, "/panel/signed-out");
    for _ in 0..2 {
        stage.client.back().await.unwrap();
        stage
            .until_script(
                "the page before",
                "return document.readyState === 'complete'",
            )
            .await;
        let (path, says) = (stage.path().await, stage.says().await);
        assert!(path.starts_with("/panel/sign-in?to="), "{path}");
        assert!(!says.contains("Test product"), "{says}");
        assert!(
            !stage
                .source()
                .await
                .contains(&DEMO_ORGANIZATION.to_string())
        );
    }
    // Whoever has kept the cookie has nothing of it.
    let request = stage
        .system
        .http()
        .get(stage.system.url(&format!("{}/organization", stage.base)));
    let request = request.header("cookie", cookies);
    let answer = request.send().await.unwrap();
    assert!(
        answer.url().path().ends_with("/panel/sign-in"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn who_may_not_see_a_page_has_the_way_to_others() {
    let Some(stage) = Stage::enter("viewer").await else {
        return;
    };
    for page in ["/webhooks", "/nothing", "/reports/acme:nothing", "/files"] {
        stage.visit(page).await;
        assert!(stage.status().await >= 400, "{page}");
        let sections = stage.texts("nav a").await;
        assert_eq!(sections, ["Reports", "Organization"], "{page}");
        stage.find(&button("Sign out")).await;
    }
}
