//! `cargo run -p local` as somebody who tries it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kill;

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

/// The README's receiver, and the commands around it, as they stand there.
#[tokio::test]
async fn the_readmes_receiver_works() {
    let tools = ["curl", "jq", "python3"];
    if tools.iter().any(|tool| tools::find(tool).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    // Of the README's port nobody knows whether it is free.
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let readme = include_str!("../../../../README.md").replace("9001", &port);
    let (_, section) = readme.split_once("## Webhooks").unwrap();
    let blocks: Vec<(&str, &str)> = section
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'))
        .collect();
    let [("sh", create), ("python", receiver), ("sh", use_it), ..] = blocks.as_slice() else {
        panic!("the section has other blocks: {blocks:?}");
    };
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-eu", "-c", script]);
        tools::run(shell.envs(&running.environment).current_dir(&folder)).stdout
    };
    run(create);
    let webhook = std::fs::read(folder.path().join("webhook.json")).unwrap();
    let webhook: Value = serde_json::from_slice(&webhook).unwrap();
    std::fs::write(folder.path().join("receiver.py"), receiver).unwrap();
    let mut receiver = Command::new("python3")
        .arg("receiver.py")
        .env("WEBHOOK_SECRET", text(&webhook["secret"]))
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(receiver.try_wait().unwrap().is_none(), "it ended");
        tokio::task::yield_now().await;
    }
    let printed = String::from_utf8(run(use_it)).unwrap();
    assert!(printed.contains("\"delivered\": true"), "{printed}");
    assert!(printed.contains("\"status\": 204"), "{printed}");
    assert!(
        printed
            .trim_end()
            .ends_with("{\"count\":0,\"hasMore\":false,\"dryRun\":true}"),
        "{printed}"
    );

    publish(&running, &local::demo_reports().await.unwrap()[0]).await;
    let mut output = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let mut line = String::new();
    while !line.starts_with("report.published ") {
        line = output.next_line().await.unwrap().unwrap();
    }
    let administrator = Administrator::of(&running);
    let delivered = |it: &Value| it["lastAttempt"]["status"] == 204;
    administrator.newest(&text(&webhook["id"]), delivered).await;

    // It does not believe what is signed with another secret.
    let body = json!({"url": format!("http://{address}/")}).to_string();
    let test = format!("{}/webhooks/test", administrator.url);
    let tested = administrator
        .http
        .post(test)
        .bearer_auth(&administrator.token)
        .body(body);
    let tested: Value = tested.send().await.unwrap().json().await.unwrap();
    assert_eq!(tested["attempt"]["status"], 401, "{tested}");
}

/// The documented commands for users of the API, and for CI where nothing but a shell is, run as they stand there.
#[tokio::test]
async fn the_documented_commands_work() {
    if tools::find("curl").is_none() || tools::find("jq").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &[]).await;
    let before = running.list().await.len();
    let blocks = |section: &'static str| -> Vec<&str> {
        let blocks = section.split("```sh\n").skip(1);
        blocks.map(|it| it.split_once("```").unwrap().0).collect()
    };
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("## Use the API").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-eu", "-c", script]);
        tools::run(shell.envs(&running.environment).current_dir(&folder));
    };

    let [download, resume] = blocks(section)[..] else {
        panic!("the section has other blocks");
    };
    // Of a file that is complete, of one that is not, and of another one.
    run(&format!(
        "{download}\ngrep -q '</html>' report.html\ncp reports.zip whole.zip\n{resume}\ncmp reports.zip whole.zip\n\
         head -c 1000 whole.zip >reports.zip\nresume\ncmp reports.zip whole.zip\n\
         head -c 1000 whole.zip >reports.zip\necho '\"another\"' >etag\nif resume; then exit 1; fi"
    ));

    // Names with what means something to curl, jq and the shell.
    let (html, pdf) = ("-report[1] {a,b} \"$x\" 'y' *.html", "é ü#%41.pdf");
    std::fs::write(folder.path().join(html), "<p>Nothing found.</p>").unwrap();
    std::fs::write(folder.path().join(pdf), "%PDF-1.7").unwrap();
    let names = format!("set -- {} {}", quoted(html), quoted(pdf));
    let [publish] = blocks(include_str!("../../../../docs/publishing.md"))[..] else {
        panic!("the page has other blocks");
    };
    run(&publish.replace("set -- report.html report.pdf", &names));
    let after = running.list().await;
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().any(|report| report["projectName"] == "Shop"));
}

/// The README's way from SonarQube's call to a receiver that knows such calls.
#[tokio::test]
async fn the_readmes_source_takes_a_call_and_a_receiver_gets_it() {
    let tools = ["curl", "jq", "openssl"];
    if tools.iter().any(|tool| tools::find(tool).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    let receiver = Receiver::start().await;
    // What the section before leaves behind.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let kept = serde_json::json!({"secret": secret}).to_string();
    std::fs::write(folder.path().join("webhook.json"), kept).unwrap();
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme
        .split_once("\n## Calls of SonarQube and CodeScoring\n")
        .unwrap();
    let (_, script) = section.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let script = script.replace("http://127.0.0.1:9001", &receiver.url);
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-eu", "-c", &script]);
    let printed = tools::run(shell.envs(&running.environment).current_dir(&folder)).stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("\"outcome\":\"accepted\""), "{printed}");
    let [received] = receiver.wait_for(1).await.try_into().unwrap();
    assert_eq!(received.header("x-sonarqube-project"), "acme:shop");
    assert_eq!(received.json()["taskId"], "AZsr7Qe2dVb1kXo9TnPw");
    assert_signed(&received, secret);
}

/// The documentation's commands for clients of SonarQube, as they stand there but for the receiver. Their secrets are in no line
/// that `local` prints.
#[tokio::test]
async fn the_documented_clients_of_sonarqube_work_and_leave_no_secret_in_the_log() {
    let tools = ["curl", "jq"];
    if tools.iter().any(|tool| tools::find(tool).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    let receiver = Receiver::start().await;
    let page = include_str!("../../../../docs/sonarqube-clients.md");
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks.map(|it| it.split_once("```").unwrap().0).collect();
    let [set, use_it] = blocks[..] else {
        panic!("the page has other blocks");
    };
    let secret = "correct0horse0battery0staple";
    log::watch_secret(secret);
    // As clients that send all of it in the query, right and wrong.
    let in_query = format!(
        "for action in create update unknown; do curl -sS -u \"$SONAR_TOKEN:\" -X POST \
         \"$SONAR_HOST_URL/api/webhooks/$action?name=n&url=$0&secret={secret}&secret=x\"; done\n\
         curl -sS \"$SONAR_HOST_URL/api/webhooks/list?secret={secret}\"\necho"
    );
    let script = format!("{set}{use_it}{in_query}");
    let script = script.replace("http://127.0.0.1:9001/", &receiver.url);
    let script = script.replace("correct-horse-battery-staple", secret);
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-eu", "-c", &script, &receiver.url]);
    let printed = tools::run(shell.envs(&running.environment)).stdout;
    let printed = String::from_utf8(printed).unwrap();
    for expected in [
        "\"name\":\"Jenkins\"",
        "\"hasSecret\":true",
        "{\"pageIndex\":1,\"pageSize\":100,\"total\":0}",
        "The 'webhook' parameter is missing",
        "Unknown url : /api/webhooks/unknown",
        "Authentication is required",
    ] {
        assert!(printed.contains(expected), "{expected} is not in {printed}");
    }
    // It asks for leaks when it has ended.
    running.interrupt().await;
}

/// The text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
