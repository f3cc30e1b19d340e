//! A server of `SonarQube`, and a source of whose analyses reports are made.

use std::sync::LazyLock;
use std::time::Duration;

use domain::organization::OrganizationId;
use findings::Severity;
use local::sonarqube::{
    Analysis, Branch, Edition, FoundIssue, KnownRule, Project, StandIn, Status,
};
use serde_json::{Value, json};
use sonarqube::Patience;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::source::Source;
use crate::system::{System, text};

/// The token of whoever asks the server.
pub const TOKEN: &str = "squ_0123456789abcdef";
/// The project's key.
pub const PROJECT: &str = "acme:shop";
/// The edition of most tests.
pub const EDITION: Edition = Edition::V2025_1 { mqr: false };

/// An impatient client, so that no test waits.
pub const PATIENCE: Patience = Patience {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    requests: 2,
    answer: Duration::from_secs(60),
};

/// An issue of the rule `java:xss`, which is in CWE-79 and in A03.
pub fn issue(number: u32) -> FoundIssue {
    FoundIssue {
        key: format!("issue-{number:05}"),
        rule: "java:xss".to_owned(),
        path: format!("src/file{:03}.java", number % 200),
        line: 1 + number / 200,
        message: format!("message {number}"),
        severity: Some(Severity::High),
        impact: Some(Severity::High),
        status: Status::Open,
        created: "2026-01-31T17:55:39+0200".to_owned(),
        comment: None,
    }
}

/// When the server was set up: some hours ago, to the second, as `SonarQube` has it.
pub static BEGAN: LazyLock<OffsetDateTime> = LazyLock::new(|| {
    let began = OffsetDateTime::now_utc() - time::Duration::hours(5);
    began.replace_nanosecond(0).unwrap()
});

/// An analysis, so many minutes after the server was set up.
pub fn analysis(key: &str, minute: i64, version: &str) -> Analysis {
    let at = *BEGAN + time::Duration::minutes(minute);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    Analysis {
        key: key.to_owned(),
        date: at.format(format).unwrap(),
        version: version.to_owned(),
        revision: Some("c0ffee".to_owned()),
        build: Some("1287".to_owned()),
    }
}

/// A project with a main branch, which is called `trunk`, and another one. Each was analysed once, as version 1.0.
pub fn project(issues: u32) -> Project {
    let branch = |name: &str| Branch {
        name: name.to_owned(),
        analyses: vec![analysis(&format!("{name}-1"), 1, "1.0")],
        gate: Some("OK"),
        issues: (0..issues).map(issue).collect(),
        hotspots: Vec::new(),
    };
    Project {
        key: PROJECT.to_owned(),
        name: "Shop".to_owned(),
        is_visible: true,
        branches: vec![branch("trunk"), branch("release/1.x")],
        rules: vec![KnownRule {
            key: "java:xss".to_owned(),
            name: "Encode what is shown".to_owned(),
            html: "<p>Do <b>not</b>.</p>".to_owned(),
            finds_hotspots: false,
            is_smell: false,
            is_active: true,
            language: "java",
            cwe: vec!["79".to_owned()],
            owasp: vec!["a3".to_owned()],
        }],
    }
}

/// A system, a server, and a source of an organization that knows both.
#[derive(Debug)]
pub struct Imports {
    /// The system.
    pub system: System,
    /// Whose source it is.
    pub org: OrganizationId,
    /// The server.
    pub server: StandIn,
    /// The source.
    pub source: Source,
}

impl Imports {
    /// Starts all of them.
    pub async fn start() -> Self {
        Self::start_with(project(3), json!({})).await
    }

    /// The same, with this project, and a source with some settings of its own.
    pub async fn start_with(project: Project, settings: Value) -> Self {
        let mut system = System::start().await;
        system.stack.importing.patience = PATIENCE;
        system.stack.importing.index_lag = Duration::ZERO;
        Self::in_system(system, project, settings).await
    }

    /// The same in a system that is there.
    pub async fn in_system(system: System, project: Project, settings: Value) -> Self {
        let org = crate::system::organization();
        let server = StandIn::start(EDITION, TOKEN, project).await.unwrap();
        let mut all = json!({
            "baseUrl": server.url, "token": TOKEN, "standards": ["cwe-top-25-2024"],
        });
        all.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let source = Source::create_with(&system, org, all).await;
        server.enter_webhook(&system.url(&source.path()), &source.secret);
        Self {
            system,
            org,
            server,
            source,
        }
    }

    /// Has the server's webhook called about the newest analysis of a branch, of a background task.
    pub async fn call(&self, branch: &str, task: &str) {
        let body = self.server.call_of(branch, Some(task));
        let reply = self.source.call(&self.system, body.as_bytes()).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }

    /// Changes settings of the source, and gives it as it is then.
    pub async fn set(&self, settings: Value) -> Value {
        let path = format!("/sources/{}", self.source.id);
        let patch = self.system.manage(self.org, "PATCH", &path, Some(settings));
        let reply = patch.await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// Has the main branch analysed again, so many minutes after the server was set up.
    pub fn analyse(&self, key: &str, minute: i64, version: &str) {
        let newest = analysis(key, minute, version);
        self.server
            .change(|project| project.branches[0].analyses.insert(0, newest));
    }

    /// Looks after the sources on the queue, as if it were `now`.
    pub async fn import(&self, now: OffsetDateTime) {
        self.system.stack.import(now).await.unwrap();
    }

    /// The hourly round, as if it were `now`, and what it has looked after.
    pub async fn round(&self, now: OffsetDateTime) {
        self.system.round(now).await;
        self.import(now).await;
    }

    /// What became of the calls, the newest first.
    pub async fn imports(&self) -> Vec<Value> {
        let calls = self.source.calls(&self.system, self.org).await;
        calls.into_iter().map(|it| it["import"].clone()).collect()
    }

    /// What became of the call of a task.
    pub async fn of_task(&self, task: &str) -> Value {
        let calls = self.source.calls(&self.system, self.org).await;
        let call = calls.into_iter().find(|it| it["taskId"] == task);
        call.map(|it| it["import"].clone()).unwrap()
    }

    /// How the server stands, as an administrator sees it.
    pub async fn standing(&self) -> Value {
        let path = format!("/sources/{}", self.source.id);
        let reply = self.system.manage(self.org, "GET", &path, None).await;
        reply.json()["import"].clone()
    }

    /// The reports of the organization: type, version, branch, revision, and how many vulnerabilities it says.
    pub async fn reports(&self) -> Vec<(String, String, u64, u64)> {
        let path = format!("/security/report/list?org={}&project={PROJECT}", self.org);
        let reply = self.system.get(&path).await;
        if reply.status == 204 {
            return Vec::new();
        }
        let body = reply.json();
        let reports = body["reports"].as_array().unwrap().iter();
        reports
            .map(|it| {
                let number = |name: &str| it[name].as_u64().unwrap_or_default();
                (
                    text(&it["projectVersion"]),
                    it["branch"].as_str().unwrap_or_default().to_owned(),
                    number("revision"),
                    number("vulnerabilitiesCount"),
                )
            })
            .collect()
    }
}
