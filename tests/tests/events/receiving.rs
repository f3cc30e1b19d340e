//! What comes in.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use domain::source::SourceId;
use reqwest::StatusCode;
use serde_json::json;
use store::queue::work::Work;
use tests::failures::{Failures, Seam};
use tests::meter::Meter;
use tests::metrics::Records;
use tests::source::{Source, call_of, gate_changed, signature};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_call_is_stored_byte_for_byte_and_queued_once() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let bodies = [
        call_of("AZ1"),
        // Spaces, a line break, numbers as nobody else writes them, fields that nobody knows.
        "{ \"project\" : {\"key\":\"a\"},\n\"taskId\":\"AZ2\", \"x\": [1.0, 1e2, 12345678901234567890123] }\n".to_owned(),
        gate_changed("2026-02-11T00:00:00+0000"),
    ];
    for body in &bodies {
        let reply = source.call(&system, body.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        assert_eq!(reply.json()["outcome"], "accepted");
        let again = source.call(&system, body.as_bytes()).await;
        assert_eq!(again.json(), reply.json());
    }
    let calls = source.calls(&system, org).await;
    let payloads: Vec<String> = calls.iter().map(|it| text(&it["payload"])).collect();
    assert_eq!(payloads, bodies.iter().rev().cloned().collect::<Vec<_>>());
    let events: Vec<String> = calls.iter().map(|it| text(&it["event"])).collect();
    let completed = "analysis.completed";
    assert_eq!(events, ["quality_gate.changed", completed, completed]);
    assert_eq!(
        (&calls[2]["branch"], &calls[2]["taskId"]),
        (&json!("main"), &json!("AZ1"))
    );
    let queued: BTreeSet<String> = system.queued().await.iter().map(Work::to_json).collect();
    assert_eq!(queued.len(), 3, "what came twice is told once: {queued:?}");
    // Nothing is left for the sweep.
    let later = OffsetDateTime::now_utc() + Duration::HOUR;
    assert_eq!(system.round(later).await.swept.found, 0);
}

#[tokio::test]
async fn who_does_not_sign_learns_nothing_and_costs_no_write() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let disabled = Source::create_with(&system, org, json!({"enabled": false})).await;
    let body = call_of("AZ1");
    let meter = Meter::default();
    let clients = meter.of(&system, "ReceiveEvents");
    let receiving = system.stack.receiving_with(&clients).unwrap();
    let right = signature(&source.secret, body.as_bytes());
    let other = signature("another secret of sixteen", body.as_bytes());
    let unknown = "/events/00000000-0000-4000-8000-000000000000".to_owned();
    let mut answers = BTreeSet::new();
    for (path, signature) in [
        (source.path(), Some(other.as_str())),
        (source.path(), None),
        (source.path(), Some("")),
        (source.path(), Some("zz")),
        (source.path(), Some(&right[..63])),
        (unknown, Some(right.as_str())),
        ("/events/no-id".to_owned(), Some(right.as_str())),
        (disabled.path(), Some(right.as_str())),
    ] {
        let mut request = Request::post(path);
        if let Some(signature) = signature {
            request = request.header("x-sonar-webhook-hmac-sha256", signature);
        }
        let request = request.body(Body::from(body.clone())).unwrap();
        let service = web::api::service(receive_events::router(receiving.clone()));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body.as_object_mut().unwrap().remove("requestId");
        answers.insert(body.to_string());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(meter.read().write_units, 0.0);
    assert!(source.calls(&system, org).await.is_empty());

    // Either case is right.
    let upper = right.to_uppercase();
    let request = system
        .request("POST", &source.path())
        .header("x-sonar-webhook-hmac-sha256", upper)
        .body(body);
    assert_eq!(system.send(request).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_kept() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    for (body, says) in [
        (&b""[..], "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "project.key"),
        (b"{}", "project.key"),
        (br#"{"project":{"key":""}}"#, "project.key"),
        (br#"{"project":{"key":7}}"#, "project.key"),
        (
            format!(r#"{{"project":{{"key":"{}"}}}}"#, "k".repeat(401)).as_bytes(),
            "400 characters",
        ),
    ] {
        let reply = source.call(&system, body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(text(&reply.json()["message"]).contains(says), "{reply:?}");
        let calls = source.calls(&system, org).await;
        assert_eq!(calls[0]["outcome"], "refused");
        assert!(text(&calls[0]["reason"]).contains(says));
        assert_eq!(calls[0]["payload"], json!(String::from_utf8_lossy(body)));
    }
    let largest = format!(
        r#"{{"project":{{"key":"a"}},"x":"{}"}}"#,
        "x".repeat(receive_events::MAX_BODY_BYTES - 32)
    );
    let spare = receive_events::MAX_BODY_BYTES - largest.len();
    let largest = largest + &" ".repeat(spare);
    let reply = source.call(&system, largest.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let reply = source.call(&system, format!("{largest} ").as_bytes()).await;
    assert_eq!(reply.code(), "body_too_large");
    assert_eq!(system.queued().await.len(), 1);
    for method in ["GET", "PUT", "DELETE"] {
        let reply = system.send(system.request(method, &source.path())).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn what_is_longer_than_any_of_sonarqubes_is_in_the_payload_only() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let long = "x".repeat(100_000);
    let body =
        json!({"taskId": long, "branch": {"name": long}, "project": {"key": "k".repeat(400)}});
    let reply = source.call(&system, body.to_string().as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    let [call] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(call["event"], "analysis.completed");
    assert_eq!((call.get("taskId"), call.get("branch")), (None, None));
    assert_eq!(call["payload"], json!(body.to_string()));
}

#[tokio::test]
async fn a_slash_at_the_end_is_no_reason_to_lose_a_call() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let body = call_of("AZ1");
    let signature = signature(&source.secret, body.as_bytes());
    let request = Request::post(format!("{}/", source.path()))
        .header("x-sonar-webhook-hmac-sha256", signature)
        .body(Body::from(body))
        .unwrap();
    let receiving = system.stack.receiving.clone();
    let service = web::api::service(receive_events::router(receiving));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(source.calls(&system, org).await.len(), 1);
}

#[tokio::test]
async fn nobody_is_told_of_a_test_call_of_another_stack() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let headers = [("x-webhook-event", "report.test")];
    let body = call_of("AZ1");
    let reply = source.call_with(&system, body.as_bytes(), &headers).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.json()["outcome"], "ignored");
    assert!(system.queued().await.is_empty());
}

#[tokio::test]
async fn a_call_about_another_project_is_ignored() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create_with(&system, org, json!({"projects": ["acme:w*", "x"]})).await;
    let reply = source.call(&system, call_of("AZ1").as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.json()["outcome"], "ignored");
    assert_eq!(source.calls(&system, org).await[0]["outcome"], "ignored");
    let later = OffsetDateTime::now_utc() + Duration::HOUR;
    assert_eq!(system.round(later).await.swept.found, 0);
    assert!(system.queued().await.is_empty());
}

#[tokio::test]
async fn a_ring_of_stacks_ends() {
    let system = System::start().await;
    let source = Source::create(&system, organization()).await;
    for (hops, status) in [("0", 202), ("2", 202), ("3", 403), ("4", 403), ("x", 202)] {
        let body = call_of(hops);
        let headers = [("x-report-hops", hops), ("webhook-id", "of-another-stack")];
        let reply = source.call_with(&system, body.as_bytes(), &headers).await;
        assert_eq!(reply.status.as_u16(), status, "{hops}: {reply:?}");
        if status == 403 {
            assert_eq!(reply.code(), "loop");
        }
    }
}

#[tokio::test]
async fn the_time_of_the_last_call_is_noted_once_a_minute() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let id: SourceId = source.id.parse().unwrap();
    let sources = &system.stack.tables.sources;
    let noted = async || sources.get(id).await.unwrap().unwrap().last_call_at;
    assert_eq!(noted().await, None);
    source.call(&system, call_of("1").as_bytes()).await;
    let first = noted().await.unwrap();
    source.call(&system, call_of("2").as_bytes()).await;
    assert_eq!(noted().await, Some(first));
    let earlier = OffsetDateTime::now_utc() - Duration::seconds(61);
    sources.note_call(id, earlier).await.unwrap();
    source.call(&system, call_of("3").as_bytes()).await;
    assert!(noted().await.unwrap() > domain::date::timestamp(earlier));
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let system = System::start().await;
    let source = Source::create(&system, organization()).await;
    let records = Records::default();
    let receiving = receive_events::Receiving {
        metrics: records.metrics(),
        ..system.stack.receiving.clone()
    };
    let call_at = async |path: &str, body: Vec<u8>, secret: &str| {
        let signature = signature(secret, &body);
        let request = Request::post(path)
            .header("x-sonar-webhook-hmac-sha256", signature)
            .body(Body::from(body))
            .unwrap();
        let service = web::api::service(receive_events::router(receiving.clone()));
        service.oneshot(request).await.unwrap().status().as_u16()
    };
    let path = source.path();
    let call = async |body, secret: &str| call_at(&path, body, secret).await;
    assert_eq!(call(b"{".to_vec(), &source.secret).await, 400);
    assert_eq!(call(b"{}".to_vec(), "wrong").await, 401);
    assert_eq!(call(vec![b' '; 300_000], &source.secret).await, 413);
    assert_eq!(call(call_of("1").into_bytes(), &source.secret).await, 202);
    let figures = records.figures();
    let sum = |name: &str| figures.iter().filter(|it| it.contains_key(name)).count();
    assert_eq!((sum("CallsRefused"), sum("CallsTooLarge")), (2, 1));

    // What is at no source's path as well: of API Gateway's own refusals there is an alarm, and of these there is none.
    for path in ["/events/a/b", "/events/%ff"] {
        assert_eq!(call_at(path, b"{}".to_vec(), "any").await, 401, "{path}");
    }
    let figures = records.figures();
    let refused = figures.iter().filter(|it| it.contains_key("CallsRefused"));
    assert_eq!(refused.count(), 4);
}

/// Each call to DynamoDB and SQS of receiving fails once, or the process dies there. `SonarQube` does not call again; yet what was
/// answered with 202 is told.
#[tokio::test]
async fn what_was_answered_with_202_is_queued_whatever_fails() {
    // A source is read, the call stored, queued, its mark removed, the source noted.
    const CALLS: usize = 5;
    for n in 1..=CALLS + 1 {
        for seam in [Seam::Before, Seam::After] {
            for kill in [false, true] {
                let system = System::start().await;
                let source = Source::create(&system, organization()).await;
                let failures = Failures::at(n, seam, kill);
                let clients = failures.clients(&system.stack.clients["ReceiveEvents"]);
                let receiving = system.stack.receiving_with(&clients).unwrap();
                let body = call_of("AZ1");
                let signature = signature(&source.secret, body.as_bytes());
                let request = Request::post(source.path())
                    .header("x-sonar-webhook-hmac-sha256", signature)
                    .body(Body::from(body))
                    .unwrap();
                let service = web::api::service(receive_events::router(receiving));
                let status = service.oneshot(request).await.unwrap().status().as_u16();
                let later = OffsetDateTime::now_utc() + Duration::HOUR;
                let retrying = &system.stack.retrying;
                retry_webhooks::round(retrying, later, retry_webhooks::BUDGET).await;
                let queued = system.queued().await;
                let what = format!("call {n}, {seam:?}, killed: {kill}, {status}");
                match status {
                    202 => assert!(!queued.is_empty(), "{what}"),
                    500 => assert!(failures.has_struck(), "{what}"),
                    _ => panic!("{what}"),
                }
            }
        }
    }
}

/// A burst, as when a server analyses all of its projects again.
#[tokio::test]
async fn of_a_burst_each_call_is_taken_once() {
    let system = System::start().await;
    let source = Source::create(&system, organization()).await;
    let (system, source) = (&system, &source);
    let calls = (0..300).map(async |task: usize| {
        let call = call_of(&(task / 2).to_string());
        source.call(system, call.as_bytes()).await.status.as_u16()
    });
    let statuses = futures_util::future::join_all(calls).await;
    assert!(statuses.iter().all(|status| *status == 202));
    let queued: BTreeSet<String> = system.queued().await.iter().map(Work::to_json).collect();
    assert_eq!(queued.len(), 150);
}
