//! A burst of calls, as when a server analyses all of its projects again: `cargo bench -p receive-events`.
//!
//! 10,000 calls come over HTTP, so many at a time, to the function, with the stand-ins of DynamoDB and SQS behind it. Each is timed
//! from its first byte to the end of its answer; beside that, the same client asks for a path that is nobody's, and is answered
//! without any store: that is what the server and the machine take. Afterwards each call is on the queue once. Lambda adds its own
//! part, and has a process for each call that is under way; DynamoDB takes some milliseconds.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use tests::source::{Source, call_of, signature};
use tests::system::{System, organization};

const CALLS: u32 = 10_000;
const AT_ONCE: [usize; 3] = [1, 10, 100];

#[tokio::main]
async fn main() {
    println!("at once  asked      calls/s    median      p99     most   refused");
    for at_once in AT_ONCE {
        let system = System::start().await;
        let source = Source::create(&system, organization()).await;
        let (url, path) = (&system.stack.api_url, source.path());
        for (what, path) in [("nobody", "/nothing"), ("source", path.as_str())] {
            let url = format!("{url}{path}");
            let began = Instant::now();
            let answers = (0..CALLS).map(|task| {
                let body = call_of(&task.to_string());
                let request = system
                    .http()
                    .post(&url)
                    .header(
                        "x-sonar-webhook-hmac-sha256",
                        signature(&source.secret, body.as_bytes()),
                    )
                    .body(body);
                async move {
                    let began = Instant::now();
                    let response = request.send().await.unwrap();
                    let status = response.status();
                    response.bytes().await.unwrap();
                    (began.elapsed(), status)
                }
            });
            let answers: Vec<(Duration, StatusCode)> = stream::iter(answers)
                .buffer_unordered(at_once)
                .collect()
                .await;
            let seconds = began.elapsed().as_secs_f64();
            let mut took: Vec<Duration> = answers.iter().map(|(took, _)| *took).collect();
            took.sort_unstable();
            let milliseconds = |at: usize| took[at].as_secs_f64() * 1e3;
            let refused = answers
                .iter()
                .filter(|(_, status)| *status != StatusCode::ACCEPTED)
                .count();
            println!(
                "{at_once:>7}  {what} {:>10.0} {:>6.2} ms {:>5.2} ms {:>5.1} ms {refused:>9}",
                f64::from(CALLS) / seconds,
                milliseconds(took.len() / 2),
                milliseconds(took.len() * 99 / 100),
                milliseconds(took.len() - 1),
            );
        }
        let took_in = usize::try_from(CALLS).unwrap();
        let queued = system.queued().await;
        let queued: BTreeSet<String> = queued
            .iter()
            .map(store::queue::work::Work::to_json)
            .collect();
        assert_eq!(
            queued.len(),
            took_in,
            "none is lost, and none is there twice"
        );
    }
}
