//! Every stored revision becomes a message on the queue.

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use domain::organization::OrganizationId;
use domain::report::Report;
use domain::report::change::{ReportChange, ReportEvent};
use domain::token::Right;
use serde_json::{Value, json};
use store::outbox::{GRACE, Swept, sweep};
use store::queue::EventsQueue;
use store::queue::work::Work;
use store::reports::Commit;
use tests::samples::{files, metadata, stored_report};
use tests::system::{System, organization, text};
use time::OffsetDateTime;
use tower::ServiceExt as _;

/// Publishes through a function whose queue does not exist.
async fn publish_without_queue(system: &System, org: OrganizationId, topic: &str) -> Value {
    let publisher = system.publisher(org).await;
    let begun: Value = publisher
        .begin(&metadata("1.0"), &files(topic))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    publisher.upload(&begun, &files(topic)).await.unwrap();
    let token = system
        .stack
        .create_token("t", org, &[Right::Publish])
        .await
        .unwrap();
    let no_queue = format!("{}-gone", system.stack.events_queue());
    let mut publishing = system.stack.publishing.clone();
    publishing.publisher.queue = EventsQueue::new(system.stack.sqs.clone(), no_queue);
    let request = Request::post(format!(
        "/security/report/uploads/{}/complete",
        text(&begun["uploadId"])
    ))
    .header("authorization", format!("Bearer {}", token.reveal()))
    .body(Body::empty())
    .unwrap();
    let functions = local::Functions {
        publishing: &publishing,
        ..system.stack.functions()
    };
    let response = local::service(&functions).oneshot(request).await.unwrap();
    assert!(
        response.status().is_success(),
        "a queue that is down keeps nobody from publishing: {response:?}"
    );
    serde_json::from_slice(
        &axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap(),
    )
    .unwrap()
}

async fn is_marked(system: &System, org: OrganizationId, id: &str) -> bool {
    let get = system.stack.dynamodb.get_item().table_name("ReportsTable");
    let get = get
        .key("org", AttributeValue::S(org.to_string()))
        .key("id", AttributeValue::S(id.to_owned()));
    get.send()
        .await
        .unwrap()
        .item
        .unwrap()
        .contains_key("unannouncedShard")
}

async fn sweep_at(system: &System, now: OffsetDateTime) -> Swept {
    sweep(
        &system.stack.retrying.reports,
        &system.stack.retrying.queue,
        now,
        || false,
    )
    .await
}

/// A change, in short.
type Told = (ReportEvent, OrganizationId, String, u64);

fn change(event: ReportEvent, org: OrganizationId, id: &str, revision: u64) -> Told {
    (event, org, id.to_owned(), revision)
}

/// The changes on the queue.
async fn changes(system: &System) -> Vec<Told> {
    let short = |change: ReportChange| {
        let id = change.summary.id.to_string();
        (change.event, change.org, id, change.revision)
    };
    system.changes().await.into_iter().map(short).collect()
}

#[tokio::test]
async fn publishing_and_updating_are_announced() {
    let system = System::start().await;
    let org = organization();
    let id = system.publish(org, &metadata("1.0"), &files("a")).await;
    assert_eq!(system.publish(org, &metadata("1.0"), &files("b")).await, id);
    let expected = [
        change(ReportEvent::Published, org, &id, 1),
        change(ReportEvent::Updated, org, &id, 2),
    ];
    assert_eq!(changes(&system).await, expected);
    assert!(!is_marked(&system, org, &id).await);
}

#[test]
fn a_message_looks_as_its_consumers_expect() {
    let org = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let report = stored_report(org, 1);
    let message = Work::change(tests::samples::change(&report, 1)).to_json();
    let message: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(
        message,
        json!({
            "kind": "change",
            "v": 1,
            "event": "report.published",
            "org": "00000000-0000-0000-0000-000000000001",
            "revision": 1,
            "summary": {
                "projectName": "Test product",
                "id": report.id,
                "reportType": "CWE Top 25",
                "reportVersion": 2024,
                "projectVersion": "1.0.1",
                "date": "2025-12-17T09:05:48.5946432+00:00",
                "uploadDate": report.upload_date,
                "vulnerabilitiesCount": 0,
                "securityRating": "A",
            },
            "details": {"projectKey": "project-1"},
        })
    );
}

#[tokio::test]
async fn the_sweep_announces_what_was_left() {
    let system = System::start().await;
    let org = organization();
    let published = publish_without_queue(&system, org, "a").await;
    let id = text(&published["id"]);
    publish_without_queue(&system, org, "b").await;
    assert!(system.changes().await.is_empty() && is_marked(&system, org, &id).await);
    assert_eq!(
        system.listed(&format!("org={org}&minver=0")).await,
        [id.as_str()]
    );

    // Its publisher may still be at work.
    let now = OffsetDateTime::now_utc();
    assert_eq!(sweep_at(&system, now).await, Swept::default());

    let later = now + GRACE * 2;
    assert_eq!(
        sweep_at(&system, later).await,
        Swept {
            found: 1,
            announced: 1,
            failed: 0,
            ..Swept::default()
        }
    );
    assert_eq!(
        changes(&system).await,
        [change(ReportEvent::Published, org, &id, 2)],
        "one change, the newest: nobody was told of the report before"
    );
    assert!(!is_marked(&system, org, &id).await);
    assert_eq!(sweep_at(&system, later).await, Swept::default());
}

#[tokio::test]
async fn the_next_publication_announces_what_was_left() {
    let system = System::start().await;
    let org = organization();
    let id = text(&publish_without_queue(&system, org, "a").await["id"]);
    system.publish(org, &metadata("1.0"), &files("b")).await;
    let expected = [change(ReportEvent::Published, org, &id, 2)];
    assert_eq!(changes(&system).await, expected);
    assert!(!is_marked(&system, org, &id).await);
}

#[tokio::test]
async fn updates_that_were_not_announced_are_announced_as_one() {
    let system = System::start().await;
    let org = organization();
    let id = system.publish(org, &metadata("1.0"), &files("a")).await;
    let expected = [change(ReportEvent::Published, org, &id, 1)];
    assert_eq!(changes(&system).await, expected);
    publish_without_queue(&system, org, "b").await;
    publish_without_queue(&system, org, "c").await;
    let later = OffsetDateTime::now_utc() + GRACE * 2;
    assert_eq!(sweep_at(&system, later).await.announced, 1);
    let expected = [change(ReportEvent::Updated, org, &id, 3)];
    assert_eq!(changes(&system).await, expected);
}

#[tokio::test]
async fn what_is_announced_while_the_next_revision_is_made_is_not_announced_as_new_again() {
    let system = System::start().await;
    let org = organization();
    let id = text(&publish_without_queue(&system, org, "a").await["id"]);
    let reports = &system.stack.tables.reports;
    let key = domain::report::ReportKey {
        org,
        id: id.parse().unwrap(),
    };
    let before = reports.latest(key).await.unwrap().unwrap();
    // The sweep announces revision 1 after somebody has read the report to make the next one.
    let later = OffsetDateTime::now_utc() + GRACE * 2;
    assert_eq!(sweep_at(&system, later).await.announced, 1);
    let next = Report {
        revision: 2,
        ..before
    };
    let stored = reports.store(&next, Vec::new(), later).await.unwrap();
    assert!(matches!(stored, Commit::Lost), "{stored:?}");
    assert_eq!(
        reports
            .latest(key)
            .await
            .unwrap()
            .unwrap()
            .announced_revision,
        1
    );
}

#[tokio::test]
async fn a_change_says_what_the_report_is_when_it_is_announced() {
    let system = System::start().await;
    let org = organization();
    publish_without_queue(&system, org, "a").await;
    let mut newer = metadata("1.0");
    newer["vulnerabilitiesCount"] = json!(7);
    newer["properties"] = json!({"sonar.analysis.build": "1"});
    system.publish(org, &newer, &files("b")).await;
    let [change] = system.changes().await.try_into().unwrap();
    assert_eq!(
        (change.revision, change.summary.vulnerabilities_count),
        (2, 7)
    );
    assert_eq!(change.details.project_key, "acme:shop");
    assert_eq!(change.details.properties["sonar.analysis.build"], "1");
}

#[tokio::test]
async fn two_sweeps_at_once_lose_nothing() {
    let system = System::start().await;
    let org = organization();
    let id = text(&publish_without_queue(&system, org, "a").await["id"]);
    let later = OffsetDateTime::now_utc() + GRACE * 2;
    let (one, other) = tokio::join!(sweep_at(&system, later), sweep_at(&system, later));
    assert_eq!(one.failed + other.failed, 0);
    let changes = changes(&system).await;
    assert!(
        !changes.is_empty()
            && changes
                .iter()
                .all(|it| *it == change(ReportEvent::Published, org, &id, 1)),
        "{changes:?}"
    );
    assert!(!is_marked(&system, org, &id).await);
}

#[tokio::test]
async fn a_sweep_without_a_queue_leaves_the_marks() {
    let system = System::start().await;
    let org = organization();
    let id = text(&publish_without_queue(&system, org, "a").await["id"]);
    let gone = EventsQueue::new(
        system.stack.sqs.clone(),
        format!("{}-gone", system.stack.events_queue()),
    );
    let later = OffsetDateTime::now_utc() + GRACE * 2;
    let swept = sweep(&system.stack.retrying.reports, &gone, later, || false).await;
    assert_eq!(
        swept,
        Swept {
            found: 1,
            announced: 0,
            failed: 1,
            ..Swept::default()
        }
    );
    assert!(is_marked(&system, org, &id).await);
}

#[tokio::test]
async fn a_mark_is_not_removed_for_a_newer_revision() {
    let system = System::start().await;
    let org = organization();
    let id = text(&publish_without_queue(&system, org, "a").await["id"]);
    let reports = &system.stack.tables.reports;
    let key = domain::report::ReportKey {
        org,
        id: id.parse().unwrap(),
    };
    publish_without_queue(&system, org, "b").await;
    // Whoever announced revision 1 comes late.
    reports.set_announced(key, 1).await.unwrap();
    assert!(is_marked(&system, org, &id).await);
    assert_eq!(
        reports
            .latest(key)
            .await
            .unwrap()
            .unwrap()
            .announced_revision,
        0
    );
}
