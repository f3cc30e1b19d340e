//! The panel, from signing in to a delivery.

use local::DEMO_ORGANIZATION;
use tests::deployment::{Deployment, eventually};
use tests::receiver::assert_signed;
use tests::samples::{files, metadata};

/// The issuer of the tests knows roles in this organization only.
#[tokio::test]
async fn an_administrator_signs_in_makes_a_webhook_and_sees_its_delivery_and_the_report() {
    let system = Deployment::open().await;
    let org = DEMO_ORGANIZATION;
    let receiver = system.receiver().await;
    let visitor = system.visitor("administrator").await;
    let home = visitor.home().await;

    let new = format!("{home}/webhooks/new");
    let number = visitor.get(&new).await.field("form");
    let fields = [
        ("form", number.as_str()),
        ("name", "By the panel"),
        ("url", receiver.url.as_str()),
        ("format", "reports"),
        ("schedule", "hourly"),
    ];
    let created = visitor.post(&new, &fields).await;
    assert_eq!(created.status, 200, "{created:?}");
    let secret = created.between("<code id=\"secret\">", "<");
    let links = created.links().into_iter();
    let webhook = links
        .filter(|it| it.starts_with(&format!("{home}/webhooks/")))
        .max_by_key(String::len)
        .unwrap();

    let report = system.publish(org, &metadata("7.1"), &files("panel")).await;
    let report = report["id"].as_str().unwrap().to_owned();
    let told = system.told(&receiver, 1).await;
    assert_signed(&told[0], &secret);

    let delivered = async || {
        let page = visitor.get(&format!("{webhook}?state=delivered")).await;
        let links = page.links().into_iter();
        let mut deliveries = links.filter(|it| it.contains("/deliveries/"));
        deliveries.next()
    };
    let delivery = eventually("the panel shows the delivery", delivered).await;
    let page = visitor.get(&delivery).await;
    assert!(
        page.text.contains("Delivered") && page.text.contains("200"),
        "{page:?}"
    );
    let link = page.links().into_iter().find(|it| it.ends_with(&report));
    let shown = visitor.get(&link.unwrap()).await;
    assert!(shown.text.contains("7.1"), "{shown:?}");
    let file = shown
        .links()
        .into_iter()
        .find(|it| it.ends_with("/files/report.html"));
    let file = visitor.get(&file.unwrap()).await;
    assert!(
        file.header("content-security-policy")
            .starts_with("sandbox;"),
        "{file:?}"
    );
    let deleted = visitor.post(&format!("{webhook}/delete"), &[]).await;
    assert_eq!(deleted.location(), format!("{home}/webhooks"));
    let out = visitor
        .post(
            &home.replace(home.rsplit('/').next().unwrap(), "sign-out"),
            &[],
        )
        .await;
    assert_eq!(out.status, 200, "{out:?}");
}
