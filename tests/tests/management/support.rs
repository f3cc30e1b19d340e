//! What the tests of the API for administrators have in common.

pub(crate) mod callers;

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use domain::date::timestamp;
use domain::delivery::attempt::AttemptSummary;
use domain::delivery::message::Message;
use domain::delivery::{Delivery, DeliveryState};
use domain::organization::OrganizationId;
use domain::report::ReportId;
use domain::webhook::WebhookKey;
use identity::Role;
use manage_webhooks::Managing;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::deliveries::creation::Created;
use tests::contract;
use tests::receiver::Receiver;
use tests::samples::{change, files, metadata, stored_report};
use tests::source::Source;
use tests::system::{Reply, System, organization, text};
use time::OffsetDateTime;
use tower::ServiceExt as _;
use uuid::Uuid;

/// Stores a delivery as if it were `at`, and gives its id.
pub(crate) async fn store_delivery(
    system: &System,
    webhook: WebhookKey,
    state: DeliveryState,
    at: OffsetDateTime,
    last_attempt: Option<AttemptSummary>,
) -> String {
    let mut report = stored_report(webhook.org, 1);
    report.id = ReportId::new(Uuid::new_v4());
    report.upload_date = timestamp(at);
    let change = change(&report, 1);
    let message = Message {
        body: "{}".to_owned(),
        events: [domain::event::Event::Report(change.event)].into(),
        told: None,
        task: None,
        changes: vec![Arc::new(change.into())],
        project: Some("acme:shop".to_owned()),
    };
    let mut delivery = Delivery::new(webhook, &message, state, at, at);
    delivery.last_attempt = last_attempt;
    if state == DeliveryState::Delivered {
        delivery.due_at = None;
    }
    let deliveries = &system.stack.tables.deliveries;
    let created = deliveries.create(&delivery, &message).await.unwrap();
    assert_eq!(created, Created::Stored);
    delivery.id.to_string()
}

/// An organization that has one of everything.
pub(crate) struct Stage {
    pub(crate) org: OrganizationId,
    pub(crate) webhook: String,
    pub(crate) delivery: String,
    pub(crate) token: String,
    pub(crate) report: String,
    pub(crate) source: String,
    /// The address of a server that is none of SonarQube: the API's own.
    pub(crate) server: String,
    pub(crate) receiver: Receiver,
}

impl Stage {
    pub(crate) async fn new(system: &System) -> Self {
        let (org, receiver) = (organization(), Receiver::start().await);
        let webhook = system.webhook(org, &receiver.url).await["id"].clone();
        let report = system.publish(org, &metadata("1.0"), &files("a")).await;
        system.deliver(OffsetDateTime::now_utc()).await;
        let delivery = system.deliveries(org, &webhook).await[0]["id"].clone();
        let token = json!({"name": "test", "rights": ["publish"]});
        let token = system.manage(org, "POST", "/tokens", Some(token)).await;
        receiver.take();
        Self {
            org,
            webhook: text(&webhook),
            delivery: text(&delivery),
            token: text(&token.json()["id"]),
            report,
            source: Source::create(system, org).await.id,
            server: system.stack.api_url.clone(),
            receiver,
        }
    }

    /// The path of an operation on what this organization has.
    pub(crate) fn path(&self, template: &str) -> String {
        template
            .replace("{organizationId}", &self.org.to_string())
            .replace("{webhookId}", &self.webhook)
            .replace("{deliveryId}", &self.delivery)
            .replace("{tokenId}", &self.token)
            .replace("{reportId}", &self.report)
            .replace("{sourceId}", &self.source)
    }

    /// A body with which the operation succeeds.
    pub(crate) fn body(&self, method: &str, template: &str) -> Option<Value> {
        let (_, name) = template.rsplit_once('/').unwrap();
        match (method, name) {
            ("POST", "sources") | ("PUT", "{sourceId}") => {
                Some(json!({"name": "other", "kind": "sonarqube"}))
            }
            ("POST", "webhooks") | ("PUT", _) => {
                Some(json!({"name": "other", "url": self.receiver.url}))
            }
            ("POST", "test") if !template.contains("{webhookId}") => {
                Some(json!({"url": self.receiver.url}))
            }
            ("PATCH", _) => Some(json!({"name": "another"})),
            ("POST", "tokens") => Some(json!({"name": "other", "rights": ["publish"]})),
            ("POST", "check") => Some(json!({"baseUrl": self.server, "token": "squ_1"})),
            ("POST", "replay") => Some(json!({"states": ["delivered"]})),
            _ => None,
        }
    }

    /// Everything that this organization has but reports and sources, as its administrator sees it, without when tokens were used.
    pub(crate) async fn snapshot(&self, system: &System) -> Value {
        let webhooks = system.manage(self.org, "GET", "/webhooks", None).await;
        let mut deliveries = Vec::new();
        for webhook in webhooks.json()["webhooks"].as_array().unwrap() {
            let webhook = text(&webhook["id"]);
            let list = format!("/webhooks/{webhook}/deliveries");
            let list = system.manage(self.org, "GET", &list, None).await;
            for delivery in list.json()["deliveries"].as_array().unwrap() {
                let one = format!("/webhooks/{webhook}/deliveries/{}", text(&delivery["id"]));
                deliveries.push(system.manage(self.org, "GET", &one, None).await.json());
            }
        }
        json!([webhooks.json(), deliveries, self.tokens(system).await])
    }

    /// The ids of the reports that this organization has.
    pub(crate) async fn reports(&self, system: &System) -> Vec<String> {
        system.listed(&format!("org={}&minver=0", self.org)).await
    }

    /// The sources that this organization has.
    pub(crate) async fn sources(&self, system: &System) -> Value {
        system
            .manage(self.org, "GET", "/sources", None)
            .await
            .json()
    }

    /// The tokens that this organization has, but for when they were used.
    pub(crate) async fn tokens(&self, system: &System) -> Value {
        let mut tokens = system.manage(self.org, "GET", "/tokens", None).await.json();
        for token in tokens["tokens"].as_array_mut().unwrap() {
            token.as_object_mut().unwrap().remove("lastUsedAt");
        }
        tokens
    }
}

/// Every operation on an organization: method and path.
pub(crate) fn operations() -> Vec<(String, &'static str)> {
    contract::operations()
        .filter(|(_, path, _)| path.starts_with("/organizations/{organizationId}"))
        .map(|(method, path, _)| (method, path))
        .collect()
}

/// Asserts that an answer refuses, with this status and code.
pub(crate) fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert!(
        reply.status.as_u16() == status && reply.code() == code,
        "expected {status} {code}: {reply:?}"
    );
}

/// Asserts that an answer says that this is wrong with the request.
pub(crate) fn assert_wrong(reply: &Reply, code: &str, parameter: &str) {
    assert_refused(reply, 400, code);
    assert_eq!(reply.json()["parameter"], parameter, "{reply:?}");
}

/// Asserts that an answer has this status, and gives its body.
pub(crate) fn expect(reply: &Reply, status: StatusCode) -> Value {
    assert_eq!(reply.status, status, "{reply:?}");
    reply.json()
}

/// Calls the API as an administrator who wants the webhook to be in a state.
pub(crate) async fn manage_if(
    system: &System,
    org: OrganizationId,
    (method, path): (&str, &str),
    if_match: &str,
    body: Option<Value>,
) -> Reply {
    let request = system
        .request(method, &format!("/organizations/{org}{path}"))
        .bearer_auth(system.jwt(org, Role::Administrator))
        .header("if-match", if_match);
    let request = match body {
        None => request,
        Some(body) => request.json(&body),
    };
    system.send(request).await
}

/// Calls a function for administrators that is not the system's own, as an administrator.
pub(crate) async fn manage_through(
    system: &System,
    managing: &Managing,
    org: OrganizationId,
    (method, path): (&str, &str),
    body: Option<Value>,
) -> Reply {
    let bearer = system.jwt(org, Role::Administrator);
    call_through(system, managing, org, (method, path), &bearer, body).await
}

/// The same with a bearer token.
pub(crate) async fn call_through(
    system: &System,
    managing: &Managing,
    org: OrganizationId,
    (method, path): (&str, &str),
    bearer: &str,
    body: Option<Value>,
) -> Reply {
    let path = format!("/organizations/{org}{path}");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(&path)
        .header("authorization", format!("Bearer {bearer}"))
        .body(body)
        .unwrap();
    send_through(system, managing, request).await
}

/// Sends any request to a function that is not the system's own.
pub(crate) async fn send_through(
    system: &System,
    managing: &Managing,
    request: Request<Body>,
) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let functions = local::Functions {
        managing,
        ..system.stack.functions()
    };
    let response = local::service(&functions).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let reply = Reply {
        status: parts.status,
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
    };
    contract::check(method.as_str(), &path, &reply);
    reply
}

/// A URL that nobody is called at: only test calls and deliveries would.
pub(crate) const URL: &str = "http://127.0.0.1:9/hook";

pub(crate) async fn create(system: &System, org: OrganizationId, webhook: Value) -> Reply {
    system.manage(org, "POST", "/webhooks", Some(webhook)).await
}

pub(crate) async fn list(system: &System, org: OrganizationId) -> Vec<Value> {
    let list = system.manage(org, "GET", "/webhooks", None).await.json();
    list["webhooks"].as_array().unwrap().clone()
}

pub(crate) fn path_of(webhook: &Value) -> String {
    format!("/webhooks/{}", text(&webhook["id"]))
}

/// The URL of a receiver with a user and a password.
pub(crate) fn with_password(receiver: &Receiver) -> String {
    receiver.url.replace("http://", "http://user:pass%20word@")
}

/// `base` with the members of `patch`.
pub(crate) fn with(mut base: Value, patch: &Value) -> Value {
    for (name, value) in patch.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}
