//! An analysis, its call, and the reports that come of it.

use serde_json::json;
use tests::receiver::Receiver;
use tests::server::{Imports, analysis, issue, project};
use tests::source::call_of;
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn an_analysis_is_told_of_and_its_reports_come_by_themselves() {
    let imports = Imports::start_with(project(3), json!({"standards": null})).await;
    let system = &imports.system;
    let ours = Receiver::start().await;
    system.webhook(imports.org, &ours.url).await;

    imports.call("trunk", "AZ1").await;
    let pending = imports.of_task("AZ1").await;
    assert_eq!(pending, json!({"state": "pending"}));
    imports.import(now()).await;
    let import = imports.of_task("AZ1").await;
    assert_eq!(import["state"], "published", "{import}");
    // The newest edition of each standard.
    let ids = import["reports"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
    let version = || "1.0".to_owned();
    let report = (version(), "trunk".to_owned(), 1, 3);
    assert_eq!(imports.reports().await, [report.clone(), report]);

    system.deliver(now()).await;
    let told = ours.take();
    let reports: Vec<(String, u64)> = told.iter().flat_map(|it| it.reports()).collect();
    let told: Vec<&str> = reports.iter().map(|(id, _)| id.as_str()).collect();
    assert!(
        ids.iter().all(|id| told.contains(&id.as_str().unwrap())),
        "{told:?}"
    );

    let standing = imports.standing().await;
    assert_eq!(
        (&standing["state"], &standing["isTokenExpiring"]),
        (&json!("working"), &json!(false))
    );
    assert!(standing["answeredAt"].is_string());
}

#[tokio::test]
async fn the_files_are_those_that_the_findings_make() {
    let imports = Imports::start().await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    let id = imports.of_task("AZ1").await["reports"][0].clone();
    let id = id.as_str().unwrap();
    for (name, begin) in [("report.html", b"\x1f\x8b"), ("report.pdf", b"%P")] {
        let path = format!(
            "/security/report/file?org={}&report={id}&name={name}",
            imports.org
        );
        let reply = imports.system.get(&path).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.starts_with(begin), "{name}");
    }
}

#[tokio::test]
async fn a_webhook_in_sonarqubes_words_is_told_once_by_sonarqube_itself() {
    let imports = Imports::start_with(project(3), json!({"standards": null})).await;
    let system = &imports.system;
    let theirs = Receiver::start().await;
    let settings = json!({"name": "n", "url": theirs.url, "format": "sonarqube"});
    system.webhook_with(imports.org, settings).await;
    // Also when the reports are told of before the call.
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    system.deliver(now()).await;
    system.round(now() + Duration::HOUR).await;
    let told = theirs.take();
    let bodies: Vec<String> = told.iter().map(|it| it.json().to_string()).collect();
    let call: serde_json::Value =
        serde_json::from_str(&imports.server.call_of("trunk", Some("AZ1"))).unwrap();
    assert_eq!(bodies, [call.to_string()]);
}

#[tokio::test]
async fn a_webhook_in_sonarqubes_words_is_told_of_what_sonarqube_has_not_told() {
    let imports = Imports::start().await;
    let system = &imports.system;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    system.deliver(now()).await;
    let theirs = Receiver::start().await;
    let settings = json!({"name": "n", "url": theirs.url, "format": "sonarqube"});
    system.webhook_with(imports.org, settings).await;
    imports.analyse("trunk-2", 2, "1.1");
    imports.round(now() + Duration::HOUR).await;
    system.deliver(now() + Duration::HOUR).await;
    let told = theirs.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["project"]["key"], tests::server::PROJECT);
}

#[tokio::test]
async fn the_same_call_twice_makes_its_reports_once() {
    let imports = Imports::start().await;
    imports.call("trunk", "AZ1").await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    assert_eq!(imports.imports().await.len(), 1);
    let reports = imports.reports().await;
    assert_eq!(reports, [("1.0".to_owned(), "trunk".to_owned(), 1, 3)]);
}

#[tokio::test]
async fn several_calls_at_once_are_looked_after_by_one() {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    for task in 0..6 {
        let branch = if task % 2 == 0 {
            "trunk"
        } else {
            "release/1.x"
        };
        imports.call(branch, &format!("AZ{task}")).await;
    }
    let stack = &imports.system.stack;
    // A while after all of them have come: what was read then is good for each.
    let later = now() + Duration::MINUTE;
    let at_once = [
        stack.import(later),
        stack.import(later),
        stack.import(later),
    ];
    for result in futures_util::future::join_all(at_once).await {
        result.unwrap();
    }
    for import in imports.imports().await {
        assert_eq!(import["state"], "published", "{import}");
    }
    let asked = imports.server.asked().into_iter();
    let pulls = asked.filter(|it| it.path == "api/project_branches/list");
    assert_eq!(pulls.count(), 2, "each branch is read once");
    let mut reports = imports.reports().await;
    reports.sort();
    let report = |branch: &str| ("1.0".to_owned(), branch.to_owned(), 1, 1);
    assert_eq!(reports, [report("release/1.x"), report("trunk")]);
}

#[tokio::test]
async fn a_quality_gate_that_has_changed_updates_the_reports_if_they_say_something_else() {
    let imports = Imports::start().await;
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    let gate = imports.server.call_of("trunk", None);
    imports.source.call(&imports.system, gate.as_bytes()).await;
    imports.import(now()).await;
    let report = |revision, count| [("1.0".to_owned(), "trunk".to_owned(), revision, count)];
    assert_eq!(
        imports.reports().await,
        report(1, 3),
        "nothing is different"
    );
    imports.server.change(|project| {
        project.branches[0].issues.pop();
        project.branches[0].gate = Some("ERROR");
    });
    let gate = imports.server.call_of("trunk", None);
    imports.source.call(&imports.system, gate.as_bytes()).await;
    imports.import(now()).await;
    assert_eq!(imports.reports().await, report(2, 2));
    let states: Vec<_> = imports
        .imports()
        .await
        .iter()
        .map(|it| it["state"].clone())
        .collect();
    assert_eq!(states, ["published", "published", "published"]);
}

#[tokio::test]
async fn what_was_overtaken_is_published_under_the_newest_of_its_version_or_is_superseded() {
    let imports = Imports::start().await;
    imports.call("trunk", "AZ1").await;
    imports.analyse("trunk-2", 2, "1.0");
    imports
        .server
        .change(|project| project.branches[0].issues.push(issue(70)));
    imports.import(now()).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
    let report =
        |version: &str, revision, count| (version.to_owned(), "trunk".to_owned(), revision, count);
    assert_eq!(imports.reports().await, [report("1.0", 1, 4)]);

    imports.call("trunk", "AZ2").await;
    imports.analyse("trunk-3", 3, "2.0");
    imports.call("trunk", "AZ3").await;
    imports.import(now()).await;
    let superseded = imports.of_task("AZ2").await;
    assert_eq!(superseded["state"], "superseded", "{superseded}");
    assert!(superseded["nextTryAt"].is_null() && superseded["reason"].is_string());
    assert_eq!(imports.of_task("AZ3").await["state"], "published");
    assert_eq!(
        imports.reports().await,
        [report("2.0", 1, 4), report("1.0", 1, 4)]
    );
}

#[tokio::test]
async fn an_analysis_between_two_readings_counts_by_its_version() {
    for (version, state) in [("1.0", "published"), ("2.0", "superseded")] {
        let imports = Imports::start().await;
        imports.call("trunk", "AZ1").await;
        let mut is_done = false;
        imports.server.trouble(move |asked, project| {
            if asked.path == "api/issues/search" && !is_done {
                is_done = true;
                let branch = &mut project.branches[0];
                branch.analyses.insert(0, analysis("trunk-2", 2, version));
            }
            None
        });
        imports.import(now()).await;
        let import = imports.of_task("AZ1").await;
        assert_eq!(import["state"], state, "{import}");
    }
}

#[tokio::test]
async fn what_is_no_version_is_called_as_the_source_says() {
    for (fallback, expected) in [
        (json!("build"), Some("1287")),
        (json!("property:sonar.analysis.buildNumber"), Some("1287")),
        (json!("refuse"), None),
        (json!("property:sonar.analysis.other"), None),
    ] {
        let mut project = project(1);
        project.branches[0].analyses[0].version = "not provided".to_owned();
        let imports = Imports::start_with(project, json!({"versionFallback": fallback})).await;
        imports.call("trunk", "AZ1").await;
        imports.import(now()).await;
        let import = imports.of_task("AZ1").await;
        let state = if expected.is_some() {
            "published"
        } else {
            "failed"
        };
        assert_eq!(import["state"], state, "{fallback} {import}");
        let reports = imports.reports().await;
        let version = reports.first().map(|it| it.0.as_str());
        assert_eq!(version, expected);
        assert!(import["nextTryAt"].is_null());
    }
}

#[tokio::test]
async fn no_reports_are_made_of_what_the_source_does_not_want() {
    let imports = Imports::start().await;
    imports.call("release/1.x", "AZ1").await;
    let mut pull = call_of("AZ2");
    pull = pull.replace("\"BRANCH\"", "\"PULL_REQUEST\"");
    let failed = call_of("AZ3").replace("\"SUCCESS\"", "\"FAILED\"");
    for body in [pull, failed] {
        imports.source.call(&imports.system, body.as_bytes()).await;
    }
    imports.import(now()).await;
    for (task, said) in [
        ("AZ1", "release/1.x"),
        ("AZ2", "pull request"),
        ("AZ3", "failed"),
    ] {
        let import = imports.of_task(task).await;
        assert_eq!(import["state"], "skipped", "{task}");
        assert!(
            import["reason"].as_str().unwrap().contains(said),
            "{import}"
        );
    }
    let asked = imports.server.asked();
    assert!(
        asked.iter().all(|it| !it.path.contains("search")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn of_a_source_without_a_server_nothing_is_made() {
    let imports = Imports::start().await;
    let source = imports.set(json!({"baseUrl": null})).await;
    assert!(source.get("baseUrl").is_none(), "{source}");
    imports.call("trunk", "AZ1").await;
    imports.import(now()).await;
    assert_eq!(imports.imports().await, [json!(null)]);
    assert_eq!(imports.server.asked().len(), 0);
}
