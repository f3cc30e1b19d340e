//! What a receiver is told, and which receivers are.

use std::collections::BTreeSet;

use domain::report::{QualityGateStatus, Report};
use outbound::format::batch::{MAX_BODY_BYTES, MAX_CHANGES};
use serde_json::json;
use store::queue::work::Work;
use tests::receiver::{
    Answer, Received, Receiver, assert_signed, assert_sonar_signature, assert_standard_signature,
};
use tests::samples::stored_report;
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::{handle, hours, ids, kept, key, published, revised, stored, tell};

#[tokio::test]
async fn changes_of_one_batch_are_one_message_in_their_order() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = system.webhook(org, &receiver.url).await;
    let reports = stored(&system, org, 3).await;
    let order = [&reports[2], &reports[0], &reports[1]];
    let works = order.map(|report| Work::change(published(report)));
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(received[0].report_ids(), ids(order));
    assert_eq!(received[0].method, "POST");

    let deliveries = kept(&system, key(org, &webhook)).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].changes, 3);
    assert_eq!(
        deliveries[0].id.to_string(),
        received[0].header("webhook-id")
    );
}

#[tokio::test]
async fn a_change_that_comes_twice_in_a_batch_is_told_once() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let reports = stored(&system, org, 2).await;
    let works = [0, 1, 0, 1, 1].map(|it| Work::change(published(&reports[it])));
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].report_ids(), ids(&reports));
}

#[tokio::test]
async fn every_webhook_is_told_of_its_project_and_its_events_and_of_nothing_else() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let create = async |name: &str, rest: serde_json::Value| {
        let mut webhook = json!({"name": name, "url": format!("{}{name}", receiver.url)});
        webhook
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        system.webhook_with(org, webhook).await;
    };
    create("all", json!({})).await;
    create("of-1", json!({"project": "project-1"})).await;
    create("of-another", json!({"project": "project-9"})).await;
    create("updates", json!({"events": ["report.updated"]})).await;
    create(
        "both",
        json!({"events": ["report.updated", "report.published"]}),
    )
    .await;
    create(
        "published-of-1",
        json!({"project": "project-1", "events": ["report.published"]}),
    )
    .await;
    let reports = stored(&system, org, 3).await;
    let works = [
        published(&reports[0]),
        published(&reports[1]),
        revised(&reports[1], 2),
        revised(&reports[2], 2),
    ];
    let failed = handle(&system.stack.delivering, works.map(Work::change), now).await;
    assert!(failed.is_empty());

    let received = receiver.take();
    let told = |name: &str| -> Vec<(String, u64)> {
        let path = format!("/{name}");
        let of_webhook: Vec<&Received> = received.iter().filter(|it| it.path == path).collect();
        assert!(of_webhook.len() <= 1, "{of_webhook:?}");
        of_webhook.iter().flat_map(|it| it.reports()).collect()
    };
    let change = |report: usize, revision| (reports[report].id.to_string(), revision);
    let all = [change(0, 1), change(1, 1), change(1, 2), change(2, 2)];
    assert_eq!(told("all"), all);
    assert_eq!(told("both"), all);
    assert_eq!(told("of-1"), [change(1, 1), change(1, 2)]);
    assert_eq!(told("updates"), [change(1, 2), change(2, 2)]);
    assert_eq!(told("published-of-1"), [change(1, 1)]);
    assert_eq!(told("of-another"), []);
    assert_eq!(received.len(), 5);
}

#[tokio::test]
async fn organizations_never_mix() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let now = OffsetDateTime::now_utc();
    let mut expected = BTreeSet::new();
    let mut works = Vec::new();
    for name in ["a", "b", "c"] {
        let org = organization();
        let url = format!("{}{name}", receiver.url);
        system.webhook(org, &url).await;
        let reports = stored(&system, org, 2).await;
        expected.insert((format!("/{name}"), org.to_string(), ids(&reports)));
        works.push(reports.iter().map(published).map(Work::change).collect());
    }
    // An organization that nobody listens to.
    let silent = stored(&system, organization(), 2).await;
    works.push(silent.iter().map(published).map(Work::change).collect());
    let interleaved = (0..2).flat_map(|it| works.iter().map(move |of: &Vec<Work>| of[it].clone()));
    let failed = handle(&system.stack.delivering, interleaved, now).await;
    assert!(failed.is_empty());
    let told: Vec<_> = receiver
        .take()
        .iter()
        .map(|it| {
            (
                it.path.clone(),
                text(&it.json()["organizationId"]),
                it.report_ids(),
            )
        })
        .collect();
    assert_eq!(told.len(), 3, "one message each");
    assert_eq!(BTreeSet::from_iter(told), expected);
}

#[tokio::test]
async fn a_change_is_told_of_without_reading_the_report() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = system.webhook(org, &receiver.url).await;
    let stored = &stored(&system, org, 1).await[0];
    let nowhere = stored_report(org, 7);
    let works = [&nowhere, stored].map(|report| Work::change(published(report)));
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].report_ids(), ids([&nowhere, stored]));
    assert_eq!(kept(&system, key(org, &webhook)).await.len(), 1);

    // What is stored now is another revision; the message says what was announced.
    let mut newer = stored.clone();
    newer.revision = 3;
    newer.metadata.vulnerabilities_count = 9;
    system.seed([newer]).await;
    let works = [Work::change(revised(stored, 2))];
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let body = receiver.take()[0].json();
    assert_eq!(body["reports"][0]["revision"], 2);
    assert_eq!(body["reports"][0]["vulnerabilitiesCount"], 0);
}

#[tokio::test]
async fn a_message_tells_of_50_reports_at_the_most() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let reports = stored(&system, org, 2 * MAX_CHANGES as u64 + 1).await;
    let works = reports.iter().map(published).map(Work::change);
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let mut received: Vec<Vec<String>> = receiver.take().iter().map(Received::report_ids).collect();
    // They are sent at the same time, so they may come in any order.
    let place = |ids: &Vec<String>| reports.iter().position(|it| it.id.to_string() == ids[0]);
    received.sort_by_key(place);
    let sizes: Vec<usize> = received.iter().map(Vec::len).collect();
    assert_eq!(sizes, [50, 50, 1]);
    assert_eq!(received.concat(), ids(&reports));
}

/// A report whose part of a message has about so many bytes more than that of another one.
fn large(org: domain::organization::OrganizationId, number: u64, bytes: usize) -> Report {
    let mut report = stored_report(org, number);
    let properties = [("sonar.analysis.notes".to_owned(), "x".repeat(bytes))];
    report.metadata.properties = properties.into();
    report
}

#[tokio::test]
async fn a_body_of_several_reports_has_200_kb_at_the_most() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let reports: Vec<Report> = (0..5).map(|number| large(org, number, 60_000)).collect();
    system.seed(reports.clone()).await;
    let works = reports.iter().map(published).map(Work::change);
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let received = receiver.take();
    let mut told: Vec<usize> = received.iter().map(|it| it.report_ids().len()).collect();
    told.sort_unstable();
    assert_eq!(told, [2, 3]);
    let told: BTreeSet<String> = received.iter().flat_map(Received::report_ids).collect();
    assert_eq!(told, ids(&reports).into_iter().collect());
    assert!(received.iter().all(|it| it.body.len() <= 200_000));
}

/// What stands around the reports counts too.
#[tokio::test]
async fn a_body_that_would_be_a_byte_too_long_becomes_two() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let now = OffsetDateTime::now_utc();
    let told = async |notes: [usize; 2]| -> Vec<usize> {
        let org = organization();
        system.webhook(org, &receiver.url).await;
        let reports = [large(org, 0, notes[0]), large(org, 1, notes[1])];
        system.seed(reports.clone()).await;
        let works = reports.iter().map(published).map(Work::change);
        assert!(
            handle(&system.stack.delivering, works, now)
                .await
                .is_empty()
        );
        receiver.take().iter().map(|it| it.body.len()).collect()
    };
    let without_notes = told([0, 0]).await[0];
    let room = MAX_BODY_BYTES - without_notes;
    // One byte less, because a comma is counted before the first report too.
    assert_eq!(
        told([100_000, room - 100_000 - 1]).await,
        [MAX_BODY_BYTES - 1]
    );
    for over in [1, 40, 100] {
        let sizes = told([100_000, room - 100_000 + over]).await;
        assert_eq!(
            sizes.len(),
            2,
            "{over} bytes too many in one body: {sizes:?}"
        );
    }
}

#[tokio::test]
async fn a_request_has_these_headers_and_no_others() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let url = receiver
        .url
        .replace("http://", "http://hook:s3cret%20word@");
    let webhook = json!({
        "name": "all", "url": format!("{url}in?a=b%20c"),
        "headers": [{"name": "X-Team", "value": "shop"}, {"name": "x-key", "value": "k 1"}],
    });
    let webhook = system.webhook_with(org, webhook).await;
    let report = &stored(&system, org, 1).await[0];
    tell(&system, report, now).await;
    let received = &receiver.take()[0];

    let names: BTreeSet<&str> = received.headers.keys().map(|name| name.as_str()).collect();
    let expected = BTreeSet::from([
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-key",
        "x-report-hops",
        "x-sonar-webhook-hmac-sha256",
        "x-sonarqube-project",
        "x-team",
        "x-webhook-event",
    ]);
    assert_eq!(names, expected);
    assert_eq!(received.headers.len(), expected.len(), "each once");
    assert_eq!(received.path, "/in?a=b%20c");
    assert_eq!(format!("http://{}/", received.header("host")), receiver.url);
    assert_eq!(received.header("accept"), "*/*");
    // printf 'hook:s3cret word' | base64
    assert_eq!(
        received.header("authorization"),
        "Basic aG9vazpzM2NyZXQgd29yZA=="
    );
    assert_eq!(
        received.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert!(
        received
            .header("user-agent")
            .starts_with("SonarQube-Reports/")
    );
    assert_eq!(received.header("x-team"), "shop");
    assert_eq!(received.header("x-key"), "k 1");
    assert_eq!(received.header("x-sonarqube-project"), "project-0");
    assert_eq!(received.header("x-webhook-event"), "report.published");
    let id = kept(&system, key(org, &webhook)).await[0].id;
    assert_eq!(received.header("webhook-id"), id.to_string());
    let seconds: i64 = received.header("webhook-timestamp").parse().unwrap();
    assert!(
        (0..60).contains(&(seconds - now.unix_timestamp())),
        "{seconds}"
    );
    assert!(received.header("webhook-signature").starts_with("v1,"));
    assert!(!received.header("webhook-signature").contains(' '));
    assert_signed(received, &text(&webhook["secret"]));
}

#[tokio::test]
async fn project_and_events_are_named_as_the_reports_of_the_message_are() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let mut reports = stored(&system, org, 4).await;
    reports[1].metadata.project_key = "project-0".to_owned();
    system.seed([reports[1].clone()]).await;
    let told = async |changes: &[domain::report::change::ReportChange]| {
        let works = changes.iter().cloned().map(Work::change);
        assert!(
            handle(&system.stack.delivering, works, now)
                .await
                .is_empty()
        );
        let [received] = receiver.take().try_into().unwrap();
        let project = received.headers.get("x-sonarqube-project");
        let project = project.map(|value| value.to_str().unwrap().to_owned());
        (project, received.header("x-webhook-event").to_owned())
    };
    let of_0 = Some("project-0".to_owned());
    let same = [published(&reports[0]), revised(&reports[1], 2)];
    let both = "report.published, report.updated".to_owned();
    assert_eq!(told(&same).await, (of_0.clone(), both));
    let updated = "report.updated".to_owned();
    let same = [revised(&reports[0], 3), revised(&reports[1], 3)];
    assert_eq!(told(&same).await, (of_0, updated.clone()));
    let different = [revised(&reports[2], 2), revised(&reports[3], 2)];
    assert_eq!(told(&different).await, (None, updated));
}

#[tokio::test]
async fn both_secrets_sign_for_a_day_after_a_rotation() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = system.webhook(org, &receiver.url).await;
    let path = format!("/webhooks/{}/secret", text(&webhook["id"]));
    let rotated = system.manage(org, "POST", &path, None).await.json();
    let (old, new) = (text(&webhook["secret"]), text(&rotated["secret"]));
    assert_ne!(old, new);
    let reports = stored(&system, org, 2).await;

    tell(&system, &reports[0], now + hours(23)).await;
    let received = &receiver.take()[0];
    assert_signed(received, &new);
    assert_standard_signature(received, &old);
    assert_sonar_signature(received, &new);
    assert_eq!(received.header("webhook-signature").split(' ').count(), 2);

    tell(&system, &reports[1], now + hours(25)).await;
    let received = &receiver.take()[0];
    assert_signed(received, &new);
    assert_eq!(received.header("webhook-signature").split(' ').count(), 1);
}

#[tokio::test]
async fn a_secret_that_signs_and_that_a_receiver_repeats_is_masked_in_what_is_kept() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let old = json!({"name": "a", "url": receiver.url, "secret": "the/old/secret/of/it"});
    let webhook = system.webhook_with(org, old).await;
    let path = format!("/webhooks/{}/secret", text(&webhook["id"]));
    let new = json!({"secret": "the/new/secret/of/it"});
    system.manage(org, "POST", &path, Some(new)).await;
    receiver.answer(Answer::Full {
        status: 400,
        headers: Vec::new(),
        body: "signed with 'the\\/new\\/secret\\/of\\/it' or 'the/old/secret/of/it'?".into(),
    });
    tell(&system, &stored(&system, org, 1).await[0], now).await;

    let deliveries = kept(&system, key(org, &webhook)).await;
    let store = &system.stack.tables.deliveries;
    let whole = store.whole(deliveries[0].key(), true).await;
    let attempts = whole.unwrap().unwrap().attempts;
    let response = attempts[0].response.as_deref();
    assert_eq!(response, Some("signed with '***' or '***'?"));
}

#[tokio::test]
async fn a_body_has_the_shape_of_the_contract() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let mut full = stored_report(org, 0);
    full.metadata.project_name = "Shop \"ü\"".to_owned();
    full.metadata.branch = Some("main".to_owned());
    full.metadata.quality_gate = Some(QualityGateStatus::Error);
    full.metadata.properties = [("a.b".to_owned(), "1".to_owned())].into();
    full.metadata.task_id = Some("AX1".to_owned());
    full.metadata.scm_revision = Some("c0ffee".to_owned());
    let plain = stored_report(org, 1);
    system.seed([full.clone(), plain.clone()]).await;
    let works = [published(&plain), revised(&full, 2)].map(Work::change);
    assert!(
        handle(&system.stack.delivering, works, now)
            .await
            .is_empty()
    );
    let received = &receiver.take()[0];

    let listed = async |report: &Report| {
        let version = &report.metadata.project_version;
        let query = format!("org={org}&minver={version}&maxver={version}");
        let list = system.get(&format!("/security/report/list?{query}")).await;
        let list = String::from_utf8(list.body.to_vec()).unwrap();
        let entry = &list[list.find('[').unwrap() + 1..list.rfind(']').unwrap()];
        assert_eq!(entry.matches("\"id\"").count(), 1, "{list}");
        entry.strip_suffix('}').unwrap().to_owned()
    };
    let expected = format!(
        "{{\"organizationId\":\"{org}\",\"reports\":[\
         {},\"event\":\"report.published\",\"revision\":1,\"projectKey\":\"project-1\"}},\
         {},\"event\":\"report.updated\",\"revision\":2,\"projectKey\":\"project-0\",\"branch\":\"main\",\
         \"qualityGate\":\"ERROR\",\"properties\":{{\"a.b\":\"1\"}},\"taskId\":\"AX1\",\"scmRevision\":\"c0ffee\"}}]}}",
        listed(&plain).await,
        listed(&full).await,
    );
    assert_eq!(std::str::from_utf8(&received.body).unwrap(), expected);
    let first = expected.find("\"projectName\"").unwrap();
    let names = [
        "id",
        "reportType",
        "reportVersion",
        "projectVersion",
        "date",
        "uploadDate",
    ];
    let names = names
        .into_iter()
        .chain(["vulnerabilitiesCount", "securityRating", "event"]);
    let mut last = first;
    for name in names {
        let next = expected.find(&format!("\"{name}\"")).unwrap();
        assert!(next > last, "{name}: {expected}");
        last = next;
    }
}
