//! What the start of a function costs, and what its first events do: `cargo bench -p tests --bench cold_start --profile dev`, on
//! Linux.
//!
//! The profile is that of the benchmark alone. It builds the functions for release, starts each against a Runtime API, has
//! it answer some events, and ends it. All have their turn before the first has its second one, so that what else the machine
//! does hits all alike. Two functions that do nothing are among them, which show what Lambda's runtime costs. The clock of
//! a busy machine says little; CPU time says more.
//!
//! Work that is put off from the start comes back with the first event, so that is measured too. DynamoDB, S3 and SQS are
//! called by TLS then, as on AWS. The certificate for it is made by `openssl`. What a function waits for is mostly the work of
//! these stand-ins, which are in the process of the benchmark: so its CPU time is measured beside the function's.
//!
//! Other binaries of the functions are measured in the same run when their paths are given, as of the same functions
//! before a change: put `-- /tmp/before/list-reports` behind the command.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::ffi::OsString;
use std::fs::DirEntry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::token::Right;
use identity::Role;
use local::DevelopmentIssuer;
use local::client::File;
use serde_json::{Value, json};
use store::queue::imports::LookAfter;
use store::queue::work::Work;
use tests::lambda::{Function, event};
use tests::samples::{files, metadata};
use tests::source::{Source, call_of, signature};
use tests::system::{System, organization};
use tests::tls;
use tests::visitor::Visitor;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How often each binary is started.
const STARTS: usize = 40;
/// How many events it answers each time, of which some are shown.
const EVENTS: usize = 10;
const SHOWN: [(&str, usize); 3] = [("first", 0), ("second", 1), ("tenth", EVENTS - 1)];

const FUNCTIONS: [&str; 9] = [
    "list-reports",
    "download-files",
    "publish-report",
    "manage-webhooks",
    "panel",
    "receive-events",
    "import-analysis",
    "deliver-webhooks",
    "retry-webhooks",
];
/// Of the crate `hello-world`. The first one is what all are compared with.
const HELLO_WORLDS: [&str; 2] = ["hello-world", "hello-world-http"];

#[tokio::main]
async fn main() {
    let others = std::env::args_os().skip(1);
    let others = others.filter(|argument| argument != "--bench"); // Cargo says so by itself.
    let mut binaries: Vec<Binary> = build()
        .into_iter()
        .chain(others.map(Binary::other))
        .collect();
    let system = System::start().await;
    let folder = tempfile::tempdir().unwrap();
    let environment = with_tls(system.stack.environment(), folder.path()).await;
    let events = events(&system).await;
    for _ in 0..STARTS {
        for binary in &mut binaries {
            let event = events.iter().find(|event| binary.path.ends_with(event.to));
            binary
                .runs
                .push(run(&binary.path, &environment, event.unwrap()).await);
        }
    }
    print(&binaries);
}

/// A binary, and how it did.
struct Binary {
    label: String,
    path: PathBuf,
    runs: Vec<Run>,
}

/// One start, and the events after it.
struct Run {
    start: Cost,
    events: Vec<Cost>,
}

/// What it took.
struct Cost {
    time: Duration,
    cpu: Duration,
    /// The CPU time of the benchmark itself: of what the function calls.
    stand_ins: Duration,
    /// The most memory that the process has had until then.
    peak_kb: f64,
}

impl Binary {
    fn built(name: &str, path: PathBuf) -> Self {
        Self {
            label: name.to_owned(),
            path,
            runs: Vec::new(),
        }
    }

    fn other(path: OsString) -> Self {
        Self {
            label: path.display().to_string(),
            path: path.into(),
            runs: Vec::new(),
        }
    }
}

/// Builds what is measured, with the features of all crates as a deployment does; the hello worlds come first.
fn build() -> Vec<Binary> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
    ]);
    let names = HELLO_WORLDS.into_iter().chain(FUNCTIONS);
    cargo.args(names.clone().flat_map(|name| ["--bin", name]));
    let output = cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo build: {}", output.status);
    let built: Vec<PathBuf> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    let binary = |name: &str| {
        let path = built.iter().find(|path| path.ends_with(name));
        Binary::built(name, path.unwrap().clone())
    };
    names.map(binary).collect()
}

/// The environment with services that are called by TLS, whose certificate is trusted beside the machine's.
async fn with_tls(
    mut environment: Vec<(&'static str, String)>,
    folder: &Path,
) -> Vec<(&'static str, String)> {
    let [certificate, key, trusted] =
        ["certificate.pem", "key.pem", "trusted.pem"].map(|name| folder.join(name));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let acceptor = tls::acceptor(&certificate, &key);
    for (name, value) in &mut environment {
        if name.starts_with("AWS_ENDPOINT_URL") {
            let address = value.strip_prefix("http://").unwrap().to_owned();
            *value = format!("https://{}", in_front_of(address, acceptor.clone()).await);
        }
    }

    // One file has them all, as on Lambda. Many a machine has each in a file of its own too, and all would be read.
    let machines = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ];
    let machines = machines
        .into_iter()
        .find_map(|file| std::fs::read(file).ok());
    let all = [machines.unwrap(), std::fs::read(certificate).unwrap()].concat();
    std::fs::write(&trusted, all).unwrap();
    environment.push(("SSL_CERT_FILE", trusted.to_str().unwrap().to_owned()));
    environment
}

/// Listens for TLS, and passes on what comes.
async fn in_front_of(address: String, acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (outside, _) = listener.accept().await.unwrap();
            tokio::spawn(pass_on(outside, address.clone(), acceptor.clone()));
        }
    });
    front
}

async fn pass_on(outside: TcpStream, address: String, acceptor: TlsAcceptor) {
    let mut inside = TcpStream::connect(address).await.unwrap();
    inside.set_nodelay(true).unwrap();
    outside.set_nodelay(true).unwrap();
    // It ends when the function is killed.
    if let Ok(mut outside) = acceptor.accept(outside).await {
        let _ = copy_bidirectional(&mut outside, &mut inside).await;
    }
}

/// What a function is sent, and what it has to answer: JSON, or the status of an HTTP response.
struct Event {
    to: &'static str,
    event: Value,
    answer: Value,
}

impl Event {
    fn new(to: &'static str, event: Value, answer: impl Into<Value>) -> Self {
        Self {
            to,
            event,
            answer: answer.into(),
        }
    }
}

/// An event for each function. Each can come again and again.
async fn events(system: &System) -> Vec<Event> {
    let org = organization();
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    let change = system.changes().await.remove(0);
    let token = system
        .stack
        .create_token("bench", org, &[Right::Publish])
        .await
        .unwrap();
    let token = format!("Bearer {}", token.reveal());
    let jwt = format!("Bearer {}", system.jwt(org, Role::Administrator));
    let mut declaration = metadata("2.0");
    declaration["files"] = files("b").iter().map(File::declaration).collect();

    let source = Source::create(system, org).await;
    let org = org.to_string();
    let get = |path: &str, query: &[_], headers: &[_]| event("GET", path, query, headers, None);
    let list = [("org", org.as_str()), ("minver", "0")];
    let download = [("org", org.as_str()), ("reports", report.as_str())];
    let publish = event(
        "POST",
        "/security/report",
        &[],
        &[
            ("Authorization", token.as_str()),
            ("Content-Type", "application/json"),
        ],
        Some(&declaration.to_string()),
    );
    let webhooks = format!("/organizations/{org}/webhooks");
    let call = call_of("AZ1");
    let called = event(
        "POST",
        &source.path(),
        &[],
        &[(
            "X-Sonar-Webhook-HMAC-SHA256",
            &signature(&source.secret, call.as_bytes()),
        )],
        Some(&call),
    );
    // One that was deleted meanwhile: how long a server takes says nothing of the function.
    let gone = uuid::Uuid::new_v4().to_string().parse().unwrap();
    let gone = LookAfter::source(organization(), gone);
    let gone = json!({"Records": [{"messageId": "1", "body": gone.to_json()}]});
    let change = Work::change(change).to_json();
    let batch = json!({"Records": [{"messageId": "1", "body": change}]});
    vec![
        Event::new(HELLO_WORLDS[0], json!({}), "Hello, world!"),
        Event::new(HELLO_WORLDS[1], get("/", &[], &[]), 200),
        Event::new(
            "list-reports",
            get("/security/report/list", &list, &[]),
            200,
        ),
        Event::new(
            "download-files",
            get("/security/report/files", &download, &[]),
            200,
        ),
        Event::new("publish-report", publish, 201),
        Event::new(
            "manage-webhooks",
            get(&webhooks, &[], &[("Authorization", jwt.as_str())]),
            200,
        ),
        Event::new("panel", page_of(system).await, 200),
        // After the first time it is known, which is a read instead of an entry in two indexes.
        Event::new("receive-events", called, 202),
        Event::new("import-analysis", gone, json!({"batchItemFailures": []})),
        Event::new("deliver-webhooks", batch, json!({"batchItemFailures": []})),
        Event::new("retry-webhooks", json!({}), Value::Null),
    ]
}

/// A page of the panel for somebody who has signed in: a session, the identity provider's keys once, a list.
async fn page_of(system: &System) -> Value {
    let visitor = Visitor::signed_in(system, "administrator").await;
    let path = format!("{}/webhooks", visitor.home().await);
    let session = visitor.cookie("session").unwrap();
    let cookie = format!("__Host-session={session}");
    let mut event = event("GET", &path, &[], &[("Cookie", &cookie)], None);
    event["stageVariables"] = json!({ "PanelClientId": DevelopmentIssuer::PANEL_CLIENT });
    event
}

async fn run(binary: &Path, environment: &[(&'static str, String)], event: &Event) -> Run {
    let mut watch = Stopwatch::start();
    let mut function = Function::start(binary, environment).await;
    let process = function.process.id().unwrap();
    let asked = function.asked().await;
    let start = watch.lap(asked, process);
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        watch = watch.again(process);
        let answer = function.invoke(event.event.clone()).await;
        let asked = function.asked().await;
        events.push(watch.lap(asked, process));
        let answer = match event.event["httpMethod"].is_null() {
            true => answer.json(),
            false => answer.into_reply().status.as_u16().into(),
        };
        assert_eq!(answer, event.answer, "{}", binary.display());
    }
    Run { start, events }
}

/// When something began, and what CPU time had been spent by then.
struct Stopwatch {
    begun: Instant,
    cpu: Duration,
    stand_ins: Duration,
}

impl Stopwatch {
    /// Before there is a process.
    fn start() -> Self {
        Self {
            begun: Instant::now(),
            cpu: Duration::ZERO,
            stand_ins: cpu(std::process::id()),
        }
    }

    fn again(self, process: u32) -> Self {
        Self {
            cpu: cpu(process),
            ..Self::start()
        }
    }

    fn lap(&self, end: Instant, process: u32) -> Cost {
        Cost {
            time: end - self.begun,
            cpu: cpu(process) - self.cpu,
            stand_ins: cpu(std::process::id()).saturating_sub(self.stand_ins),
            peak_kb: peak_kb(process),
        }
    }
}

/// The CPU time of all threads of a process, as Linux's scheduler has it. Few have ended by then.
fn cpu(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let nanoseconds = |thread: std::io::Result<DirEntry>| {
        let statistics = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        let running = statistics.split(' ').next().unwrap();
        Duration::from_nanos(running.parse().unwrap())
    };
    threads.map(nanoseconds).sum()
}

fn peak_kb(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

fn print(binaries: &[Binary]) {
    println!(
        "{STARTS} starts of each: medians, of the time also the 10th and the 90th percentile, and how many times"
    );
    println!("what {} takes.\n", HELLO_WORLDS[0]);
    println!(
        "{:<18} {:^14} {:^26} {:^15} {:^15}",
        "", "size", "start", "CPU time", "memory"
    );
    let hello = &binaries[0];
    for binary in binaries {
        let ratio = |of: &dyn Fn(&Binary) -> f64| format!("{:>5.1} ×", of(binary) / of(hello));
        let size = |binary: &Binary| std::fs::metadata(&binary.path).unwrap().len() as f64 / 1e6;
        let start = |binary: &Binary| binary.median(|run| milliseconds(run.start.time));
        let cpu = |binary: &Binary| binary.median(|run| milliseconds(run.start.cpu));
        let memory = |binary: &Binary| binary.median(|run| run.start.peak_kb / 1e3);
        let [low, high] =
            [0.1, 0.9].map(|part| binary.quantile(part, |run| milliseconds(run.start.time)));
        println!(
            "{:<18} {:>4.1} MB{} {:>5.1} ms ({low:>4.1} to {high:>4.1}){} {:>5.1} ms{} {:>4.1} MB{}",
            binary.label,
            size(binary),
            ratio(&size),
            start(binary),
            ratio(&start),
            cpu(binary),
            ratio(&cpu),
            memory(binary),
            ratio(&memory),
        );
    }
    println!(
        "\nEvents: time, CPU time, and that of the stand-ins, in ms; and the memory after the last one\n"
    );
    print!("{:<18}", "");
    for (name, _) in SHOWN {
        print!(" {name:^20}");
    }
    println!();
    for binary in binaries {
        print!("{:<18}", binary.label);
        for (_, number) in SHOWN {
            let median = |of: fn(&Cost) -> Duration| {
                binary.median(|run| milliseconds(of(&run.events[number])))
            };
            print!(
                " {:>6.1} {:>6.1} {:>6.1}",
                median(|event| event.time),
                median(|event| event.cpu),
                median(|event| event.stand_ins),
            );
        }
        let memory = binary.median(|run| run.events[EVENTS - 1].peak_kb / 1e3);
        println!(" {memory:>6.1} MB");
    }
}

impl Binary {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.quantile(0.5, of)
    }

    fn quantile(&self, part: f64, of: impl Fn(&Run) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[(part * (values.len() - 1) as f64).round() as usize]
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
