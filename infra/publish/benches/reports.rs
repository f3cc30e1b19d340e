//! What a report costs: `cargo bench -p publish`, on Linux.
//!
//! Requests, time and memory of reading what was found, of HTML and of PDF, for reports of several sizes. The server is a process of
//! its own, and so is each measurement, since a process tells only the most memory that it has ever had.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use findings::{Printed, Severity};
use local::sonarqube::{
    Analysis, Branch, Edition, FoundIssue, KnownRule, Project, StandIn, Status,
};
use sonarqube::{Client, Connection, Patience, Request, Token, VersionFallback, pull};

const TOKEN: &str = "squ_bench";
/// How many issues are open, spread over these categories.
const SIZES: [usize; 4] = [0, 200, 2_000, 10_000];
const CATEGORIES: [&str; 5] = ["79", "89", "22", "798", "352"];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [_, "serve", size] => serve(size.parse().unwrap()).await,
        [_, "measure", what, url] => measure(what, url).await,
        _ => all(),
    }
}

fn all() {
    println!("of one standard:     requests    time      peak memory   size");
    for size in SIZES {
        let mut server = itself(&["serve", &size.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let url = lines.next().unwrap().unwrap();
        println!("{size} issues");
        for what in ["reading", "HTML", "PDF"] {
            let output = itself(&["measure", what, &url]).output().unwrap();
            assert!(output.status.success());
            println!(
                "  {what:<16} {}",
                String::from_utf8(output.stdout).unwrap().trim_end()
            );
        }
        drop(server.stdin.take());
        println!(
            "  requests in all, of three readings: {}",
            lines.next().unwrap().unwrap()
        );
        server.wait().unwrap();
    }
}

fn itself(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdout(Stdio::piped());
    command
}

async fn serve(size: usize) {
    let edition = Edition::V2026_3 { mqr: true };
    let server = StandIn::start(edition, TOKEN, project(size)).await.unwrap();
    println!("{}", server.url);
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    end.await.unwrap().unwrap();
    println!("{}", server.asked().len());
}

async fn measure(what: &str, url: &str) {
    let client = Client::new(Connection {
        url: url.to_owned(),
        token: Token::new(TOKEN).unwrap(),
        organization: None,
        through_proxy: false,
        patience: Patience::default(),
    });
    let request = Request {
        project: "bench".to_owned(),
        branch: None,
        standards: vec!["cwe-top-25-2025".parse().unwrap()],
        fallback: VersionFallback::Refuse,
        properties: BTreeMap::new(),
        analysis: None,
        printed: Printed::DEFAULT,
    };
    let begun = Instant::now();
    let analysed = pull(&client.unwrap(), &request, &|_, _, _| {})
        .await
        .unwrap();
    let read = begun.elapsed();
    let assessment = &analysed.assessments[0];
    let begun = Instant::now();
    let size = match what {
        "HTML" => documents::html(assessment).len(),
        "PDF" => documents::pdf(assessment).unwrap().len(),
        _ => 0,
    };
    let time = if what == "reading" {
        read
    } else {
        begun.elapsed()
    };
    println!(
        "{:>20.2} s {:>10.0} MB {:>10.1} MB",
        time.as_secs_f64(),
        peak_kb() / 1e3,
        size as f64 / 1e6
    );
}

fn peak_kb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

fn project(size: usize) -> Project {
    let issue = |number: usize| FoundIssue {
        key: format!("{number:08}-0000-4000-8000-000000000000"),
        rule: format!("java:S{}", number % CATEGORIES.len()),
        path: format!(
            "src/main/java/com/example/shop/module{}/Controller{number}.java",
            number % 40
        ),
        line: 1 + number as u32 % 900,
        message:
            "Change this code to not construct SQL queries directly from user-controlled data."
                .to_owned(),
        severity: Some(Severity::ALL[number % 5]),
        impact: Some(Severity::ALL[number % 5]),
        status: Status::Open,
        created: "2026-01-31T17:55:39+0200".to_owned(),
        comment: None,
    };
    let rule = |(number, cwe): (usize, &&str)| KnownRule {
        key: format!("java:S{number}"),
        name: "Queries should not be vulnerable to injection attacks".to_owned(),
        html: "<p>Whoever writes the text writes the query.</p>".repeat(20),
        finds_hotspots: false,
        is_smell: false,
        language: "java",
        is_active: true,
        cwe: vec![(*cwe).to_owned()],
        owasp: Vec::new(),
    };
    Project {
        key: "bench".to_owned(),
        name: "Bench".to_owned(),
        is_visible: true,
        branches: vec![Branch {
            name: "main".to_owned(),
            analyses: vec![Analysis {
                key: "AZ1".to_owned(),
                date: "2026-03-05T10:51:17+0100".to_owned(),
                version: "1.4.0".to_owned(),
                revision: None,
                build: None,
            }],
            gate: None,
            issues: (0..size).map(issue).collect(),
            hotspots: Vec::new(),
        }],
        rules: CATEGORIES.iter().enumerate().map(rule).collect(),
    }
}
