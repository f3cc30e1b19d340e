//! A running system of a test's own.

use std::ops::Deref;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use domain::organization::OrganizationId;
use domain::report::Report;
use domain::report::change::ReportChange;
use domain::token::{Right, Token};
use local::client::{File, Publisher};
use local::{DEMO_ORGANIZATION, Options, Policies, Stack};
use reqwest::Client;
use retry_webhooks::Round;
use serde_json::Value;
use store::dynamodb::Changed;
use store::queue::work::Work;
use store::reports::item_of;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::api::Api;
pub use crate::api::{Reply, text};
use crate::log;

/// A system of a test's own, in memory.
#[derive(Debug)]
pub struct System {
    /// The system itself.
    pub stack: Stack,
    api: Api,
    _held: Held,
}

/// Fails a test in which a function did what its policy does not allow, also where it went on in spite of it, or in which a
/// line of a log held an organization's id.
///
/// Tests of one process share its log: of those that run at once the first one to end fails.
#[derive(Debug)]
struct Held(Policies);

impl Drop for Held {
    fn drop(&mut self) {
        let mut faults = self.0.refused();
        let leaks = log::leaks().into_iter();
        faults.extend(leaks.map(|line| format!("an organization's id was logged: {line}")));
        let faults = faults.join("\n");
        if faults.is_empty() {
            return;
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "it tells why the test fails")]
            {
                eprintln!("{faults}");
            }
        } else {
            panic!("{faults}");
        }
    }
}

impl System {
    /// Starts a system.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Stores a token as it is, however many there are.
    pub async fn store_token(&self, token: &Token) {
        let tokens = &self.stack.tables.tokens;
        let stored = tokens.add(token, u64::MAX, None).await.unwrap();
        assert_eq!(stored, Changed::Stored);
    }

    /// A token that was made an hour ago and expires then, also in the past, and its secret.
    pub async fn token(
        &self,
        org: OrganizationId,
        rights: &[Right],
        expires_at: Option<OffsetDateTime>,
    ) -> (Token, String) {
        let made = OffsetDateTime::now_utc() - Duration::HOUR;
        let rights = rights.iter().copied();
        let (token, secret) = Token::new(org, "test", rights, expires_at, made).unwrap();
        self.store_token(&token).await;
        (token, secret.reveal().to_owned())
    }

    /// Starts a system in which nothing gathers for longer than in the queue, so that a test need not wait for it.
    pub async fn start_hasty() -> Self {
        let options = Options {
            time_factor: 10,
            ..Options::default()
        };
        Self::start_with(options).await
    }

    /// Starts a system with these options.
    pub async fn start_with(options: Options) -> Self {
        log::watch(DEMO_ORGANIZATION);
        let stack = Stack::start(options).await.unwrap();
        // There is no TLS on loopback, and reading certificates takes time.
        let http = Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        let api = Api::new(&stack.api_url, http, stack.issuer.clone());
        Self {
            _held: Held(stack.policies.clone()),
            stack,
            api,
        }
    }

    /// A publisher with a new token of the organization.
    pub async fn publisher(&self, org: OrganizationId) -> Publisher {
        let token = self
            .stack
            .create_token("test", org, &[Right::Publish])
            .await
            .unwrap();
        Publisher::new(&self.stack.api_url, token).unwrap()
    }

    /// Publishes a report, and gives its id.
    pub async fn publish(&self, org: OrganizationId, metadata: &Value, files: &[File]) -> String {
        text(
            &self
                .publisher(org)
                .await
                .publish(metadata, files)
                .await
                .unwrap()["id"],
        )
    }

    /// Writes reports straight into the table, many at once.
    pub async fn seed(&self, reports: impl IntoIterator<Item = Report>) {
        let put = |report: Report| {
            let item = item_of(&report).unwrap();
            WriteRequest::builder()
                .put_request(PutRequest::builder().set_item(Some(item)).build().unwrap())
                .build()
        };
        let requests: Vec<WriteRequest> = reports.into_iter().map(put).collect();
        for batch in requests.chunks(25) {
            let write = self
                .stack
                .dynamodb
                .batch_write_item()
                .request_items("ReportsTable", batch.to_vec());
            let output = write.send().await.unwrap();
            assert!(output.unprocessed_items.unwrap_or_default().is_empty());
        }
    }

    /// Delivers what is on the queue, as if it were `now`, until nothing is there that can be taken.
    pub async fn deliver(&self, now: OffsetDateTime) {
        self.stack.deliver(now).await.unwrap();
    }

    /// Makes the hourly round, as if it were `now`, and delivers what it put on the queue.
    pub async fn round(&self, now: OffsetDateTime) -> Round {
        let round = retry_webhooks::round(&self.stack.retrying, now, retry_webhooks::BUDGET).await;
        self.deliver(now).await;
        round
    }

    /// Takes every message from the queue.
    pub async fn queued(&self) -> Vec<Work> {
        let mut works = Vec::new();
        loop {
            let queue = self.stack.events_queue();
            let receive = self
                .stack
                .sqs
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return works;
            }
            for message in messages {
                works.push(Work::from_json(&message.body.unwrap()).unwrap());
                let delete = self
                    .stack
                    .sqs
                    .delete_message()
                    .queue_url(queue)
                    .receipt_handle(message.receipt_handle.unwrap());
                delete.send().await.unwrap();
            }
        }
    }

    /// Takes every message from the queue; they must be changes of reports.
    pub async fn changes(&self) -> Vec<ReportChange> {
        let change = |work| match work {
            Work::Change(change) => *change,
            other => panic!("it is no change of a report: {other:?}"),
        };
        self.queued().await.into_iter().map(change).collect()
    }
}

impl Deref for System {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// An organization of a test's own, whose id no log may hold.
pub fn organization() -> OrganizationId {
    let org = OrganizationId::new(Uuid::new_v4());
    log::watch(org);
    org
}
