//! What every answer has, and what every request must have.

use local::DEMO_ORGANIZATION;
use tests::samples::{files, metadata};
use tests::system::System;
use tests::visitor::Visitor;

#[tokio::test]
async fn only_pages_of_the_panel_change_anything() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let new = format!("{home}/tokens/new");
    let fields = [("name", "t"), ("rights", "publish")];
    let origin = system.stack.api_url.clone();
    let other = origin.replace("127.0.0.1", "localhost");
    for headers in [
        vec![],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "cross-site"), ("origin", &*origin)],
        vec![("origin", "null")],
        vec![("origin", &*other)],
    ] {
        for path in [&*new, "/panel/sign-in", "/panel/sign-out"] {
            let form = visitor.form(path, &fields);
            let form = headers
                .iter()
                .fold(form, |form, (name, value)| form.header(*name, *value));
            let seen = visitor.send(form).await;
            assert_eq!(seen.status, 403, "{path} {headers:?}");
            assert!(seen.text.contains("Not from here"), "{seen:?}");
        }
    }
    assert!(
        !visitor
            .get(&format!("{home}/tokens"))
            .await
            .text
            .contains("<table>")
    );
    let form = visitor.form(&new, &fields).header("origin", &origin);
    assert_eq!(visitor.send(form).await.status, 200);
    // The API takes no cookie.
    let path = format!("/organizations/{DEMO_ORGANIZATION}/tokens");
    let api = visitor.get(&path).await;
    assert_eq!(api.status, 401, "{api:?}");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_safe() {
    let system = System::start().await;
    let report = system
        .publish(DEMO_ORGANIZATION, &metadata("1.0"), &files("a"))
        .await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let mut pages = visitor.crawl(&format!("{home}/reports")).await;
    for path in [
        "/panel/sign-in",
        "/panel/nothing",
        "/panel/assets/nothing.js",
        &format!("{home}/nothing/at/all"),
        &format!("{home}/webhooks/nothing"),
        &format!("{home}/files"),
    ] {
        pages.insert(path.to_owned(), visitor.get(path).await);
    }
    assert!(pages.len() > 20, "{:?}", pages.keys());
    let file = format!("{home}/reports/acme:shop/{report}/files/report.html");
    assert!(pages.contains_key(&file), "{:?}", pages.keys());
    for (path, page) in &pages {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value, "{path}");
        }
        assert!(!page.header("permissions-policy").is_empty(), "{path}");
        let names = page.headers.keys().map(|it| it.as_str());
        assert_eq!(
            names.filter(|it| it.starts_with("access-control-")).count(),
            0,
            "{path}"
        );
        // A page of ours says by it that a form is ours; a report's says nothing of where it was seen.
        let is_file = path.contains("/files/") && page.status == 200;
        let referrer = if is_file {
            "no-referrer"
        } else {
            "same-origin"
        };
        assert_eq!(page.header("referrer-policy"), referrer, "{path}");
        let policy = page.header("content-security-policy");
        if path.contains("/files/") {
            assert!(
                policy.starts_with("sandbox; default-src 'none';"),
                "{path}: {policy}"
            );
            assert!(!policy.contains("allow-"), "{path}: {policy}");
        } else if !path.contains("/files?") {
            let expected = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
                 frame-ancestors 'none'; require-trusted-types-for 'script'";
            assert_eq!(policy, expected, "{path}");
            assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        }
        let cached = page.header("cache-control");
        if path.starts_with("/panel/assets/") && page.status == 200 {
            assert_eq!(cached, "public, max-age=31536000, immutable", "{path}");
        } else {
            assert_eq!(cached, "no-store", "{path}");
        }
    }
    // Nobody knows pages where there are none.
    for (path, status) in [
        ("/panel/nothing", 303),
        (&*format!("{home}/nothing/at/all"), 404),
        (&*format!("{home}/webhooks/nothing"), 404),
        (&*format!("{home}/files"), 400),
    ] {
        let page = &pages[path];
        let is_there = page.status == status || (status == 303 && page.status == 404);
        assert!(is_there, "{path}: {page:?}");
        assert_eq!(
            page.header("content-type"),
            "text/html; charset=utf-8",
            "{path}"
        );
    }
    // Who is signed in finds the way on from there.
    let missing = &pages[&format!("{home}/nothing/at/all")];
    assert!(
        missing.text.contains("Sign out") && missing.text.contains("/tokens"),
        "{missing:?}"
    );
    // A page that shows a report never lets it do anything.
    let page = &pages[&format!("{home}/reports/acme:shop/{report}")];
    assert!(page.text.contains("sandbox=\"\""), "{page:?}");
    for page in pages.values() {
        assert!(!page.text.contains("allow-scripts"), "{page:?}");
    }
}

#[tokio::test]
async fn pages_are_compressed_for_who_takes_it_and_secrets_are_not() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let page = visitor.request(reqwest::Method::GET, &format!("{home}/webhooks/new"));
    let page = visitor.send(page.header("accept-encoding", "gzip")).await;
    assert_eq!(
        (page.header("content-encoding"), page.header("vary")),
        ("gzip", "accept-encoding")
    );
    let form = visitor.form(
        &format!("{home}/tokens/new"),
        &[("name", "t"), ("rights", "publish")],
    );
    let form = form.header("sec-fetch-site", "same-origin");
    let secret = visitor.send(form.header("accept-encoding", "gzip")).await;
    assert_eq!(
        (secret.status.as_u16(), secret.header("content-encoding")),
        (200, "")
    );
    assert!(secret.text.contains("srt_"), "{secret:?}");
}
