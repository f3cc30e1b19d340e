//! Signing in and out, and what is between.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::session::{IDLE, LONGEST, SessionSecret};
use futures_util::future::join_all;
use local::Options;
use tests::failures::asking_twice;
use tests::system::System;
use tests::visitor::Visitor;
use time::{Duration, OffsetDateTime};

/// Where somebody is led who has to sign in first, from the page of a path.
fn sign_in(path: &str, why: &str) -> String {
    let to = path.replace('/', "%2F");
    let why = if why.is_empty() {
        String::new()
    } else {
        format!("&why={why}")
    };
    format!("/panel/sign-in?to={to}{why}")
}

/// Sets an attribute of the visitor's session.
async fn set(system: &System, visitor: &Visitor, name: &str, at: OffsetDateTime) {
    let secret = SessionSecret::parse(&visitor.cookie("session").unwrap()).unwrap();
    let update = system
        .stack
        .dynamodb
        .update_item()
        .table_name("SessionsTable");
    let update = update
        .key("sha256", AttributeValue::S(secret.sha256()))
        .update_expression("SET #name = :value")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", AttributeValue::N(at.unix_timestamp().to_string()));
    update.send().await.unwrap();
}

/// The sessions that there are.
async fn stored(system: &System) -> Vec<HashMap<String, AttributeValue>> {
    let scan = system.stack.dynamodb.scan().table_name("SessionsTable");
    scan.send().await.unwrap().items.unwrap()
}

async fn sessions(system: &System) -> usize {
    stored(system).await.len()
}

#[tokio::test]
async fn who_signs_in_comes_to_where_he_wanted() {
    let system = System::start().await;
    let visitor = Visitor::stranger(&system);
    assert_eq!(visitor.get("/").await.location(), "/panel/");
    assert_eq!(visitor.get("/panel").await.location(), "/panel/");
    assert_eq!(
        visitor.get("/panel/").await.location(),
        sign_in("/panel/", "")
    );
    let page = visitor
        .get("/panel/sign-in?to=%2Fpanel%2Fabc%2Ftokens")
        .await;
    assert_eq!(page.field("to"), "/panel/abc/tokens");
    visitor.enter(&system).await;

    let done = visitor
        .sign_in("/panel/abc/tokens?right=publish", "viewer")
        .await;
    assert_eq!(done.location(), "/panel/abc/tokens?right=publish");
    let cookies: Vec<&str> = done
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|it| it.to_str().unwrap())
        .collect();
    let [login, session] = cookies.as_slice() else {
        panic!("{cookies:?}");
    };
    assert!(
        login.starts_with("login-") && login.contains("Max-Age=0"),
        "{login}"
    );
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(session.contains(attribute), "{session}");
    }
    assert!(
        visitor
            .get("/panel/")
            .await
            .location()
            .ends_with("/reports")
    );
    // Nobody is led out of the panel.
    for to in [
        "https://evil.example/",
        "//evil.example/panel/",
        "/development-issuer/enter",
    ] {
        assert_eq!(visitor.sign_in(to, "viewer").await.location(), "/panel/");
    }
}

#[tokio::test]
async fn a_new_session_ends_the_one_before() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "viewer").await;
    let old = visitor.cookie("session").unwrap();
    visitor.sign_in("/panel/", "viewer").await;
    assert_ne!(visitor.cookie("session").unwrap(), old);
    assert_eq!(sessions(&system).await, 1);
    visitor.set_cookie("session", &old);
    let seen = visitor.get("/panel/").await;
    assert_eq!(seen.location(), sign_in("/panel/", "over"));
    assert_eq!(visitor.cookie("session"), None);
}

#[tokio::test]
async fn an_answer_that_this_browser_did_not_ask_for_signs_nobody_in() {
    let system = System::start().await;
    let (visitor, victim) = (Visitor::stranger(&system), Visitor::stranger(&system));
    visitor.enter(&system).await;
    let callback = visitor.callback("/panel/", "administrator").await;
    // The login of another, handed to somebody; a state that was changed; none.
    let state = callback.split("state=").nth(1).unwrap();
    for path in [
        callback.clone(),
        callback.replace(state, &format!("{}x", &state[..state.len() - 1])),
        "/panel/callback?code=x".to_owned(),
        "/panel/callback?code=x&state=..%2F..%2F;".to_owned(),
    ] {
        let seen = victim.get(&path).await;
        assert_eq!(seen.location(), "/panel/sign-in?why=failed", "{path}");
        assert_eq!(victim.cookie("session"), None);
    }
    assert_eq!(sessions(&system).await, 0);
    assert_eq!(visitor.get(&callback).await.location(), "/panel/");
    // A code is good once.
    let again = visitor.get(&callback).await;
    assert_eq!(again.location(), "/panel/sign-in?why=failed");
    // What the issuer refuses.
    let other = visitor.callback("/panel/", "viewer").await;
    let state = other.split("state=").nth(1).unwrap();
    let denied = format!("/panel/callback?error=access_denied&state={state}");
    assert_eq!(visitor.get(&denied).await.status, 403);
    assert_eq!(sessions(&system).await, 1);
}

#[tokio::test]
async fn who_signs_out_is_out_here_and_at_the_issuer() {
    let system = System::start().await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let session = visitor.cookie("session").unwrap();
    let page = visitor.get(&format!("{home}/reports")).await;
    assert_eq!(page.header("cache-control"), "no-store");

    let leaving = visitor.post("/panel/sign-out", &[]).await;
    assert_eq!(leaving.status, 200);
    let address = leaving.between("content=\"0;url=", "\"");
    let origin = &system.stack.api_url;
    assert!(
        address.starts_with(&format!("{origin}/development-issuer/logout?")),
        "{address}"
    );
    let back = visitor.get(&address).await;
    assert_eq!(back.location(), format!("{origin}/panel/signed-out"));
    assert!(
        visitor
            .get("/panel/signed-out")
            .await
            .text
            .contains("You have signed out")
    );

    assert_eq!(
        (visitor.cookie("session"), sessions(&system).await),
        (None, 0)
    );
    // Whoever has kept the cookie has nothing.
    visitor.set_cookie("session", &session);
    let seen = visitor.get(&format!("{home}/reports")).await;
    assert_eq!(seen.location(), sign_in(&format!("{home}/reports"), "over"));
    // Without a session it is the same.
    let again = visitor.post("/panel/sign-out", &[]).await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn a_session_is_renewed_once_however_many_pages_want_it() {
    let system = System::start_with(Options {
        // Less than what is renewed before.
        id_tokens: Some((Duration::seconds(30), Duration::minutes(15))),
        ..Options::default()
    })
    .await;
    let visitor = Visitor::signed_in(&system, "viewer").await;
    assert_eq!(system.stack.issuer.token_requests(), 1);
    let pages = join_all((0..5).map(|_| visitor.get("/panel/"))).await;
    assert!(
        pages
            .iter()
            .all(|page| page.location().ends_with("/reports"))
    );
    assert_eq!(system.stack.issuer.token_requests(), 2);
    visitor.get("/panel/").await;
    assert_eq!(system.stack.issuer.token_requests(), 2);
}

#[tokio::test]
async fn a_session_is_renewed_although_dynamodb_is_asked_twice() {
    let system = System::start_with(Options {
        id_tokens: Some((Duration::seconds(30), Duration::minutes(15))),
        ..Options::default()
    })
    .await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = format!("/panel/{}", panel::Handle::of(local::DEMO_ORGANIZATION));
    let mut clients = system.stack.clients["Panel"].clone();
    clients.dynamodb = asking_twice(&clients.dynamodb, "UpdateItem");
    let panel = system.stack.panel_with(&clients).unwrap();
    let functions = local::Functions {
        panel: &panel,
        ..system.stack.functions()
    };
    let host = system.stack.api_url.strip_prefix("http://").unwrap();
    let request = axum::http::Request::get(format!("{home}/organization"))
        .header("host", host)
        .header("cookie", visitor.session())
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(local::service(&functions), request);
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_typed_survives_a_session_that_has_ended() {
    let system = System::start_with(Options {
        id_tokens: Some((Duration::seconds(30), Duration::seconds(30))),
        ..Options::default()
    })
    .await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let home = visitor.home().await;
    let new = format!("{home}/webhooks/new");
    system.stack.issuer.refuse_refreshes();
    let seen = visitor
        .post(
            &new,
            &[
                ("name", "<Ticket> & \"system\""),
                ("url", "https://a.example/"),
                ("secret", "correct horse battery"),
                ("token", "tttttttttttttttttt"),
                ("header-value", "hhhh"),
            ],
        )
        .await;
    assert_eq!(seen.status, 401);
    assert_eq!(seen.field("name"), "<Ticket> & \"system\"");
    assert_eq!(seen.field("url"), "https://a.example/");
    assert!(seen.text.contains(&format!("action=\"{new}\"")));
    // The fields of what is not shown are there, so that names and values stay together.
    for field in ["secret", "token", "header-value"] {
        assert_eq!(seen.field(field), "", "{field}");
    }
    for secret in ["correct horse", "tttt", "hhhh"] {
        assert!(!seen.text.contains(secret), "{secret}");
    }
    assert_eq!(sessions(&system).await, 0);
    let page = visitor.get(&new).await;
    assert_eq!(page.location(), sign_in(&new, ""));
}

#[tokio::test]
async fn a_session_that_is_refused_or_old_or_idle_is_over() {
    let system = System::start_with(Options {
        id_tokens: Some((Duration::seconds(30), Duration::seconds(30))),
        ..Options::default()
    })
    .await;
    let now = OffsetDateTime::now_utc();
    let visitor = Visitor::signed_in(&system, "viewer").await;
    set(&system, &visitor, "createdAt", now - LONGEST).await;
    assert_eq!(
        visitor.get("/panel/").await.location(),
        sign_in("/panel/", "over")
    );
    visitor.sign_in("/panel/", "viewer").await;
    set(&system, &visitor, "usedAt", now - IDLE).await;
    assert_eq!(
        visitor.get("/panel/").await.location(),
        sign_in("/panel/", "over")
    );
    visitor.sign_in("/panel/", "viewer").await;
    // A use is noted, so that it is not idle.
    set(
        &system,
        &visitor,
        "usedAt",
        now - IDLE + Duration::minutes(5),
    )
    .await;
    assert!(
        visitor
            .get("/panel/")
            .await
            .location()
            .ends_with("/reports")
    );
    let used: i64 = stored(&system).await[0]["usedAt"]
        .as_n()
        .unwrap()
        .parse()
        .unwrap();
    assert!(used >= now.unix_timestamp(), "{used}");

    system.stack.issuer.refuse_refreshes();
    assert_eq!(
        visitor.get("/panel/").await.location(),
        sign_in("/panel/", "refused")
    );
    assert_eq!(sessions(&system).await, 0);
    let page = visitor.get("/panel/sign-in?why=refused").await;
    assert!(page.text.contains("no longer vouches"), "{page:?}");
}
