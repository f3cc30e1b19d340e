//! A source, and who calls it as `SonarQube` and `CodeScoring` do.

use axum::body::Body;
use axum::http::Request;
use domain::organization::OrganizationId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use receive_events::Receiving;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt as _;

use crate::api::{Api, Reply, text};

/// A source that was made by the API.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its id.
    pub id: String,
    /// What calls are signed with, or the token that they bring.
    pub secret: String,
    /// Whether it is called by `CodeScoring`.
    pub is_codescoring: bool,
}

impl Source {
    /// Makes a source for all projects.
    pub async fn create(api: &Api, org: OrganizationId) -> Self {
        Self::create_with(api, org, json!({})).await
    }

    /// Makes a source that `CodeScoring` calls, with some settings of its own.
    pub async fn codescoring_with(api: &Api, org: OrganizationId, mut settings: Value) -> Self {
        settings["kind"] = json!("codescoring");
        Self::create_with(api, org, settings).await
    }

    /// The same, for all projects.
    pub async fn codescoring(api: &Api, org: OrganizationId) -> Self {
        Self::codescoring_with(api, org, json!({})).await
    }

    /// Makes a source with some settings of its own.
    pub async fn create_with(api: &Api, org: OrganizationId, settings: Value) -> Self {
        let mut body = json!({"name": "test", "kind": "sonarqube"});
        body.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let is_codescoring = body["kind"] == "codescoring";
        let shared = if is_codescoring { "token" } else { "secret" };
        let given = body[shared].as_str().map(str::to_owned);
        let reply = api.manage(org, "POST", "/sources", Some(body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let created = reply.json();
        let id = text(&created["id"]);
        assert!(text(&created["url"]).ends_with(&format!("/events/{id}")));
        Self {
            id,
            secret: given.unwrap_or_else(|| text(&created[shared])),
            is_codescoring,
        }
    }

    /// The path that is called.
    pub fn path(&self) -> String {
        format!("/events/{}", self.id)
    }

    /// The header that proves who calls.
    pub fn proof(&self, body: &[u8]) -> (&'static str, String) {
        match self.is_codescoring {
            true => ("x-codescoring-authentication", self.secret.clone()),
            false => ("x-sonar-webhook-hmac-sha256", signature(&self.secret, body)),
        }
    }

    /// Calls it, signed.
    pub async fn call(&self, api: &Api, body: &[u8]) -> Reply {
        self.call_with(api, body, &[]).await
    }

    /// Calls it, signed and with further headers.
    pub async fn call_with(&self, api: &Api, body: &[u8], headers: &[(&str, &str)]) -> Reply {
        let (name, proof) = self.proof(body);
        let mut request = api
            .request("POST", &self.path())
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "SonarQube/2026.3")
            .header(name, proof)
            .body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request).await
    }

    /// Calls it, signed, in this process, at a function that works with these. Gives the status.
    pub async fn call_at(&self, receiving: &Receiving, body: String) -> StatusCode {
        let (name, proof) = self.proof(body.as_bytes());
        let request = Request::post(self.path()).header(name, proof);
        let service = web::api::service(receive_events::router(receiving.clone()));
        let response = service.oneshot(request.body(Body::from(body)).unwrap());
        response.await.unwrap().status()
    }

    /// What it was told, as an administrator sees it, the newest first.
    pub async fn calls(&self, api: &Api, org: OrganizationId) -> Vec<Value> {
        let path = format!("/sources/{}/calls", self.id);
        let reply = api.manage(org, "GET", &path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()["calls"].as_array().unwrap().clone()
    }
}

/// A call of `CodeScoring` with these events.
pub fn events_of<T: AsRef<str>>(events: &[T]) -> String {
    let events: Vec<&str> = events.iter().map(AsRef::as_ref).collect();
    format!(r#"{{"events": [{}]}}"#, events.join(", "))
}

/// An event of `CodeScoring`, as Django writes it, with the number of a project.
pub fn event_of(trigger: &str, project: u32) -> String {
    format!(
        r#"{{"created_at": "2026-02-10T09:51:17.482913+00:00", "trigger": "{trigger}", "payload": {{"project_id": {project}, "project_name": "Shop {project} ä"}}}}"#
    )
}

/// The signature of a body, in lower-case hexadecimal digits.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A call as `SonarQube` 2026.3 writes it, with the escapes of its writer, of a task.
pub fn call_of(task: &str) -> String {
    format!(
        r#"{{"serverUrl":"https://sonarqube.example","taskId":"{task}","status":"SUCCESS","analysedAt":"2026-02-10T10:51:17+0100","revision":"c0ffee","changedAt":"2026-02-10T10:51:17+0100","project":{{"key":"acme:shop","name":"Shop \u0026 Söhne","url":"https://sonarqube.example/dashboard?id\u003dacme%3Ashop"}},"branch":{{"name":"main","type":"BRANCH","isMain":true,"url":"https://sonarqube.example/dashboard?id\u003dacme%3Ashop"}},"qualityGate":{{"name":"Sonar way","status":"ERROR","conditions":[{{"metric":"new_coverage","operator":"LESS_THAN","value":"71.5","status":"ERROR","errorThreshold":"80"}},{{"metric":"new_violations","operator":"GREATER_THAN","status":"NO_VALUE","errorThreshold":"0"}}]}},"properties":{{"sonar.analysis.detectedci":"Jenkins"}}}}"#
    )
}

/// A call without a task: somebody has changed issues.
pub fn gate_changed(changed_at: &str) -> String {
    call_of("-").replace(r#""taskId":"-","#, "").replacen(
        r#""changedAt":"2026-02-10T10:51:17+0100""#,
        &format!(r#""changedAt":"{changed_at}""#),
        1,
    )
}
