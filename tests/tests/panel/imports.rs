//! Reports that are made of what a source's server has found, as administrators see them.

use findings::Standard;
use local::DEMO_ORGANIZATION as ORG;
use local::sonarqube::StandIn;
use serde_json::json;
use tests::server::{EDITION, PATIENCE, TOKEN, project};
use tests::source::Source;
use tests::system::{System, text};
use tests::visitor::Visitor;
use time::{Duration, OffsetDateTime};

#[tokio::test]
async fn a_server_is_entered_checked_and_shown_with_what_came_of_its_calls() {
    let mut system = System::start().await;
    system.stack.importing.patience = PATIENCE;
    let server = StandIn::start(EDITION, TOKEN, project(2)).await.unwrap();
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let new = format!("{home}/sources/new");
    let usual = [
        ("name", "Ours"),
        ("kind", "sonarqube"),
        ("enabled", "true"),
        ("versionFallback", "date"),
        ("standards", "cwe-top-25-2024"),
        ("branches", "trunk\nrelease/*"),
        ("token", TOKEN),
    ];
    let with = |url: &str| -> Vec<(String, String)> {
        let all = usual.iter().copied().chain([("baseUrl", url)]);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let post = async |path: &str, fields: &[(String, String)]| {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        visitor.post(path, &fields).await
    };
    // What is refused is given back, but for the token.
    let refused = post(&new, &with("http://10.0.0.1")).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text.contains("href=\"#baseUrl\"") && refused.text.contains("http://10.0.0.1"));
    assert!(!refused.text.contains(TOKEN));
    for standard in Standard::all() {
        let (id, name) = (&standard.id, standard.name());
        let is_typed = ["", " checked"][usize::from(id == "cwe-top-25-2024")];
        let choice = format!("value=\"{id}\"{is_typed}> {name}</label>");
        assert!(refused.text.contains(&choice), "{choice}: {refused:?}");
    }
    let created = post(&new, &with(&server.url)).await;
    assert!(created.status.is_success(), "{created:?}");
    let sources = system.manage(ORG, "GET", "/sources", None).await.json();
    let stored = &sources["sources"][0];
    assert_eq!(stored["branches"], json!(["trunk", "release/*"]));
    let id = text(&stored["id"]);
    let page = format!("{home}/sources/{id}");
    let shown = visitor.get(&page).await;
    for said in [
        &*server.url,
        "Not asked yet",
        "trunk, release/*",
        "cwe-top-25-2024",
    ] {
        assert!(shown.text.contains(said), "{said}: {shown:?}");
    }
    let checked = visitor.post(&format!("{page}/check"), &[]).await;
    assert!(
        checked.text.contains("its user may browse 1 project"),
        "{checked:?}"
    );
    assert!(checked.text.contains("community 2025.1"), "{checked:?}");

    let rotated = format!("/sources/{id}/secret");
    let rotated = system.manage(ORG, "POST", &rotated, None).await.json();
    let source = Source {
        id: id.clone(),
        secret: text(&rotated["secret"]),
        is_codescoring: false,
    };
    let body = server.call_of("trunk", Some("AZ1"));
    assert!(
        source
            .call(&system, body.as_bytes())
            .await
            .status
            .is_success()
    );
    let now = OffsetDateTime::now_utc() + Duration::SECOND;
    system.stack.import(now).await.unwrap();
    let shown = visitor.get(&page).await;
    assert!(
        shown.text.contains("Published") && shown.text.contains("Answers"),
        "{shown:?}"
    );
    let links = shown.links();
    let report = links
        .iter()
        .find(|it| it.contains("/reports/acme:shop/"))
        .unwrap();
    assert_eq!(visitor.get(report).await.status, 200);

    // What others may not know is not shown, and what is wrong is.
    server.accept("another", None);
    system.round(now + Duration::HOUR).await;
    system.stack.import(now + Duration::HOUR).await.unwrap();
    let shown = visitor.get(&page).await;
    assert!(
        shown.text.contains("Does not accept the token"),
        "{shown:?}"
    );
    let list = visitor.get(&format!("{home}/sources")).await;
    assert!(
        list.text.contains("Its server does not accept the token"),
        "{list:?}"
    );
    assert!(!shown.text.contains(TOKEN));

    // Without an address no more reports are made, and saving the form as it stands changes nothing.
    let edit = format!("{page}/edit");
    let form = visitor.get(&edit).await;
    assert!(
        form.text.contains("the one that is stored stays"),
        "{form:?}"
    );
    let kept = [
        ("tag", &*form.field("tag")),
        ("kind", "sonarqube"),
        ("name", "Ours"),
        ("baseUrl", &server.url),
    ];
    assert_eq!(
        visitor.post(&edit, &kept).await.location(),
        format!("{page}?done=changed")
    );
    let tag = visitor.get(&edit).await.field("tag");
    let gone = [
        ("tag", &*tag),
        ("kind", "sonarqube"),
        ("name", "Ours"),
        ("baseUrl", ""),
    ];
    assert_eq!(
        visitor.post(&edit, &gone).await.location(),
        format!("{page}?done=changed")
    );
    let stored = system
        .manage(ORG, "GET", &format!("/sources/{id}"), None)
        .await
        .json();
    assert!(stored.get("baseUrl").is_none(), "{stored}");
}
