//! What the server says when a project was analysed: a call of its webhook, as `SonarQube` makes it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::project::{Analysis, Branch, Project};

/// Where the webhook leads, and what its calls are signed with.
#[derive(Clone)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secret: String,
}

impl Webhook {
    /// Makes a call, once: `SonarQube` never repeats one. Gives the status of the answer.
    pub(super) async fn call(&self, project: &str, body: String) -> anyhow::Result<u16> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())?;
        mac.update(body.as_bytes());
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()?;
        let request = http
            .post(&self.url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "SonarQube/2026.3")
            .header("x-sonarqube-project", project)
            .header(
                "x-sonar-webhook-hmac-sha256",
                hex::encode(mac.finalize().into_bytes()),
            );
        Ok(request.body(body).send().await?.status().as_u16())
    }
}

/// The call of a branch's newest analysis: of a background task, or without one that its quality gate has changed.
pub(super) fn of(
    server_url: &str,
    project: &Project,
    branch: &Branch,
    task: Option<&str>,
) -> String {
    let is_main = project
        .branches
        .first()
        .is_some_and(|it| it.name == branch.name);
    let newest = branch.analyses.first();
    let url = format!("{server_url}/dashboard?id={}", project.key);
    let mut call = json!({
        "serverUrl": server_url,
        "taskId": task,
        "status": "SUCCESS",
        "analysedAt": newest.map(|it| it.date.as_str()),
        "revision": newest.and_then(|it| it.revision.as_deref()),
        "changedAt": newest.map(|it| it.date.as_str()),
        "project": {"key": project.key, "name": project.name, "url": url},
        "branch": {"name": branch.name, "type": "BRANCH", "isMain": is_main, "url": url},
        "qualityGate": branch.gate.map(|status| json!({
            "name": "Sonar way", "status": status, "conditions": [],
        })),
        "properties": newest.map(properties),
    });
    if let Some(fields) = call.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    // As SonarQube's writer escapes what HTML knows. In JSON these can only be in texts.
    ['=', '&', '<', '>', '\'']
        .into_iter()
        .fold(call.to_string(), |text, special| {
            text.replace(special, &format!("\\u{:04x}", u32::from(special)))
        })
}

fn properties(analysis: &Analysis) -> Value {
    match &analysis.build {
        Some(build) => json!({"sonar.analysis.buildNumber": build}),
        None => json!({}),
    }
}
