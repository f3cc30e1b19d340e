//! Every kind of page, in every state that looks different.

use bytes::Bytes;
use local::DEMO_ORGANIZATION;
use local::sonarqube::StandIn;
use serde_json::{Value, json};
use tests::receiver::{Answer, Receiver};
use tests::samples::{files, metadata};
use tests::server::{EDITION, TOKEN, project};
use tests::source::{Source, call_of};
use tests::system::text;
use time::{Duration, OffsetDateTime};

use crate::support::browser::{button, link};
use crate::support::stage::Stage;

/// What there is to be seen.
#[derive(Debug)]
pub(crate) struct Content {
    /// Answers as it should.
    good: Receiver,
    /// The paths of webhooks: one that works, one that fails, one whose receiver asks for patience, one that is disabled.
    works: String,
    fails: String,
    waits: String,
    is_disabled: String,
    source: String,
    /// Which answer otherwise.
    _others: [Receiver; 2],
    /// The source's.
    _server: StandIn,
}

impl Content {
    /// The path of the webhook whose deliveries fail.
    pub(crate) fn fails(&self) -> &str {
        &self.fails
    }
}

fn report(version: &str, count: u32, rating: &str, gate: &str) -> Value {
    let mut report = metadata(version);
    report["projectName"] = json!("Shop");
    report["vulnerabilitiesCount"] = json!(count);
    report["securityRating"] = json!(rating);
    report["qualityGate"] = json!(gate);
    report
}

/// Publishes reports, and makes webhooks that have been told of them, a source that was called, and a token.
pub(crate) async fn furnish(stage: &Stage) -> Content {
    let system = &stage.system;
    let receivers = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    let [good, bad, busy] = receivers;
    let answer = |status, headers: &[(&str, &str)], body: &'static str| Answer::Full {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: Bytes::from_static(body.as_bytes()),
    };
    good.answer(answer(200, &[], "Thank you."));
    bad.answer(answer(
        503,
        &[],
        "<html><h1>503 Service Unavailable</h1></html>",
    ));
    busy.answer(answer(429, &[("retry-after", "86400")], "slow down"));
    let headers = json!([{ "name": "x-team", "value": "shop" }, { "name": "authorization", "value": "Bearer 1" }]);
    let webhook = json!({ "name": "Ticket system", "url": good.url, "headers": headers, "events": ["report.published", "report.updated"] });
    let webhook = system.webhook_with(DEMO_ORGANIZATION, webhook).await;
    let works = format!("/webhooks/{}", text(&webhook["id"]));
    let fails = stage.webhook("Chat of the security team", &bad.url).await;
    let waits = stage.webhook("Customer portal", &busy.url).await;
    let is_disabled = stage.webhook("Archive", &good.url).await;
    let path = format!("{is_disabled}/disable");
    system.manage(DEMO_ORGANIZATION, "POST", &path, None).await;
    for report in [
        report("1.0.0", 14, "E", "ERROR"),
        report("1.1.0", 9, "D", "WARN"),
        report("2.0.0-rc.1", 4, "C", "ERROR"),
        report("2.0.0", 1, "B", "OK"),
        report("2.0.1", 0, "A", "OK"),
    ] {
        system
            .publish(DEMO_ORGANIZATION, &report, &files("the shop"))
            .await;
        stage.deliver().await;
    }
    let mut other = report("1.0", 3, "C", "OK");
    other["projectKey"] = json!("acme:a-rather-long-key-of-a-product-that-has-many-parts");
    other["projectName"] = json!("A product with a rather long name, as products have");
    other["branch"] = json!("feature/PROJ-1234-something-that-takes-long-to-explain");
    other["revision"] = json!("31d8f7a0c1b2d3e4f5a60718293a4b5c6d7e8f90");
    other["properties"] = json!({ "sonar.analysis.build": "1234", "sonar.analysis.url": "https://ci.example.com/job/1234" });
    system
        .publish(DEMO_ORGANIZATION, &other, &files("another"))
        .await;
    stage.deliver().await;
    system
        .round(OffsetDateTime::now_utc() + Duration::hours(2))
        .await;
    let mut cart = project(2);
    (cart.key, cart.name) = ("acme:cart".to_owned(), "Cart".to_owned());
    let server = StandIn::start(EDITION, TOKEN, cart).await.unwrap();
    let settings =
        json!({ "baseUrl": server.url, "token": TOKEN, "branches": ["trunk", "release/*"] });
    let source = Source::create_with(system, DEMO_ORGANIZATION, settings).await;
    let told = server.call_of("trunk", Some("AY-1"));
    source.call(system, told.as_bytes()).await;
    source.call(system, b"{}").await;
    let later = OffsetDateTime::now_utc() + Duration::SECOND;
    system.stack.import(later).await.unwrap();
    // Its token is revoked, and so nothing is made of the next call.
    server.accept("another", None);
    source.call(system, call_of("AY-2").as_bytes()).await;
    let later = later + Duration::HOUR;
    system.stack.import(later).await.unwrap();
    Content {
        good,
        works,
        fails,
        waits,
        is_disabled,
        source: format!("/sources/{}", source.id),
        _others: [bad, busy],
        _server: server,
    }
}

/// Goes from page to page, and has `at` look at each: it is told a name of it.
pub(crate) async fn tour(stage: &Stage, mut at: impl AsyncFnMut(&str)) {
    for page in ["reports", "webhooks", "sources", "tokens"] {
        stage.visit(&format!("/{page}")).await;
        at(&format!("{page} empty")).await;
    }
    let content = furnish(stage).await;
    reports(stage, &mut at).await;
    webhooks(stage, &content, &mut at).await;
    deliveries(stage, &content, &mut at).await;
    sources(stage, &content, &mut at).await;
    tokens(stage, &mut at).await;
    others(stage, &mut at).await;
}

async fn reports(stage: &Stage, at: &mut impl AsyncFnMut(&str)) {
    stage.visit("/reports").await;
    at("reports").await;
    stage.visit("/reports?filter=nothing").await;
    at("reports filtered").await;
    stage.visit("/reports/acme:shop").await;
    at("product").await;
    stage.visit("/reports/acme:shop?from=9").await;
    at("product filtered").await;
    stage.visit("/reports/acme:shop?from=no+version").await;
    at("product with an error").await;
    stage.visit("/reports").await;
    stage.follow("(//tbody//a)[1]").await;
    stage.follow("(//tbody//th/a)[1]").await;
    stage.click("summary").await;
    at("report").await;
    stage.visit("/files").await;
    at("no reports chosen").await;
}

async fn webhooks(stage: &Stage, content: &Content, at: &mut impl AsyncFnMut(&str)) {
    stage.visit("/webhooks").await;
    at("webhooks").await;
    stage.click("[popovertarget]").await;
    at("webhooks with a menu").await;
    stage.visit("/webhooks?show=trouble").await;
    at("webhooks in trouble").await;
    stage.visit("/webhooks/new").await;
    at("webhook form").await;
    stage.fill("#name", "A new one").await;
    stage.fill("#url", "https://10.0.0.1/").await;
    stage.follow(&button("Create the webhook")).await;
    at("webhook form with an error").await;
    stage.fill("#url", &content.good.url).await;
    stage.follow(&button("Test it")).await;
    at("webhook form tested").await;
    stage.follow(&button("Create the webhook")).await;
    at("secret").await;
    let before = stage.document().await;
    stage.client.refresh().await.unwrap();
    stage.until_another(&before).await;
    at("secret shown already").await;
    stage.visit(&content.works).await;
    at("webhook").await;
    stage.follow(&button("Test it")).await;
    at("webhook tested").await;
    stage.visit(&format!("{}?state=held", content.works)).await;
    at("webhook filtered").await;
    stage.visit(&format!("{}?cursor=none", content.works)).await;
    at("webhook with an error").await;
    for (path, name) in [
        (&content.fails, "webhook that fails"),
        (&content.waits, "webhook that waits"),
        (&content.is_disabled, "webhook that is disabled"),
    ] {
        stage.visit(path).await;
        at(name).await;
    }
    stage.visit(&format!("{}/edit", content.works)).await;
    at("webhook edited").await;
    let change = Some(json!({ "name": "Changed by others" }));
    let system = &stage.system;
    system
        .manage(DEMO_ORGANIZATION, "PATCH", &content.works, change)
        .await;
    stage.follow(&button("Save")).await;
    at("webhook changed by others").await;
    stage.visit(&format!("{}/secret", content.works)).await;
    at("webhook secret replaced").await;
    stage.visit(&format!("{}/delete", content.works)).await;
    at("webhook deleted").await;
}

async fn deliveries(stage: &Stage, content: &Content, at: &mut impl AsyncFnMut(&str)) {
    for (path, name) in [
        (&content.works, "delivery"),
        (&content.fails, "delivery that failed"),
        (&content.is_disabled, "delivery that is held"),
    ] {
        stage.visit(path).await;
        stage.follow("(//tbody//th/a)[last()]").await;
        at(name).await;
    }
    stage.visit(&format!("{}/replay", content.works)).await;
    at("replay").await;
    stage.click("[name=states][value=delivered]").await;
    stage.follow(&button("Count them")).await;
    at("replay counted").await;
    stage
        .visit(&format!("{}/replay", content.is_disabled))
        .await;
    at("replay of a disabled one").await;
}

async fn sources(stage: &Stage, content: &Content, at: &mut impl AsyncFnMut(&str)) {
    stage.visit("/sources").await;
    at("sources").await;
    stage.visit(&content.source).await;
    stage.click("summary").await;
    at("source").await;
    stage.follow(&button("Check the server")).await;
    at("source checked").await;
    stage.visit("/sources/new").await;
    stage.follow(&button("Create the source")).await;
    at("source form with an error").await;
    stage.fill("#name", "Another SonarQube").await;
    stage.follow(&button("Create the source")).await;
    at("source secret").await;
    stage.visit(&format!("{}/edit", content.source)).await;
    let change = Some(json!({ "name": "Changed by others" }));
    let system = &stage.system;
    system
        .manage(DEMO_ORGANIZATION, "PATCH", &content.source, change)
        .await;
    stage.follow(&button("Save")).await;
    at("source changed by others").await;
    stage.visit(&format!("{}/secret", content.source)).await;
    at("source secret replaced").await;
    stage.visit(&format!("{}/delete", content.source)).await;
    at("source deleted").await;
}

async fn tokens(stage: &Stage, at: &mut impl AsyncFnMut(&str)) {
    stage.visit("/tokens/new").await;
    at("token form").await;
    stage.follow(&button("Make the token")).await;
    at("token form with an error").await;
    stage.fill("#name", "The build of the shop").await;
    stage.click("[name=rights][value=publish]").await;
    stage.follow(&button("Make the token")).await;
    at("token").await;
    stage.visit("/tokens").await;
    at("tokens").await;
    stage.follow(&link("Revoke")).await;
    at("token revoked").await;
}

async fn others(stage: &Stage, at: &mut impl AsyncFnMut(&str)) {
    stage.visit("/organization").await;
    at("organization").await;
    stage.visit("/nothing").await;
    at("not found").await;
    // The session ends while somebody fills in a form.
    stage.visit("/webhooks/new").await;
    stage.fill("#name", "Not lost").await;
    stage.client.delete_all_cookies().await.unwrap();
    stage.follow(&button("Create the webhook")).await;
    at("not sent yet").await;
    stage.visit("/reports").await;
    at("sign-in").await;
    stage.sign_in("viewer").await;
    at("reports of a viewer").await;
    stage.visit("/organization").await;
    at("organization of a viewer").await;
    stage.visit("/webhooks").await;
    at("forbidden").await;
    stage.visit("/reports").await;
    stage.click(&button("Sign out")).await;
    stage.find(&link("Sign in again")).await;
    at("signed out").await;
    stage.follow(&link("Sign in again")).await;
    stage.sign_in("nobody").await;
    at("nobody").await;
}
