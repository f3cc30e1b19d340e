//! Analyses whose calls never came.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;
use tests::server::{Imports, analysis, project};
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn an_analysis_whose_call_never_came_is_found_by_the_round() {
    let imports = Imports::start_with(project(2), json!({"branches": ["*"]})).await;
    imports.call("trunk", "AZ1").await;
    imports.call("release/1.x", "AZ2").await;
    imports.import(now()).await;
    imports.round(now() + Duration::HOUR).await;
    assert_eq!(imports.imports().await.len(), 2, "nothing was missed");

    imports.server.change(|project| {
        for (branch, version) in project.branches.iter_mut().zip(["1.1", "1.0.1"]) {
            let missed = analysis(&format!("{}-2", branch.name), 9, version);
            branch.analyses.insert(0, missed);
        }
    });
    imports.round(now() + Duration::HOUR * 2).await;
    let calls = imports.source.calls(&imports.system, imports.org).await;
    assert_eq!(calls.len(), 4);
    for call in &calls[..2] {
        assert_eq!(
            (&call["outcome"], &call["import"]["state"]),
            (&json!("found"), &json!("published"))
        );
        assert!(
            call.get("payload").is_none() && call.get("taskId").is_none(),
            "{call}"
        );
        assert_eq!(
            (&call["event"], &call["project"]),
            (&json!("analysis.completed"), &json!("acme:shop"))
        );
    }
    let mut reports = imports.reports().await;
    reports.sort();
    let report = |version: &str, branch: &str| (version.to_owned(), branch.to_owned(), 1, 2);
    let expected = [
        report("1.0", "release/1.x"),
        report("1.0", "trunk"),
        report("1.0.1", "release/1.x"),
        report("1.1", "trunk"),
    ];
    assert_eq!(reports, expected);
    // Once.
    imports.round(now() + Duration::HOUR * 3).await;
    assert_eq!(imports.imports().await.len(), 4);
}

#[tokio::test]
async fn a_call_may_be_under_way_for_a_moment() {
    let imports = Imports::start().await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    // Some minutes ago, when the round is made.
    imports.analyse("trunk-2", 295, "1.1");
    imports.round(now()).await;
    assert_eq!(imports.imports().await.len(), 1);
    imports.round(now() + Duration::HOUR).await;
    assert_eq!(imports.imports().await.len(), 2);
}

#[tokio::test]
async fn what_the_source_does_not_want_any_more_is_not_asked_about() {
    let imports = Imports::start_with(project(2), json!({"branches": ["*"]})).await;
    imports.call("release/1.x", "AZ1").await;
    imports.import(now()).await;
    imports.set(json!({"branches": ["trunk"]})).await;
    imports.import(now()).await;
    let before = imports.server.asked().len();
    imports.round(now() + Duration::HOUR).await;
    let asked = imports.server.asked();
    let asked: Vec<&str> = asked[before..].iter().map(|it| it.path.as_str()).collect();
    assert_eq!(asked, ["api/server/version", "api/authentication/validate"]);
}

#[tokio::test]
async fn a_branch_that_is_gone_is_forgotten() {
    let imports = Imports::start_with(project(2), json!({"branches": ["*"]})).await;
    imports.call("release/1.x", "AZ1").await;
    imports.import(now()).await;
    imports
        .server
        .change(|project| drop(project.branches.pop()));
    let searches = || {
        let asked = imports.server.asked();
        asked
            .iter()
            .filter(|it| it.path == "api/project_analyses/search")
            .count()
    };
    let before = searches();
    for hours in 1..=3 {
        imports.round(now() + Duration::HOUR * hours).await;
    }
    assert_eq!(searches(), before + 1);
}

#[tokio::test]
async fn a_main_branch_that_is_not_wanted_any_more_is_not_asked_about() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    imports.set(json!({"branches": ["release/*"]})).await;
    imports.analyse("trunk-2", 2, "1.1");
    imports.round(now() + Duration::HOUR).await;
    assert_eq!(imports.imports().await.len(), 1);
    imports.set(json!({"branches": ["trunk"]})).await;
    imports.round(now() + Duration::HOUR * 2).await;
    assert_eq!(imports.reports().await.len(), 2);
}

#[tokio::test]
async fn what_was_given_up_is_found_when_the_server_is_back() {
    // It is down, or only what is asked after the greeting is.
    for path in ["", "api/issues/search"] {
        let imports = Imports::start().await;
        imports.server.trouble(move |asked, _| {
            (path.is_empty() || asked.path == path).then(|| StatusCode::BAD_GATEWAY.into_response())
        });
        imports.call("trunk", "AZ1").await;
        for hours in 0..=80 {
            imports.round(now() + Duration::HOUR * hours).await;
        }
        let given_up = imports.of_task("AZ1").await;
        assert_eq!(given_up["state"], "failed", "{path} {given_up}");
        assert!(given_up["nextTryAt"].is_null(), "{path} {given_up}");
        imports.server.trouble(|_, _| None);
        for hours in 90..=110 {
            imports.round(now() + Duration::HOUR * hours).await;
        }
        let calls = imports.source.calls(&imports.system, imports.org).await;
        assert_eq!(calls.len(), 2, "once: {calls:?}");
        assert_eq!(
            (&calls[0]["outcome"], &calls[0]["import"]["state"]),
            (&json!("found"), &json!("published"))
        );
        assert_eq!(imports.reports().await.len(), 1, "{path}");
    }
}
