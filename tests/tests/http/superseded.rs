//! The objects of revisions that were replaced: they are tagged, so that the bucket forgets them, and no others are.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use domain::organization::OrganizationId;
use domain::report::ReportKey;
use domain::token::Right;
use local::Clients;
use local::client::File;
use publish_report::Publishing;
use serde_json::Value;
use tests::failures::{Failures, Seam};
use tests::faults::Proxy;
use tests::samples::{files, metadata, noise};
use tests::system::{System, organization, text};
use tower::ServiceExt as _;

/// The tags of every object of an organization's reports, by key.
async fn tags(system: &System, org: OrganizationId) -> BTreeMap<String, String> {
    let (s3, bucket) = (&system.stack.s3, system.stack.bucket());
    let list = s3.list_objects_v2().bucket(&bucket);
    let list = list.prefix(format!("reports/{org}/")).send().await.unwrap();
    let mut tags = BTreeMap::new();
    for object in list.contents.unwrap_or_default() {
        let key = object.key.unwrap();
        let get = s3.get_object_tagging().bucket(&bucket).key(&key);
        let set = get.send().await.unwrap().tag_set;
        let set = set.iter().map(|it| format!("{}={}", it.key, it.value));
        tags.insert(key, set.collect::<Vec<_>>().join("&"));
    }
    tags
}

/// The keys of the files of a report as it is now.
async fn current(system: &System, org: OrganizationId, id: &str) -> BTreeSet<String> {
    let key = ReportKey {
        org,
        id: id.parse().unwrap(),
    };
    let report = system
        .stack
        .publishing
        .publisher
        .reports
        .latest(key)
        .await
        .unwrap();
    let files = report.unwrap().files.into_iter();
    files.map(|file| file.key).collect()
}

/// Panics unless of the objects of these reports all are tagged but those that the reports have now. Gives how many are.
async fn assert_only_old_ones_are_tagged(
    system: &System,
    org: OrganizationId,
    reports: &[&str],
) -> usize {
    let mut expected = BTreeSet::new();
    for id in reports {
        expected.extend(current(system, org, id).await);
    }
    let tags = tags(system, org).await;
    let (untagged, tagged): (Vec<_>, Vec<_>) = tags.iter().partition(|(_, tags)| tags.is_empty());
    assert!(
        untagged.iter().map(|(key, _)| *key).eq(&expected),
        "{tags:#?}"
    );
    assert!(
        tagged.iter().all(|(_, tags)| *tags == "superseded=true"),
        "{tags:#?}"
    );
    tagged.len()
}

/// A report that is about to be updated: everything but the last step is done.
struct Update {
    system: System,
    org: OrganizationId,
    report: String,
    upload: String,
    authorization: String,
}

impl Update {
    async fn prepared() -> Self {
        let (system, org) = (System::start().await, organization());
        let report = system.publish(org, &metadata("1.0"), &files("a")).await;
        let publisher = system.publisher(org).await;
        let begun = publisher.begin(&metadata("1.0"), &files("b")).await;
        let begun: Value = begun.unwrap().json().await.unwrap();
        publisher.upload(&begun, &files("b")).await.unwrap();
        let token = system.stack.create_token("t", org, &[Right::Publish]).await;
        Self {
            org,
            report,
            upload: text(&begun["uploadId"]),
            authorization: format!("Bearer {}", token.unwrap().reveal()),
            system,
        }
    }

    /// Completes the upload by a function that works with `publishing`. Gives the status.
    async fn complete(&self, publishing: &Publishing) -> u16 {
        let path = format!("/security/report/uploads/{}/complete", self.upload);
        let request = Request::post(path).header("authorization", &self.authorization);
        let request = request.body(Body::empty()).unwrap();
        let router = publish_report::router(publishing.clone());
        router.oneshot(request).await.unwrap().status().as_u16()
    }

    fn publishing(&self) -> &Publishing {
        &self.system.stack.publishing
    }

    /// What the function works with, where calls of S3 fail.
    fn without_s3(&self, failures: &Failures) -> Publishing {
        let stack = &self.system.stack;
        let clients = &stack.clients["PublishReport"];
        let s3 = failures.s3(&clients.s3);
        let clients = Clients {
            s3,
            ..clients.clone()
        };
        stack.publishing_with(&clients).unwrap()
    }

    /// How many objects are tagged. Panics if one of the report's own is.
    async fn tagged(&self) -> usize {
        let tags = tags(&self.system, self.org).await;
        let current = current(&self.system, self.org, &self.report).await;
        assert!(current.iter().all(|key| tags[key].is_empty()), "{tags:#?}");
        tags.values().filter(|it| !it.is_empty()).count()
    }
}

/// Which of the function's calls of S3 is the first that tags an object.
async fn tagging_call() -> usize {
    let counted = Update::prepared().await;
    let calls = Failures::none();
    counted.complete(&counted.without_s3(&calls)).await;
    let is_tag = |name: &String| name == "PutObjectTagging";
    calls.log().iter().position(is_tag).unwrap() + 1
}

#[tokio::test]
async fn what_an_update_replaces_is_tagged_and_nothing_else() {
    let (system, org) = (System::start().await, organization());
    let other = system.publish(org, &metadata("2.0"), &files("a")).await;
    let mut tagged = Vec::new();
    for topic in ["a", "b", "c"] {
        let id = system.publish(org, &metadata("1.0"), &files(topic)).await;
        tagged.push(assert_only_old_ones_are_tagged(&system, org, &[&id, &other]).await);
    }
    assert_eq!(tagged, [0, 2, 4]);
}

#[tokio::test]
async fn of_publications_at_once_only_the_last_one_stays_untagged() {
    let (system, org) = (System::start().await, organization());
    let publisher = system.publisher(org).await;
    let publish = async |topic: &str| {
        let published = publisher.publish(&metadata("1.0"), &files(topic)).await;
        text(&published.unwrap()["id"])
    };
    let (id, ..) = tokio::join!(publish("a"), publish("b"), publish("c"), publish("d"));
    assert_eq!(
        assert_only_old_ones_are_tagged(&system, org, &[&id]).await,
        6
    );
}

#[tokio::test]
async fn completing_again_tags_what_it_replaced_and_not_what_came_later() {
    let update = Update::prepared().await;
    assert_eq!(update.complete(update.publishing()).await, 200);
    let newest = files("c");
    update
        .system
        .publish(update.org, &metadata("1.0"), &newest)
        .await;
    assert_eq!(update.tagged().await, 4);
    assert_eq!(update.complete(update.publishing()).await, 200);
    assert_eq!(update.tagged().await, 4);
}

#[tokio::test]
async fn what_a_restored_report_has_again_is_not_tagged() {
    let update = Update::prepared().await;
    let key = ReportKey {
        org: update.org,
        id: update.report.parse().unwrap(),
    };
    let reports = &update.system.stack.tables.reports;
    let before = reports.latest(key).await.unwrap().unwrap();
    let without_tags = Failures::at(tagging_call().await, Seam::Before, true);
    assert_eq!(
        update.complete(&update.without_s3(&without_tags)).await,
        200
    );
    update.system.seed([before]).await;
    assert_eq!(update.complete(update.publishing()).await, 200);
    assert_eq!(update.tagged().await, 0);
}

/// A failed call, and a function that dies: all calls from the first tag on fail. Completing again mends it.
#[tokio::test]
async fn an_update_is_published_also_when_its_objects_cannot_be_tagged() {
    let first = tagging_call().await;
    for (kill, tagged) in [(false, 1), (true, 0)] {
        let update = Update::prepared().await;
        let failures = Failures::at(first, Seam::Before, kill);
        assert_eq!(update.complete(&update.without_s3(&failures)).await, 200);
        assert!(failures.has_struck());
        assert_eq!(update.tagged().await, tagged);
        let path = format!(
            "/security/report/files?org={}&reports={}",
            update.org, update.report
        );
        assert_eq!(update.system.get(&path).await.status, 200);
        assert_eq!(update.system.changes().await.len(), 2, "it is announced");

        assert_eq!(update.complete(update.publishing()).await, 200);
        assert_eq!(update.tagged().await, 2);
    }
}

#[tokio::test]
async fn an_update_whose_transaction_was_not_answered_is_mended_too() {
    let counted = Update::prepared().await;
    let with_failures = |update: &Update, failures: &Failures| {
        let stack = &update.system.stack;
        let clients = &stack.clients["PublishReport"];
        let dynamodb = failures.dynamodb(&clients.dynamodb);
        let clients = Clients {
            dynamodb,
            ..clients.clone()
        };
        stack.publishing_with(&clients).unwrap()
    };
    let calls = Failures::none();
    counted.complete(&with_failures(&counted, &calls)).await;
    let is_write = |name: &String| name == "TransactWriteItems";
    let n = calls.log().iter().position(is_write).unwrap() + 1;

    for seam in [Seam::Before, Seam::After] {
        let update = Update::prepared().await;
        let failures = Failures::at(n, seam, false);
        assert_eq!(
            update.complete(&with_failures(&update, &failures)).await,
            500
        );
        assert_eq!(update.tagged().await, 0, "nobody knows what became of it");
        assert_eq!(update.complete(update.publishing()).await, 200);
        assert_eq!(update.tagged().await, 2);
    }
}

#[tokio::test]
async fn in_a_bucket_that_keeps_versions_the_version_is_tagged() {
    let update = Update::prepared().await;
    let key = ReportKey {
        org: update.org,
        id: update.report.parse().unwrap(),
    };
    let mut report = update
        .publishing()
        .publisher
        .reports
        .latest(key)
        .await
        .unwrap()
        .unwrap();
    for (number, file) in report.files.iter_mut().enumerate() {
        file.version_id = Some(format!("version-{number}"));
    }
    update.system.seed([report]).await;
    let environment = update.system.stack.environment();
    let mut endpoints = environment.iter();
    let (_, s3) = endpoints
        .find(|(name, _)| *name == "AWS_ENDPOINT_URL_S3")
        .unwrap();
    let proxy = Proxy::to(s3).await;
    let clients = &update.system.stack.clients["PublishReport"];
    let s3 = clients.s3.clone().endpoint_url(&proxy.url);
    let clients = Clients {
        s3,
        ..clients.clone()
    };
    let publishing = update.system.stack.publishing_with(&clients).unwrap();
    assert_eq!(update.complete(&publishing).await, 200);
    let sent = proxy.sent();
    let tagging: Vec<&str> = sent.lines().filter(|it| it.contains("tagging")).collect();
    for number in 0..2 {
        let version = format!("versionId=version-{number}");
        assert!(
            tagging.iter().any(|it| it.contains(&version)),
            "{tagging:?}"
        );
    }
}

#[tokio::test]
async fn a_download_that_has_begun_goes_on_with_what_is_replaced() {
    let (system, org) = (System::start().await, organization());
    // Larger than everything that is read ahead.
    let large = |seed: u8| {
        let mut bytes = noise(16 << 20);
        bytes[0] = seed;
        vec![File {
            name: "a.pdf".to_owned(),
            bytes,
        }]
    };
    let id = system.publish(org, &metadata("1.0"), &large(1)).await;
    let path = format!("/security/report/files?org={org}&reports={id}");
    let whole = system.get(&path).await;
    let mut response = system.request("GET", &path).send().await.unwrap();
    let mut body = response.chunk().await.unwrap().unwrap().to_vec();

    system.publish(org, &metadata("1.0"), &large(2)).await;
    assert_eq!(
        assert_only_old_ones_are_tagged(&system, org, &[&id]).await,
        1
    );

    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert!(
        body == whole.body,
        "the archive is the one that it began with"
    );
    let etag = system.get(&path).await.header("etag").to_owned();
    assert_ne!(etag, whole.header("etag"), "who asks now gets the new one");
}
