//! Receivers as strict as real ones: what they need of a call, as their sources have it.

use serde_json::{Value, json};
use tests::receiver::{Received, Receiver};
use tests::samples::{files, metadata};
use tests::source::{Source, call_of, gate_changed};
use tests::system::{System, organization};
use time::OffsetDateTime;

/// Jenkins' plugin (`SonarQubeWebHook.java`): the task, the status and the project; the gate's status if there is a gate.
fn jenkins(call: &Value) -> Result<(), String> {
    texts(
        call,
        &["/taskId", "/status", "/project/name", "/project/url"],
    )?;
    let status = call["status"].as_str().unwrap_or_default();
    if !["SUCCESS", "FAILED", "CANCELED"].contains(&status) {
        return Err(format!("no status {status}"));
    }
    match call.get("qualityGate") {
        Some(_) if status == "SUCCESS" => texts(call, &["/qualityGate/status"]),
        _ => Ok(()),
    }
}

/// Zulip (`zerver/webhooks/sonarqube/view.py`): conditions have to be there, with texts.
fn zulip(call: &Value) -> Result<(), String> {
    texts(
        call,
        &["/project/name", "/project/url", "/qualityGate/status"],
    )?;
    let conditions = call.pointer("/qualityGate/conditions");
    let conditions = conditions
        .and_then(Value::as_array)
        .ok_or("no conditions")?;
    for condition in conditions {
        texts(
            condition,
            &["/metric", "/operator", "/status", "/errorThreshold"],
        )?;
        if condition
            .get("value")
            .is_some_and(|value| !value.is_string())
        {
            return Err(format!("a value that is no text: {condition}"));
        }
    }
    Ok(())
}

/// gitea-sonarqube-bot: the header and the field of the project agree.
fn gitea_bot(received: &Received) -> Result<(), String> {
    let call = received.json();
    texts(
        &call,
        &[
            "/project/key",
            "/project/url",
            "/branch/type",
            "/branch/url",
        ],
    )?;
    let header = received.header("x-sonarqube-project");
    match call["project"]["key"] == header {
        true => Ok(()),
        false => Err(format!("the header says {header}")),
    }
}

/// A Joi schema, as topcoder's submission-quality-api has it; and no field but SonarQube's.
fn schema(call: &Value) -> Result<(), String> {
    const FIELDS: [&str; 10] = [
        "serverUrl",
        "taskId",
        "status",
        "analysedAt",
        "revision",
        "changedAt",
        "project",
        "branch",
        "qualityGate",
        "properties",
    ];
    texts(
        call,
        &[
            "/serverUrl",
            "/status",
            "/analysedAt",
            "/changedAt",
            "/project/key",
        ],
    )?;
    let server = call["serverUrl"].as_str().unwrap_or_default();
    if url::Url::parse(server).is_err() {
        return Err(format!("no URL: {server}"));
    }
    for time in ["analysedAt", "changedAt"] {
        let text = call[time].as_str().unwrap_or_default();
        if text.len() != 24 || text.parse::<domain::date::GivenDate>().is_err() {
            return Err(format!("no date of SonarQube: {text}"));
        }
    }
    let fields = call.as_object().ok_or("no object")?.keys();
    let mut others = fields.filter(|name| !FIELDS.contains(&name.as_str()));
    match others.next() {
        Some(other) => Err(format!("a field {other}")),
        None if call["properties"].is_object() => Ok(()),
        None => Err("no properties".to_owned()),
    }
}

fn texts(value: &Value, paths: &[&str]) -> Result<(), String> {
    for path in paths {
        if value.pointer(path).and_then(Value::as_str).is_none() {
            return Err(format!("no text at {path} of {value}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_message_passes_all_that_its_event_allows() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let webhook = json!({
        "name": "n", "url": receiver.url, "format": "sonarqube",
        "events": ["analysis.completed", "quality_gate.changed", "report.published", "report.updated"],
    });
    system.webhook_with(org, webhook).await;
    let source = Source::create(&system, org).await;
    source.call(&system, call_of("AZ1").as_bytes()).await;
    let gate = gate_changed("2026-03-01T00:00:00+0000");
    source.call(&system, gate.as_bytes()).await;
    let reports = [
        json!({}),
        json!({"projectKey": "b", "qualityGate": "OK", "taskId": "AZ2"}),
        json!({"projectKey": "c", "qualityGate": {"status": "ERROR", "conditions": [
            {"metric": "m", "operator": "LESS_THAN", "status": "ERROR", "errorThreshold": "1"},
        ]}, "branch": "main", "taskId": "AZ3", "serverUrl": "https://s.example"}),
    ];
    for more in reports {
        let mut report = metadata("1.0");
        let fields = report.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        system.publish(org, &report, &files("a")).await;
    }
    system.deliver(OffsetDateTime::now_utc()).await;
    let received = receiver.take();
    assert_eq!(received.len(), 5);
    let mut passed = [0; 2];
    for one in &received {
        let call = one.json();
        assert_eq!(gitea_bot(one), Ok(()));
        assert_eq!(schema(&call), Ok(()));
        // What has no task, or no gate, they cannot take of SonarQube either.
        let (has_task, has_gate) = (
            call.get("taskId").is_some(),
            call.get("qualityGate").is_some(),
        );
        assert_eq!(jenkins(&call).is_ok(), has_task, "{:?}", jenkins(&call));
        assert_eq!(zulip(&call).is_ok(), has_gate, "{:?}", zulip(&call));
        passed[0] += usize::from(has_task);
        passed[1] += usize::from(has_gate);
    }
    assert_eq!(passed, [3, 4]);
}
