//! What an import takes: `cargo bench -p import-analysis`, on Linux.
//!
//! Time, CPU and peak memory of the function, from the message to two published reports, for analyses of several sizes. The server, the tables, the bucket
//! and the queue are stand-ins in the process of the benchmark, so their CPU is not in it; and each measurement is a process of its own, since a process
//! tells only the most memory that it has ever had. Lambda's own part is not in it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use import_analysis::{Importing, handle};
use outbound::address::AddressPolicy;
use outbound::sender::{DEADLINE, Sender, SenderOptions};
use runtime::config::{self, Environment};
use serde_json::json;
use store::queue::imports::LookAfter;
use tests::queue::batch;
use tests::server::{Imports, project};
use time::OffsetDateTime;

/// How many issues are open.
const SIZES: [u32; 4] = [0, 200, 2_000, 10_000];
/// How often each is measured, of which the median is shown.
const TIMES: usize = 5;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "measure", message] => measure(message).await,
        _ => all().await,
    }
}

async fn all() {
    println!("issues   time      CPU       peak memory   requests to the server");
    for size in SIZES {
        let mut measured = Vec::new();
        let mut asked = 0;
        for _ in 0..TIMES {
            let imports = Imports::start_with(project(size), json!({"standards": null})).await;
            imports.call("trunk", "AZ1").await;
            let look = LookAfter::source(imports.org, imports.source.id.parse().unwrap());
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["measure", &look.to_json()]);
            child.envs(imports.system.stack.environment());
            child.env("AWS_LAMBDA_FUNCTION_NAME", "import-analysis");
            let output = tokio::task::spawn_blocking(move || child.output()).await;
            let output = output.unwrap().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(imports.of_task("AZ1").await["state"], "published");
            asked = imports.server.asked().len();
            let printed = String::from_utf8(output.stdout).unwrap();
            let numbers = printed.lines().last().unwrap().split(' ');
            measured.push(
                numbers
                    .map(|it| it.parse::<f64>().unwrap())
                    .collect::<Vec<_>>(),
            );
        }
        let median = |of: usize| {
            let mut values: Vec<f64> = measured.iter().map(|it| it[of]).collect();
            values.sort_by(f64::total_cmp);
            values[TIMES / 2]
        };
        println!(
            "{size:>6} {:>7.2} s {:>7.2} s {:>10.0} MB {asked:>10}",
            median(0),
            median(1),
            median(2)
        );
    }
}

async fn measure(message: &str) {
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await.unwrap();
    let sender = Sender::new(SenderOptions {
        addresses: AddressPolicy::PublicAndLoopback,
        plain_http: true,
        deadline: DEADLINE,
    });
    let importing = Importing::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_s3::Client::new(&config::for_objects(&aws)),
        aws_sdk_sqs::Client::new(&aws),
        sender.unwrap(),
    );
    let event = batch([message.to_owned()]);
    let begun = (Instant::now(), cpu());
    let budget = Duration::from_secs(800);
    let now = OffsetDateTime::now_utc();
    let response = handle(&importing.unwrap(), event, now, budget).await;
    assert!(response.batch_item_failures.is_empty());
    let took = begun.0.elapsed().as_secs_f64();
    println!("{took} {} {}", cpu() - begun.1, peak_kb() / 1e3);
}

/// The CPU time of this process in seconds.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = threads.map(|thread| {
        let path = thread.unwrap().path().join("schedstat");
        let statistics = std::fs::read_to_string(path).unwrap();
        statistics
            .split(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn peak_kb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}
