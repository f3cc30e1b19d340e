//! Who sees what.

use domain::organization::OrganizationId;
use local::DEMO_ORGANIZATION;
use panel::Handle;
use tests::samples::{files, metadata};
use tests::system::{System, organization};
use tests::visitor::Visitor;

const FOR_ADMINISTRATORS: [&str; 17] = [
    "/webhooks",
    "/webhooks/new",
    "/webhooks/ID",
    "/webhooks/ID/edit",
    "/webhooks/ID/secret",
    "/webhooks/ID/delete",
    "/webhooks/ID/replay",
    "/webhooks/ID/deliveries/ID",
    "/sources",
    "/sources/new",
    "/sources/ID",
    "/sources/ID/edit",
    "/sources/ID/secret",
    "/sources/ID/delete",
    "/tokens",
    "/tokens/new",
    "/tokens/ID/revoke",
];
const FORMS: [&str; 16] = [
    "/webhooks/new",
    "/webhooks/ID/edit",
    "/webhooks/ID/secret",
    "/webhooks/ID/delete",
    "/webhooks/ID/enable",
    "/webhooks/ID/disable",
    "/webhooks/ID/test",
    "/webhooks/ID/replay",
    "/webhooks/ID/deliveries/ID/redeliver",
    "/sources/new",
    "/sources/ID/edit",
    "/sources/ID/check",
    "/sources/ID/secret",
    "/sources/ID/delete",
    "/tokens/new",
    "/tokens/ID/revoke",
];

fn home(org: OrganizationId) -> String {
    format!("/panel/{}", Handle::of(org))
}

fn with_id(path: &str) -> String {
    path.replace("ID", "00000000-0000-0000-0000-000000000000")
}

#[tokio::test]
async fn each_page_is_for_who_may() {
    let system = System::start().await;
    let report = system
        .publish(DEMO_ORGANIZATION, &metadata("1.0"), &files("a"))
        .await;
    let other = organization();
    let others = system.publish(other, &metadata("1.0"), &files("a")).await;
    let reports = [
        "/reports".to_owned(),
        "/reports/acme:shop".to_owned(),
        format!("/reports/acme:shop/{report}"),
        format!("/reports/acme:shop/{report}/files/report.html"),
        format!("/files?reports={report}"),
        "/organization".to_owned(),
    ];
    for role in ["administrator", "editor", "viewer", "nobody"] {
        let visitor = Visitor::signed_in(&system, role).await;
        let (is_member, is_administrator) = (role != "nobody", role == "administrator");
        let ours = home(DEMO_ORGANIZATION);
        for path in &reports {
            let seen = visitor.get(&format!("{ours}{path}")).await;
            assert_eq!(
                seen.status,
                if is_member { 200 } else { 404 },
                "{role} {path}"
            );
        }
        for path in FOR_ADMINISTRATORS.map(with_id) {
            let seen = visitor.get(&format!("{ours}{path}")).await;
            // Where there is nothing of this id, an administrator may know that.
            let is_of_id = path.contains("0000");
            let expected = match (is_member, is_administrator) {
                (false, _) => 404,
                (true, false) => 403,
                (true, true) if is_of_id => 404,
                (true, true) => 200,
            };
            assert_eq!(seen.status, expected, "{role} {path}: {seen:?}");
        }
        for path in FORMS.map(with_id) {
            if is_administrator {
                continue;
            }
            let seen = visitor
                .post(&format!("{ours}{path}"), &[("name", "n")])
                .await;
            assert_eq!(
                seen.status,
                if is_member { 403 } else { 404 },
                "{role} {path}"
            );
        }
        // Another organization is not there, for anybody: neither by its own handle, nor by our own and its reports.
        let theirs = home(other);
        let pages = reports
            .iter()
            .cloned()
            .chain(FOR_ADMINISTRATORS.map(with_id));
        for path in pages {
            let seen = visitor.get(&format!("{theirs}{path}")).await;
            assert_eq!(seen.status, 404, "{role} {path}");
        }
        for path in FORMS.map(with_id) {
            let seen = visitor
                .post(&format!("{theirs}{path}"), &[("name", "n")])
                .await;
            assert_eq!(seen.status, 404, "{role} {path}");
        }
        for path in [
            format!("/reports/acme:shop/{others}"),
            format!("/reports/acme:shop/{others}/files/report.html"),
            format!("/files?reports={others}"),
        ] {
            let seen = visitor.get(&format!("{ours}{path}")).await;
            assert_eq!(seen.status, 404, "{role} {path}");
        }
    }
    let seen = Visitor::signed_in(&system, "nobody")
        .await
        .get("/panel/")
        .await;
    assert!(
        seen.text.contains("You have no part in any organization"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_viewer_never_sees_the_organizations_id() {
    let system = System::start().await;
    let report = system
        .publish(DEMO_ORGANIZATION, &metadata("1.0"), &files("a"))
        .await;
    let id = DEMO_ORGANIZATION.to_string();
    let archive = format!("{}/files?reports={report}", home(DEMO_ORGANIZATION));
    for (role, is_told) in [
        ("administrator", true),
        ("editor", false),
        ("viewer", false),
    ] {
        let visitor = Visitor::signed_in(&system, role).await;
        let pages = visitor.crawl("/panel/").await;
        let home = visitor.home().await;
        let mut pages: Vec<_> = pages.into_iter().collect();
        pages.extend(visitor.crawl(&format!("{home}/reports")).await);
        assert!(
            pages
                .iter()
                .any(|(path, _)| path.ends_with("/organization"))
        );
        assert!(
            pages.iter().any(|(path, _)| *path == archive),
            "the archive is among the links"
        );
        let with_id = pages.iter().filter(|(path, seen)| {
            path.contains(&id)
                || seen.text.contains(&id)
                || format!("{:?}", seen.headers).contains(&id)
        });
        let with_id: Vec<&String> = with_id.map(|(path, _)| path).collect();
        assert_eq!(!with_id.is_empty(), is_told, "{role}: {with_id:?}");
    }
}
