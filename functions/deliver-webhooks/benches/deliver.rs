//! What a delivery costs: `cargo bench -p deliver-webhooks`.
//!
//! Requests to DynamoDB and SQS are counted at the clients. For CPU time and speed the stand-ins and the receiver are in a
//! process of their own, so that only what is ours is measured; and in the same run the same messages are only signed and
//! sent, which is the least that a delivery can cost.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use deliver_webhooks::{Delivering, handle};
use domain::delivery::DeliveryState;
use domain::organization::OrganizationId;
use domain::report::Report;
use futures_util::{StreamExt as _, stream};
use outbound::address::AddressPolicy;
use outbound::format::Outgoing;
use outbound::sender::{DEADLINE, Sender, SenderOptions};
use retry_webhooks::Retrying;
use runtime::config::{Environment, settled};
use store::deliveries::Range;
use store::queue::work::Work;
use tests::failures::Failures;
use tests::receiver::{Answer, Receiver};
use tests::samples::stored_report;
use tests::system::{System, organization};
use time::OffsetDateTime;
use tokio::runtime::Builder;

/// How many organizations there are, each with one webhook.
const ORGANIZATIONS: u64 = 100;
/// How many batches there are, each with one change of each organization: so each message tells of one report.
const BATCHES: u64 = 50;
/// Nothing runs for so long.
const BUDGET: Duration = Duration::from_secs(3600);
/// How many messages are on their way at once where they are only sent.
const AT_ONCE: usize = 100;

/// How many webhooks' deliveries are tried again in one batch: each has eight under way.
const WEBHOOKS_AT_ONCE: usize = 12;

/// By this the process knows that it is to be the other one.
const SERVE: &str = "serve";

/// As the function has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::args().any(|argument| argument == SERVE) {
        Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(serve());
    } else {
        // As the function has it.
        Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(bench());
    }
}

async fn bench() {
    println!("Requests of ours\n");
    count().await;
    println!(
        "\nCPU time and speed, {} deliveries of one report each\n",
        ORGANIZATIONS * BATCHES
    );
    measure().await;
}

// --- Requests -----------------------------------------------------------------------------------------------------------

/// A process with clients that count.
struct Counted {
    system: System,
    org: OrganizationId,
    receiver: Receiver,
    calls: Failures,
    delivering: Delivering,
    retrying: Retrying,
    printed: usize,
}

impl Counted {
    async fn new() -> Self {
        let system = System::start().await;
        let org = organization();
        let receiver = Receiver::start().await;
        system.webhook(org, &receiver.url).await;
        let calls = Failures::none();
        let clients = |function: &str| calls.clients(&system.stack.clients[function]);
        let delivering = system
            .stack
            .delivering_with(&clients("DeliverWebhooks"))
            .unwrap();
        let retrying = system
            .stack
            .retrying_with(&clients("RetryWebhooks"))
            .unwrap();
        Self {
            system,
            org,
            receiver,
            calls,
            delivering,
            retrying,
            printed: 0,
        }
    }

    async fn seed(&self, numbers: std::ops::Range<u64>) -> Vec<Work> {
        let reports: Vec<Report> = numbers
            .map(|number| stored_report(self.org, number))
            .collect();
        self.system.seed(reports.clone()).await;
        reports.iter().map(change).collect()
    }

    async fn deliver(&self, works: &[Work], now: OffsetDateTime) {
        let response = handle(&self.delivering, event(works), now, BUDGET).await;
        assert!(response.batch_item_failures.is_empty());
    }

    /// The requests since the last time.
    fn print(&mut self, what: &str) {
        let log = self.calls.log();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &log[self.printed..] {
            *counts.entry(call).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(call, count)| format!("{count} {call}"))
            .collect();
        println!("  {what:<62} {}", counts.join(", "));
        self.printed = log.len();
    }

    /// A round, and what it puts on the queue.
    async fn round(&mut self, what: &str, now: OffsetDateTime) {
        retry_webhooks::round(&self.retrying, now, retry_webhooks::BUDGET).await;
        self.print(&format!("{what}: the round"));
        let works = self.system.queued().await;
        self.deliver(&works, now).await;
        self.print(&format!("{what}: delivering"));
    }
}

async fn count() {
    let start = OffsetDateTime::now_utc();
    let hour = Duration::from_secs(3600);
    let mut counted = Counted::new().await;
    let one = counted.seed(0..1).await;
    counted.deliver(&one, start).await;
    counted.print("first try, 1 report");
    let fifty = counted.seed(1..51).await;
    counted.deliver(&fifty, start).await;
    counted.print("first try, 50 reports in one message");
    counted.round("nothing is due", start + hour).await;

    counted.receiver.answer_next([Answer::Status(400)]);
    let one = counted.seed(51..52).await;
    counted.deliver(&one, start).await;
    counted.print("first try, refused with 400");
    counted
        .round("its retry, which succeeds", start + hour)
        .await;

    let mut counted = Counted::new().await;
    counted.receiver.answer(Answer::Status(503));
    for number in 0..100 {
        let one = counted.seed(number..number + 1).await;
        counted.deliver(&one, start).await;
        counted.printed = counted.calls.log().len();
    }
    counted
        .round("dead receiver with 100 deliveries, an hour", start + hour)
        .await;
}

// --- CPU time and speed -------------------------------------------------------------------------------------------------

/// The other process: stand-ins and receivers, until the standard input ends. One receiver takes every message, and one refuses
/// each once.
async fn serve() {
    let system = System::start().await;
    let (taking, refusing) = (Receiver::start().await, Receiver::start().await);
    let seen = Mutex::new(HashSet::new());
    refusing.answer_by(move |received| {
        let id = received.header("webhook-id").to_owned();
        let is_new = seen.lock().unwrap().insert(id);
        Answer::Status(if is_new { 400 } else { 200 })
    });
    let environment: BTreeMap<_, _> = system.stack.environment().into_iter().collect();
    for number in 0..ORGANIZATIONS {
        system.webhook(organization_of(number), &taking.url).await;
        let org = organization_of(ORGANIZATIONS + number);
        system.webhook(org, &refusing.url).await;
    }
    println!("{}", serde_json::to_string(&environment).unwrap());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    end.await.unwrap().unwrap();
}

async fn measure() {
    let mut other = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let environment: HashMap<String, String> = serde_json::from_str(&line).unwrap();
    let delivering = delivering(&environment).await;

    let sent = sent_only(&delivering).await;
    // What the benchmark itself does for each message, which is not counted among the others.
    let made = measured(async |clock| {
        let events = async { (0..BATCHES).map(|batch| batch_of(0, batch)).collect() };
        let _events: Vec<SqsEvent> = clock.measure(events).await;
    })
    .await;
    let delivered = measured(async |clock| deliver_all(&delivering, 0, clock).await).await;
    let retried = measured(async |clock| {
        deliver_all(&delivering, ORGANIZATIONS, clock).await;
        retry_all(&delivering, clock).await;
    });
    for (name, (cpu, time)) in [
        ("signed and sent, the limit", sent),
        ("made by the benchmark", made),
        ("delivered", delivered),
        ("refused, then delivered", retried.await),
    ] {
        let count = (ORGANIZATIONS * BATCHES) as f64;
        println!(
            "  {name:<28} {:>7.0} µs of CPU each, {:>5.2} × the limit; {:>6.0} a second",
            cpu.as_secs_f64() * 1e6 / count,
            cpu.as_secs_f64() / sent.0.as_secs_f64(),
            count / time.as_secs_f64(),
        );
    }
    drop(other.stdin.take());
    other.wait().unwrap();
}

/// CPU time and time, but for what is not to be measured.
#[derive(Default)]
struct Stopwatch {
    cpu: Duration,
    time: Duration,
}

impl Stopwatch {
    async fn measure<T>(&mut self, what: impl Future<Output = T>) -> T {
        let (cpu, time) = (process_time(), Instant::now());
        let output = what.await;
        self.cpu += process_time() - cpu;
        self.time += time.elapsed();
        output
    }
}

async fn measured(what: impl AsyncFnOnce(&mut Stopwatch)) -> (Duration, Duration) {
    let mut clock = Stopwatch::default();
    what(&mut clock).await;
    (clock.cpu, clock.time)
}

/// One batch after the other, each with a change of each of the organizations from the `first` one on.
async fn deliver_all(delivering: &Delivering, first: u64, clock: &mut Stopwatch) {
    let start = OffsetDateTime::now_utc();
    for batch in 0..BATCHES {
        let response = handle(delivering, batch_of(first, batch), start, BUDGET);
        let response = clock.measure(response).await;
        assert!(response.batch_item_failures.is_empty());
    }
}

fn batch_of(first: u64, batch: u64) -> SqsEvent {
    let organizations = (first..first + ORGANIZATIONS).map(organization_of);
    let works = organizations.map(|org| change(&stored_report(org, batch)));
    event(&works.collect::<Vec<Work>>())
}

/// What was refused is tried again an hour later, in messages as a round makes them.
async fn retry_all(delivering: &Delivering, clock: &mut Stopwatch) {
    let later = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let mut works = Vec::new();
    for number in ORGANIZATIONS..2 * ORGANIZATIONS {
        let org = organization_of(number);
        for webhook in delivering.webhooks.all(org).await.unwrap() {
            let failed = Range {
                state: Some(DeliveryState::Failed),
                ..Range::all(webhook.id)
            };
            let page = delivering.deliveries.page(&failed, false, 1000).await;
            let ids: Vec<_> = page.unwrap().deliveries.iter().map(|it| it.id).collect();
            assert_eq!(ids.len() as u64, BATCHES);
            works.extend(Work::due(org, webhook.id, &ids));
        }
    }
    // A few webhooks at a time, so that as much is under way as at first.
    for works in works.chunks(WEBHOOKS_AT_ONCE) {
        let response = handle(delivering, event(works), later, BUDGET);
        let response = clock.measure(response).await;
        assert!(response.batch_item_failures.is_empty());
    }
}

/// Signs and sends as many messages to the same webhooks.
async fn sent_only(delivering: &Delivering) -> (Duration, Duration) {
    let webhook = delivering
        .webhooks
        .all(organization_of(0))
        .await
        .unwrap()
        .remove(0);
    let (cpu, time) = (process_time(), Instant::now());
    let now = OffsetDateTime::now_utc();
    let messages = stream::iter(0..ORGANIZATIONS * BATCHES).map(async |number| {
        let outgoing = Outgoing::test(number.to_string(), webhook.org, &webhook.settings, now);
        let headers = outgoing.headers(&webhook.settings, now).unwrap();
        let (url, signing) = (&webhook.settings.url, webhook.settings.secrets.signing(now));
        let post = delivering.sender.post(url, headers, outgoing.body, signing);
        assert_eq!(post.await.unwrap().status, Some(200));
    });
    messages.buffer_unordered(AT_ONCE).collect::<()>().await;
    (process_time() - cpu, time.elapsed())
}

async fn delivering(environment: &HashMap<String, String>) -> Delivering {
    let credentials = Credentials::new(
        &environment["AWS_ACCESS_KEY_ID"],
        &environment["AWS_SECRET_ACCESS_KEY"],
        None,
        None,
        "bench",
    );
    // Settled as the function's are, but for TLS, which stand-ins on this machine do not have.
    let aws = settled(aws_config::defaults(BehaviorVersion::latest()))
        .region(Region::new(environment["AWS_REGION"].clone()))
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(&aws)
        .endpoint_url(&environment["AWS_ENDPOINT_URL_DYNAMODB"]);
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(dynamodb.build());
    let sqs =
        aws_sdk_sqs::config::Builder::from(&aws).endpoint_url(&environment["AWS_ENDPOINT_URL_SQS"]);
    let sqs = aws_sdk_sqs::Client::from_conf(sqs.build());
    let sender = Sender::new(SenderOptions {
        addresses: AddressPolicy::PublicAndLoopback,
        plain_http: true,
        deadline: DEADLINE,
    });
    let given = Environment::given(environment.clone());
    Delivering::new(&given, &dynamodb, sqs, sender.unwrap()).unwrap()
}

// --- Both ---------------------------------------------------------------------------------------------------------------

fn organization_of(number: u64) -> OrganizationId {
    OrganizationId::new(uuid::Uuid::from_u128(u128::from(number) + 1))
}

fn change(report: &Report) -> Work {
    Work::change(tests::samples::change(report, 1))
}

fn event(works: &[Work]) -> SqsEvent {
    tests::queue::batch(works.iter().map(Work::to_json))
}

/// User and system time of this process, as Linux tells it.
fn process_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in parentheses, which may hold spaces, the 12th and 13th field, in hundredths of a second.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let fields: Vec<&str> = fields.collect();
    let ticks = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}
