//! Reports that the stack makes of what a server of SonarQube has found.

use serde_json::json;
use tests::api::text;
use tests::deployment::Deployment;
use tests::server::{PROJECT, TOKEN, project};
use tests::source::Source;
use tests::system::organization;

#[tokio::test]
async fn an_analysis_is_told_of_and_its_report_comes_by_itself() {
    let (system, org) = (Deployment::open().await, organization());
    let (server, url) = system.server(project(3)).await;
    let receiver = system.receiver().await;
    let webhook = json!({"name": "n", "url": receiver.url});
    system.webhook_with(org, webhook).await;
    let settings = json!({"baseUrl": url, "token": TOKEN, "standards": ["cwe-top-25-2024"]});
    let source = Source::create_with(&system, org, settings).await;
    let check = format!("/sources/{}/check", source.id);
    let checked = system.manage(org, "POST", &check, None).await.json();
    assert_eq!(
        (&checked["ok"], &checked["projects"]),
        (&json!(true), &json!(1)),
        "{checked}"
    );

    let call = server.call_of("trunk", Some("AZ1"));
    assert_eq!(source.call(&system, call.as_bytes()).await.status, 202);
    let import = system.imported(org, &source).await;
    assert_eq!(import["state"], "published", "{import}");
    let report = text(&import["reports"][0]);
    let list = system
        .get(&format!(
            "/security/report/list?org={org}&project={PROJECT}"
        ))
        .await
        .json();
    assert_eq!(list["reports"][0]["id"], report);
    assert_eq!(list["reports"][0]["vulnerabilitiesCount"], 3);
    let path = format!("/security/report/file?org={org}&report={report}&name=report.pdf");
    assert!(system.get(&path).await.body.starts_with(b"%PDF-"));
    let [told] = system.told(&receiver, 1).await.try_into().unwrap();
    assert_eq!(told.reports(), [(report, 1)]);
}
