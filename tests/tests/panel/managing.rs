//! What administrators do, by forms.

use local::DEMO_ORGANIZATION;
use serde_json::json;
use tests::api::text;
use tests::receiver::{Answer, Receiver, assert_signed};
use tests::samples::{files, metadata};
use tests::system::System;
use tests::visitor::Visitor;
use time::OffsetDateTime;

const ORG: domain::organization::OrganizationId = DEMO_ORGANIZATION;

/// The fields of a webhook that is to be made.
fn webhook<'a>(name: &'a str, url: &'a str, form: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("form", form),
        ("name", name),
        ("url", url),
        ("projects", "acme:shop\n"),
        ("format", "reports"),
        ("schedule", "standard"),
        ("events-mode", "these"),
        ("events", "report.published"),
        ("events", "report.deleted"),
        ("header-name", "x-tenant"),
        ("header-value", "acme"),
        ("header-name", ""),
        ("header-value", ""),
        ("secret-mode", "generate"),
        ("do", "save"),
    ]
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_webhook_and_shows_its_secret_once() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let new = format!("{home}/webhooks/new");
    let number = visitor.get(&new).await.field("form");
    let fields = webhook("Tickets", &receiver.url, &number);

    let created = visitor.post(&new, &fields).await;
    assert_eq!(created.status, 200, "{created:?}");
    let secret = created.between("<code id=\"secret\">", "<");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let again = visitor.post(&new, &fields).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert!(
        !again.text.contains(&secret) && again.text.contains("done already"),
        "{again:?}"
    );

    let all = system.manage(ORG, "GET", "/webhooks", None).await.json();
    let [made] = all["webhooks"].as_array().unwrap().as_slice() else {
        panic!("{all}");
    };
    assert_eq!(made["name"], "Tickets");
    assert_eq!(made["projects"], json!(["acme:shop"]));
    assert_eq!(
        made["events"],
        json!(["report.published", "report.deleted"])
    );
    assert_eq!(made["schedule"], "standard");
    assert_eq!(made["headers"], json!([{"name": "x-tenant"}]));
    for page in visitor.crawl(&format!("{home}/webhooks")).await.values() {
        assert!(!page.text.contains(&secret), "{page:?}");
    }
    system.publish(ORG, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let [call] = receiver.take().try_into().unwrap();
    assert_eq!(call.header("x-tenant"), "acme");
    assert_signed(&call, &secret);

    // With another content the number is of no use.
    let other = visitor
        .post(&new, &webhook("Other", &receiver.url, &number))
        .await;
    assert_eq!(other.status, 422, "{other:?}");
    assert!(other.text.contains("value=\"Other\""));
}

#[tokio::test]
async fn what_is_refused_stands_at_its_field_with_what_was_typed() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let new = format!("{}/webhooks/new", visitor.home().await);
    for (field, value, id) in [
        ("url", "https://10.0.0.1/", "url"),
        ("url", "ftp://a.example/", "url"),
        ("name", "", "name"),
        ("projects", "a/b", "projects"),
        ("events", "report.nothing", "events"),
        ("header-name", "webhook-id", "headers"),
        ("format", "nothing", "format"),
        ("schedule", "nothing", "schedule"),
    ] {
        let number = visitor.get(&new).await.field("form");
        let mut fields = webhook("My <own> name", "https://a.example/in", &number);
        let place = fields.iter_mut().find(|(name, _)| *name == field).unwrap();
        place.1 = value;
        let seen = visitor.post(&new, &fields).await;
        assert_eq!(seen.status, 400, "{field} {value}: {seen:?}");
        let complaint = seen.between("id=\"complaint\"", "</div>");
        assert!(
            complaint.contains(&format!("href=\"#{id}\"")),
            "{field}: {complaint}"
        );
        let (_, marked) = seen.text.split_once(&format!("id=\"{id}\"")).unwrap();
        let marked = marked.split_once('>').unwrap().0;
        assert!(
            marked.contains("aria-invalid=\"true\""),
            "{field}: {marked}"
        );
        if field != "name" {
            assert!(seen.text.contains("My &#60;own&#62; name"), "{seen:?}");
        }
    }
    let all = system.manage(ORG, "GET", "/webhooks", None).await.json();
    assert_eq!(all["webhooks"], json!([]));
}

#[tokio::test]
async fn a_secret_is_from_where_the_form_says() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let new = format!("{}/webhooks/new", visitor.home().await);
    let send = async |format: &str, mode: &str, secret: &str| {
        let number = visitor.get(&new).await.field("form");
        let fields = [
            ("form", number.as_str()),
            ("name", "n"),
            ("url", receiver.url.as_str()),
            ("format", format),
            ("schedule", "hourly"),
            ("secret-mode", mode),
            ("secret", secret),
        ];
        let first = visitor.post(&new, &fields).await;
        (first, visitor.post(&new, &fields).await)
    };
    let newest = async || {
        let all = system.manage(ORG, "GET", "/webhooks", None).await.json();
        let all = all["webhooks"].as_array().unwrap();
        (
            all.len(),
            all.iter().filter(|it| it["hasSecret"] == true).count(),
        )
    };
    // The API makes one only for its own format; the page says that one is made.
    for (nth, format) in ["reports", "sonarqube"].into_iter().enumerate() {
        let (first, again) = send(format, "generate", "").await;
        let secret = first.between("<code id=\"secret\">", "<");
        assert!(secret.starts_with("whsec_"), "{format}: {first:?}");
        assert!(
            !again.text.contains(&secret) && again.text.contains("done already"),
            "{again:?}"
        );
        assert_eq!(newest().await, (nth + 1, nth + 1), "{format}");
    }
    let (own, _) = send("sonarqube", "own", "correct horse battery staple").await;
    assert!(own.location().ends_with("?done=created"));
    assert_eq!(newest().await, (3, 3));
    let (none, _) = send("sonarqube", "none", "").await;
    assert!(none.location().ends_with("?done=created"));
    assert_eq!(newest().await, (4, 3));
    for (format, mode) in [("reports", "own"), ("reports", "none")] {
        let (refused, _) = send(format, mode, "").await;
        assert_eq!(refused.status, 400, "{mode}: {refused:?}");
        assert!(
            refused
                .between("id=\"complaint\"", "</div>")
                .contains("#secret"),
            "{refused:?}"
        );
    }
    assert_eq!(newest().await, (4, 3));
}

#[tokio::test]
async fn what_was_tried_is_what_is_stored() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let settings = json!({"name": "n", "url": receiver.url, "headers": [{"name": "x-tenant", "value": "old"}]});
    let made = system.webhook_with(ORG, settings).await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let webhook = format!("{home}/webhooks/{}", text(&made["id"]));
    let edit = format!("{webhook}/edit");
    let tag = visitor.get(&edit).await.field("tag");
    let mut fields = vec![
        ("tag", tag.as_str()),
        ("name", "n"),
        ("url", receiver.url.as_str()),
        ("format", "reports"),
        ("schedule", "hourly"),
        ("header-name", "x-tenant"),
        ("header-value", "new"),
        ("do", "test"),
    ];
    let tried = visitor.post(&edit, &fields).await;
    assert!(
        tried.text.contains("has taken the test message"),
        "{tried:?}"
    );
    assert_eq!(receiver.take()[0].header("x-tenant"), "new");
    assert!(!tried.text.contains("value=\"new\""), "{tried:?}");
    assert_eq!(tried.field("retype"), "x-tenant");
    // The value is gone from the page: saving it now would keep the old one.
    fields.retain(|(name, _)| !matches!(*name, "header-value" | "do"));
    fields.extend([("header-value", ""), ("retype", "x-tenant"), ("do", "save")]);
    let refused = visitor.post(&edit, &fields).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text.contains("type it again"), "{refused:?}");
    fields.retain(|(name, _)| *name != "header-value");
    fields.push(("header-value", "new"));
    assert_eq!(
        visitor.post(&edit, &fields).await.location(),
        format!("{webhook}?done=changed")
    );
    visitor.post(&format!("{webhook}/test"), &[]).await;
    assert_eq!(receiver.take()[0].header("x-tenant"), "new");
    // Who comes to the address of a form is led to where it stands.
    assert_eq!(
        visitor.get(&format!("{webhook}/test")).await.location(),
        webhook
    );

    // Events that are ticked, and the usual ones.
    let unclear = [
        fields.as_slice(),
        &[("events-mode", "usual"), ("events", "report.deleted")],
    ]
    .concat();
    let unclear = visitor.post(&edit, &unclear).await;
    assert_eq!(unclear.status, 400, "{unclear:?}");
    // Another header, and the events of another format, are shown and nothing is sent.
    fields.retain(|(name, _)| !matches!(*name, "do" | "format"));
    fields.extend([("do", "show"), ("format", "codescoring")]);
    let shown = visitor.post(&edit, &fields).await;
    assert!(
        shown.status == 200 && shown.text.contains("codescoring."),
        "{shown:?}"
    );
    assert!(receiver.take().is_empty());
}

#[tokio::test]
async fn an_edit_that_comes_second_loses_nothing() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let made = system.webhook(ORG, &receiver.url).await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let webhook = format!("{home}/webhooks/{}", text(&made["id"]));
    let edit = format!("{webhook}/edit");
    let (mine, theirs) = (visitor.get(&edit).await, visitor.get(&edit).await);
    let fields = |name: &str, tag: String| {
        [
            ("tag", tag),
            ("name", name.to_owned()),
            ("url", receiver.url.clone()),
            ("format", "reports".to_owned()),
            ("schedule", "hourly".to_owned()),
            ("events-mode", "usual".to_owned()),
            ("do", "save".to_owned()),
        ]
    };
    let send = async |fields: &[(&str, String)]| {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        visitor.post(&edit, &fields).await
    };
    let first = send(&fields("Theirs", theirs.field("tag"))).await;
    assert_eq!(first.location(), format!("{webhook}?done=changed"));
    let second = send(&fields("Mine", mine.field("tag"))).await;
    assert_eq!(second.status, 412, "{second:?}");
    assert!(
        second.text.contains("value=\"Mine\"") && second.text.contains("<bdi>Theirs</bdi>"),
        "{second:?}"
    );
    let saved = send(&fields("Mine", second.field("tag"))).await;
    assert_eq!(saved.location(), format!("{webhook}?done=changed"));
    assert_eq!(system.webhook_now(ORG, &made["id"]).await["name"], "Mine");
}

#[tokio::test]
async fn an_edit_of_a_source_that_comes_second_loses_nothing() {
    let system = System::start().await;
    let source = json!({ "name": "Before", "kind": "sonarqube" });
    let made = system.manage(ORG, "POST", "/sources", Some(source)).await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let source = format!("{home}/sources/{}", text(&made.json()["id"]));
    let edit = format!("{source}/edit");
    let (mine, theirs) = (visitor.get(&edit).await, visitor.get(&edit).await);
    let send = async |name: &str, projects: &str, tag: String| {
        let fields = [("tag", &*tag), ("name", name), ("projects", projects)];
        visitor.post(&edit, &fields).await
    };
    let first = send("Theirs", "acme:*", theirs.field("tag")).await;
    assert_eq!(first.location(), format!("{source}?done=changed"));
    let second = send("Mine", "", mine.field("tag")).await;
    assert_eq!(second.status, 412, "{second:?}");
    for stored in [
        "value=\"Mine\"",
        "<bdi>Theirs</bdi>",
        "<bdi>acme:*</bdi>",
        "Refused",
    ] {
        assert!(second.text.contains(stored), "{stored}: {second:?}");
    }
    let saved = send("Mine", "", second.field("tag")).await;
    assert_eq!(saved.location(), format!("{source}?done=changed"));
    assert!(visitor.get(&source).await.text.contains("<h1><bdi>Mine"));
}

#[tokio::test]
async fn before_a_token_is_revoked_its_name_is_said() {
    let system = System::start().await;
    let token = json!({ "name": "The build", "rights": ["publish"] });
    let token = system.manage(ORG, "POST", "/tokens", Some(token)).await;
    let token = text(&token.json()["id"]);
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let revoke = format!("{home}/tokens/{token}/revoke");
    let page = visitor.get(&revoke).await;
    assert!(page.text.contains("Revoke The build?"), "{page:?}");
    let none = visitor
        .get(&revoke.replace(&token, &text(&json!(uuid::Uuid::now_v7()))))
        .await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn what_a_receiver_says_is_shown_as_text() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let hostile = "</pre><script>window.x = 1</script><img src=x onerror=\"alert(1)\">";
    receiver.answer(Answer::Full {
        status: 503,
        headers: Vec::new(),
        body: hostile.into(),
    });
    let made = system.webhook(ORG, &receiver.url).await;
    system.publish(ORG, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let webhook = format!("{home}/webhooks/{}", text(&made["id"]));
    let page = visitor.get(&format!("{webhook}?state=failed")).await;
    let delivery = page
        .links()
        .into_iter()
        .find(|it| it.contains("/deliveries/"))
        .unwrap();
    let page = visitor.get(&delivery).await;
    assert!(page.text.contains("503"), "{page:?}");
    assert!(
        !page.text.contains("<script>window") && !page.text.contains("<img"),
        "{page:?}"
    );
    assert!(
        page.text.contains("&#60;script&#62;window.x = 1"),
        "{page:?}"
    );
    // The report of which it tells is a link.
    assert!(page.text.contains("/reports/acme:shop/"), "{page:?}");

    let sent = visitor.post(&format!("{delivery}/redeliver"), &[]).await;
    assert_eq!(sent.location(), delivery);
    let counted = visitor
        .post(
            &format!("{webhook}/replay"),
            &[("states", "failed"), ("states", "pending"), ("do", "count")],
        )
        .await;
    assert!(
        counted.text.contains("1 delivery would be sent again"),
        "{counted:?}"
    );
    let replayed = visitor
        .post(
            &format!("{webhook}/replay"),
            &[("states", "failed"), ("do", "send")],
        )
        .await;
    assert_eq!(replayed.location(), format!("{webhook}?done=replayed"));
}
