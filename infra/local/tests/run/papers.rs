//! The commands of the project's papers, as they stand there.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::receiver::{Receiver, assert_signed};
use tests::system::text;
use tests::{log, papers, tools};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::{Administrator, SONAR_TOKEN, publish, start};

#[tokio::test]
async fn the_readmes_commands_work() {
    if !tools::are_there(&["curl", "jq"]) {
        return;
    }
    let [run, test, use_it] = papers::commands("README.md");
    // This is what `start` runs, and that is what runs this.
    assert_eq!(
        (run.as_str(), test.as_str()),
        ("cargo run -p local\n", "cargo test\n")
    );
    assert!(include_str!("../../../../.ci/run").contains("\n    cargo test\n"));
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &[]).await;
    let mut shell = std::process::Command::new("sh");
    let script = format!("{use_it}\nunzip -l reports.zip 2>&1 || true\ntest -s reports.zip");
    let shell = shell.args(["-eu", "-c", &script]).current_dir(&folder);
    // It reads the addresses from the file, and nothing from here.
    let printed = String::from_utf8(tools::run(shell).stdout).unwrap();
    assert!(printed.contains("\"products\":"), "{printed}");
    assert!(printed.contains("\"projectVersion\":"), "{printed}");
    running.interrupt().await;
}

/// The receiver, and the commands around it, as they stand there.
#[tokio::test]
async fn the_documented_receiver_works() {
    if !tools::are_there(&["curl", "jq", "python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    // Of the README's port nobody knows whether it is free.
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let [create, use_it] = papers::commands("docs/receivers.md");
    let (create, use_it) = (create.replace("9001", &port), use_it.replace("9001", &port));
    let receiver = papers::program("docs/receivers.md", "python").replace("9001", &port);
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-eu", "-c", script]);
        tools::run(shell.envs(&running.environment).current_dir(&folder)).stdout
    };
    run(&create);
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
    let printed = String::from_utf8(run(&use_it)).unwrap();
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
    if !tools::are_there(&["curl", "jq"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &[]).await;
    let before = running.list().await.len();
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-eu", "-c", script]);
        tools::run(shell.envs(&running.environment).current_dir(&folder));
    };

    let [download, resume] = papers::commands("docs/api.md");
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
    // The first one is of the program, which has tests of its own.
    let [_, publish] = papers::commands("docs/publishing.md");
    run(&publish.replace("set -- report.html report.pdf", &names));
    let after = running.list().await;
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().any(|report| report["projectName"] == "Shop"));
}

/// The way from SonarQube's call to a receiver that knows such calls.
#[tokio::test]
async fn the_documented_source_takes_a_call_and_a_receiver_gets_it() {
    if !tools::are_there(&["curl", "jq", "openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    let receiver = Receiver::start().await;
    // What the page of receivers leaves behind.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let kept = serde_json::json!({"secret": secret}).to_string();
    std::fs::write(folder.path().join("webhook.json"), kept).unwrap();
    let [script] = papers::commands("docs/sources.md");
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
    if !tools::are_there(&["curl", "jq"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &["--no-demo"]).await;
    let receiver = Receiver::start().await;
    let [set, use_it] = papers::commands("docs/sonarqube-clients.md");
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

/// Whoever follows a page step by step makes a source, and a webhook that is told of its calls. Only the addresses are others.
#[tokio::test]
async fn the_documented_sources_and_webhooks_can_be_made() {
    if tools::find("curl").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join(".local"), &[]).await;
    let receiver = Receiver::start().await;
    let jenkins: [String; 2] = papers::commands("docs/jenkins.md");
    let codescoring: [String; 2] = papers::commands("docs/codescoring.md");
    // The second one is of the program, which has tests of its own.
    let [sonarqube, _] = papers::commands("docs/sonarqube.md");
    for command in [&jenkins[..], &codescoring[..], &[sonarqube]].concat() {
        let mut command = command;
        for (documented, ours) in [
            ("https://jenkins.example.com/", &receiver.url),
            ("https://tickets.example.com/", &receiver.url),
            (
                "https://sonarqube.example.com",
                &running.environment["SONARQUBE_URL"],
            ),
        ] {
            command = command.replace(documented, ours);
        }
        assert!(!command.contains("example.com"), "{command}");
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-eu", "-c", &command]);
        let shell = shell.env("SONAR_TOKEN", SONAR_TOKEN);
        let printed = tools::run(shell.envs(&running.environment)).stdout;
        let made: Value = serde_json::from_slice(&printed).unwrap();
        assert!(made["id"].is_string(), "{made}");
    }
    let administrator = Administrator::of(&running);
    // One source was there: that of the demo's server.
    for (what, expected) in [("sources", 4), ("webhooks", 2)] {
        let request = administrator
            .http
            .get(format!("{}/{what}", administrator.url));
        let request = request.bearer_auth(&administrator.token);
        let listed: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(listed[what].as_array().unwrap().len(), expected, "{listed}");
    }
}

/// The text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
