//! Calls of `CodeScoring`, and messages as `CodeScoring` sends them.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use domain::codescoring::TRIGGERS;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::queue::work::{News, Work};
use tests::failures::{Failures, Seam};
use tests::meter::Meter;
use tests::posted::Posted;
use tests::receiver::{Answer, Received, Receiver};
use tests::samples::{files, metadata, noise};
use tests::source::{Source, call_of, event_of, events_of};
use tests::system::{System, organization, text};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

use crate::support::{handed, handle};

const TOKEN: &str = "the receiver's token";

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The settings of a webhook of the format.
fn webhook(receiver: &Receiver, more: Value) -> Value {
    let mut settings = json!({
        "name": "n", "url": receiver.url, "format": "codescoring", "token": TOKEN,
    });
    let more = more.as_object().unwrap().clone();
    settings.as_object_mut().unwrap().extend(more);
    settings
}

/// The events of a message, each as it stands there, of a receiver that is as strict as a schema of the documentation.
fn events(received: &Received) -> Vec<Value> {
    assert_eq!(received.header("x-codescoring-authentication"), TOKEN);
    assert_eq!(
        received.header("content-type"),
        "application/json; charset=utf-8"
    );
    for name in ["x-sonar-webhook-hmac-sha256", "x-sonarqube-project"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
    let body = received.json();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["events"]);
    let events = body["events"].as_array().unwrap().clone();
    for event in &events {
        let fields: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["created_at", "trigger", "payload"], "{event}");
        let at = text(&event["created_at"]);
        OffsetDateTime::parse(&at, &Rfc3339).unwrap();
        assert!(at.len() == 32 && at.ends_with("+00:00"), "{at}");
        assert!(event["trigger"].is_string() && event["payload"].is_object());
    }
    events
}

#[tokio::test]
async fn a_source_has_a_token_that_is_shown_once() {
    let system = System::start_hasty().await;
    let org = organization();
    let body = json!({"name": "CS", "kind": "codescoring", "projects": ["7", "My shop", "Old *"]});
    let reply = system.manage(org, "POST", "/sources", Some(body)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let created = reply.json();
    assert_eq!(
        (text(&created["token"]).len(), &created["secret"]),
        (64, &Value::Null)
    );
    let path = format!("/sources/{}", text(&created["id"]));
    let read = system.manage(org, "GET", &path, None).await.json();
    assert_eq!(
        (&read["token"], &read["hasSecret"]),
        (&Value::Null, &json!(true))
    );
    let put = system.manage(org, "PUT", &path, Some(read)).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");

    for (body, code) in [
        (
            json!({"kind": "codescoring", "secret": "a secret of sixteen"}),
            "invalid_field",
        ),
        (
            json!({"kind": "sonarqube", "token": "a secret of sixteen"}),
            "missing_field",
        ),
        (
            json!({"kind": "codescoring", "token": "too short"}),
            "invalid_secret",
        ),
        (json!({"kind": "codescoring", "token": 7}), "invalid_secret"),
        (
            json!({"kind": "codescoring", "token": "not in a header: ä"}),
            "invalid_secret",
        ),
        (
            json!({"kind": "codescoring", "projects": ["a\nb"]}),
            "invalid_field",
        ),
        (
            json!({"kind": "sonarqube", "projects": ["My shop"]}),
            "invalid_field",
        ),
    ] {
        let mut whole = json!({"name": "n"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        let reply = system.manage(org, "POST", "/sources", Some(whole)).await;
        assert_eq!(reply.code(), code, "{body}: {reply:?}");
    }

    // The old one is good for a while.
    let mut source = Source::codescoring_with(
        &system,
        org,
        json!({"name": "n", "token": "the first of tokens"}),
    )
    .await;
    let path = format!("/sources/{}/secret", source.id);
    let wrong = json!({"secret": "a secret of sixteen"});
    let reply = system.manage(org, "POST", &path, Some(wrong)).await;
    assert_eq!(reply.code(), "unknown_field");
    let rotated = system.manage(org, "POST", &path, None).await.json();
    assert!(rotated["previousSecretUntil"].is_string());
    let body = events_of(&[event_of("clones_analysis_started", 7)]);
    assert_eq!(
        source.call(&system, body.as_bytes()).await.status,
        StatusCode::ACCEPTED
    );
    source.secret = text(&rotated["token"]);
    assert_eq!(
        source.call(&system, body.as_bytes()).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn who_has_not_the_token_learns_nothing_and_costs_no_write() {
    let system = System::start_hasty().await;
    let org = organization();
    let source = Source::codescoring(&system, org).await;
    let sonarqube = Source::create(&system, org).await;
    let disabled = Source::codescoring_with(&system, org, json!({"enabled": false})).await;
    let body = events_of(&[event_of("clones_analysis_started", 7)]);
    let meter = Meter::default();
    let clients = meter.of(&system, "ReceiveEvents");
    let receiving = system.stack.receiving_with(&clients).unwrap();
    let signature = tests::source::signature(&source.secret, body.as_bytes());
    let (token, short) = (source.secret.as_str(), &source.secret[1..]);
    let (name, sonar) = (
        "x-codescoring-authentication",
        "x-sonar-webhook-hmac-sha256",
    );
    let mut answers = BTreeSet::new();
    for (source, header) in [
        (&source, None),
        (&source, Some((name, ""))),
        (&source, Some((name, short))),
        (&source, Some((name, signature.as_str()))),
        (&source, Some((sonar, signature.as_str()))),
        (&source, Some((sonar, token))),
        (&sonarqube, Some((name, sonarqube.secret.as_str()))),
        (&disabled, Some((name, disabled.secret.as_str()))),
    ] {
        let mut request = Request::post(source.path());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body.clone())).unwrap();
        let service = web::api::service(receive_events::router(receiving.clone()));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{header:?}");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        let mut body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        body.as_object_mut().unwrap().remove("requestId");
        answers.insert(body.to_string());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(meter.read().write_units, 0.0);
    let request = system.request("POST", &source.path());
    let request = request.header(name, token).body(body);
    assert_eq!(system.send(request).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn each_trigger_is_recorded_and_passed_on_as_it_came() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    let created = system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let source = Source::codescoring(&system, org).await;
    let known = TRIGGERS.iter().map(|trigger| event_of(trigger, 7));
    let new = event_of("of_another_version", 8);
    let odd = r#"{"created_at":"2026-02-10T09:51:17.482913+00:00","trigger":"is ünknown","payload":{ "a" : 1.50 }}"#;
    let sent: Vec<String> = known.chain([new, odd.to_owned()]).collect();
    let body = events_of(&sent);
    let reply = source.call(&system, body.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    assert_eq!(
        source.call(&system, body.as_bytes()).await.json(),
        reply.json()
    );
    let [call] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(
        (
            &call["eventCount"],
            &call["event"],
            &call["outcome"],
            &call["payload"]
        ),
        (&json!(33), &Value::Null, &json!("accepted"), &json!(body))
    );
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(events(&received).len(), 33);
    let names = received.header("x-webhook-event");
    let names: BTreeSet<&str> = names.split(", ").collect();
    assert_eq!(names.len(), 33);
    for name in [
        "sca_policy_has_been_triggered",
        "of_another_version",
        "unknown",
    ] {
        assert!(names.contains(&*format!("codescoring.{name}")), "{names:?}");
    }
    let body = String::from_utf8(received.body.to_vec()).unwrap();
    assert_eq!(body, format!(r#"{{"events":[{}]}}"#, sent.join(",")));
    let [delivery] = system
        .deliveries(org, &created["id"])
        .await
        .try_into()
        .unwrap();
    assert_eq!(
        (&delivery["reports"], &delivery["codescoringEvents"]),
        (&json!(0), &json!(33))
    );
    assert_eq!(delivery.get("project"), None, "they are of two");
}

#[tokio::test]
async fn a_test_is_answered_with_200_and_nobody_is_told() {
    let system = System::start_hasty().await;
    let org = organization();
    let source = Source::codescoring(&system, org).await;
    let test = r#"{"created_at":"2026-02-10T09:51:17+00:00","trigger":"test","payload":{}}"#;
    let reply = source.call(&system, events_of(&[test]).as_bytes()).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.json()["outcome"], "ignored");
    let [call] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(
        (&call["event"], &call["eventCount"], &call["payload"]),
        (
            &json!("codescoring.test"),
            &json!(1),
            &json!(events_of(&[test]))
        )
    );
    assert!(system.queued().await.is_empty());

    // Among others it is left out.
    let receiver = Receiver::start().await;
    system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let other = event_of("clones_analysis_started", 7);
    let reply = source
        .call(&system, events_of(&[test, &other]).as_bytes())
        .await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(events(&received).len(), 1);
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_kept() {
    let system = System::start_hasty().await;
    let org = organization();
    let source = Source::codescoring(&system, org).await;
    for (body, says) in [
        (&b""[..], "not JSON"),
        (b"{\"events\":[\xff]}", "not UTF-8"),
        (b"{}", "no array 'events'"),
        (b"{\"events\":[1]}", "events[0] is no object"),
        (call_of("AZ1").as_bytes(), "no array 'events'"),
    ] {
        let reply = source.call(&system, body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(text(&reply.json()["message"]).contains(says), "{reply:?}");
        let call = &source.calls(&system, org).await[0];
        assert_eq!(call["outcome"], "refused");
        assert_eq!(call["payload"], json!(String::from_utf8_lossy(body)));
    }
    // Of one that is no text at all as much is kept as of a call of SonarQube.
    let largest = vec![0xff; receive_events::MAX_EVENTS_BODY_BYTES];
    assert_eq!(
        source.call(&system, &largest).await.status,
        StatusCode::BAD_REQUEST
    );
    let payload = text(&source.calls(&system, org).await[0]["payload"]);
    assert_eq!(payload.chars().count(), receive_events::MAX_BODY_BYTES);
    let reply = source.call(&system, &[&largest[..], b" "].concat()).await;
    assert_eq!(reply.code(), "body_too_large");
    let none = source.call(&system, br#"{"events":[]}"#).await;
    assert_eq!(none.json()["outcome"], "ignored");
    assert!(system.queued().await.is_empty());
}

/// An event with so many letters that do not compress to less than three quarters of them.
fn large_event(project: u32, letters: usize) -> String {
    let letter = |byte: u8| char::from(b'0' + byte % 64);
    let letters = noise(letters).into_iter().map(letter);
    let letters: String = letters
        .map(|it| if it == '\\' { '~' } else { it })
        .collect();
    event_of("clones_analysis_started", project).replace(
        "{\"project_id",
        &format!("{{\"more\": \"{letters}\", \"project_id"),
    )
}

#[tokio::test]
async fn a_call_of_a_megabyte_is_stored_in_pieces_and_told_whole() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let source = Source::codescoring(&system, org).await;
    let events_sent: Vec<String> = (0..4).map(|it| large_event(it, 256_000)).collect();
    let body = events_of(&events_sent);
    let spare = receive_events::MAX_EVENTS_BODY_BYTES - body.len();
    let body = body + &" ".repeat(spare);
    let reply = source.call(&system, body.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    let again = source.call(&system, body.as_bytes()).await;
    assert_eq!(again.json(), reply.json());
    // Pieces are no calls.
    let [call] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(call["payload"], json!(body));
    let table = system.stack.dynamodb.scan().table_name("CallsTable");
    let items = table.send().await.unwrap().items.unwrap();
    let of_piece = |item: &&store::dynamodb::Item| item["id"].as_s().unwrap().starts_with('~');
    let (pieces, whole): (Vec<_>, Vec<_>) = items.iter().partition(of_piece);
    assert_eq!((pieces.len(), whole.len()), (3, 1));
    for piece in pieces {
        assert_eq!(piece["expiresAt"], whole[0]["expiresAt"]);
        assert!(piece["body"].as_b().unwrap().as_ref().len() <= 350_000);
    }
    system.deliver(now()).await;
    let received = receiver.take();
    let bodies: BTreeSet<String> = received
        .iter()
        .map(|it| String::from_utf8(it.body.to_vec()).unwrap())
        .collect();
    let expected = events_sent
        .iter()
        .map(|it| format!(r#"{{"events":[{it}]}}"#));
    assert_eq!(bodies, expected.collect());
}

#[tokio::test]
async fn a_webhook_is_told_of_what_it_names() {
    let system = System::start_hasty().await;
    let org = organization();
    let source =
        Source::codescoring_with(&system, org, json!({"projects": ["7", "Shop 8*", "9"]})).await;
    let settings = [
        json!({}),
        json!({"events": ["codescoring.clones_analysis_started", "report.deleted"]}),
        json!({"projects": ["7", "Shop 9 ä"]}),
        json!({"format": "reports", "token": null}),
    ];
    let mut receivers = Vec::new();
    for settings in settings {
        let receiver = Receiver::start().await;
        system.webhook_with(org, webhook(&receiver, settings)).await;
        receivers.push(receiver);
    }
    let policy = r#"{"created_at":"2026-02-10T09:51:17.482913+00:00","trigger":"sca_policy_has_been_triggered","payload":{"project_id":7}}"#;
    let training = r#"{"created_at":"2026-02-10T09:51:17.482913+00:00","trigger":"ml_model_user_secrets_purged","payload":{}}"#;
    let sent = [
        event_of("clones_analysis_started", 7),
        event_of("clones_analysis_finished", 8),
        event_of("clones_analysis_finished", 9),
        event_of("clones_analysis_started", 10),
        policy.to_owned(),
        training.to_owned(),
    ];
    let reply = source.call(&system, events_of(&sent).as_bytes()).await;
    assert_eq!(reply.json()["outcome"], "accepted");
    let other = events_of(&[event_of("clones_analysis_started", 11)]);
    let reply = source.call(&system, other.as_bytes()).await;
    assert_eq!(
        reply.json()["outcome"],
        "ignored",
        "the source leaves it out"
    );
    system.deliver(now()).await;
    let told = |receiver: &Receiver| {
        let received = receiver.take();
        let events = received.iter().flat_map(events);
        let events = events.map(|it| serde_json::from_value::<Value>(it).unwrap());
        events.collect::<Vec<_>>()
    };
    let sent: Vec<Value> = sent
        .iter()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let some = |positions: &[usize]| {
        positions
            .iter()
            .map(|it| sent[*it].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&receivers[0]), some(&[0, 1, 2, 4]));
    assert_eq!(told(&receivers[1]), some(&[0]));
    assert_eq!(told(&receivers[2]), some(&[0, 2, 4]));
    assert!(
        receivers[3].take().is_empty(),
        "that format has none of these"
    );
}

#[tokio::test]
async fn of_a_report_an_event_is_made() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    let secret = "a secret of the receiver's";
    let settings = json!({
        "secret": secret,
        "events": ["report.published", "report.updated", "report.deleted"],
    });
    let created = system.webhook_with(org, webhook(&receiver, settings)).await;
    assert_eq!(
        (&created["hasToken"], &created["hasSecret"]),
        (&json!(true), &json!(true))
    );
    let mut report = metadata("1.0");
    report["branch"] = json!("main");
    report["qualityGate"] = json!("OK");
    report["revision"] = json!("c0ffee");
    report["taskId"] = json!("AZ1");
    report["properties"] = json!({"a": "b"});
    let id = system.publish(org, &report, &files("a")).await;
    system.publish(org, &report, &files("b")).await;
    let path = format!("/reports/{id}");
    let deleted = system.manage(org, "DELETE", &path, None).await;
    assert!(deleted.status.is_success(), "{deleted:?}");
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    tests::receiver::assert_standard_signature(&received, secret);
    let events = events(&received);
    let triggers: Vec<String> = events.iter().map(|it| text(&it["trigger"])).collect();
    let names = ["published", "updated", "deleted"].map(|it| format!("security_report_{it}"));
    assert_eq!(triggers, names);
    let payload = &events[0]["payload"];
    let uploaded = text(&payload["upload_date"]);
    let expected = json!({
        "project_key": "acme:shop", "project_name": "Test product", "project_version": "1.0",
        "branch": "main", "report_id": id, "report_type": "CWE Top 25", "report_version": 2024,
        "date": "2025-12-17T09:05:48.5946432+00:00", "upload_date": uploaded, "revision": 1,
        "vulnerabilities_count": 0, "security_rating": "A", "quality_gate": "OK", "task_id": "AZ1",
        "scm_revision": "c0ffee", "properties": {"a": "b"},
    });
    assert_eq!(payload, &expected);
    assert_eq!(
        text(&events[0]["created_at"]),
        format!("{}+00:00", &uploaded[..26])
    );
    assert_eq!(events[2]["payload"]["revision"], 3);
}

#[tokio::test]
async fn a_failure_is_tried_again_with_the_same_bytes_whatever_the_receiver_says() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    let created = system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let source = Source::codescoring(&system, org).await;
    receiver.answer(Answer::Status(400));
    let mut first = None;
    for hours in 0..5 {
        let body = events_of(&[event_of("clones_analysis_started", hours)]);
        source.call(&system, body.as_bytes()).await;
        system.round(now() + Duration::hours(hours.into())).await;
        let received = receiver.take();
        let first = first.get_or_insert_with(|| received[0].clone());
        let again = received
            .iter()
            .find(|it| it.header("webhook-id") == first.header("webhook-id"));
        assert_eq!(again.map(|it| &it.body), Some(&first.body), "round {hours}");
    }
    let deliveries = system.deliveries(org, &created["id"]).await;
    // None is rejected: to CodeScoring each of these is a failure.
    assert!(
        deliveries.iter().all(|it| it["state"] != "rejected"),
        "{deliveries:?}"
    );
    receiver.answer(Answer::Status(200));
    system.round(now() + Duration::hours(9)).await;
    let deliveries = system.deliveries(org, &created["id"]).await;
    assert!(
        deliveries.iter().all(|it| it["state"] == "delivered"),
        "{deliveries:?}"
    );
}

#[tokio::test]
async fn a_token_belongs_to_the_format_and_to_the_host() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    for (more, code) in [
        (json!({"token": null}), "missing_field"),
        (json!({"token": ""}), "invalid_secret"),
        (json!({"token": 1}), "invalid_secret"),
        (json!({"token": "a\tb"}), "invalid_secret"),
        (json!({"token": "t".repeat(201)}), "invalid_secret"),
        (json!({"format": "reports"}), "invalid_secret"),
        (json!({"events": ["analysis.completed"]}), "invalid_event"),
        (
            json!({"events": ["codescoring.no_such_trigger"]}),
            "invalid_event",
        ),
        (json!({"events": ["codescoring.test"]}), "invalid_event"),
        (
            json!({"format": "sonarqube", "token": null, "events": ["codescoring.clones_analysis_started"]}),
            "invalid_event",
        ),
        (
            json!({"headers": [{"name": "X-CodeScoring-Authentication", "value": "x"}]}),
            "invalid_header",
        ),
        (json!({"projects": ["a\nb"]}), "invalid_field"),
    ] {
        let body = webhook(&receiver, more.clone());
        let reply = system.manage(org, "POST", "/webhooks", Some(body)).await;
        assert_eq!(reply.code(), code, "{more}: {reply:?}");
    }
    let longest = json!({"token": "t".repeat(200), "projects": ["My shop", "7"]});
    let created = system.webhook_with(org, webhook(&receiver, longest)).await;
    assert_eq!(
        (created.get("token"), &created["hasSecret"]),
        (None, &json!(false))
    );
    let path = format!("/webhooks/{}", text(&created["id"]));
    let change =
        async |method: &str, body: Value| system.manage(org, method, &path, Some(body)).await;

    // It stays as it is, also where the whole is replaced by what was read.
    let read = system.manage(org, "GET", &path, None).await.json();
    assert_eq!(change("PUT", read).await.status, StatusCode::OK);
    let test = format!("{path}/test");
    let tried = system.manage(org, "POST", &test, None).await.json();
    assert_eq!(tried["delivered"], true, "{tried}");
    let shown = &tried["attempt"]["requestHeaders"]["x-codescoring-authentication"];
    assert_eq!(shown, "***");
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(
        received.header("x-codescoring-authentication"),
        "t".repeat(200)
    );
    let body = received.json();
    assert_eq!(
        (&body["events"][0]["trigger"], &body["events"][0]["payload"]),
        (&json!("test"), &json!({}))
    );
    assert!(!received.headers.contains_key("webhook-signature"));

    let elsewhere = Receiver::start().await;
    let reply = change("PATCH", json!({"url": elsewhere.url})).await;
    assert_eq!(reply.code(), "missing_field", "{reply:?}");
    let reply = change("PATCH", json!({"token": null})).await;
    assert_eq!(reply.code(), "missing_field", "{reply:?}");
    let reply = change("PATCH", json!({"url": elsewhere.url, "token": "new"})).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    system.manage(org, "POST", &test, None).await;
    let [received] = elsewhere.take().try_into().unwrap();
    assert_eq!(received.header("x-codescoring-authentication"), "new");
    // Another format has none, and knows projects by their keys.
    let reply = change("PATCH", json!({"format": "sonarqube"})).await;
    assert_eq!(reply.code(), "invalid_field", "{reply:?}");
    let reply = change("PATCH", json!({"format": "sonarqube", "projects": []})).await;
    assert_eq!(reply.json()["hasToken"], false, "{reply:?}");
    let reply = change("PATCH", json!({"format": "codescoring"})).await;
    assert_eq!(reply.code(), "missing_field", "{reply:?}");
}

#[tokio::test]
async fn what_happens_within_five_seconds_is_one_message() {
    let (system, receiver, other) = (
        System::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let org = organization();
    system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    system.webhook(org, &other.url).await;
    let source = Source::codescoring(&system, org).await;
    let posted = Posted::default();
    let clients = posted.of(&system, "DeliverWebhooks");
    let delivering = system.stack.delivering_with(&clients).unwrap();

    system.publish(org, &metadata("1.0"), &files("a")).await;
    for project in 0..3 {
        let events = [
            event_of("clones_analysis_started", project),
            event_of("clones_analysis_finished", project),
        ];
        source.call(&system, events_of(&events).as_bytes()).await;
    }
    let works = system.queued().await;
    assert_eq!(works.len(), 4);
    // Each by itself, a second after the other.
    let mut gathered = Vec::new();
    let start = now();
    for (seconds, work) in (0..).zip(&works) {
        let at = start + Duration::seconds(seconds);
        handle(&delivering, std::slice::from_ref(work), at).await;
        let posted = posted.take();
        let [(delay, work @ Work::Gathered(_))] = &posted[..] else {
            panic!("it gathers: {posted:?}");
        };
        assert!((1..=5).contains(&delay.as_secs()), "{delay:?}");
        gathered.push((at + *delay, work.clone()));
    }
    assert!(receiver.take().is_empty());
    assert_eq!(other.take().len(), 1, "the others do not wait");
    // They go out at the ends of windows, of which four seconds touch two at the most.
    let ends: BTreeSet<i64> = gathered.iter().map(|(at, _)| at.unix_timestamp()).collect();
    assert!((1..=2).contains(&ends.len()), "{ends:?}");
    if let [first, last] = ends.iter().collect::<Vec<_>>()[..] {
        assert_eq!(last - first, 5);
    }
    let of_calls = gathered.iter().filter(
        |(_, work)| matches!(work, Work::Gathered(it) if matches!(it.news[..], [News::Call(_)])),
    );
    assert_eq!(of_calls.count(), 3);
    // The queue hands them over together; what comes again is told once.
    let works: Vec<Work> = gathered.into_iter().map(|(_, work)| work).collect();
    for _ in 0..2 {
        handle(&delivering, &works, start + Duration::seconds(9)).await;
        assert!(posted.take().is_empty(), "it gathers once");
    }
    let received = receiver.take();
    let counts: Vec<usize> = received.iter().map(|it| events(it).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 7, "{counts:?}");
    assert_eq!(received.len(), 2, "the events, and the report");
}

/// A system in which things gather, with a webhook that does so, one that does not, and a source; and what they put on the queue.
struct Gathering {
    system: System,
    org: domain::organization::OrganizationId,
    receiver: Receiver,
    other: Receiver,
    source: Source,
    posted: Posted,
}

impl Gathering {
    async fn new() -> Self {
        let (system, org) = (System::start().await, organization());
        let (receiver, other) = (Receiver::start().await, Receiver::start().await);
        system
            .webhook_with(org, webhook(&receiver, json!({})))
            .await;
        system.webhook(org, &other.url).await;
        let source = Source::codescoring(&system, org).await;
        Self {
            system,
            org,
            receiver,
            other,
            source,
            posted: Posted::default(),
        }
    }

    fn delivering(&self) -> deliver_webhooks::Delivering {
        let clients = self.posted.of(&self.system, "DeliverWebhooks");
        self.system.stack.delivering_with(&clients).unwrap()
    }

    /// Publishes a report, has a call come in, and takes both from the queue.
    async fn news(&self) -> Vec<Work> {
        let report = metadata("1.0");
        self.system.publish(self.org, &report, &files("a")).await;
        let events = [
            event_of("clones_analysis_started", 7),
            event_of("clones_analysis_finished", 7),
        ];
        self.source
            .call(&self.system, events_of(&events).as_bytes())
            .await;
        self.system.queued().await
    }

    fn taken(&self) -> Vec<Work> {
        self.posted
            .take()
            .into_iter()
            .map(|(_, work)| work)
            .collect()
    }
}

#[tokio::test]
async fn what_comes_in_one_batch_gathers_in_one_message() {
    let world = Gathering::new().await;
    let news = world.news().await;
    handle(&world.delivering(), &news, now()).await;
    let [Work::Gathered(gathered)] = &world.taken()[..] else {
        panic!("it is one");
    };
    assert_eq!(
        gathered.news.len(),
        2,
        "the report and the call, which has two events"
    );
    assert_eq!(
        (world.other.take().len(), world.receiver.take().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn what_gathers_for_one_webhook_is_told_to_that_one() {
    let world = Gathering::new().await;
    let second = Receiver::start().await;
    let settings = webhook(&second, json!({}));
    let settings = world.system.webhook_with(world.org, settings).await;
    let news = world.news().await;
    handle(&world.delivering(), &news, now()).await;
    let of_second = |work: &&Work| match work {
        Work::Gathered(gathered) => gathered.webhook.to_string() == text(&settings["id"]),
        _ => false,
    };
    let taken = world.taken();
    let taken: Vec<Work> = taken.iter().filter(of_second).cloned().collect();
    handle(&world.delivering(), &taken, now()).await;
    assert_eq!((world.receiver.take().len(), second.take().len()), (0, 2));
}

#[tokio::test]
async fn if_the_queue_fails_what_gathers_comes_again_and_the_others_are_told() {
    let world = Gathering::new().await;
    let news = world.news().await;
    // The call is read, the webhooks are, and the queue fails.
    let failures = Failures::at(3, Seam::Before, false);
    let clients = failures.clients(&world.system.stack.clients["DeliverWebhooks"]);
    let delivering = world.system.stack.delivering_with(&clients).unwrap();
    assert_eq!(handed(&delivering, &news, now()).await, 2);
    assert_eq!(failures.log()[2], "SendMessageBatch");
    assert_eq!(world.other.take().len(), 1);
    handle(&world.delivering(), &news, now()).await;
    assert_eq!(world.taken().len(), 1);
    assert!(world.other.take().is_empty(), "it is told once");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_keeps_nothing_that_gathers_for_another() {
    let world = Gathering::new().await;
    let news = world.news().await;
    handle(&world.delivering(), &news, now()).await;
    let gathered = world.taken();
    let broken = world.system.webhook(world.org, &world.other.url).await;
    let key = [("org", world.org.to_string()), ("id", text(&broken["id"]))];
    let update = world
        .system
        .stack
        .dynamodb
        .update_item()
        .table_name("WebhooksTable");
    let update = key.into_iter().fold(update, |update, (name, value)| {
        update.key(name, AttributeValue::S(value))
    });
    let update = update
        .update_expression("SET #url = :url")
        .expression_attribute_names("#url", "url")
        .expression_attribute_values(":url", AttributeValue::S("no url".to_owned()));
    update.send().await.unwrap();
    handle(&world.delivering(), &gathered, now()).await;
    assert_eq!(world.receiver.take().len(), 2);
    // The others come again, until it is mended.
    assert_eq!(handed(&world.delivering(), &news, now()).await, 2);
}

#[tokio::test]
async fn events_that_have_come_through_more_stacks_do_not_hold_up_others() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let source = Source::codescoring(&system, org).await;
    for (hops, project) in [("2", 1), ("0", 2), ("2", 3), ("0", 4)] {
        let body = events_of(&[event_of("clones_analysis_started", project)]);
        let headers = [("x-report-hops", hops)];
        let reply = source.call_with(&system, body.as_bytes(), &headers).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    }
    system.deliver(now()).await;
    let received = receiver.take();
    let mut told: Vec<(String, usize)> = received
        .iter()
        .map(|it| (it.header("x-report-hops").to_owned(), events(it).len()))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("1".to_owned(), 2), ("3".to_owned(), 2)]);
}

#[tokio::test]
async fn a_batch_has_so_many_events_and_leaves_the_others() {
    let world = Gathering::new().await;
    for trigger in ["a", "b", "c", "d", "e", "f"] {
        let event = format!(r#"{{"trigger":"{trigger}"}}"#);
        let body = events_of(&vec![event; 6000]);
        let reply = world.source.call(&world.system, body.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    }
    let works = world.system.queued().await;
    assert_eq!(works.len(), 6);
    handle(&world.delivering(), &works, now()).await;
    let taken = world.taken();
    let (left, gathered): (Vec<_>, Vec<_>) =
        taken.iter().partition(|work| matches!(work, Work::Call(_)));
    let [Work::Gathered(gathered)] = gathered[..] else {
        panic!("{gathered:?}");
    };
    assert_eq!((left.len(), gathered.news.len()), (4, 2));
}

#[tokio::test]
async fn a_call_whose_piece_is_missing_costs_only_itself() {
    let system = System::start_hasty().await;
    let org = organization();
    let source = Source::codescoring(&system, org).await;
    let large = events_of(&[large_event(1, 250_000), large_event(2, 250_000)]);
    source.call(&system, large.as_bytes()).await;
    let small = events_of(&[event_of("clones_analysis_started", 7)]);
    source.call(&system, small.as_bytes()).await;
    let dynamodb = &system.stack.dynamodb;
    let items = dynamodb
        .scan()
        .table_name("CallsTable")
        .send()
        .await
        .unwrap()
        .items
        .unwrap();
    let piece = items
        .into_iter()
        .find(|it| it["id"].as_s().unwrap().starts_with('~'))
        .unwrap();
    let delete = dynamodb.delete_item().table_name("CallsTable");
    let delete = delete
        .key("source", piece["source"].clone())
        .key("id", piece["id"].clone());
    delete.send().await.unwrap();
    let [newest, oldest] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(
        (&newest["payload"], oldest.get("payload")),
        (&json!(small), None)
    );
    let works = system.queued().await;
    assert_eq!(
        handed(&system.stack.delivering, &works, now()).await,
        1,
        "it comes again"
    );
    // That it is known can be told without it.
    let again = source.call(&system, large.as_bytes()).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{again:?}");
}

#[tokio::test]
async fn a_call_that_was_accepted_and_cannot_be_read_any_more_comes_again() {
    let system = System::start_hasty().await;
    let source = Source::codescoring(&system, organization()).await;
    let body = events_of(&[event_of("clones_analysis_started", 7)]);
    let reply = source.call(&system, body.as_bytes()).await;
    let update = system.stack.dynamodb.update_item().table_name("CallsTable");
    let update = update
        .key("source", AttributeValue::S(source.id.clone()))
        .key("id", AttributeValue::S(text(&reply.json()["id"])))
        .update_expression("SET kind = :kind")
        .expression_attribute_values(":kind", AttributeValue::S("sonarqube".to_owned()));
    update.send().await.unwrap();
    let works = system.queued().await;
    assert_eq!(handed(&system.stack.delivering, &works, now()).await, 1);
}

#[tokio::test]
async fn what_is_no_event_is_left_out_and_the_others_are_told() {
    let (system, receiver) = (System::start_hasty().await, Receiver::start().await);
    let org = organization();
    system
        .webhook_with(org, webhook(&receiver, json!({})))
        .await;
    let source = Source::codescoring(&system, org).await;
    let good = event_of("clones_analysis_started", 7);
    let body = events_of(&["7", &large_event(1, 300_000), &good]);
    let reply = source.call(&system, body.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    let [call] = source.calls(&system, org).await.try_into().unwrap();
    assert_eq!(
        (&call["outcome"], &call["reason"], &call["eventCount"]),
        (
            &json!("accepted"),
            &json!("events[0] is no object"),
            &json!(3)
        )
    );
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(received.body, format!(r#"{{"events":[{good}]}}"#));
}

/// Each call to DynamoDB and SQS of receiving fails once, or the process dies there. What was answered with 202 is told.
#[tokio::test]
async fn what_was_answered_with_202_is_queued_whatever_fails() {
    // A source is read, the call and its pieces stored, queued, its mark removed, the source noted.
    const CALLS: usize = 5;
    let events = [large_event(1, 250_000), large_event(2, 250_000)];
    let body = events_of(&events);
    for n in 1..=CALLS + 1 {
        for (seam, kill) in [
            (Seam::Before, false),
            (Seam::After, false),
            (Seam::Before, true),
        ] {
            let (system, receiver, org) = (
                System::start_hasty().await,
                Receiver::start().await,
                organization(),
            );
            system
                .webhook_with(org, webhook(&receiver, json!({})))
                .await;
            let source = Source::codescoring(&system, org).await;
            let failures = Failures::at(n, seam, kill);
            let clients = failures.clients(&system.stack.clients["ReceiveEvents"]);
            let receiving = system.stack.receiving_with(&clients).unwrap();
            let (name, proof) = source.proof(body.as_bytes());
            let request = Request::post(source.path())
                .header(name, proof)
                .body(Body::from(body.clone()))
                .unwrap();
            let service = web::api::service(receive_events::router(receiving));
            let status = service.oneshot(request).await.unwrap().status().as_u16();
            assert_eq!(failures.has_struck(), n <= CALLS, "{n}");
            system.round(now() + Duration::HOUR).await;
            let told = receiver.take();
            let told: BTreeSet<&[u8]> = told.iter().map(|it| &*it.body).collect();
            let what = format!("call {n}, {seam:?}, killed: {kill}, {status}");
            match status {
                202 => {
                    let bodies = events
                        .each_ref()
                        .map(|it| format!(r#"{{"events":[{it}]}}"#));
                    let expected = bodies.iter().map(String::as_bytes);
                    assert!(told == expected.collect(), "{what}");
                }
                500 => assert!(failures.has_struck(), "{what}"),
                _ => panic!("{what}"),
            }
        }
    }
}
