//! `cargo run -p local` as somebody who tries it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kill;
mod papers;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::{Value, json};
use tests::deployment::eventually;
use tests::log;
use tests::receiver::{Answer, Receiver, assert_signed};
use tests::system::text;
use tests::tools;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

const BINARY: &str = env!("CARGO_BIN_EXE_local");
const ORG: &str = "00000000-0000-0000-0000-000000000001";

/// A running process, and what it printed until it was ready.
struct Running {
    process: Child,
    printed: String,
    /// Keeps the pipe open.
    _output: Lines<BufReader<ChildStdout>>,
    /// Reads its log to the end.
    log: JoinHandle<()>,
    environment: HashMap<String, String>,
}

const SONAR_TOKEN: &str = "squ_local";

fn local(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("--data")
        .arg(data)
        .args(arguments)
        .env("SONAR_TOKEN", SONAR_TOKEN)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn start(data: &Path, arguments: &[&str]) -> Running {
    let mut process = local(data, arguments)
        .args(["--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    log::watch(ORG.parse().unwrap());
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let log = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            log::read(&line);
        }
    });
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    while !printed.contains("Ctrl-C stops it") {
        printed += &output
            .next_line()
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("it ended: {printed}"));
        printed.push('\n');
    }
    let environment = std::fs::read_to_string(data.join("local.env")).unwrap();
    let pairs = environment
        .lines()
        .map(|line| line.split_once('=').unwrap());
    let environment = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Running {
        process,
        printed,
        _output: output,
        log,
        environment,
    }
}

impl Running {
    async fn list(&self) -> Vec<Value> {
        let url = format!(
            "{}/security/report/list?org={ORG}&minver=0",
            self.environment["API_URL"]
        );
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).send().await.unwrap();
        if response.status() == 204 {
            return Vec::new();
        }
        response.json::<Value>().await.unwrap()["reports"]
            .as_array()
            .unwrap()
            .clone()
    }

    async fn interrupt(mut self) -> ExitStatus {
        let kill = format!("kill -INT {}", self.process.id().unwrap());
        tools::run(std::process::Command::new("sh").args(["-c", &kill]));
        let status = self.process.wait().await.unwrap();
        self.log.await.unwrap();
        let leaks = log::leaks();
        assert!(
            leaks.is_empty(),
            "an organization's id was logged: {leaks:?}"
        );
        status
    }
}

#[tokio::test]
async fn a_newcomer_gets_along() {
    let data = tempfile::tempdir().unwrap();
    let running = start(data.path(), &[]).await;
    assert_eq!(running.environment["ORG_ID"], ORG);
    assert!(
        running.printed.contains(&running.environment["API_URL"]),
        "{}",
        running.printed
    );
    assert!(
        running
            .printed
            .contains(&running.environment["PUBLISH_TOKEN"]),
        "{}",
        running.printed
    );
    assert!(
        running.printed.contains("Publishing report 1 of"),
        "it shows progress: {}",
        running.printed
    );

    let reports = running.list().await;
    assert!(reports.len() >= 5);
    assert!(
        reports
            .iter()
            .any(|report| report["projectVersion"].as_str().unwrap().contains("-rc")),
        "a pre-release"
    );

    let lines: Vec<&str> = running
        .printed
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 4);
    if tools::find("curl").is_some() {
        let folder = tempfile::tempdir().unwrap();
        let run = |line: &str| {
            let mut shell = std::process::Command::new("sh");
            tools::run(
                shell
                    .args(["-c", &line.replacen("curl", "curl -sSf", 1)])
                    .current_dir(&folder),
            )
            .stdout
        };
        let page: Value = serde_json::from_slice(&run(lines[0])).unwrap();
        assert_eq!(page["reports"].as_array().unwrap().len(), reports.len());
        run(lines[1]);
        let downloaded = std::fs::read_dir(&folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut archive = zip::ZipArchive::new(std::fs::File::open(downloaded).unwrap()).unwrap();
        let names: Vec<String> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        let pdf = names.iter().find(|name| name.ends_with(".pdf")).unwrap();
        let mut bytes = Vec::new();
        archive
            .by_name(pdf)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(bytes.starts_with(b"%PDF-"));
        let begun: Value = serde_json::from_slice(&run(lines[2])).unwrap();
        assert!(begun["uploadId"].is_string(), "{begun}");
        // An analysis, its call, and the reports of each standard.
        let analysed: Value = serde_json::from_slice(&run(lines[3])).unwrap();
        assert!(analysed["taskId"].is_string(), "{analysed}");
        let imported = eventually("reports come by themselves", async || {
            let now = running.list().await;
            (now.len() == reports.len() + 2).then_some(now)
        });
        let versions = imported.await;
        let new = versions.iter().filter(|it| it["projectVersion"] == "2.1.0");
        assert_eq!(new.count(), 2);
    }
    assert!(running.interrupt().await.success());
}

#[tokio::test]
async fn what_was_published_outlives_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut running = start(data.path(), &[]).await;
    let before = running.list().await;
    let token = running.environment["PUBLISH_TOKEN"].clone();
    // SIGKILL.
    running.process.kill().await.unwrap();

    let mut running = start(data.path(), &[]).await;
    assert_eq!(running.list().await, before);
    assert_eq!(
        running.environment["PUBLISH_TOKEN"], token,
        "what used the token goes on working"
    );
    assert!(
        !running.printed.contains("Publishing report"),
        "{}",
        running.printed
    );
    let ids: Vec<&str> = before
        .iter()
        .map(|report| report["id"].as_str().unwrap())
        .collect();
    let url = format!(
        "{}/security/report/files?org={ORG}&reports={}",
        running.environment["API_URL"],
        ids.join(",")
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let archive = client.get(url).send().await.unwrap().bytes().await.unwrap();
    let archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    assert_eq!(archive.len(), 1 + 2 * before.len());
    // Until it has ended, the folder is its own.
    running.process.kill().await.unwrap();

    let running = start(data.path(), &["--fresh", "--no-demo"]).await;
    assert!(running.list().await.is_empty());
    assert_ne!(running.environment["PUBLISH_TOKEN"], token);
}

/// Secrets of webhooks are in it.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_gets_into_the_data_folder() {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |folder: &Path| metadata(folder).unwrap().permissions().mode() & 0o777;
    let open_to_all = |folder: &Path| set_permissions(folder, Permissions::from_mode(0o755));

    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let mut running = start(&data, &["--no-demo"]).await;
    assert_eq!(mode(&data), 0o700, "one that it makes");
    running.process.kill().await.unwrap();

    open_to_all(&data).unwrap();
    let _running = start(&data, &["--no-demo"]).await;
    assert_eq!(mode(&data), 0o700, "one of an earlier run");

    let others = parent.path().join("others");
    std::fs::create_dir(&others).unwrap();
    std::fs::write(others.join("page.html"), "for everybody").unwrap();
    open_to_all(&others).unwrap();
    // On a port that is taken it ends in any case.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = local(&others, &["--port", &port]).output().await.unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && message.contains("choose another --data"));
    assert_eq!(mode(&others), 0o755, "one that is somebody's");
    assert_eq!(std::fs::read_dir(&others).unwrap().count(), 1);
}

#[tokio::test]
async fn a_taken_port_and_a_taken_folder_are_clear_errors() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = local(data.path(), &["--port", &port])
        .output()
        .await
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains(&format!(
            "port {port} is taken; choose another one with --port"
        )),
        "{message}"
    );

    let _running = start(data.path(), &["--no-demo"]).await;
    let output = local(data.path(), &["--port", "0", "--fresh"])
        .output()
        .await
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && message.contains("in use by another"),
        "{message}"
    );
}

#[tokio::test]
async fn tokens_are_made_while_it_runs() {
    let data = tempfile::tempdir().unwrap();
    let create = ["token", "create", "--org", ORG, "--right", "publish"];
    let output = local(data.path(), &create).output().await.unwrap();
    assert!(!output.status.success(), "there is no stack yet");

    let running = start(data.path(), &["--no-demo"]).await;
    let output = local(data.path(), &create).output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let token = domain::token::TokenSecret::parse(String::from_utf8(output.stdout).unwrap().trim())
        .unwrap();
    let publisher = local::client::Publisher::new(&running.environment["API_URL"], token).unwrap();
    let report = &local::demo_reports().await.unwrap()[0];
    publisher
        .publish(&report.metadata, &report.files().unwrap())
        .await
        .unwrap();
    assert_eq!(running.list().await.len(), 1);

    let output = local(
        data.path(),
        &["token", "create", "--org", ORG, "--right", "everything"],
    )
    .output()
    .await
    .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("known are publish"), "{message}");
}

/// An administrator of the running stack.
struct Administrator {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Administrator {
    fn of(running: &Running) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: format!("{}/organizations/{ORG}", running.environment["API_URL"]),
            token: running.environment["ADMIN_TOKEN"].clone(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(method.parse().unwrap(), url);
        let request = request.bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The newest delivery of a webhook, once `is_so` says so of it.
    async fn newest(&self, webhook: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/webhooks/{webhook}/deliveries?limit=1");
        loop {
            let page = self.call("GET", &path, None).await;
            match page["deliveries"].get(0) {
                Some(delivery) if is_so(delivery) => return delivery.clone(),
                _ => tokio::task::yield_now().await,
            }
        }
    }
}

#[tokio::test]
async fn a_project_of_a_real_server_may_take_the_place_of_the_demo() {
    let analysis = local::sonarqube::Analysis {
        key: "AZ1".to_owned(),
        date: "2026-03-05T10:51:17+0100".to_owned(),
        version: "1.4.0".to_owned(),
        revision: None,
        build: None,
    };
    let project = local::sonarqube::Project {
        key: "acme:shop".to_owned(),
        name: "Shop".to_owned(),
        is_visible: true,
        branches: vec![local::sonarqube::Branch {
            name: "main".to_owned(),
            analyses: vec![analysis],
            gate: None,
            issues: Vec::new(),
            hotspots: Vec::new(),
        }],
        rules: Vec::new(),
    };
    let edition = local::sonarqube::Edition::V9_9;
    let server = local::sonarqube::StandIn::start(edition, SONAR_TOKEN, project).await;
    let server = server.unwrap();
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--sonar-url", &server.url, "--sonar-project", "acme:shop"];
    let running = start(data.path(), &arguments).await;
    let names: Vec<Value> = running.list().await;
    assert_eq!(names.len(), 2, "a report for each standard");
    assert!(names.iter().all(|report| report["projectName"] == "Shop"));
}

async fn publish(running: &Running, report: &local::DemoReport) {
    let token = domain::token::TokenSecret::parse(&running.environment["PUBLISH_TOKEN"]).unwrap();
    let publisher = local::client::Publisher::new(&running.environment["API_URL"], token).unwrap();
    let published = publisher
        .publish(&report.metadata, &report.files().unwrap())
        .await;
    published.unwrap();
}

/// The whole life of a webhook, as somebody sees it who tries it.
#[tokio::test]
async fn a_receiver_that_breaks_gets_everything_when_it_is_mended() {
    let data = tempfile::tempdir().unwrap();
    let running = start(data.path(), &["--no-demo", "--retry-every", "500ms"]).await;
    let administrator = Administrator::of(&running);
    let receiver = Receiver::start().await;
    let webhook = json!({"name": "mine", "url": receiver.url});
    let webhook = administrator.call("POST", "/webhooks", Some(webhook)).await;
    let (id, secret) = (text(&webhook["id"]), text(&webhook["secret"]));
    let tested = administrator
        .call("POST", &format!("/webhooks/{id}/test"), None)
        .await;
    assert_eq!(tested["delivered"], true);
    assert_signed(&receiver.take()[0], &secret);

    let reports = local::demo_reports().await.unwrap();
    let (first, second) = (&reports[0], &reports[1]);
    publish(&running, first).await;
    let received = receiver.wait_for(1).await;
    assert_signed(&received[0], &secret);
    assert_eq!(
        received[0].json()["reports"][0]["projectName"],
        first.metadata["projectName"]
    );
    administrator
        .newest(&id, |it| it["state"] == "delivered")
        .await;
    receiver.take();

    receiver.answer(Answer::Status(500));
    publish(&running, second).await;
    let failed = administrator
        .newest(&id, |it| it["state"] == "failed")
        .await;
    assert_eq!(failed["lastAttempt"]["status"], 500);

    receiver.answer(Answer::Status(200));
    let delivery = text(&failed["id"]);
    let mended = |it: &Value| it["id"] == delivery.as_str() && it["state"] == "delivered";
    let mended = administrator.newest(&id, mended).await;
    assert!(mended["attemptCount"].as_u64() >= Some(2), "{mended}");
    let received = receiver.take();
    assert!(received.len() >= 2 && received.iter().all(|it| it.body == received[0].body));
    assert!(
        received
            .iter()
            .all(|it| it.header("webhook-id") == delivery)
    );
    received.iter().for_each(|it| assert_signed(it, &secret));
}

#[tokio::test]
async fn jwts_of_any_role_are_made_while_it_runs() {
    let data = tempfile::tempdir().unwrap();
    let create = ["jwt", "--role", "viewer"];
    let output = local(data.path(), &create).output().await.unwrap();
    assert!(!output.status.success(), "there is no stack yet");

    let running = start(data.path(), &["--no-demo"]).await;
    let output = local(data.path(), &create).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let viewer = Administrator {
        token: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        ..Administrator::of(&running)
    };
    let request = viewer.http.get(format!("{}/webhooks", viewer.url));
    let refused = request.bearer_auth(&viewer.token).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "insufficient_role");
}
