//! A failure at every seam: each call to DynamoDB and SQS fails once, before it is sent or after it took effect, alone or
//! together with all later ones, as when the process is killed there. Afterwards everything goes on, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration as StdDuration;

use axum::body::Body;
use axum::http::Request;
use deliver_webhooks::Delivering;
use domain::organization::OrganizationId;
use domain::report::ReportKey;
use domain::token::Right;
use futures_util::{StreamExt as _, stream};
use publish_report::Publishing;
use receive_events::Receiving;
use reqwest::StatusCode;
use retry_webhooks::Retrying;
use serde_json::{Value, json};
use tests::at_once::AtOnce;
use tests::failures::{Break, Failures, Process};
use tests::queue::ByHand;
use tests::receiver::{Answer, Received, Receiver};
use tests::samples::{files, metadata};
use tests::source::{Source, call_of, event_of, events_of};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

/// What the process under test works with.
struct Functions {
    publishing: Publishing,
    receiving: Receiving,
    delivering: Delivering,
    retrying: Retrying,
}

impl Functions {
    fn of(system: &System, failures: &Failures) -> Self {
        let stack = &system.stack;
        let clients = |function: &str| AtOnce.of(failures.clients(&stack.clients[function]));
        let publisher = clients("PublishReport");
        Self {
            publishing: Publishing {
                publisher: stack.publishing_with(&publisher).unwrap().publisher,
                ..stack.publishing.clone()
            },
            receiving: stack.receiving_with(&clients("ReceiveEvents")).unwrap(),
            delivering: stack.delivering_with(&clients("DeliverWebhooks")).unwrap(),
            retrying: stack.retrying_with(&clients("RetryWebhooks")).unwrap(),
        }
    }
}

struct World {
    system: System,
    org: OrganizationId,
    process: Process<Functions>,
}

impl World {
    async fn new(broken: Option<Break>) -> Self {
        let system = System::start().await;
        Self {
            org: organization(),
            process: Process::new(broken, |failures| Functions::of(&system, failures)),
            system,
        }
    }

    fn queue(&self) -> ByHand<'_> {
        let stack = &self.system.stack;
        ByHand {
            sqs: &stack.sqs,
            url: stack.events_queue(),
        }
    }

    /// Publishes as CI does it: what fails on our side is repeated.
    async fn publish(&mut self, version: &str) -> String {
        let publisher = self.system.publisher(self.org).await;
        let begun = publisher.begin(&metadata(version), &files(version)).await;
        let begun: Value = begun.unwrap().json().await.unwrap();
        publisher.upload(&begun, &files(version)).await.unwrap();
        let rights = [Right::Publish];
        let token = self
            .system
            .stack
            .create_token("ci", self.org, &rights)
            .await;
        let token = token.unwrap();
        let path = format!(
            "/security/report/uploads/{}/complete",
            text(&begun["uploadId"])
        );
        for _ in 0..3 {
            let stack = &self.system.stack;
            let publishing = &self.process.now().publishing;
            let service = local::service(&local::Functions {
                publishing,
                ..stack.functions()
            });
            let request = Request::post(&path)
                .header("authorization", format!("Bearer {}", token.reveal()))
                .body(Body::empty())
                .unwrap();
            let response = service.oneshot(request).await.unwrap();
            self.process.note_kill();
            if response.status().is_success() {
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                return text(&serde_json::from_slice::<Value>(&body.unwrap()).unwrap()["id"]);
            }
        }
        panic!("{version} could not be published");
    }

    /// Calls a source once: `SonarQube` never repeats a call. Gives whether it was taken.
    async fn call(&mut self, source: &Source, body: String) -> bool {
        let status = source.call_at(&self.process.now().receiving, body).await;
        // Nobody hears what a process says that was killed.
        !self.process.note_kill() && status == StatusCode::ACCEPTED
    }

    /// Takes everything from the queue once. What is not done comes again at the next call.
    async fn consume(&mut self, now: OffsetDateTime) {
        let mut again = Vec::new();
        loop {
            let messages = self.queue().all().await;
            if messages.is_empty() {
                break;
            }
            let event = ByHand::batch(&messages);
            let delivering = &self.process.now().delivering;
            let budget = StdDuration::from_secs(60);
            let response = deliver_webhooks::handle(delivering, event, now, budget).await;
            let is_lost = self.process.note_kill();
            for message in messages {
                let failed = response
                    .batch_item_failures
                    .iter()
                    .any(|failure| Some(&failure.item_identifier) == message.message_id.as_ref());
                // A process that was killed says nothing of its messages.
                if failed || is_lost {
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

    async fn round(&mut self, now: OffsetDateTime) {
        retry_webhooks::round(&self.process.now().retrying, now, retry_webhooks::BUDGET).await;
        self.process.note_kill();
        self.consume(now).await;
    }
}

/// Refuses each message once.
async fn flaky(status: u16) -> Receiver {
    let receiver = Receiver::start().await;
    let seen = Mutex::new(BTreeSet::new());
    receiver.answer_by(move |received| {
        let is_new = seen
            .lock()
            .unwrap()
            .insert(received.header("webhook-id").to_owned());
        Answer::Status(if is_new { status } else { 200 })
    });
    receiver
}

/// Lives through a world, and gives how many calls there were.
async fn live(broken: Option<Break>) -> Vec<String> {
    let mut world = World::new(broken).await;
    let receivers = [flaky(400).await, flaky(503).await];
    let mut webhooks = Vec::new();
    for receiver in &receivers {
        webhooks.push(world.system.webhook(world.org, &receiver.url).await);
    }
    let start = OffsetDateTime::now_utc();

    let mut expected = BTreeSet::new();
    for version in ["1.0", "1.0"] {
        let id = world.publish(version).await;
        expected.insert(id);
    }
    world.consume(start).await;
    world.round(start + Duration::HOUR).await;
    let calls = world.process.calls();
    // Whatever happened, some hours later it is all right.
    world.process.restart();
    for hours in 2..=5 {
        world.round(start + Duration::HOUR * hours).await;
    }

    for (receiver, webhook) in receivers.iter().zip(&webhooks) {
        check(&world, receiver, webhook, &expected, broken).await;
    }
    check_that_nothing_is_left(&world, broken).await;
    calls
}

/// The same of calls of `SonarQube`, in both formats.
async fn live_with_calls(broken: Option<Break>) -> Vec<String> {
    let mut world = World::new(broken).await;
    let source = Source::create(&world.system, world.org).await;
    let receivers = [flaky(404).await, flaky(503).await];
    let settings = [
        json!({"name": "ours", "events": ["analysis.completed"], "schedule": "codescoring"}),
        json!({"name": "SonarQube's", "format": "sonarqube"}),
    ];
    let mut webhooks = Vec::new();
    for (receiver, mut settings) in receivers.iter().zip(settings) {
        settings["url"] = json!(receiver.url);
        webhooks.push(world.system.webhook_with(world.org, settings).await);
    }
    let start = OffsetDateTime::now_utc();

    let mut taken = BTreeSet::new();
    if world.call(&source, call_of("AZ1")).await {
        taken.insert("AZ1".to_owned());
    }
    world.publish("1.0").await;
    world.consume(start).await;
    world.round(start + Duration::HOUR).await;
    let calls = world.process.calls();
    world.process.restart();
    for hours in 2..=3 {
        world.round(start + Duration::HOUR * hours).await;
    }

    let context = format!("{broken:?}");
    for (receiver, webhook) in receivers.iter().zip(&webhooks) {
        let received = receiver.take();
        let tasks = received.iter().flat_map(|message| {
            let body = message.json();
            let of_ours = body["analyses"].as_array().cloned().unwrap_or_default();
            let payloads = of_ours.into_iter().map(|it| it["payload"].clone());
            let payloads: Vec<Value> = payloads.chain([body]).collect();
            payloads
        });
        let tasks: BTreeSet<String> = tasks
            .filter_map(|call| Some(call["taskId"].as_str()?.to_owned()))
            .collect();
        assert!(tasks.is_superset(&taken), "{context}: {tasks:?}, {taken:?}");
        check_deliveries(&world, &received, webhook, &context).await;
    }
    check_that_nothing_is_left(&world, broken).await;
    calls
}

/// The same of a call of `CodeScoring`, whose events gather.
async fn live_with_events(broken: Option<Break>) -> Vec<String> {
    let mut world = World::new(broken).await;
    let source = Source::codescoring(&world.system, world.org).await;
    let receiver = flaky(503).await;
    let settings = json!({
        "name": "n", "url": receiver.url, "format": "codescoring", "token": "a token",
    });
    let webhook = world.system.webhook_with(world.org, settings).await;
    let start = OffsetDateTime::now_utc();

    let events = ["clones_analysis_started", "clones_analysis_finished"];
    let body = events_of(&events.map(|trigger| event_of(trigger, 7)));
    let is_taken = world.call(&source, body).await;
    world.consume(start).await;
    world.round(start + Duration::HOUR).await;
    let calls = world.process.calls();
    world.process.restart();
    for hours in 2..=3 {
        world.round(start + Duration::HOUR * hours).await;
    }

    let received = receiver.take();
    let told = received.iter().flat_map(|message| {
        let body = message.json();
        body["events"].as_array().cloned().unwrap_or_default()
    });
    let told: BTreeSet<String> = told.map(|event| text(&event["trigger"])).collect();
    let context = format!("{broken:?}");
    let is_told = events.iter().all(|trigger| told.contains(*trigger));
    assert!(is_told || !is_taken, "{context}: {told:?}");
    check_deliveries(&world, &received, &webhook, &context).await;
    check_that_nothing_is_left(&world, broken).await;
    calls
}

async fn check_that_nothing_is_left(world: &World, broken: Option<Break>) {
    let later = OffsetDateTime::now_utc() + Duration::DAY;
    let due = retry_webhooks::round(
        &world.process.second().retrying,
        later,
        retry_webhooks::BUDGET,
    )
    .await;
    assert_eq!(
        due,
        retry_webhooks::Round::default(),
        "{broken:?}: something is stuck"
    );
    assert!(
        world.queue().all().await.is_empty(),
        "{broken:?}: something is on the queue"
    );
}

async fn check(
    world: &World,
    receiver: &Receiver,
    webhook: &Value,
    expected: &BTreeSet<String>,
    broken: Option<Break>,
) {
    let context = format!("{broken:?}");
    let received = receiver.take();
    let told: BTreeSet<(String, u64)> = received.iter().flat_map(Received::reports).collect();
    let ids: BTreeSet<String> = told.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(&ids, expected, "{context}: every report was told");
    for id in expected {
        let key = ReportKey {
            org: world.org,
            id: id.parse().unwrap(),
        };
        let report = world.system.stack.tables.reports.latest(key).await.unwrap();
        let mut revisions = told.iter().filter(|(of, _)| of == id).map(|(_, it)| *it);
        assert_eq!(
            revisions.next_back(),
            report.map(|it| it.revision),
            "{context}: the newest revision was told: {told:?}"
        );
    }
    // What was not announced when the next revision was made is announced with that.
    assert!(
        broken.is_some() || told.len() == 2,
        "{context}: every revision was told: {told:?}"
    );
    check_deliveries(world, &received, webhook, &context).await;
}

/// Each message has one id and one body, and is delivered.
async fn check_deliveries(world: &World, received: &[Received], webhook: &Value, context: &str) {
    let mut bodies = BTreeMap::new();
    for message in received {
        let id = message.header("webhook-id").to_owned();
        let body = bodies.entry(id).or_insert_with(|| message.body.clone());
        assert_eq!(*body, message.body, "{context}: one id, one body");
    }
    let deliveries = world.system.deliveries(world.org, &webhook["id"]).await;
    let states: BTreeMap<String, Value> = deliveries
        .iter()
        .map(|delivery| (text(&delivery["id"]), delivery["state"].clone()))
        .collect();
    assert!(
        states.values().all(|state| *state == json!("delivered")),
        "{context}: {deliveries:?}"
    );
    assert!(
        bodies.keys().all(|id| states.contains_key(id)),
        "{context}: nothing was sent that is not stored"
    );
}

#[tokio::test]
async fn without_a_failure_each_revision_is_told_once() {
    assert!(live(None).await.len() > 20, "there are seams to break");
    assert!(live_with_calls(None).await.len() > 20, "and there");
    assert!(live_with_events(None).await.len() > 10, "and there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_at_any_seam_nothing_is_lost() {
    break_each_seam(live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_at_any_seam_no_call_is_lost() {
    break_each_seam(live_with_calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_at_any_seam_no_event_is_lost() {
    break_each_seam(live_with_events).await;
}

async fn break_each_seam<F: Future<Output = Vec<String>> + Send + 'static>(
    live: impl Fn(Option<Break>) -> F,
) {
    let calls = live(None).await;
    let breaks = Break::each_of(&calls).into_iter();
    let lives = breaks.map(|broken| tokio::spawn(live(Some(broken))));
    let mut lives = stream::iter(lives).buffer_unordered(2);
    while let Some(life) = lives.next().await {
        life.unwrap();
    }
}
