//! What the product costs on AWS: `cargo bench -p tests --bench costs`.
//!
//! Requests and capacity units are counted at the functions' clients, while they do real work over the stand-ins, whose
//! capacity figures follow AWS's rounding. Sizes and prices are known. How long a function takes on AWS is not: those times
//! are assumed, and printed.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails when it cannot go on"
)]

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use domain::organization::OrganizationId;
use domain::token::Right;
use download_files::Files;
use list_reports::Listing;
use local::client::{File, Publisher};
use local::{DEMO_ORGANIZATION, Functions};
use retry_webhooks::Round;
use serde_json::json;
use store::queue::imports::LookAfter;
use store::queue::work::Work;
use tests::at_once::AtOnce;
use tests::meter::{Meter, Usage};
use tests::queue::batch;
use tests::receiver::Receiver;
use tests::samples::{change, metadata, noise, stored_report};
use tests::server::{Imports, project};
use tests::source::{Source, call_of, event_of, events_of};
use tests::system::{System, organization};
use tests::visitor::Visitor;
use time::OffsetDateTime;
use tower::ServiceExt as _;

// The public prices of us-east-1 on 2026-11-22, in US dollars, of the first tier and without the free tier: pages
// https://aws.amazon.com/SERVICE/pricing/ of api-gateway, lambda, dynamodb/on-demand, s3, sqs, ec2/on-demand (what goes to
// the internet), cloudwatch, xray. What is paid for by the month is not counted: storage, keys, alarms, metrics.
const PER_MILLION_API_CALLS: f64 = 3.50;
const PER_MILLION_INVOCATIONS: f64 = 0.20;
const PER_GB_SECOND: f64 = 0.000_013_333_4; // Arm
const PER_GB_STREAMED: f64 = 0.008; // of what lies behind the first 6 MB of a response
const PER_MILLION_READ_UNITS: f64 = 0.125;
const PER_MILLION_WRITE_UNITS: f64 = 0.625;
const PER_MILLION_S3_GETS: f64 = 0.40;
const PER_MILLION_S3_PUTS: f64 = 5.00; // PUT, POST, LIST
const PER_MILLION_SQS_REQUESTS: f64 = 0.40;
const PER_MILLION_FAIR_MESSAGES: f64 = 0.10; // for each message with a message group
const PER_GB_TO_INTERNET: f64 = 0.09;
const PER_GB_LOGGED: f64 = 0.50;
const PER_MILLION_TRACES: f64 = 5.00;

/// API Gateway counts a streamed response once for each 10 MB that it begins.
const STREAMED_BYTES_PER_CALL: u64 = 10_000_000;
/// What Lambda streams without a charge.
const STREAMED_FREE: u64 = 6_000_000;
/// The share of calls that X-Ray traces, beyond the first one of each second.
const TRACED: f64 = 0.05;
/// One line of the access log of API Gateway, one of ours, and Lambda's report, in bytes. Assumed.
const LOGGED_PER_CALL: u64 = 1500;

/// The headers of a message and TLS around it, in bytes. Assumed.
const HEADERS: usize = 1500;

/// What one thing that a user does takes.
struct Cost {
    what: &'static str,
    api_calls: u64,
    /// Functions that run: how many, their memory in MB, and how long each, which is assumed.
    invocations: u64,
    memory: u64,
    seconds: f64,
    /// Bytes of a streamed response.
    streamed: u64,
    to_internet: u64,
    /// Lambda's own: receiving and deleting.
    sqs_requests: u64,
    usage: Usage,
}

impl Cost {
    /// Dollars for a million of it, by service.
    fn per_million(&self) -> Vec<(&'static str, f64)> {
        const GB: f64 = 1e9;
        let calls = |names: &[&str]| -> f64 {
            let count = names
                .iter()
                .map(|name| self.usage.calls.get(*name).copied().unwrap_or_default());
            count.sum::<u64>() as f64
        };
        let streamed_calls = self.streamed.saturating_sub(1) / STREAMED_BYTES_PER_CALL;
        let charged = self.streamed.saturating_sub(STREAMED_FREE) as f64 / GB;
        let gb_seconds = self.invocations as f64 * self.seconds * self.memory as f64 / 1024.0;
        let sent = calls(&["SendMessage", "SendMessageBatch"]);
        let gets = calls(&["GetObject", "HeadObject"]);
        let puts = calls(&[
            "PutObject",
            "CreateMultipartUpload",
            "UploadPart",
            "CompleteMultipartUpload",
            "PutObjectTagging",
        ]);
        let logged = (self.invocations * LOGGED_PER_CALL) as f64 / GB;
        vec![
            (
                "API Gateway",
                (self.api_calls + streamed_calls) as f64 * PER_MILLION_API_CALLS,
            ),
            (
                "Lambda",
                self.invocations as f64 * PER_MILLION_INVOCATIONS
                    + 1e6 * (gb_seconds * PER_GB_SECOND + charged * PER_GB_STREAMED),
            ),
            (
                "DynamoDB",
                self.usage.read_units * PER_MILLION_READ_UNITS
                    + self.usage.write_units * PER_MILLION_WRITE_UNITS,
            ),
            (
                "S3",
                gets * PER_MILLION_S3_GETS + puts * PER_MILLION_S3_PUTS,
            ),
            (
                "SQS",
                (sent + self.sqs_requests as f64) * PER_MILLION_SQS_REQUESTS
                    + sent * PER_MILLION_FAIR_MESSAGES,
            ),
            (
                "logs and traces",
                1e6 * logged * PER_GB_LOGGED + TRACED * PER_MILLION_TRACES,
            ),
            (
                "to the internet",
                1e6 * self.to_internet as f64 / GB * PER_GB_TO_INTERNET,
            ),
        ]
    }

    fn print(&self) {
        let calls = self.usage.calls.iter();
        let calls: Vec<String> = calls
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let parts = self.per_million();
        let total: f64 = parts.iter().map(|(_, dollars)| dollars).sum();
        println!("{}", self.what);
        println!("  {}", calls.join(", "));
        println!(
            "  {} read units, {} write units; {} x {} MB for {} s (assumed); {} bytes to the internet",
            self.usage.read_units,
            self.usage.write_units,
            self.invocations,
            self.memory,
            self.seconds,
            self.to_internet
        );
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, dollars)| *dollars > 0.0)
            .map(|(service, dollars)| format!("{service} {dollars:.2}"))
            .collect();
        println!("  a million: {total:.2} $ = {}\n", parts.join(" + "));
    }
}

#[tokio::main]
async fn main() {
    let system = System::start().await;
    let org = organization();
    let meter = Meter::default();

    for cost in [
        list(&system, &meter, org).await,
        download(&system, &meter).await,
        publish(&system, &meter).await,
        delivery(&system, &meter).await,
        call(&system, &meter).await,
        passing_on(&system, &meter).await,
        passing_on_an_event(&system, &meter).await,
        importing(&meter).await,
        page(&system, &meter).await,
        idle_round(&system, &meter).await,
    ] {
        cost.print();
    }
}

async fn list(system: &System, meter: &Meter, org: OrganizationId) -> Cost {
    // A page is cut out of more than it holds.
    system
        .seed((0..300).map(|number| stored_report(org, number)))
        .await;
    let listing = Listing {
        reports: meter.of(system, "ListReports").tables().reports,
        ..system.stack.listing.clone()
    };
    let request = get(&format!("/security/report/list?org={org}&minver=0"));
    let response = list_reports::router(listing)
        .oneshot(request)
        .await
        .unwrap();
    Cost {
        what: "A page of a list, 100 reports",
        api_calls: 1,
        invocations: 1,
        memory: 512,
        seconds: 0.02,
        streamed: 0,
        to_internet: length(response).await,
        sqs_requests: 0,
        usage: meter.read(),
    }
}

async fn download(system: &System, meter: &Meter) -> Cost {
    let org = organization();
    let id = system
        .publish(org, &metadata("1.0"), &ten_megabytes())
        .await;
    let clients = meter.of(system, "DownloadFiles");
    let files = Files {
        reports: clients.tables().reports,
        bucket: download_files::Bucket::new(clients.s3, system.stack.bucket()),
        ..system.stack.files.clone()
    };
    let request = get(&format!("/security/report/files?org={org}&reports={id}"));
    let response = download_files::router(files)
        .oneshot(request)
        .await
        .unwrap();
    let bytes = length(response).await;
    Cost {
        what: "A download of 10 MB, one report with two files",
        api_calls: 1,
        invocations: 1,
        memory: 512,
        // 6 MB at once, the rest at 2 MB/s.
        seconds: 0.5 + (bytes - STREAMED_FREE) as f64 / 2e6,
        streamed: bytes,
        to_internet: bytes,
        sqs_requests: 0,
        usage: meter.read(),
    }
}

async fn publish(system: &System, meter: &Meter) -> Cost {
    let clients = meter.of(system, "PublishReport");
    let publishing = system.stack.publishing_with(&clients).unwrap();
    let org = organization();
    let rights = [Right::Publish];
    let token = system
        .stack
        .create_token("costs", org, &rights)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = web::api::service(publish_report::router(publishing));
    let served = tokio::spawn(axum::serve(listener, service).into_future());
    let files = ten_megabytes();
    let publisher = Publisher::new(&url, token).unwrap();
    publisher.publish(&metadata("1.0"), &files).await.unwrap();
    served.abort();
    system.queued().await;

    let mut usage = meter.read();
    // The publisher's own requests to S3 are charged too.
    *usage.calls.entry("PutObject".to_owned()).or_default() += files.len() as u64;
    Cost {
        what: "Publishing a report of 10 MB, two files",
        api_calls: 2,
        invocations: 2,
        memory: 1769,
        seconds: 0.4,
        streamed: 0,
        to_internet: 0,
        sqs_requests: 0,
        usage,
    }
}

async fn delivery(system: &System, meter: &Meter) -> Cost {
    let org = organization();
    let receiver = Receiver::start().await;
    system.webhook(org, &receiver.url).await;
    let work = Work::change(change(&stored_report(org, 0), 1));
    let what = "A delivery of one report to one webhook, alone in its batch";
    delivering(what, system, meter, &receiver, &work).await
}

/// A page of the panel: twenty webhooks, of somebody whose session was used within the minute.
async fn page(system: &System, meter: &Meter) -> Cost {
    let (org, url) = (DEMO_ORGANIZATION, "https://receiver.example.com/in");
    for number in 0..20 {
        let webhook = json!({"name": "n", "url": url, "project": format!("p{}", number / 10)});
        system.webhook_with(org, webhook).await;
    }
    let visitor = Visitor::signed_in(system, "administrator").await;
    let path = format!("{}/webhooks", visitor.home().await);
    let cookie = visitor.session();
    let clients = meter.of(system, "Panel");
    let panel = system.stack.panel_with(&clients).unwrap();
    let functions = Functions {
        panel: &panel,
        ..system.stack.functions()
    };
    let request = Request::get(path)
        .header(
            "host",
            system.stack.api_url.strip_prefix("http://").unwrap(),
        )
        .header("cookie", cookie)
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .unwrap();
    let response = local::service(&functions).oneshot(request).await.unwrap();
    assert!(response.status().is_success());
    Cost {
        what: "A page of the panel, twenty webhooks",
        api_calls: 1,
        invocations: 1,
        memory: 512,
        seconds: 0.06,
        streamed: 0,
        to_internet: length(response).await,
        sqs_requests: 0,
        usage: meter.read(),
    }
}

/// A call of `SonarQube`, of the usual length.
async fn call(system: &System, meter: &Meter) -> Cost {
    let source = Source::create(system, organization()).await;
    let clients = meter.of(system, "ReceiveEvents");
    let receiving = system.stack.receiving_with(&clients).unwrap();
    let body = call_of("AZsr7Qe2dVb1kXo9TnPw");
    let (name, proof) = source.proof(body.as_bytes());
    let request = Request::post(source.path())
        .header(name, proof)
        .body(Body::from(body))
        .unwrap();
    let service = web::api::service(receive_events::router(receiving));
    let response = service.oneshot(request).await.unwrap();
    assert!(response.status().is_success());
    system.queued().await;
    Cost {
        what: "A call of SonarQube, taken and queued",
        api_calls: 1,
        invocations: 1,
        memory: 512,
        seconds: 0.05,
        streamed: 0,
        to_internet: 0,
        sqs_requests: 0,
        usage: meter.read(),
    }
}

/// What becomes of such a call where reports are made: two of them, for the first time.
async fn importing(meter: &Meter) -> Cost {
    let imports = Imports::start_with(project(200), json!({"standards": null})).await;
    imports.import(OffsetDateTime::now_utc()).await;
    imports.call("trunk", "AZ1").await;
    let stack = &imports.system.stack;
    let importing = stack.importing_with(&meter.of(&imports.system, "ImportAnalysis"));
    let look = LookAfter::source(imports.org, imports.source.id.parse().unwrap());
    let event = batch([look.to_json()]);
    let (now, budget) = (OffsetDateTime::now_utc(), Duration::from_secs(60));
    import_analysis::handle(&importing.unwrap(), event, now, budget).await;
    assert_eq!(imports.of_task("AZ1").await["state"], "published");
    Cost {
        what: "An analysis of which two reports are made, after its call was taken",
        api_calls: 0,
        invocations: 1,
        memory: 1769,
        // Some 150 requests, two at a time, each a quarter of a second.
        seconds: 20.0,
        streamed: 0,
        to_internet: 150 * 800,
        // Received and deleted.
        sqs_requests: 2,
        usage: meter.read(),
    }
}

async fn passing_on(system: &System, meter: &Meter) -> Cost {
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = json!({"name": "n", "url": receiver.url, "format": "sonarqube"});
    system.webhook_with(org, webhook).await;
    let source = Source::create(system, org).await;
    source
        .call(system, call_of("AZsr7Qe2dVb1kXo9TnPw").as_bytes())
        .await;
    let work = system.queued().await.remove(0);
    let what = "The same passed on to one webhook, alone in its batch";
    delivering(what, system, meter, &receiver, &work).await
}

/// The same of an event of `CodeScoring`, which goes over the queue twice, since it gathers.
async fn passing_on_an_event(system: &System, meter: &Meter) -> Cost {
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = json!({
        "name": "n", "url": receiver.url, "format": "codescoring", "token": "the receiver's",
    });
    system.webhook_with(org, webhook).await;
    let source = Source::codescoring(system, org).await;
    let body = events_of(&[event_of("project_sca_analysis_finished", 7)]);
    source.call(system, body.as_bytes()).await;
    let work = system.queued().await.remove(0);
    let what = "An event of CodeScoring passed on to one webhook, alone in its batch";
    let delivered = delivering(what, system, meter, &receiver, &work).await;
    Cost {
        invocations: 2,
        // On average: what only puts it back is done sooner.
        seconds: f64::midpoint(0.05, delivered.seconds),
        sqs_requests: 4,
        ..delivered
    }
}

/// What a message of the queue costs that becomes one delivery.
async fn delivering(
    what: &'static str,
    system: &System,
    meter: &Meter,
    receiver: &Receiver,
    work: &Work,
) -> Cost {
    let clients = AtOnce.of(meter.of(system, "DeliverWebhooks"));
    let delivering = system.stack.delivering_with(&clients).unwrap();
    let mut works = vec![work.clone()];
    let mut sent = Vec::new();
    while let Some(work) = works.pop() {
        let event = batch([work.to_json()]);
        let now = OffsetDateTime::now_utc();
        let budget = Duration::from_secs(60);
        let response = deliver_webhooks::handle(&delivering, event, now, budget).await;
        assert!(response.batch_item_failures.is_empty());
        sent.extend(receiver.take());
        // What gathers comes back.
        works.extend(system.queued().await);
    }
    let [sent] = sent.try_into().unwrap();
    Cost {
        what,
        api_calls: 0,
        invocations: 1,
        memory: 768,
        seconds: 0.3,
        streamed: 0,
        to_internet: (sent.body.len() + HEADERS) as u64,
        sqs_requests: 2,
        usage: meter.read(),
    }
}

async fn idle_round(system: &System, meter: &Meter) -> Cost {
    let clients = meter.of(system, "RetryWebhooks");
    let retrying = system.stack.retrying_with(&clients).unwrap();
    let round =
        retry_webhooks::round(&retrying, OffsetDateTime::now_utc(), retry_webhooks::BUDGET).await;
    assert_eq!(round, Round::default());
    Cost {
        what: "A round with nothing to do, of 730 a month",
        api_calls: 0,
        invocations: 1,
        memory: 512,
        seconds: 0.1,
        streamed: 0,
        to_internet: 0,
        sqs_requests: 0,
        usage: meter.read(),
    }
}

/// An HTML and a PDF file that make an archive of 10 MB.
fn ten_megabytes() -> Vec<File> {
    let file = |name: &str, bytes| File {
        name: name.to_owned(),
        bytes,
    };
    vec![
        file("report.html", noise(1_000_000)),
        file("report.pdf", noise(9_000_000 - 4096)),
    ]
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn length(response: axum::response::Response) -> u64 {
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    body.unwrap().len() as u64
}
