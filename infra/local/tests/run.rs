//! `cargo run -p local` as somebody who tries it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tests::tools;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_local");
const ORG: &str = "00000000-0000-0000-0000-000000000001";

/// A running process, and what it printed until it was ready.
struct Running {
    process: Child,
    printed: String,
    /// Keeps the pipe open.
    _output: Lines<BufReader<ChildStdout>>,
    environment: HashMap<String, String>,
}

fn local(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn start(data: &Path, arguments: &[&str]) -> Running {
    let mut process = local(data, arguments)
        .args(["--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
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
        self.process.wait().await.unwrap()
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
        running.printed.contains("Publishing demo report 1 of"),
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
    assert_eq!(lines.len(), 3);
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

    let running = start(data.path(), &[]).await;
    assert_eq!(running.list().await, before);
    assert_eq!(
        running.environment["PUBLISH_TOKEN"], token,
        "what used the token goes on working"
    );
    assert!(
        !running.printed.contains("Publishing demo report"),
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
    drop(running);

    let running = start(data.path(), &["--fresh", "--no-demo"]).await;
    assert!(running.list().await.is_empty());
    assert_ne!(running.environment["PUBLISH_TOKEN"], token);
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
    let token = shared::token::TokenSecret::parse(String::from_utf8(output.stdout).unwrap().trim())
        .unwrap();
    let publisher = local::client::Publisher::new(&running.environment["API_URL"], token).unwrap();
    let report = &local::demo_reports()[0];
    publisher
        .publish(&report.metadata, &report.files)
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

/// The README's commands for users of the API and for CI, run as they stand there.
#[tokio::test]
async fn the_readme_works() {
    if tools::find("curl").is_none() || tools::find("jq").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &[]).await;
    let before = running.list().await.len();
    let readme = include_str!("../../../README.md");
    for (section, creates) in [
        ("## Use the API", "reports.zip"),
        ("## Publish from CI", "answer.json"),
    ] {
        let (_, section) = readme.split_once(section).unwrap();
        let (_, block) = section.split_once("```sh\n").unwrap();
        let (script, _) = block.split_once("```").unwrap();
        std::fs::write(folder.path().join("report.html"), "<p>Nothing found.</p>").unwrap();
        std::fs::write(folder.path().join("report.pdf"), "%PDF-1.7").unwrap();
        let mut shell = std::process::Command::new("sh");
        tools::run(
            shell
                .args(["-eu", "-c", script])
                .envs(&running.environment)
                .current_dir(&folder),
        );
        assert!(folder.path().join(creates).exists(), "{creates}");
    }
    let after = running.list().await;
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().any(|report| report["projectName"] == "Shop"));
}
