//! How long a webhook waits for its message: `cargo bench -p tests --bench latency --profile dev`.
//!
//! A report is published, alone, and its message comes: measured from the answer to the publisher to when the receiver has the
//! whole message, for several batching windows. Everything is on this machine, so what is shown is the window, and what the
//! product adds to it; the profile is that of the benchmark, and makes no difference to a second. SQS and Lambda add to it
//! what only AWS can show.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::time::{Duration, Instant};

use local::Options;
use tests::receiver::Receiver;
use tests::samples::{files, metadata};
use tests::system::{System, organization};

const WINDOWS: [u64; 3] = [0, 1, 5];
/// How many reports are published, one after the other.
const REPORTS: usize = 11;

#[tokio::main]
async fn main() {
    println!("window     least    median      most");
    for seconds in WINDOWS {
        let mut took = latencies(Duration::from_secs(seconds)).await;
        took.sort_unstable();
        let milliseconds = |at: usize| took[at].as_secs_f64() * 1e3;
        println!(
            "{seconds:>4} s {:>8.0} ms {:>6.0} ms {:>6.0} ms",
            milliseconds(0),
            milliseconds(REPORTS / 2),
            milliseconds(REPORTS - 1),
        );
    }
}

async fn latencies(batching_window: Duration) -> Vec<Duration> {
    let system = System::start_with(Options {
        batching_window,
        retry_every: Some(Duration::from_secs(3600)),
        ..Options::default()
    })
    .await;
    let (org, receiver) = (organization(), Receiver::start().await);
    system.webhook(org, &receiver.url).await;
    let publisher = system.publisher(org).await;
    let mut took = Vec::new();
    for number in 0..REPORTS {
        let metadata = metadata(&format!("1.{number}"));
        publisher.publish(&metadata, &files("a")).await.unwrap();
        let published = Instant::now();
        receiver.wait_for(number + 1).await;
        took.push(published.elapsed());
    }
    took
}
