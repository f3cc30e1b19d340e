//! A source, and who calls it as `SonarQube` does.

use domain::organization::OrganizationId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::api::{Api, Reply, text};

/// A source that was made by the API.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its id.
    pub id: String,
    /// What calls are signed with.
    pub secret: String,
}

impl Source {
    /// Makes a source for all projects.
    pub async fn create(api: &Api, org: OrganizationId) -> Self {
        Self::create_with(api, org, json!({})).await
    }

    /// Makes a source with some settings of its own.
    pub async fn create_with(api: &Api, org: OrganizationId, settings: Value) -> Self {
        let mut body = json!({"name": "test", "kind": "sonarqube"});
        body.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let given = body["secret"].as_str().map(str::to_owned);
        let reply = api.manage(org, "POST", "/sources", Some(body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let created = reply.json();
        let id = text(&created["id"]);
        assert!(text(&created["url"]).ends_with(&format!("/events/{id}")));
        Self {
            id,
            secret: given.unwrap_or_else(|| text(&created["secret"])),
        }
    }

    /// The path that is called.
    pub fn path(&self) -> String {
        format!("/events/{}", self.id)
    }

    /// Calls it, signed.
    pub async fn call(&self, api: &Api, body: &[u8]) -> Reply {
        self.call_with(api, body, &[]).await
    }

    /// Calls it, signed and with further headers.
    pub async fn call_with(&self, api: &Api, body: &[u8], headers: &[(&str, &str)]) -> Reply {
        let signature = signature(&self.secret, body);
        let mut request = api
            .request("POST", &self.path())
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "SonarQube/2026.3")
            .header("x-sonar-webhook-hmac-sha256", signature)
            .body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request).await
    }

    /// What it was told, as an administrator sees it, the newest first.
    pub async fn calls(&self, api: &Api, org: OrganizationId) -> Vec<Value> {
        let path = format!("/sources/{}/calls", self.id);
        let reply = api.manage(org, "GET", &path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()["calls"].as_array().unwrap().clone()
    }
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
