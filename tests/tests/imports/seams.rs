//! A failure at every seam: each call to DynamoDB, S3 and SQS fails once, before it is sent or after it took effect, alone or together with
//! all later ones, as when the process is killed there; and so does each request to the server. After the rounds of some hours each analysis has
//! its reports once.

use std::time::Duration as StdDuration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use futures_util::{StreamExt as _, stream};
use import_analysis::Importing;
use local::Clients;
use receive_events::Receiving;
use retry_webhooks::Retrying;
use serde_json::json;
use sonarqube::Patience;
use tests::failures::{Break, Failures, Process};
use tests::queue::ByHand;
use tests::server::{Imports, PATIENCE, project};
use time::{Duration, OffsetDateTime};

/// How the world is broken.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// At a call of AWS.
    Aws(Break),
    /// The n-th request to the server is refused.
    Server {
        /// Which, where 1 is the first.
        n: usize,
    },
}

/// What the process under test works with.
struct Functions {
    receiving: Receiving,
    importing: Importing,
    retrying: Retrying,
}

impl Functions {
    fn of(imports: &Imports, failures: &Failures) -> Self {
        let stack = &imports.system.stack;
        let clients = |function: &str| {
            let base = &stack.clients[function];
            Clients {
                s3: failures.s3(&base.s3),
                ..failures.clients(base)
            }
        };
        let importing = stack.importing_with(&clients("ImportAnalysis")).unwrap();
        Self {
            receiving: stack.receiving_with(&clients("ReceiveEvents")).unwrap(),
            // What is refused is not asked for again at once.
            importing: Importing {
                patience: Patience {
                    requests: 1,
                    ..PATIENCE
                },
                ..importing
            },
            retrying: stack.retrying_with(&clients("RetryWebhooks")).unwrap(),
        }
    }
}

struct World {
    imports: Imports,
    process: Process<Functions>,
}

impl World {
    async fn new(broken: Option<Broken>) -> Self {
        let imports =
            Imports::start_with(project(1), json!({"standards": ["owasp-top-10-2021"]})).await;
        // What creating the source has put there.
        imports.import(OffsetDateTime::now_utc()).await;
        let before = imports.server.asked().len();
        let at = match broken {
            Some(Broken::Aws(it)) => Some(it),
            Some(Broken::Server { n }) => {
                imports.server.trouble(move |asked, _| {
                    (asked.before + 1 == before + n)
                        .then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
                });
                None
            }
            None => None,
        };
        Self {
            process: Process::new(at, |failures| Functions::of(&imports, failures)),
            imports,
        }
    }

    fn queue(&self) -> ByHand<'_> {
        let stack = &self.imports.system.stack;
        ByHand {
            sqs: &stack.sqs,
            url: stack.imports_queue(),
        }
    }

    /// Calls the source once: `SonarQube` never repeats a call. Gives whether it was taken.
    async fn call(&mut self, task: &str) -> bool {
        let body = self.imports.server.call_of("trunk", Some(task));
        let receiving = &self.process.now().receiving;
        let status = self.imports.source.call_at(receiving, body).await;
        !self.process.note_kill() && status == StatusCode::ACCEPTED
    }

    async fn round(&mut self, now: OffsetDateTime) {
        retry_webhooks::round(&self.process.now().retrying, now, retry_webhooks::BUDGET).await;
        self.process.note_kill();
        self.consume(now).await;
    }

    /// Takes everything from the queue once, one message at a time as template.yaml has it. What is not done comes again at the next
    /// call.
    async fn consume(&mut self, now: OffsetDateTime) {
        let mut again = Vec::new();
        loop {
            let messages = self.queue().some().await;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let event = ByHand::batch(std::slice::from_ref(&message));
                let importing = &self.process.now().importing;
                let budget = StdDuration::from_secs(60);
                let response = import_analysis::handle(importing, event, now, budget).await;
                // A process that was killed says nothing of its messages.
                if self.process.note_kill() || !response.batch_item_failures.is_empty() {
                    again.push(message);
                } else {
                    self.queue().delete(&message).await;
                }
            }
        }
        for message in again {
            self.queue().show_again(&message).await;
        }
    }
}

/// Lives through a world. Gives which calls of AWS there were, and how many requests to the server.
async fn live(broken: Option<Broken>) -> (Vec<String>, usize) {
    let mut world = World::new(broken).await;
    let start = OffsetDateTime::now_utc();
    let asked = world.imports.server.asked().len();
    let is_taken = world.call("AZ1").await;
    world.consume(start).await;
    // One whose call never comes.
    world.imports.analyse("trunk-2", 2, "1.1");
    world.round(start + Duration::HOUR).await;
    let calls = world.process.calls();
    let asked = world.imports.server.asked().len() - asked;
    // Whatever happened, some hours later it is all right.
    world.process.restart();
    for hours in 2..=3 {
        world.round(start + Duration::HOUR * hours).await;
    }

    let context = format!("{broken:?}");
    let told = world
        .imports
        .source
        .calls(&world.imports.system, world.imports.org)
        .await;
    for call in &told {
        let state = call["import"]["state"].as_str().unwrap();
        // What was found before may not have been readable any more when the process was there again.
        assert!(
            ["published", "superseded"].contains(&state),
            "{context}: {call}"
        );
        let is_its_own = call["import"]["reports"]
            .as_array()
            .is_some_and(|it| it.len() == 1);
        assert_eq!(is_its_own, state == "published", "{context}: {call}");
    }
    let published = told
        .iter()
        .filter(|it| it["import"]["state"] == "published");
    let reports = world.imports.reports().await;
    assert_eq!(
        published.count(),
        reports.len(),
        "{context}: {told:?} {reports:?}"
    );
    for (version, _, revision, count) in &reports {
        assert_eq!((*revision, *count), (1, 1), "{context}: {version} once");
    }
    if is_taken {
        // The first call makes the branch known, so that the second analysis is found.
        assert!(
            reports.iter().any(|it| it.0 == "1.1"),
            "{context}: {reports:?} {told:?}"
        );
        assert!(told.iter().any(|it| it["taskId"] == "AZ1"), "{context}");
    }
    (calls, asked)
}

#[tokio::test]
async fn without_a_failure_each_analysis_has_its_reports() {
    let (calls, asked) = live(None).await;
    assert!(
        calls.len() > 30 && asked > 30,
        "there are seams to break: {calls:?}, {asked}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_at_any_seam_each_analysis_has_its_reports_once() {
    let (calls, _) = live(None).await;
    let breaks = Break::each_of(&calls).into_iter().map(Broken::Aws);
    break_each(breaks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_of_any_request_each_analysis_has_its_reports_once() {
    let (_, asked) = live(None).await;
    break_each((1..=asked).map(|n| Broken::Server { n })).await;
}

async fn break_each(breaks: impl Iterator<Item = Broken>) {
    let lives = breaks.map(|broken| tokio::spawn(live(Some(broken))));
    let mut lives = stream::iter(lives).buffer_unordered(2);
    while let Some(life) = lives.next().await {
        life.unwrap();
    }
}
