//! Webhooks of the format `sonarqube`.

use deliver_webhooks::Delivering;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::metrics::Records;
use tests::receiver::{Answer, Receiver, assert_signed};
use tests::samples::{files, metadata};
use tests::source::{Source, call_of, gate_changed, signature};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};

use crate::support::handle;

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

struct World {
    system: System,
    receiver: Receiver,
    org: domain::organization::OrganizationId,
    webhook: Value,
    source: Source,
}

impl World {
    async fn new(settings: Value) -> Self {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let org = organization();
        let mut webhook = json!({"name": "n", "url": receiver.url, "format": "sonarqube"});
        let webhook_settings = webhook.as_object_mut().unwrap();
        webhook_settings.extend(settings.as_object().unwrap().clone());
        let webhook = system.webhook_with(org, webhook).await;
        let source = Source::create(&system, org).await;
        Self {
            system,
            receiver,
            org,
            webhook,
            source,
        }
    }

    async fn call(&self, body: &str) {
        let reply = self.source.call(&self.system, body.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    }

    async fn publish(&self, more: Value) {
        let mut report = metadata("1.0");
        let fields = report.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        self.system.publish(self.org, &report, &files("a")).await;
    }

    async fn told(&self) -> Vec<Value> {
        self.system.deliver(now()).await;
        let received = self.receiver.take();
        received.iter().map(|received| received.json()).collect()
    }
}

#[tokio::test]
async fn a_call_is_passed_on_byte_for_byte_and_alone() {
    let world = World::new(json!({})).await;
    let calls = ["AZ1", "AZ2", "AZ3"].map(call_of);
    for call in &calls {
        world.call(call).await;
    }
    world.system.deliver(now()).await;
    let received = world.receiver.take();
    assert_eq!(received.len(), 3, "one request for each");
    for one in &received {
        let text = String::from_utf8(one.body.to_vec()).unwrap();
        assert!(calls.contains(&text), "{text}");
        assert_eq!(one.header("x-sonarqube-project"), "acme:shop");
        assert_eq!(
            one.header("content-type"),
            "application/json; charset=utf-8"
        );
        assert!(!one.header("webhook-id").is_empty());
        for absent in ["x-sonar-webhook-hmac-sha256", "webhook-signature"] {
            assert_eq!(one.header(absent), "", "it has no secret");
        }
    }
    assert_eq!(world.webhook["hasSecret"], false);
    assert_eq!(world.webhook["format"], "sonarqube");
    assert_eq!(world.webhook["secret"], Value::Null, "none is made unasked");
}

#[tokio::test]
async fn with_a_secret_calls_are_signed_with_the_webhooks_own() {
    let secret = "the receiver's own secret";
    let world = World::new(json!({"secret": secret})).await;
    let call = call_of("AZ1");
    world.call(&call).await;
    world.system.deliver(now()).await;
    let [received] = world.receiver.take().try_into().unwrap();
    assert_signed(&received, secret);
    let expected = signature(secret, call.as_bytes());
    assert_eq!(received.header("x-sonar-webhook-hmac-sha256"), expected);
    // It can be taken away, and given.
    let path = format!("/webhooks/{}", text(&world.webhook["id"]));
    let patch = async |body: Value| {
        let reply = world
            .system
            .manage(world.org, "PATCH", &path, Some(body))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()["hasSecret"].clone()
    };
    assert_eq!(patch(json!({"name": "x"})).await, true);
    // Outside of a patch `null` is no more than an absent field.
    let whole =
        json!({"name": "n", "url": world.receiver.url, "format": "sonarqube", "secret": null});
    let reply = world
        .system
        .manage(world.org, "PUT", &path, Some(whole))
        .await;
    assert_eq!(reply.json()["hasSecret"], true, "{reply:?}");
    assert_eq!(patch(json!({"secret": null})).await, false);
    world.call(&call_of("AZ2")).await;
    world.system.deliver(now()).await;
    let [received] = world.receiver.take().try_into().unwrap();
    assert_eq!(received.header("x-sonar-webhook-hmac-sha256"), "");
    let rotate = format!("{path}/secret");
    let reply = world.system.manage(world.org, "POST", &rotate, None).await;
    assert!(text(&reply.json()["secret"]).starts_with("whsec_"));
}

#[tokio::test]
async fn a_format_takes_some_events_and_wants_what_it_wants() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let with = |more: Value| {
        let mut body = json!({"name": "n", "url": receiver.url});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (more, code) in [
        (json!({"format": "xml"}), "invalid_field"),
        (json!({"format": 7}), "invalid_field"),
        (
            json!({"format": "sonarqube", "events": ["report.deleted"]}),
            "invalid_event",
        ),
        (json!({"project": "a", "projects": ["b"]}), "invalid_field"),
        (json!({"projects": ["a", "a"]}), "invalid_field"),
        (json!({"projects": "a"}), "invalid_field"),
        (
            json!({"projects": (0..11).map(|it| format!("p{it}")).collect::<Vec<_>>()}),
            "invalid_field",
        ),
    ] {
        let reply = system
            .manage(org, "POST", "/webhooks", Some(with(more.clone())))
            .await;
        assert_eq!(reply.code(), code, "{more}");
    }
    // From the one format to the other.
    let webhook = system
        .webhook_with(org, with(json!({"format": "sonarqube"})))
        .await;
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let patch = async |body| system.manage(org, "PATCH", &path, Some(body)).await;
    let reply = patch(json!({"format": "reports"})).await;
    assert_eq!(
        (reply.code(), &reply.json()["parameter"]),
        ("missing_field".to_owned(), &json!("secret"))
    );
    let secret = "a secret of sixteen";
    let reply = patch(json!({"format": "reports", "secret": secret})).await;
    assert_eq!(reply.json()["format"], "reports");
    let reply = patch(json!({"format": "sonarqube", "events": ["quality_gate.changed"]})).await;
    assert_eq!(reply.json()["format"], "sonarqube");
    let reply = patch(json!({"projects": ["a", "b"]})).await;
    assert_eq!(reply.json()["project"], Value::Null);
    let reply = patch(json!({"project": "a"})).await;
    assert_eq!(reply.json()["projects"], json!(["a"]));
    let tested = system
        .manage(org, "POST", &format!("{path}/test"), None)
        .await;
    assert_eq!(tested.json()["delivered"], true);
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(received.json()["project"]["key"], "a");
}

#[tokio::test]
async fn changes_of_gates_are_told_only_if_they_are_asked_for() {
    let world = World::new(json!({})).await;
    world.call(&gate_changed("2026-03-01T00:00:00+0000")).await;
    assert!(world.told().await.is_empty());
    let world = World::new(json!({"events": ["analysis.completed", "quality_gate.changed"]})).await;
    world.call(&call_of("AZ1")).await;
    // It is of the same analysis, and is not held back by it.
    world.call(&gate_changed("2026-03-01T00:00:00+0000")).await;
    assert_eq!(world.told().await.len(), 2);
}

#[tokio::test]
async fn of_a_published_report_a_call_is_made() {
    let world = World::new(json!({})).await;
    world
        .publish(json!({
            "taskId": "AZ7", "revision": "c0ffee", "branch": "release/1.x", "branchType": "BRANCH", "branchIsMain": false,
            "serverUrl": "https://sonarqube.example/", "analysedAt": "2026-02-10T10:51:17+0100",
            "projectUrl": "https://sonarqube.example/dashboard?id=acme%3Ashop",
            "qualityGate": {"name": "Sonar way", "status": "ERROR", "more": 1, "conditions": [
                {"metric": "new_coverage", "operator": "LESS_THAN", "value": "71.5", "status": "ERROR", "errorThreshold": "80", "onLeakPeriod": true},
                {"metric": "no operator"},
            ]},
            "properties": {"sonar.analysis.build": "7", "mine": "x"},
        }))
        .await;
    let [call] = world.told().await.try_into().unwrap();
    let changed_at = text(&call["changedAt"]);
    assert!(
        changed_at.ends_with("+0000") && changed_at.len() == 24,
        "{changed_at}"
    );
    let expected = json!({
        "serverUrl": "https://sonarqube.example", "taskId": "AZ7", "status": "SUCCESS",
        "analysedAt": "2026-02-10T09:51:17+0000", "revision": "c0ffee", "changedAt": changed_at,
        "project": {"key": "acme:shop", "name": "Test product", "url": "https://sonarqube.example/dashboard?id=acme%3Ashop"},
        "branch": {"name": "release/1.x", "type": "BRANCH", "isMain": false,
            "url": "https://sonarqube.example/dashboard?id=acme%3Ashop&branch=release%2F1.x"},
        "qualityGate": {"name": "Sonar way", "status": "ERROR", "conditions": [
            {"metric": "new_coverage", "operator": "LESS_THAN", "value": "71.5", "status": "ERROR", "errorThreshold": "80"},
        ]},
        "properties": {"sonar.analysis.build": "7"},
    });
    assert_eq!(call, expected);
    let order: Vec<&String> = call.as_object().unwrap().keys().collect();
    let expected = [
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
    assert_eq!(order, expected);
}

#[tokio::test]
async fn of_a_report_that_says_little_a_call_says_what_is_so_most_of_the_time() {
    let world = World::new(json!({})).await;
    world.publish(json!({})).await;
    let [call] = world.told().await.try_into().unwrap();
    let api = world.system.url("");
    assert_eq!(call["serverUrl"], api);
    assert_eq!(
        call["project"]["url"],
        format!("{api}/dashboard?id=acme%3Ashop")
    );
    assert_eq!(call["analysedAt"], "2025-12-17T09:05:48+0000");
    assert_eq!(call["branch"]["isMain"], true);
    for absent in ["taskId", "revision", "qualityGate"] {
        assert!(call.get(absent).is_none(), "{absent}");
    }
    assert!(call["branch"].get("name").is_none());
}

#[tokio::test]
async fn a_webhook_is_told_of_an_analysis_once() {
    let main = json!({"taskId": "AZ1", "branch": "main", "branchIsMain": true});
    let with = |more: Value| {
        let mut all = main.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    // Two reports of one analysis, and an update of the first.
    let world = World::new(json!({})).await;
    world.publish(main.clone()).await;
    assert_eq!(world.told().await.len(), 1);
    world
        .publish(with(json!({"reportType": "OWASP Top 10"})))
        .await;
    world.publish(main.clone()).await;
    assert!(world.told().await.is_empty());
    world.publish(with(json!({"taskId": "AZ2"}))).await;
    assert_eq!(world.told().await.len(), 1, "of another analysis");

    // What SonarQube has said itself is not said again, whatever the report names of it.
    let world = World::new(json!({})).await;
    world.call(&call_of("AZ1")).await;
    assert_eq!(world.told().await.len(), 1);
    let date = "2026-02-10T10:51:17+0100";
    for report in [
        json!({"taskId": "AZ1", "branch": "main"}),
        json!({"branch": "main", "date": date}),
        json!({"date": date}),
        json!({"branch": "main", "analysedAt": date}),
    ] {
        world.publish(report.clone()).await;
        assert!(world.told().await.is_empty(), "{report}");
    }
    world
        .publish(json!({"branch": "other", "date": date}))
        .await;
    assert_eq!(world.told().await.len(), 1);

    // And what it says later is told all the same, since it says more.
    let world = World::new(json!({})).await;
    world
        .publish(json!({"taskId": "AZ1", "branch": "main"}))
        .await;
    assert_eq!(world.told().await.len(), 1);
    world.call(&call_of("AZ1")).await;
    assert_eq!(world.told().await.len(), 1);

    // What comes at the same time is told once, as it has said it itself.
    let world = World::new(json!({})).await;
    world
        .publish(json!({"taskId": "AZ1", "branch": "feature/x"}))
        .await;
    let call = call_of("AZ1");
    world.call(&call).await;
    let told = world.told().await;
    assert_eq!(told.len(), 1);
    let call: Value = serde_json::from_str(&call).unwrap();
    assert_eq!(told[0], call);
}

#[tokio::test]
async fn two_reports_of_an_analysis_in_one_batch_are_one_call() {
    let world = World::new(json!({})).await;
    for kind in ["CWE Top 25", "OWASP Top 10"] {
        world
            .publish(json!({"taskId": "AZ1", "branch": "main", "reportType": kind}))
            .await;
    }
    let works = world.system.queued().await;
    assert_eq!(works.len(), 2);
    // Both are done.
    handle(&world.system.stack.delivering, &works, now()).await;
    assert_eq!(world.receiver.take().len(), 1);
    let deliveries = world
        .system
        .deliveries(world.org, &world.webhook["id"])
        .await;
    assert_eq!(deliveries.len(), 1);
}

#[tokio::test]
async fn large_calls_that_come_at_once_are_all_passed_on() {
    let world = World::new(json!({})).await;
    let filling = "x".repeat(250_000);
    let calls: Vec<String> = (0..30)
        .map(|task| format!(r#"{{"taskId":"{task}","project":{{"key":"a"}},"x":"{filling}"}}"#))
        .collect();
    for call in &calls {
        world.call(call).await;
    }
    world.system.deliver(now()).await;
    let received = world.receiver.take();
    let mut received: Vec<_> = received.into_iter().map(|it| it.body).collect();
    received.sort_unstable();
    let mut calls: Vec<_> = calls.into_iter().map(bytes::Bytes::from).collect();
    calls.sort_unstable();
    assert!(received == calls, "{} of {}", received.len(), calls.len());
}

#[tokio::test]
async fn what_fails_otherwise_is_no_try_in_vain() {
    let world = World::new(json!({})).await;
    let answers = [503, 404, 503, 404, 404].map(Answer::Status);
    world.receiver.answer_next(answers);
    world.call(&call_of("AZ1")).await;
    let id = &world.webhook["id"];
    for hour in 0..5 {
        let deliveries = world.system.deliveries(world.org, id).await;
        assert!(deliveries.iter().all(|it| it["state"] != "rejected"));
        world.system.round(now() + Duration::hours(hour)).await;
    }
    let deliveries = world.system.deliveries(world.org, id).await;
    assert_eq!(deliveries[0]["state"], "rejected");
    assert_eq!(deliveries[0]["attemptCount"], 5);
}

#[tokio::test]
async fn what_a_receiver_has_no_use_for_is_left_alone_after_three_tries() {
    for status in [400, 404, 413, 415, 422] {
        let world = World::new(json!({})).await;
        world.receiver.answer(Answer::Status(status));
        world.call(&call_of("AZ1")).await;
        for hour in 0..6 {
            world.system.round(now() + Duration::hours(hour)).await;
        }
        assert_eq!(world.receiver.take().len(), 3, "{status}");
        let id = &world.webhook["id"];
        let [delivery] = world
            .system
            .deliveries(world.org, id)
            .await
            .try_into()
            .unwrap();
        assert_eq!(delivery["state"], "rejected");
        assert_eq!(delivery["dueAt"], Value::Null);
        let webhook = world.system.webhook_now(world.org, id).await;
        assert_eq!(webhook["failingSince"], Value::Null, "it does as it should");
        assert_eq!(webhook["enabled"], true);
        // The filter finds it, and a replay sends it.
        let path = format!("/webhooks/{}", text(id));
        let filter = format!("{path}/deliveries?state=rejected");
        let found = world.system.manage(world.org, "GET", &filter, None).await;
        let found = found.json()["deliveries"].as_array().unwrap().clone();
        assert_eq!(found, [delivery]);
        assert_eq!(
            (&found[0]["analyses"], &found[0]["reports"]),
            (&json!(1), &json!(0))
        );
        world.receiver.answer(Answer::Status(200));
        let replay = json!({"states": ["rejected"]});
        let reply = world
            .system
            .manage(world.org, "POST", &format!("{path}/replay"), Some(replay))
            .await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        world.system.deliver(now() + Duration::hours(7)).await;
        assert_eq!(world.receiver.take().len(), 1);
        let [delivery] = world
            .system
            .deliveries(world.org, id)
            .await
            .try_into()
            .unwrap();
        assert_eq!(delivery["state"], "delivered");
    }
}

#[tokio::test]
async fn it_is_tried_for_an_hour_however_short_the_waits_are() {
    let world = World::new(json!({"schedule": "standard"})).await;
    world.call(&call_of("AZ1")).await;
    let id = &world.webhook["id"];
    let start = now();
    for (minutes, status, state) in [
        (0, 404, "failed"),
        (1, 404, "failed"),
        (10, 404, "failed"),
        (45, 404, "failed"),
        // Whatever else it answers is no reason.
        (170, 503, "failed"),
        (480, 404, "rejected"),
    ] {
        world.receiver.answer(Answer::Status(status));
        world.system.round(start + Duration::minutes(minutes)).await;
        let [delivery] = world
            .system
            .deliveries(world.org, id)
            .await
            .try_into()
            .unwrap();
        assert_eq!(delivery["state"], state, "{minutes}");
    }
    assert_eq!(world.receiver.take().len(), 6);
}

#[tokio::test]
async fn any_other_answer_is_a_failure_as_ever() {
    for (status, format) in [(401, "sonarqube"), (403, "sonarqube"), (400, "reports")] {
        let events = json!(["analysis.completed"]);
        let secret = json!("a secret of sixteen");
        let world = World::new(json!({"format": format, "events": events, "secret": secret})).await;
        world.receiver.answer(Answer::Status(status));
        world.call(&call_of("AZ1")).await;
        for hour in 0..5 {
            world.system.round(now() + Duration::hours(hour)).await;
        }
        assert_eq!(world.receiver.take().len(), 5, "{status}");
        let id = &world.webhook["id"];
        let webhook = world.system.webhook_now(world.org, id).await;
        assert!(webhook["failingSince"].is_string());
    }
}

#[tokio::test]
async fn a_receiver_that_wants_no_gates_stays_enabled() {
    // Jenkins takes analyses, and refuses each change of a gate with 400.
    let events = json!(["analysis.completed", "quality_gate.changed"]);
    let world = World::new(json!({"events": events})).await;
    world
        .receiver
        .answer_by(|received| match received.json().get("taskId") {
            Some(_) => Answer::Status(200),
            None => Answer::Status(400),
        });
    for day in 0..8 {
        let changed_at = format!("2026-03-0{}T00:00:00+0000", day + 1);
        world.call(&gate_changed(&changed_at)).await;
        world.system.round(now() + Duration::days(day)).await;
    }
    let webhook = world
        .system
        .webhook_now(world.org, &world.webhook["id"])
        .await;
    assert_eq!(webhook["enabled"], true, "{webhook}");
    world.call(&call_of("AZ1")).await;
    world.system.deliver(now() + Duration::days(9)).await;
    let last = world.receiver.take().pop().unwrap();
    assert_eq!(last.json()["taskId"], "AZ1");
}

#[tokio::test]
async fn that_a_receiver_has_no_use_for_a_call_is_no_failure_in_the_figures() {
    for (format, failed) in [("sonarqube", 0), ("reports", 1)] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, records) = (organization(), Records::default());
        let events = ["analysis.completed"];
        let webhook = json!({"name": "n", "url": receiver.url, "format": format, "events": events});
        system.webhook_with(org, webhook).await;
        let source = Source::create(&system, org).await;
        source.call(&system, call_of("AZ1").as_bytes()).await;
        receiver.answer(Answer::Status(400));
        let delivering = Delivering {
            metrics: records.metrics(),
            ..system.stack.delivering.clone()
        };
        handle(&delivering, &system.queued().await, now()).await;
        assert_eq!(receiver.take().len(), 1);
        let figures = records.figures();
        let counted = figures.iter().filter_map(|it| it.get("DeliveriesFailed"));
        assert_eq!(counted.flatten().sum::<u64>(), failed, "{format}");
    }
}
