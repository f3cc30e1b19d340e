//! A running system, and calls of its API.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use bytes::Bytes;
use local::client::{File, Publisher};
use local::{Options, Policies, Stack};
use manage_webhooks::identity::Role;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use retry_webhooks::Round;
use serde_json::{Value, json};
use shared::organization::OrganizationId;
use shared::queue::{ReportChange, Work};
use shared::report::Report;
use shared::token::Right;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::contract;

/// A system of a test's own, in memory.
#[derive(Debug)]
pub struct System {
    /// The system itself.
    pub stack: Stack,
    http: Client,
    _nothing_refused: NothingRefused,
}

/// Fails a test in which a function did what its policy does not allow, also where it went on in spite of it.
#[derive(Debug)]
struct NothingRefused(Policies);

impl Drop for NothingRefused {
    fn drop(&mut self) {
        let refused = self.0.refused().join("\n");
        if refused.is_empty() {
            return;
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "it tells why the test fails")]
            {
                eprintln!("{refused}");
            }
        } else {
            panic!("{refused}");
        }
    }
}

/// An answer of the API that keeps the contract.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl System {
    /// Starts a system.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts a system with these options.
    pub async fn start_with(options: Options) -> Self {
        let stack = Stack::start(options).await.unwrap();
        Self {
            _nothing_refused: NothingRefused(stack.policies.clone()),
            stack,
            // There is no TLS on loopback, and reading certificates takes time.
            http: Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()
                .unwrap(),
        }
    }

    /// The URL of a path, with or without a query.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.api_url)
    }

    /// A request to a path.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), self.url(path))
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let request = request.build().unwrap();
        let (method, path) = (
            request.method().as_str().to_owned(),
            request.url().path().to_owned(),
        );
        let reply = Reply::of(self.http.execute(request).await.unwrap()).await;
        contract::check(&method, &path, &reply);
        reply
    }

    /// The ids of the reports that a list names, in its order.
    pub async fn listed(&self, query: &str) -> Vec<String> {
        let reply = self.get(&format!("/security/report/list?{query}")).await;
        match reply.status {
            StatusCode::NO_CONTENT => Vec::new(),
            _ => reply.json()["reports"]
                .as_array()
                .unwrap()
                .iter()
                .map(|report| text(&report["id"]))
                .collect(),
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
            let item: HashMap<String, AttributeValue> =
                serde_dynamo::aws_sdk_dynamodb_1::to_item(report).unwrap();
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

    /// The JWT of somebody with this role in the organization.
    pub fn jwt(&self, org: OrganizationId, role: Role) -> String {
        let now = OffsetDateTime::now_utc();
        let issuer = &self.stack.issuer;
        issuer.token(&[(org, role)], now, Duration::HOUR).unwrap()
    }

    /// Calls the API with a bearer token.
    pub async fn call(&self, method: &str, path: &str, bearer: &str, body: Option<Value>) -> Reply {
        let request = self.request(method, path).bearer_auth(bearer);
        let request = match body {
            None => request,
            Some(body) => request.json(&body),
        };
        self.send(request).await
    }

    /// Calls the API as an administrator of the organization; the path is the part behind the organization's.
    pub async fn manage(
        &self,
        org: OrganizationId,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let path = format!("/organizations/{org}{path}");
        let jwt = self.jwt(org, Role::Administrator);
        self.call(method, &path, &jwt, body).await
    }

    /// Creates a webhook for all projects and events, and gives the answer: it has the id and the secret.
    pub async fn webhook(&self, org: OrganizationId, url: &str) -> Value {
        self.webhook_with(org, json!({"name": "test", "url": url}))
            .await
    }

    /// Creates a webhook.
    pub async fn webhook_with(&self, org: OrganizationId, webhook: Value) -> Value {
        let reply = self.manage(org, "POST", "/webhooks", Some(webhook)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()
    }

    /// The webhook as an administrator sees it.
    pub async fn webhook_now(&self, org: OrganizationId, id: &Value) -> Value {
        let path = format!("/webhooks/{}", text(id));
        self.manage(org, "GET", &path, None).await.json()
    }

    /// A webhook's deliveries, the newest first.
    pub async fn deliveries(&self, org: OrganizationId, webhook: &Value) -> Vec<Value> {
        let path = format!("/webhooks/{}/deliveries?limit=1000", text(webhook));
        let reply = self.manage(org, "GET", &path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()["deliveries"].as_array().unwrap().clone()
    }

    /// Delivers what is on the queue, as if it were `now`, until nothing is there that can be taken.
    pub async fn deliver(&self, now: OffsetDateTime) {
        self.stack.deliver(now).await.unwrap();
    }

    /// Makes the hourly round, as if it were `now`, and delivers what it put on the queue.
    pub async fn round(&self, now: OffsetDateTime) -> Round {
        let round = retry_webhooks::round(&self.stack.retrying, now).await;
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
                works.push(serde_json::from_str(&message.body.unwrap()).unwrap());
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
            Work::Change(change) => change,
            other => panic!("it is no change of a report: {other:?}"),
        };
        self.queued().await.into_iter().map(change).collect()
    }
}

impl Reply {
    /// Reads a response to its end.
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.bytes().await.unwrap(),
        }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        text(&self.json()["code"])
    }

    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }
}

/// A JSON text.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// An organization of a test's own.
pub fn organization() -> OrganizationId {
    OrganizationId::new(Uuid::new_v4())
}
