//! Clients of other products, and what they are answered.

use domain::organization::OrganizationId;
use domain::token::Right;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tests::samples::metadata;
use tests::system::{Reply, System, text};
use time::OffsetDateTime;

/// A token of an organization that may manage its webhooks.
pub(crate) async fn manager(system: &System, org: OrganizationId) -> String {
    let made = system.token(org, &[Right::ManageWebhooks], None).await;
    made.1
}

/// A client of `SonarQube`'s that sends a token as the user, and parameters as a form.
pub(crate) struct Sonar<'a> {
    pub(crate) system: &'a System,
    pub(crate) org: OrganizationId,
    pub(crate) token: String,
}

impl<'a> Sonar<'a> {
    pub(crate) async fn new(system: &'a System, org: OrganizationId) -> Self {
        Self {
            system,
            org,
            token: manager(system, org).await,
        }
    }

    pub(crate) fn path(&self, action: &str) -> String {
        format!("/sonarqube/{}/api/{action}", self.org)
    }

    pub(crate) async fn get(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let request = self.system.request("GET", &self.path(action));
        let request = request.basic_auth(&self.token, Some(""));
        self.system.send(request.query(parameters)).await
    }

    pub(crate) async fn post(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let request = self.system.request("POST", &self.path(action));
        let request = request.basic_auth(&self.token, Some(""));
        self.system.send(with_form(request, parameters)).await
    }

    /// Makes a webhook, and gives its key.
    pub(crate) async fn create(&self, parameters: &[(&str, &str)]) -> String {
        let created = self.post("webhooks/create", parameters).await;
        assert_eq!(created.status, StatusCode::OK, "{created:?}");
        text(&created.json()["webhook"]["key"])
    }

    pub(crate) async fn list(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        let list = self.get("webhooks/list", parameters).await;
        assert_eq!(list.status, StatusCode::OK, "{list:?}");
        list.json()["webhooks"].as_array().unwrap().clone()
    }
}

/// A request with these parameters as a form, as most clients send them.
pub(crate) fn with_form(request: RequestBuilder, parameters: &[(&str, &str)]) -> RequestBuilder {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let body = form.extend_pairs(parameters).finish();
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(body)
}

/// Asserts that an answer is an error in `SonarQube`'s words.
pub(crate) fn assert_sonar_error(reply: &Reply, status: u16, message: &str) {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    assert_eq!(reply.json(), json!({"errors": [{"msg": message}]}));
    assert_eq!(reply.header("content-type"), "application/json");
}

/// The metadata of a report of the analysis with this number: a webhook of `SonarQube`'s format is told of each once.
pub(crate) fn analysis(number: u32) -> Value {
    let mut metadata = metadata("1.0");
    metadata["date"] = json!(format!("2025-12-17T09:05:{number:02}Z"));
    metadata
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
