//! Calls of the API, each of whose answers is held against the contract.

use bytes::Bytes;
use domain::organization::OrganizationId;
use identity::Role;
use local::DevelopmentIssuer;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::contract;

/// An API that runs somewhere.
#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    http: Client,
    issuer: DevelopmentIssuer,
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

impl Api {
    /// The API at this URL, which believes the issuer.
    pub fn new(url: &str, http: Client, issuer: DevelopmentIssuer) -> Self {
        Self {
            url: url.to_owned(),
            http,
            issuer,
        }
    }

    /// The client that calls it.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The URL of a path, with or without a query.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
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
        let method = request.method().as_str().to_owned();
        // The stage of a deployed API is no part of the contract's paths.
        let stage = Url::parse(&self.url).unwrap();
        let stage = stage.path().trim_end_matches('/');
        let path = request.url().path().strip_prefix(stage).unwrap().to_owned();
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

    /// The JWT of somebody with this role in the organization.
    pub fn jwt(&self, org: OrganizationId, role: Role) -> String {
        let now = OffsetDateTime::now_utc();
        self.issuer
            .token(&[(org, role)], now, Duration::HOUR)
            .unwrap()
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
