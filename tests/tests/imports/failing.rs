//! Whatever may go wrong with a server, and what becomes of its analyses.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::{IntoResponse as _, Redirect};
use local::sonarqube::error;
use serde_json::{Value, json};
use store::queue::imports::LookAfter;
use tests::queue::batch;
use tests::server::{Imports, TOKEN, project};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn time(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap()
}

fn reason(of: &Value) -> &str {
    of["reason"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_server_that_is_busy_for_an_hour_is_left_alone_more_and_more_and_then_everything_is_made()
{
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    let start = now();
    imports
        .server
        .trouble(|_, _| Some(StatusCode::SERVICE_UNAVAILABLE.into_response()));
    imports.call("trunk", "AZ1").await;
    imports.call("release/1.x", "AZ2").await;
    let mut at = start;
    let mut waits = Vec::new();
    while at < start + Duration::HOUR {
        imports.import(at).await;
        imports.round(at).await;
        let standing = imports.standing().await;
        assert_eq!(standing["state"], "unreachable", "{standing}");
        let next = imports.system.stack.tables.imports.standings([imports
            .source
            .id
            .parse()
            .unwrap()]);
        let next = next
            .await
            .unwrap()
            .into_values()
            .next()
            .unwrap()
            .paused_until
            .unwrap();
        let next = OffsetDateTime::parse(&next, &Rfc3339).unwrap();
        waits.push((next - at).whole_minutes());
        at = next;
    }
    assert_eq!(waits[..6], [1, 2, 4, 8, 16, 32]);
    for task in ["AZ1", "AZ2"] {
        let import = imports.of_task(task).await;
        assert_eq!(import["state"], "pending", "{import}");
        assert!(reason(&import).contains("busy"), "{import}");
    }
    // Two requests for each try, whatever waits.
    assert_eq!(imports.server.asked().len(), waits.len() * 2);
    imports.server.trouble(|_, _| None);
    imports.round(at).await;
    assert_eq!(imports.standing().await["state"], "working");
    assert_eq!(imports.reports().await.len(), 2);
}

#[tokio::test]
async fn a_server_says_for_how_long_it_wants_to_be_left_alone() {
    let imports = Imports::start().await;
    imports.server.trouble(|_, _| {
        let busy = Response::builder()
            .status(429)
            .header("retry-after", "1800");
        Some(busy.body(Body::empty()).unwrap())
    });
    imports.call("trunk", "AZ1").await;
    let start = now();
    imports.import(start).await;
    let next = time(&imports.standing().await["nextTryAt"]);
    let wait = next - start;
    assert!(
        (Duration::minutes(30)..Duration::minutes(31)).contains(&wait),
        "{wait}"
    );
}

#[tokio::test]
async fn nothing_waits_for_longer_than_six_hours_whatever_a_server_wants() {
    for seconds in ["2592000", "99999999999999", "99999999999999999999"] {
        let imports = Imports::start().await;
        imports.server.trouble(move |asked, _| {
            let busy = Response::builder()
                .status(503)
                .header("retry-after", seconds);
            (asked.path == "api/project_analyses/search").then(|| busy.body(Body::empty()).unwrap())
        });
        imports.call("trunk", "AZ1").await;
        let start = now();
        imports.import(start).await;
        let import = imports.of_task("AZ1").await;
        assert_eq!(import["state"], "failed", "{import}");
        let wait = time(&import["nextTryAt"]) - start;
        assert!(wait < Duration::hours(6) + Duration::MINUTE, "{wait}");
        imports.server.trouble(|_, _| None);
        imports.round(start + Duration::hours(7)).await;
        assert_eq!(imports.of_task("AZ1").await["state"], "published");
    }
}

#[tokio::test]
async fn nobody_asks_the_server_of_a_source_that_is_deleted_or_switched_off() {
    for is_deleted in [true, false] {
        let imports = Imports::start().await;
        imports.import(now()).await;
        let before = imports.server.asked().len();
        imports.call("trunk", "AZ1").await;
        if is_deleted {
            let path = format!("/sources/{}", imports.source.id);
            let deleted = imports.system.manage(imports.org, "DELETE", &path, None);
            assert_eq!(deleted.await.status, 204);
        } else {
            imports.set(json!({"enabled": false})).await;
        }
        for hours in 0..3 {
            imports.round(now() + Duration::HOUR * hours).await;
        }
        assert_eq!(imports.server.asked().len(), before);
        assert_eq!(imports.reports().await.len(), 0);
        if !is_deleted {
            imports.set(json!({"enabled": true})).await;
            imports.import(now() + Duration::HOUR * 3).await;
            assert_eq!(imports.of_task("AZ1").await["state"], "published");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_for_days_is_given_up_but_not_what_comes_later() {
    let imports = Imports::start().await;
    let start = now();
    imports
        .server
        .trouble(|_, _| Some(StatusCode::BAD_GATEWAY.into_response()));
    imports.call("trunk", "AZ1").await;
    for hours in 0..=80 {
        imports.round(start + Duration::HOUR * hours).await;
    }
    let import = imports.of_task("AZ1").await;
    assert_eq!(
        (&import["state"], &import["nextTryAt"]),
        (&json!("failed"), &json!(null)),
        "{import}"
    );
    imports.server.trouble(|_, _| None);
    imports.analyse("trunk-2", 2, "1.1");
    imports.call("trunk", "AZ2").await;
    imports.round(start + Duration::HOUR * 90).await;
    assert_eq!(imports.of_task("AZ2").await["state"], "published");
}

#[tokio::test]
async fn a_token_that_is_revoked_halfway_holds_everything_until_there_is_another_one() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    let start = now();
    let mut searches = 0;
    imports.server.trouble(move |asked, _| {
        searches += usize::from(asked.path == "api/issues/search");
        (searches > 1).then(|| StatusCode::UNAUTHORIZED.into_response())
    });
    imports.call("trunk", "AZ1").await;
    imports.call("release/1.x", "AZ2").await;
    imports.import(start).await;
    let standing = imports.standing().await;
    assert_eq!(standing["state"], "unauthorized", "{standing}");
    assert!(reason(&standing).contains("401"), "{standing}");
    for task in ["AZ1", "AZ2"] {
        let import = imports.of_task(task).await;
        assert_eq!(import["state"], "unauthorized", "{task} {import}");
    }
    // Once an hour somebody asks whether it is mended.
    let before = imports.server.asked().len();
    for hours in 1..=10 {
        imports.round(start + Duration::HOUR * hours).await;
    }
    let asked = imports.server.asked().len() - before;
    assert!((10..=30).contains(&asked), "{asked}");
    imports.server.trouble(|_, _| None);
    imports.server.accept("squ_new", None);
    imports.set(json!({"token": "squ_new"})).await;
    imports.import(start + Duration::HOUR * 10).await;
    assert_eq!(imports.reports().await.len(), 2);
    assert_eq!(imports.standing().await["state"], "working");
}

#[tokio::test]
async fn what_is_about_one_project_only_holds_up_no_other() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    let start = now();
    imports.server.trouble(|asked, _| {
        (asked.parameter("branch").is_some() && asked.path.contains("search"))
            .then(|| error(403, "Insufficient privileges"))
    });
    imports.call("release/1.x", "AZ1").await;
    imports.call("trunk", "AZ2").await;
    imports.import(start).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(import["state"], "unauthorized", "{import}");
    assert!(reason(&import).contains("Browse") && import["nextTryAt"].is_string());
    assert_eq!(imports.of_task("AZ2").await["state"], "published");
    assert_eq!(imports.standing().await["state"], "working");
    imports.server.trouble(|_, _| None);
    imports.round(start + Duration::HOUR).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
}

#[tokio::test]
async fn a_project_that_is_not_there_is_final() {
    let imports = Imports::start().await;
    let body = imports.server.call_of("trunk", Some("AZ1"));
    let body = body.replace("acme:shop", "acme:other");
    imports.source.call(&imports.system, body.as_bytes()).await;
    imports.import(now()).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(
        (&import["state"], &import["nextTryAt"]),
        (&json!("not_found"), &json!(null)),
        "{import}"
    );
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_address_of_a_call_is_called() {
    let imports = Imports::start().await;
    let elsewhere = local::sonarqube::StandIn::start(tests::server::EDITION, TOKEN, project(1))
        .await
        .unwrap();
    let url = elsewhere.url.clone();
    imports.server.trouble(move |asked, _| {
        (asked.path == "api/issues/search").then(|| Redirect::to(&url).into_response())
    });
    let body = imports.server.call_of("trunk", Some("AZ1"));
    let body = body.replace(&imports.server.url, &elsewhere.url);
    imports.source.call(&imports.system, body.as_bytes()).await;
    imports.import(now()).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(import["state"], "failed");
    assert!(reason(&import).contains("leads elsewhere"), "{import}");
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let imports = Imports::start().await;
    imports.server.trouble(|asked, _| {
        (asked.path == "api/issues/search").then(|| {
            let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
            let endless =
                futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            Response::new(Body::from_stream(endless))
        })
    });
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(import["state"], "failed");
    assert!(reason(&import).contains("larger than"), "{import}");
    assert!(import["nextTryAt"].is_string());
}

#[tokio::test]
async fn a_server_that_repeats_the_token_does_not_show_it() {
    let imports = Imports::start().await;
    imports.server.trouble(|asked, _| {
        (asked.path == "api/issues/search").then(|| error(400, &format!("I know {TOKEN}")))
    });
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    let import = imports.of_task("AZ1").await;
    assert!(reason(&import).contains("I know ***"), "{import}");
}

#[tokio::test]
async fn a_token_that_expires_soon_shows() {
    let imports = Imports::start().await;
    let expires = now() + Duration::days(13);
    imports
        .server
        .accept(TOKEN, Some(&expires.format(&Rfc3339).unwrap()));
    imports.round(now()).await;
    let standing = imports.standing().await;
    assert_eq!(standing["isTokenExpiring"], true, "{standing}");
    assert_eq!(time(&standing["tokenExpiresAt"]).date(), expires.date());
}

#[tokio::test]
async fn a_token_may_be_entered_days_later() {
    let imports = Imports::start().await;
    let start = now();
    imports.server.accept("squ_new", None);
    imports.call("trunk", "AZ1").await;
    for hours in 0..=90 {
        imports.round(start + Duration::HOUR * hours).await;
    }
    assert_eq!(imports.of_task("AZ1").await["state"], "unauthorized");
    imports.set(json!({"token": "squ_new"})).await;
    imports.import(start + Duration::HOUR * 90).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
}

#[tokio::test]
async fn one_project_that_takes_too_long_holds_up_no_other() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    let start = now();
    imports.server.trouble(|asked, _| {
        let is_large = asked.path == "api/issues/search" && asked.parameter("branch").is_some();
        is_large.then(|| StatusCode::GATEWAY_TIMEOUT.into_response())
    });
    imports.call("release/1.x", "AZ1").await;
    imports.call("trunk", "AZ2").await;
    imports.import(start).await;
    assert_eq!(imports.of_task("AZ2").await["state"], "published");
    assert_eq!(imports.standing().await["state"], "working");
    let mut at = start;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let import = imports.of_task("AZ1").await;
        assert_eq!(import["state"], "failed", "{import}");
        let next = time(&import["nextTryAt"]);
        waits.push((next - at).whole_minutes());
        at = next;
        imports.round(at).await;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16]);
}

#[tokio::test]
async fn a_server_that_greets_and_is_busy_otherwise_is_left_alone_more_and_more() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    let start = now();
    // As long as an index is rebuilt.
    imports.server.trouble(|asked, _| {
        asked
            .path
            .ends_with("search")
            .then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
    });
    for (task, branch) in [("AZ1", "trunk"), ("AZ2", "release/1.x"), ("AZ3", "trunk")] {
        imports.call(branch, task).await;
    }
    imports.import(start).await;
    let standing = imports.standing().await;
    assert_eq!(standing["state"], "unreachable", "{standing}");
    let mut at = start;
    let mut asked = Vec::new();
    for minute in 1..=120 {
        at = start + Duration::minutes(minute);
        let before = imports.server.asked().len();
        imports.round(at).await;
        asked.push(imports.server.asked().len() - before);
    }
    let tries = asked.iter().filter(|count| **count > 0).count();
    assert!(tries <= 15, "{asked:?}");
    imports.server.trouble(|_, _| None);
    for hours in 1..=3 {
        imports.round(at + Duration::HOUR * hours).await;
    }
    for task in ["AZ1", "AZ2", "AZ3"] {
        assert_eq!(imports.of_task(task).await["state"], "published");
    }
    assert_eq!(imports.standing().await["state"], "working");
}

#[tokio::test]
async fn what_no_server_of_sonarqube_says_is_not_final() {
    let imports = Imports::start().await;
    imports.server.trouble(|asked, _| {
        (asked.path == "api/project_analyses/search")
            .then(|| (StatusCode::NOT_FOUND, "<html>no such host</html>").into_response())
    });
    imports.call("trunk", "AZ1").await;
    let start = now();
    imports.import(start).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(import["state"], "not_found", "{import}");
    assert!(import["nextTryAt"].is_string(), "{import}");
    imports.server.trouble(|_, _| None);
    imports.round(start + Duration::HOUR).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
}

#[tokio::test]
async fn a_call_about_the_future_is_refused_and_holds_up_no_other() {
    let imports = Imports::start().await;
    for (task, date) in [
        ("AZ1", "9999-12-31T00:00:00+0000"),
        ("AZ2", "2099-01-01T00:00:00+0000"),
    ] {
        let body = imports.server.call_of("trunk", Some(task));
        let mut body: Value = serde_json::from_str(&body).unwrap();
        body["analysedAt"] = json!(date);
        let body = body.to_string();
        let reply = imports.source.call(&imports.system, body.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
    }
    imports.call("trunk", "AZ3").await;
    imports.import(now()).await;
    for task in ["AZ1", "AZ2"] {
        let import = imports.of_task(task).await;
        assert_eq!(import["state"], "failed", "{import}");
        assert!(import["nextTryAt"].is_null(), "{import}");
    }
    assert_eq!(imports.of_task("AZ3").await["state"], "published");
}

#[tokio::test]
async fn what_there_is_no_time_for_is_left_to_another_visit() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    imports.import(now()).await;
    imports.call("trunk", "AZ1").await;
    imports.call("release/1.x", "AZ2").await;
    let look = LookAfter::sweep(imports.org, imports.source.id.parse().unwrap());
    let event = batch([look.to_json()]);
    imports.server.trouble(|asked, _| {
        (asked.path == "api/server/version").then(|| {
            let silent = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
            Response::new(Body::from_stream(silent))
        })
    });
    let budget = std::time::Duration::from_millis(1);
    let answer = import_analysis::handle(&imports.system.stack.importing, event, now(), budget);
    assert_eq!(answer.await.batch_item_failures.len(), 0);
    for import in imports.imports().await {
        assert_eq!(import["state"], "pending", "{import}");
    }
    let standing = imports.standing().await;
    assert_eq!(standing["state"], "unreachable", "{standing}");
    assert!(reason(&standing).contains("took too long"), "{standing}");
    imports.server.trouble(|_, _| None);
    imports.import(now() + Duration::minutes(2)).await;
    for import in imports.imports().await {
        assert_eq!(import["state"], "published", "{import}");
    }
}
