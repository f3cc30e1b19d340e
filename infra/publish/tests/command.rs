//! The command, as CI runs it: against a server of SonarQube and the API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use axum::body::Body;
use axum::http::Response;
use domain::report::ReportKey;
use domain::token::Right;
use findings::Severity;
use local::sonarqube::{
    Analysis, Branch, Edition, FoundIssue, KnownRule, Project, StandIn, Status, error,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::system::{System, organization};
use tokio::process::Command;

const SONAR_TOKEN: &str = "squ_fedcba9876543210";

fn project() -> Project {
    let issue = |number: u32| FoundIssue {
        key: format!("issue-{number}"),
        rule: "java:S3649".to_owned(),
        path: "src/Query.java".to_owned(),
        line: number,
        message: "Bind it as a parameter.".to_owned(),
        severity: Some(Severity::Medium),
        impact: Some(Severity::Medium),
        status: Status::Open,
        created: "2026-01-31T17:55:39+0200".to_owned(),
        comment: None,
    };
    Project {
        key: "acme:shop".to_owned(),
        name: "Shop".to_owned(),
        is_visible: true,
        branches: vec![Branch {
            name: "main".to_owned(),
            analyses: vec![Analysis {
                key: "AZ1".to_owned(),
                date: "2026-03-05T10:51:17+0100".to_owned(),
                version: "1.4.0".to_owned(),
                revision: Some("c0ffee".to_owned()),
                build: Some("1287".to_owned()),
            }],
            gate: Some("ERROR"),
            issues: (1..=3).map(issue).collect(),
            hotspots: Vec::new(),
        }],
        rules: vec![KnownRule {
            key: "java:S3649".to_owned(),
            name: "Queries".to_owned(),
            html: "<p>Why.</p>".to_owned(),
            finds_hotspots: false,
            is_smell: false,
            language: "java",
            is_active: true,
            cwe: vec!["89".to_owned()],
            owasp: vec!["a3".to_owned()],
        }],
    }
}

struct Setting {
    system: System,
    server: StandIn,
    folder: TempDir,
    org: domain::organization::OrganizationId,
    token: String,
}

impl Setting {
    async fn new() -> Self {
        let system = System::start().await;
        let org = organization();
        let token = system
            .stack
            .create_token("ci", org, &[Right::Publish])
            .await
            .unwrap();
        Self {
            server: StandIn::start(Edition::V2025_1 { mqr: false }, SONAR_TOKEN, project())
                .await
                .unwrap(),
            folder: tempfile::tempdir().unwrap(),
            token: token.reveal().to_owned(),
            system,
            org,
        }
    }

    /// Runs the command in a folder of its own, with both tokens; what it prints has neither.
    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, Some(SONAR_TOKEN)).await
    }

    async fn run_with(&self, arguments: &[&str], sonar_token: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonarqube-reports"));
        command.env_clear().env("PUBLISH_TOKEN", &self.token);
        command.envs(sonar_token.map(|it| ("SONAR_TOKEN", it)));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = command.output().await.unwrap();
        let printed = [printed(&output), errors(&output)].concat();
        for secret in [&self.token, SONAR_TOKEN] {
            assert!(!printed.contains(secret), "{printed}");
        }
        output
    }

    /// Runs commands of a step of CI.
    async fn shell(&self, commands: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_sonarqube-reports"));
        let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-eu", "-c", commands]);
        shell.current_dir(self.folder.path()).env_clear();
        shell.env("PATH", path);
        shell.env("SONAR_TOKEN", SONAR_TOKEN);
        shell.env("PUBLISH_TOKEN", &self.token);
        for url in ["API_URL", "REPORTS_API_URL"] {
            shell.env(url, &self.system.stack.api_url);
        }
        for commit in ["GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"] {
            shell.env(commit, "c0ffee");
        }
        shell.output().await.unwrap()
    }

    fn publish<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let common = [
            "publish",
            "--api-url",
            &self.system.stack.api_url,
            "--sonar-url",
            &self.server.url,
        ];
        common.iter().chain(more).copied().collect()
    }

    /// The reports that are listed, as they are stored.
    async fn listed(&self) -> Vec<Value> {
        let mut reports = Vec::new();
        for id in self
            .system
            .listed(&format!("org={}&minver=0", self.org))
            .await
        {
            let id = id.parse().unwrap();
            let key = ReportKey { org: self.org, id };
            let report = self.system.stack.tables.reports.latest(key).await;
            reports.push(serde_json::to_value(report.unwrap().unwrap()).unwrap());
        }
        reports
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn one_command_publishes_what_was_found() {
    let setting = Setting::new().await;
    let arguments = setting.publish(&["--project", "acme:shop"]);
    let output = setting.run(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        printed(&output),
        "Reading the project\nReading findings of cwe-top-25-2025\nReading findings of owasp-top-10-2021\nReading rules\n\
         Published Shop 1.4.0: CWE Top 25 2025, revision 1, 3 open, rating C\n\
         Published Shop 1.4.0: OWASP Top 10 2021, revision 1, 3 open, rating C\n"
    );
    let listed = setting.listed().await;
    assert_eq!(listed.len(), 2);
    for report in &listed {
        assert_eq!(report["projectKey"], "acme:shop");
        assert_eq!(report["vulnerabilitiesCount"], 3);
        assert_eq!(report["securityRating"], "C");
        assert_eq!(report["qualityGate"], "ERROR");
        assert_eq!(report["branch"], "main");
        assert_eq!(report["date"], "2026-03-05T10:51:17+0100");
        assert_eq!(report["properties"]["sonar.analysis.buildNumber"], "1287");
        assert_eq!(report["properties"]["sonarqube.mode"], "standard");
    }
    // The same again is the next revision of the same reports, and the gate is not ours to judge unless asked.
    let failed = setting.publish(&[
        "--project",
        "acme:shop",
        "--standard",
        "cwe-top-25-2025",
        "--fail-on-gate",
    ]);
    let output = setting.run(&failed).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(
        printed(&output).contains("revision 2"),
        "{}",
        printed(&output)
    );
    assert_eq!(setting.listed().await.len(), 2);
}

#[tokio::test]
async fn reports_are_written_to_a_folder_and_are_the_same_each_time() {
    let setting = Setting::new().await;
    let render = [
        "render",
        "--sonar-url",
        &setting.server.url,
        "--project",
        "acme:shop",
        "--out",
    ];
    let mut files = Vec::new();
    for out in ["one", "other/one"] {
        let arguments: Vec<&str> = render.into_iter().chain([out]).collect();
        let output = setting.run(&arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let folder = setting.folder.path().join(out);
        let names = names(&folder);
        let expected = [
            "cwe-top-25-2025.html",
            "cwe-top-25-2025.pdf",
            "owasp-top-10-2021.html",
            "owasp-top-10-2021.pdf",
        ];
        assert_eq!(names, expected);
        files.push(
            names
                .iter()
                .map(|name| fs::read(folder.join(name)).unwrap())
                .collect::<Vec<_>>(),
        );
    }
    assert!(files[0] == files[1], "the bytes differ");
}

#[tokio::test]
async fn files_that_exist_are_published_too() {
    let setting = Setting::new().await;
    let folder = setting.folder.path();
    fs::write(
        folder.join("report.html"),
        "<!doctype html><title>Mine</title>",
    )
    .unwrap();
    let metadata = json!({
        "projectKey": "mine", "projectName": "Mine", "projectVersion": "1.0", "reportType": "CWE Top 25",
        "reportVersion": 2024, "date": "2025-12-17T09:05:48Z", "vulnerabilitiesCount": 7, "securityRating": "E",
    });
    fs::write(folder.join("metadata.json"), metadata.to_string()).unwrap();
    let api_url = &setting.system.stack.api_url;
    let publish = [
        "publish",
        "--api-url",
        api_url,
        "--metadata",
        "metadata.json",
        "--file",
        "report.html",
    ];
    let output = setting.run_with(&publish, None).await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        printed(&output),
        "Published Mine 1.0: CWE Top 25 2024, revision 1, 7 open, rating E\n"
    );
    assert_eq!(setting.listed().await[0]["projectKey"], "mine");

    // What the API refuses is said in its words.
    fs::write(folder.join("metadata.json"), "{}").unwrap();
    let output = setting.run_with(&publish, None).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("projectKey"),
        "{}",
        errors(&output)
    );
}

#[tokio::test]
async fn the_documented_step_publishes_files_that_exist() {
    let setting = Setting::new().await;
    let folder = setting.folder.path();
    fs::write(folder.join("report.html"), "<p>Nothing found.</p>").unwrap();
    fs::write(folder.join("report.pdf"), "%PDF-1.7").unwrap();
    // The second one is of a shell alone, which `local` has tests of.
    let [step, _] = tests::papers::commands("docs/publishing.md");
    let output = setting.shell(&step).await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let listed = setting.listed().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["projectName"], "Shop");
    assert_eq!(listed[0]["files"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn whatever_is_wrong_is_said_and_nothing_is_published() {
    let setting = Setting::new().await;
    let project = setting.publish(&["--project", "acme:shop"]);
    let other = setting.publish(&["--project", "acme:other"]);
    let none = setting.publish(&[]);
    let usage: &[&str] = &["publish", "--project", "a"];
    let unknown = setting.publish(&["--project", "acme:shop", "--standard", "iso"]);
    for (arguments, token, code, says) in [
        (
            &project[..],
            Some("squ_wrong"),
            1,
            "does not accept the token",
        ),
        (&project, None, 1, "the environment has no SONAR_TOKEN"),
        (
            &project,
            Some("squ wrong"),
            1,
            "characters that no token has",
        ),
        (&other, Some(SONAR_TOKEN), 1, "check the key"),
        (&none, Some(SONAR_TOKEN), 1, "Give --project"),
        (usage, Some(SONAR_TOKEN), 2, "--api-url"),
        (&unknown, Some(SONAR_TOKEN), 2, "there is no standard 'iso'"),
    ] {
        let output = setting.run_with(arguments, token).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            errors(&output)
        );
        assert!(errors(&output).contains(says), "{}", errors(&output));
    }
    assert_eq!(setting.listed().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_scanners_task_is_waited_for() {
    let setting = Setting::new().await;
    let task = format!(
        "projectKey=acme:shop\nserverUrl={}\nceTaskId=AZT\n",
        setting.server.url
    );
    fs::write(setting.folder.path().join("report-task.txt"), task).unwrap();
    let api_url = setting.system.stack.api_url.clone();
    let publish = [
        "publish",
        "--api-url",
        &api_url,
        "--report-task",
        "report-task.txt",
        "--standard",
        "owasp-top-10-2021",
    ];
    for (answer, revision, wait, code, says) in [
        (
            Some(json!({"task": {"status": "SUCCESS", "analysisId": "AZ0"}})),
            "",
            "1s",
            1,
            "is AZ1 and not AZ0",
        ),
        (
            Some(json!({"task": {"status": "SUCCESS", "branch": "feature"}})),
            "",
            "1s",
            1,
            "no branch 'feature'",
        ),
        (
            Some(json!({"task": {"status": "SUCCESS", "pullRequest": "7"}})),
            "",
            "1s",
            1,
            "pull request 7",
        ),
        (
            Some(json!({"task": {"status": "SUCCESS", "analysisId": "AZ1", "branch": "main"}})),
            "",
            "1s",
            0,
            "",
        ),
        (
            Some(json!({"task": {"status": "FAILED", "errorMessage": "out of memory"}})),
            "",
            "1s",
            1,
            "out of memory",
        ),
        (
            Some(json!({"task": {"status": "PENDING"}})),
            "",
            "0s",
            1,
            "wait longer",
        ),
        (None, "", "1s", 1, "give the commit"),
        (None, "c0ffee", "1s", 0, ""),
        (None, "beef", "0s", 1, "wait longer"),
    ] {
        let body = answer.clone();
        setting.server.trouble(move |asked, _| {
            (asked.path == "api/ce/task").then(|| match &body {
                Some(body) => Response::new(Body::from(body.to_string())),
                None => error(403, "Insufficient privileges"),
            })
        });
        let mut arguments = publish.to_vec();
        arguments.extend(["--wait", wait]);
        if !revision.is_empty() {
            arguments.extend(["--revision", revision]);
        }
        let output = setting.run(&arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{answer:?}, {revision}: {}",
            errors(&output)
        );
        assert!(errors(&output).contains(says), "{}", errors(&output));
    }
}

/// The commands of the steps that the documentation has for GitHub, GitLab and Jenkins, as a shell gets them.
fn documented_steps() -> Vec<String> {
    let documented = include_str!("../../../docs/sonarqube.md");
    let command = |line: &str| {
        let line = line.trim();
        let line = line
            .strip_prefix("run: ")
            .or_else(|| line.strip_prefix("- sonarqube").map(|_| &line[2..]));
        line.map(str::to_owned)
    };
    let jenkins = |line: &str| {
        Some(
            line.trim()
                .strip_prefix("sh '")?
                .strip_suffix('\'')?
                .to_owned(),
        )
    };
    let steps = documented
        .lines()
        .filter_map(|line| command(line).or_else(|| jenkins(line)));
    // What GitHub puts in before a shell sees it.
    steps
        .map(|step| step.replace("${{ vars.REPORTS_API_URL }}", "$REPORTS_API_URL"))
        .collect()
}

#[tokio::test]
async fn a_gate_that_is_not_told_does_not_pass() {
    let setting = Setting::new().await;
    setting.server.trouble(|asked, _| {
        let refused = asked.path == "api/qualitygates/project_status";
        refused.then(|| error(403, "Insufficient privileges"))
    });
    let arguments = setting.publish(&["--project", "acme:shop", "--fail-on-gate"]);
    let output = setting.run(&arguments).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("does not tell the quality gate"),
        "{}",
        errors(&output)
    );
}

/// The address of an upload has a signature in it, and in AWS the token of a session.
#[tokio::test]
async fn no_address_of_an_upload_is_printed() {
    let setting = Setting::new().await;
    let gone = "http://127.0.0.1:9/bucket/key?X-Amz-Signature=deadbeef";
    let declared = json!({"uploadId": "1", "files": [
        {"name": "report.html", "url": gone, "headers": {}}, {"name": "report.pdf", "url": gone, "headers": {}},
    ]});
    let api = axum::Router::new().fallback(async move || axum::Json(declared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _api = tokio::spawn(async move { axum::serve(listener, api).await });
    let publish = [
        "publish",
        "--api-url",
        &url,
        "--sonar-url",
        &setting.server.url,
        "--project",
        "acme:shop",
    ];
    let output = setting.run(&publish).await;
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(
        said.contains("upload report.html") && !said.contains("deadbeef"),
        "{said}"
    );
}

#[tokio::test]
async fn the_documented_command_publishes() {
    let setting = Setting::new().await;
    // The first one makes a source, which `local` has a test of.
    let [_, command] = tests::papers::commands("docs/sonarqube.md");
    let command = command.replace("https://sonarqube.example.com", &setting.server.url);
    let output = setting.shell(&command).await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(setting.listed().await.len(), 2);
}

#[tokio::test]
async fn the_documented_steps_of_ci_publish() {
    let setting = Setting::new().await;
    let scanner = setting.folder.path().join(".scannerwork");
    fs::create_dir(&scanner).unwrap();
    let task = format!(
        "projectKey=acme:shop\nserverUrl={}\nceTaskId=AZT\n",
        setting.server.url
    );
    fs::write(scanner.join("report-task.txt"), task).unwrap();
    // The token may not ask for the task, so the commit tells.
    setting.server.trouble(|asked, _| {
        (asked.path == "api/ce/task").then(|| error(403, "Insufficient privileges"))
    });
    let steps = documented_steps();
    assert_eq!(steps.len(), 3, "{steps:?}");
    for (step, revision) in steps.iter().zip(1..) {
        let output = setting.shell(step).await;
        assert_eq!(output.status.code(), Some(0), "{step}: {}", errors(&output));
        let published = format!("revision {revision}, 3 open, rating C");
        assert_eq!(
            printed(&output).matches(&published).count(),
            2,
            "{}",
            printed(&output)
        );
    }
}
