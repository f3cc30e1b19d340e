//! Reports that are deleted.

use domain::organization::OrganizationId;
use domain::report::change::ReportEvent;
use domain::report::{Report, ReportKey};
use manage_webhooks::Managing;
use publishing::ReportFiles;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::outbox::{GRACE, sweep};
use store::products::ProductStore;
use store::queue::EventsQueue;
use store::reports::ReportStore;
use tests::failures::{Failures, Seam, asking_twice, colliding_once};
use tests::receiver::Receiver;
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization};
use time::OffsetDateTime;

use crate::support::{assert_refused, manage_through};

async fn publish(system: &System, org: OrganizationId, topic: &str) -> String {
    system.publish(org, &metadata("1.0"), &files(topic)).await
}

async fn delete(system: &System, org: OrganizationId, id: &str) -> Reply {
    let path = format!("/reports/{id}");
    system.manage(org, "DELETE", &path, None).await
}

/// The same by a function that is not the system's own.
async fn delete_through(
    system: &System,
    managing: &Managing,
    org: OrganizationId,
    id: &str,
) -> Reply {
    let path = format!("/reports/{id}");
    manage_through(system, managing, org, ("DELETE", &path), None).await
}

fn assert_deleted(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
}

/// What is stored of a report.
async fn latest(system: &System, org: OrganizationId, id: &str) -> Report {
    let id = id.parse().unwrap();
    let reports = &system.stack.tables.reports;
    let latest = reports.latest(ReportKey { org, id }).await.unwrap();
    latest.unwrap()
}

/// Panics unless the report can be listed and downloaded, or neither.
async fn assert_there(system: &System, org: OrganizationId, id: &str, is_there: bool) {
    let listed = system.listed(&format!("org={org}&minver=0")).await;
    assert_eq!(listed.contains(&id.to_owned()), is_there, "{listed:?}");
    let path = format!("/security/report/files?org={org}&reports={id}");
    let expected = if is_there { 200 } else { 204 };
    assert_eq!(system.get(&path).await.status, expected);
}

/// The changes on the queue, in short.
async fn changes(system: &System) -> Vec<(ReportEvent, u64)> {
    let changes = system.changes().await.into_iter();
    changes.map(|it| (it.event, it.revision)).collect()
}

/// How many of the report's files are marked to expire.
async fn marked(system: &System, report: &Report) -> usize {
    let mut marked = 0;
    for file in &report.files {
        let tags = system.stack.s3.get_object_tagging();
        let tags = tags.bucket(system.stack.bucket()).key(&file.key);
        let tags = tags.send().await.unwrap().tag_set;
        marked += tags.iter().filter(|it| it.key == "superseded").count();
    }
    marked
}

/// A function whose queue does not exist.
fn without_queue(system: &System) -> Managing {
    let no_queue = format!("{}-gone", system.stack.events_queue());
    let mut managing = system.stack.managing.clone();
    managing.publisher.queue = EventsQueue::new(system.stack.sqs.clone(), no_queue);
    managing
}

async fn swept(system: &System) -> usize {
    let retrying = &system.stack.retrying;
    let later = OffsetDateTime::now_utc() + GRACE * 2;
    sweep(&retrying.reports, &retrying.queue, later, || false)
        .await
        .announced
}

#[tokio::test]
async fn a_deleted_report_is_gone_and_its_files_expire() {
    let (system, org) = (System::start().await, organization());
    let id = publish(&system, org, "a").await;
    let other = system.publish(org, &metadata("2.0"), &files("a")).await;
    let before = latest(&system, org, &id).await;
    assert_there(&system, org, &id, true).await;
    assert_eq!(marked(&system, &before).await, 0);

    assert_deleted(&delete(&system, org, &id).await);
    assert_there(&system, org, &id, false).await;
    assert_there(&system, org, &other, true).await;
    assert_eq!(marked(&system, &before).await, 2);
    let other = latest(&system, org, &other).await;
    assert_eq!(marked(&system, &other).await, 0);
    // In an archive with others it is missing.
    let path = format!(
        "/security/report/files?org={org}&reports={id}&reports={}",
        other.id
    );
    assert_eq!(system.get(&path).await.status, 200);

    // Once more changes nothing.
    let tombstone = latest(&system, org, &id).await;
    assert_deleted(&delete(&system, org, &id).await);
    assert_eq!(latest(&system, org, &id).await, tombstone);
    assert_eq!((tombstone.revision, &tombstone.files), (2, &before.files));
    assert!(tombstone.stored_at() > before.stored_at());
    let never = uuid::Uuid::new_v4().to_string();
    for id in [never.as_str(), "1"] {
        assert_refused(&delete(&system, org, id).await, 404, "report_not_found");
    }
    let path = format!("/organizations/{org}/reports/{id}");
    let reply = system.send(system.request("GET", &path)).await;
    assert_refused(&reply, 405, "method_not_allowed");
}

#[tokio::test]
async fn who_names_the_event_is_told_and_nobody_else() {
    let system = System::start().await;
    let (named, every, others) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let org = organization();
    let all = json!(["report.published", "report.updated", "report.deleted"]);
    for (receiver, events) in [
        (&named, all),
        (&others, json!(["report.updated"])),
        (&every, json!(null)),
    ] {
        let webhook = json!({"name": "n", "url": receiver.url, "events": events});
        let webhook = if webhook["events"].is_null() {
            json!({"name": "n", "url": receiver.url})
        } else {
            webhook
        };
        system.webhook_with(org, webhook).await;
    }
    let deliver = async || system.deliver(OffsetDateTime::now_utc()).await;
    let id = publish(&system, org, "a").await;
    deliver().await;
    for receiver in [&named, &every] {
        assert_eq!(receiver.take().len(), 1);
    }

    assert_deleted(&delete(&system, org, &id).await);
    deliver().await;
    assert!(every.take().is_empty() && others.take().is_empty());
    let [call] = named.take().try_into().unwrap();
    assert_eq!(call.header("x-webhook-event"), "report.deleted");
    assert_eq!(call.header("x-sonarqube-project"), "acme:shop");
    let tombstone = latest(&system, org, &id).await;
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let entry = &body["reports"][0];
    assert_eq!(entry["event"], "report.deleted");
    assert_eq!((&entry["id"], &entry["revision"]), (&json!(id), &json!(2)));
    assert_eq!(entry["deletedAt"], json!(tombstone.stored_at()));
    assert_eq!(entry["uploadDate"], json!(tombstone.upload_date));
    assert_eq!(entry["projectVersion"], "1.0");

    // What is published again is there, is new, and has the next revision.
    let publisher = system.publisher(org).await;
    let begun = publisher.begin(&metadata("1.0"), &files("b")).await;
    let begun: Value = begun.unwrap().json().await.unwrap();
    publisher.upload(&begun, &files("b")).await.unwrap();
    for _ in 0..2 {
        let upload = begun["uploadId"].as_str().unwrap();
        let completed = publisher.complete(upload).await.unwrap();
        assert_eq!(completed.status(), 201, "also when it is asked again");
        let completed: Value = completed.json().await.unwrap();
        assert_eq!(completed["id"], json!(id));
        assert_eq!(completed["revision"], 3);
    }
    deliver().await;
    for receiver in [&named, &every] {
        let [call] = receiver.take().try_into().unwrap();
        assert_eq!(call.header("x-webhook-event"), "report.published");
    }
    assert_there(&system, org, &id, true).await;
    assert_eq!(marked(&system, &latest(&system, org, &id).await).await, 0);
    publish(&system, org, "c").await;
    assert_eq!(changes(&system).await, [(ReportEvent::Updated, 4)]);
}

#[tokio::test]
async fn what_could_not_be_announced_is_announced_as_what_it_is_now() {
    use ReportEvent::{Deleted, Published};
    let system = System::start().await;
    let without_queue = without_queue(&system);
    let deleted_unannounced = async |org, id: &str| {
        assert_deleted(&delete_through(&system, &without_queue, org, id).await);
        assert!(system.changes().await.is_empty());
    };

    // The sweep.
    let org = organization();
    let id = publish(&system, org, "a").await;
    assert_eq!(changes(&system).await, [(Published, 1)]);
    deleted_unannounced(org, &id).await;
    assert_eq!(swept(&system).await, 1);
    assert_eq!(changes(&system).await, [(Deleted, 2)]);
    assert_eq!(swept(&system).await, 0);

    // Deleting again.
    publish(&system, org, "b").await;
    assert_eq!(changes(&system).await, [(Published, 3)]);
    deleted_unannounced(org, &id).await;
    assert_deleted(&delete(&system, org, &id).await);
    assert_eq!(changes(&system).await, [(Deleted, 4)]);
    assert_eq!(swept(&system).await, 0);

    // The next publication: the report is there, and who was told of it before is told that it is new.
    publish(&system, org, "c").await;
    assert_eq!(changes(&system).await, [(Published, 5)]);
    deleted_unannounced(org, &id).await;
    publish(&system, org, "d").await;
    assert_eq!(changes(&system).await, [(Published, 7)]);
    assert_eq!(swept(&system).await, 0);
}

#[tokio::test]
async fn files_that_could_not_be_marked_are_when_it_is_deleted_again() {
    for (kill, count) in [(false, 1), (true, 0)] {
        let (system, org) = (System::start().await, organization());
        let id = publish(&system, org, "a").await;
        let clients = &system.stack.clients["ManageWebhooks"];
        let failures = Failures::at(1, Seam::Before, kill);
        let s3 = aws_sdk_s3::Client::from_conf(failures.s3(&clients.s3).build());
        let mut managing = system.stack.managing.clone();
        managing.files = ReportFiles::new(s3, system.stack.bucket());

        let reply = delete_through(&system, &managing, org, &id).await;
        assert_refused(&reply, 500, "internal_error");
        assert_there(&system, org, &id, false).await;
        let tombstone = latest(&system, org, &id).await;
        assert_eq!(marked(&system, &tombstone).await, count);
        assert_deleted(&delete(&system, org, &id).await);
        assert_eq!(marked(&system, &tombstone).await, 2);

        // Also when they have expired meanwhile.
        let gone = system
            .stack
            .s3
            .delete_object()
            .bucket(system.stack.bucket());
        gone.key(&tombstone.files[0].key).send().await.unwrap();
        assert_deleted(&delete(&system, org, &id).await);
    }
}

#[tokio::test]
async fn each_call_that_fails_leaves_what_deleting_again_ends() {
    let (system, org) = (System::start().await, organization());
    let clients = &system.stack.clients["ManageWebhooks"];
    let through = |failures: &Failures| {
        let mut managing = system.stack.managing.clone();
        let dynamodb = failures.dynamodb(&clients.dynamodb);
        managing.publisher.reports = ReportStore::new(dynamodb.clone(), "ReportsTable");
        managing.publisher.products = ProductStore::new(dynamodb, "ProductsTable");
        let queue = system.stack.events_queue();
        managing.publisher.queue = EventsQueue::new(failures.sqs(&clients.sqs), queue);
        managing
    };
    let id = publish(&system, org, "a").await;
    let counted = Failures::none();
    assert_deleted(&delete_through(&system, &through(&counted), org, &id).await);
    let expected = [
        "GetItem",
        "GetItem",
        "Query",
        "TransactWriteItems",
        "SendMessageBatch",
        "UpdateItem",
    ];
    assert_eq!(counted.log(), expected);
    for call in 1..=expected.len() {
        for (seam, kill) in [
            (Seam::Before, false),
            (Seam::Before, true),
            (Seam::After, false),
            (Seam::After, true),
        ] {
            publish(&system, org, "a").await;
            let revision = latest(&system, org, &id).await.revision;
            changes(&system).await;
            let failures = Failures::at(call, seam, kill);
            delete_through(&system, &through(&failures), org, &id).await;
            assert!(failures.has_struck());
            assert_deleted(&delete(&system, org, &id).await);
            swept(&system).await;
            let announced = changes(&system).await;
            let deleted = (ReportEvent::Deleted, revision + 1);
            let what = format!("call {call}, {seam:?}, {kill}: {announced:?}");
            assert!(announced.contains(&deleted), "{what}");
            assert!(announced.iter().all(|it| *it == deleted), "{what}");
            assert!(latest(&system, org, &id).await.is_announced(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_deletion_that_the_sdk_asks_for_twice_is_one() {
    let (system, org) = (System::start().await, organization());
    let id = publish(&system, org, "a").await;
    let mut managing = system.stack.managing.clone();
    let client = asking_twice(&system.stack.dynamodb, "TransactWriteItems");
    managing.publisher.reports = ReportStore::new(client, "ReportsTable");
    changes(&system).await;
    assert_deleted(&delete_through(&system, &managing, org, &id).await);
    assert_eq!(latest(&system, org, &id).await.revision, 2);
    assert_eq!(changes(&system).await, [(ReportEvent::Deleted, 2)]);
}

#[tokio::test]
async fn a_deletion_that_collides_with_a_publication_is_made_again() {
    let (system, org) = (System::start().await, organization());
    let id = publish(&system, org, "a").await;
    let mut managing = system.stack.managing.clone();
    let client = colliding_once(&system.stack.dynamodb, "TransactWriteItems");
    managing.publisher.reports = ReportStore::new(client, "ReportsTable");
    assert_deleted(&delete_through(&system, &managing, org, &id).await);
    assert!(latest(&system, org, &id).await.is_deleted());
}

#[tokio::test]
async fn of_publications_and_deletions_at_once_each_has_a_revision_of_its_own() {
    let (system, org) = (System::start().await, organization());
    let id = publish(&system, org, "a").await;
    let (b, c, one, other) = tokio::join!(
        publish(&system, org, "b"),
        publish(&system, org, "c"),
        delete(&system, org, &id),
        delete(&system, org, &id),
    );
    assert_eq!((&b, &c), (&id, &id));
    assert_deleted(&one);
    assert_deleted(&other);
    let last = latest(&system, org, &id).await;
    // Two publications, and at least one deletion.
    assert!((4..=5).contains(&last.revision), "{}", last.revision);
    assert_there(&system, org, &id, !last.is_deleted()).await;
    let expected = if last.is_deleted() { 2 } else { 0 };
    assert_eq!(marked(&system, &last).await, expected);
    swept(&system).await;
    let newest = system.changes().await.into_iter();
    let newest = newest.max_by_key(|change| change.revision).unwrap();
    assert_eq!(newest.revision, last.revision);
    assert_eq!(newest.event == ReportEvent::Deleted, last.is_deleted());
}
