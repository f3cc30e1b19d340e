//! Uploads: what they take, and how they are completed.

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use domain::organization::OrganizationId;
use domain::token::Right;
use local::client::{File, Publisher};
use publish_report::UploadLimits;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::dynamodb::Changed;
use tests::failures::{Failures, Seam};
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization, text};
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

use crate::support::{complete_path, objects};

/// An upload that was begun, with nothing uploaded yet.
async fn begun(publisher: &Publisher, version: &str, files: &[File]) -> Value {
    let response = publisher.begin(&metadata(version), files).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json().await.unwrap()
}

/// Everything that a reader sees of an organization.
async fn seen(system: &System, org: OrganizationId) -> (Vec<u8>, String) {
    let list = system
        .get(&format!("/security/report/list?org={org}&minver=0"))
        .await;
    let ids = system
        .listed(&format!("org={org}&minver=0"))
        .await
        .join(",");
    let etag = match ids.as_str() {
        "" => String::new(),
        ids => system
            .get(&format!("/security/report/files?org={org}&reports={ids}"))
            .await
            .header("etag")
            .to_owned(),
    };
    (list.body.to_vec(), etag)
}

#[tokio::test]
async fn an_upload_is_completed_only_with_the_declared_bytes() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    publisher
        .publish(&metadata("1.0"), &files("before"))
        .await
        .unwrap();
    let before = seen(&system, org).await;
    let stored_before = objects(&system, "reports/").await;

    let declared = files("after");
    let begun = begun(&publisher, "1.0", &declared).await;
    let id = text(&begun["uploadId"]);
    let complete = async || Reply::of(publisher.complete(&id).await.unwrap()).await;
    // Behind the back of S3's own checks.
    let put = async |position: usize, bytes: Vec<u8>| {
        let key = format!("uploads/{id}/{position}");
        let put = system
            .stack
            .s3
            .put_object()
            .bucket(system.stack.bucket())
            .key(key)
            .body(bytes.into());
        put.send().await.unwrap();
    };
    let expect = async |code: &str, position: usize| {
        let reply = complete().await;
        tests::contract::check("POST", &complete_path(&id), &reply);
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, code));
        assert_eq!(reply.json()["parameter"], format!("files[{position}]"));
        assert!(
            text(&reply.json()["message"]).contains(&declared[position].name),
            "{reply:?}"
        );
        assert_eq!(
            seen(&system, org).await,
            before,
            "a failed completion changes nothing"
        );
        assert_eq!(
            objects(&system, "reports/").await,
            stored_before,
            "and leaves nothing behind"
        );
    };

    expect("file_missing", 0).await;
    put(0, declared[0].bytes.clone()).await;
    expect("file_missing", 1).await;
    put(1, [declared[1].bytes.as_slice(), b"!"].concat()).await;
    expect("file_size_mismatch", 1).await;
    put(1, declared[1].bytes.iter().map(|byte| byte ^ 1).collect()).await;
    expect("file_checksum_mismatch", 1).await;
    put(1, declared[1].bytes.clone()).await;
    assert_eq!(complete().await.status, 200);
    assert_ne!(seen(&system, org).await, before);
}

#[tokio::test]
async fn an_address_takes_only_what_was_signed() {
    let system = System::start().await;
    let publisher = system.publisher(organization()).await;
    let declared = files("a");
    let begun = begun(&publisher, "1.0", &declared).await;
    let target = &begun["files"][0];
    assert!(
        target["headers"]["x-amz-checksum-sha256"].is_string(),
        "{target}"
    );

    let mut other_checksum = target.clone();
    other_checksum["headers"]["x-amz-checksum-sha256"] =
        json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(
        publisher
            .put(&other_checksum, declared[0].bytes.clone())
            .await
            .unwrap()
            .status(),
        403
    );
    let mut other_key = target.clone();
    other_key["url"] = json!(text(&target["url"]).replace("/0?", "/1?"));
    assert_eq!(
        publisher
            .put(&other_key, declared[0].bytes.clone())
            .await
            .unwrap()
            .status(),
        403
    );
    let longer = [declared[0].bytes.as_slice(), b"!"].concat();
    let mut other_length = target.clone();
    other_length["headers"]["content-length"] = json!(longer.len().to_string());
    assert_eq!(
        publisher.put(&other_length, longer).await.unwrap().status(),
        403
    );
    let other_bytes = declared[0].bytes.iter().map(|byte| byte ^ 1).collect();
    assert!(
        publisher
            .put(target, other_bytes)
            .await
            .unwrap()
            .status()
            .is_client_error()
    );
    assert_eq!(
        publisher
            .put(target, declared[0].bytes.clone())
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn an_upload_is_its_organizations_only() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    let publisher = system.publisher(org).await;
    let begun = begun(&publisher, "1.0", &files("a")).await;
    publisher.upload(&begun, &files("a")).await.unwrap();
    let id = text(&begun["uploadId"]);
    let intruder = system
        .stack
        .create_token("t", other, &[Right::Publish])
        .await
        .unwrap();
    for id in [
        id.as_str(),
        "00000000-0000-4000-8000-000000000000",
        "x",
        "..%2F..",
        "%00",
        "%FF",
    ] {
        let reply = system
            .send(
                system
                    .request("POST", &complete_path(id))
                    .bearer_auth(intruder.reveal()),
            )
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (404, "upload_not_found"),
            "{id}"
        );
    }
    assert_eq!(publisher.complete(&id).await.unwrap().status(), 201);
}

#[tokio::test]
async fn an_upload_expires() {
    let system = System::start().await;
    let publisher = system.publisher(organization()).await;
    let begun = begun(&publisher, "1.0", &files("a")).await;
    publisher.upload(&begun, &files("a")).await.unwrap();
    let id = text(&begun["uploadId"]);
    let update = system
        .stack
        .dynamodb
        .update_item()
        .table_name("UploadsTable")
        .key("id", AttributeValue::S(id.clone()));
    let update = update
        .update_expression("SET expiresAt = :past")
        .expression_attribute_values(":past", AttributeValue::N("1".into()));
    update.send().await.unwrap();
    let reply = Reply::of(publisher.complete(&id).await.unwrap()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (410, "upload_expired")
    );
}

#[tokio::test]
async fn a_second_completion_gives_the_same_answer() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    let begun = begun(&publisher, "1.0", &files("a")).await;
    publisher.upload(&begun, &files("a")).await.unwrap();
    let id = text(&begun["uploadId"]);
    let complete = async || Reply::of(publisher.complete(&id).await.unwrap()).await;
    let first = complete().await;
    // Even after a later publication, and long after its files are gone.
    publisher
        .publish(&metadata("1.0"), &files("b"))
        .await
        .unwrap();
    for position in 0..2 {
        let delete = system
            .stack
            .s3
            .delete_object()
            .bucket(system.stack.bucket())
            .key(format!("uploads/{id}/{position}"));
        delete.send().await.unwrap();
    }
    let again = complete().await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.status, 201);
    assert_eq!(system.changes().await.len(), 2, "it is not announced again");
}

#[tokio::test]
async fn of_two_completions_at_once_one_writes_and_both_answer_the_same() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    for round in 0..5 {
        let version = format!("1.{round}");
        let begun = begun(&publisher, &version, &files("a")).await;
        publisher.upload(&begun, &files("a")).await.unwrap();
        let id = text(&begun["uploadId"]);
        let complete = async || Reply::of(publisher.complete(&id).await.unwrap()).await;
        let (one, two, three) = tokio::join!(complete(), complete(), complete());
        assert_eq!((one.status.as_u16(), &one.body), (201, &two.body));
        assert_eq!((two.status, &two.body), (three.status, &three.body));
        let report = text(&one.json()["id"]);
        assert_eq!(
            objects(&system, &format!("reports/{org}/{report}/"))
                .await
                .len(),
            2,
            "the losers leave nothing"
        );
        let archive = system
            .get(&format!(
                "/security/report/files?org={org}&reports={report}"
            ))
            .await;
        assert_eq!(archive.status, 200);
    }
    assert_eq!(
        system.changes().await.len(),
        5,
        "each report is announced once"
    );
}

/// The answer to a declaration of a file of so many bytes, by a function with these limits.
async fn declared_with(
    system: &System,
    org: OrganizationId,
    limits: UploadLimits,
    bytes: u64,
) -> Reply {
    let mut publishing = system.stack.publishing.clone();
    publishing.limits = limits;
    let mut declaration = metadata("1.0");
    declaration["files"] = json!([{"name": "a.html", "size": bytes, "sha256": "0".repeat(64)}]);
    let token = system.stack.create_token("t", org, &[Right::Publish]);
    let request = Request::post("/security/report")
        .header(
            "authorization",
            format!("Bearer {}", token.await.unwrap().reveal()),
        )
        .body(Body::from(declaration.to_string()))
        .unwrap();
    let functions = local::Functions {
        publishing: &publishing,
        ..system.stack.functions()
    };
    let response = local::service(&functions);
    let (parts, body) = response.oneshot(request).await.unwrap().into_parts();
    let reply = Reply {
        status: parts.status,
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
    };
    tests::contract::check("POST", "/security/report", &reply);
    reply
}

#[tokio::test]
async fn a_day_has_so_many_uploads_and_bytes_for_an_organization() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    let few = UploadLimits {
        uploads_per_day: 2,
        bytes_per_day: 1_000,
    };
    let small = UploadLimits {
        uploads_per_day: 1_000,
        bytes_per_day: 1_000,
    };
    // A day may end meanwhile, but not two.
    for (org, limits, bytes) in [(org, few, 1), (other, small, 400)] {
        let mut begun = 0;
        let refused = loop {
            let reply = declared_with(&system, org, limits, bytes).await;
            if reply.status != StatusCode::CREATED {
                break reply;
            }
            begun += 1;
            assert!(begun <= 4, "{begun} uploads were begun");
        };
        assert!(begun >= 2, "only {begun} uploads were begun");
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.json()["code"], "too_many_uploads");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=24 * 3600).contains(&wait), "{wait}");
    }
    let larger = declared_with(&system, organization(), small, 1_001).await;
    assert_eq!(larger.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_next_day_begins_with_nothing_and_two_at_once_do_not_pass() {
    let system = System::start().await;
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let uploads = &system.stack.publishing.uploads;
    let limits = UploadLimits {
        uploads_per_day: 5,
        bytes_per_day: 100,
    };
    let count = |at| uploads.count(org, 20, at, limits);
    let counted = futures_util::future::join_all((0..9).map(|_| count(now))).await;
    let counted = counted.into_iter().map(Result::unwrap);
    assert_eq!(counted.filter(|it| *it == Changed::Stored).count(), 5);
    let tomorrow = now + Duration::DAY;
    assert_eq!(count(tomorrow).await.unwrap(), Changed::Stored);
}

fn declaration(version: &str) -> Value {
    let mut declaration = metadata(version);
    declaration["files"] = files("a").iter().map(File::declaration).collect();
    declaration
}

/// Begins an upload with a key.
async fn begun_with_key(system: &System, token: &str, body: &Value) -> Reply {
    let request = system.request("POST", "/security/report");
    let request = request
        .bearer_auth(token)
        .header("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")
        .json(body);
    system.send(request).await
}

#[tokio::test]
async fn who_begins_again_gets_the_same_upload_and_new_addresses() {
    let system = System::start().await;
    let org = organization();
    let token = system.stack.create_token("t", org, &[Right::Publish]).await;
    let token = token.unwrap();
    let publisher = Publisher::new(&system.stack.api_url, token.clone()).unwrap();
    let body = declaration("1.0");
    let first = begun_with_key(&system, token.reveal(), &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = begun_with_key(&system, token.reveal(), &body).await;
    assert_eq!(again.status, 201, "{again:?}");
    let (first, again) = (first.json(), again.json());
    for field in ["uploadId", "reportId", "expiresAt"] {
        assert_eq!(first[field], again[field]);
    }
    // One of each.
    let mut mixed = first.clone();
    mixed["files"][1] = again["files"][1].clone();
    publisher.upload(&mixed, &files("a")).await.unwrap();
    let id = text(&first["uploadId"]);
    assert_eq!(publisher.complete(&id).await.unwrap().status(), 201);
    let completed = begun_with_key(&system, token.reveal(), &body).await.json();
    assert_eq!(completed["uploadId"], first["uploadId"]);

    let day = system.stack.dynamodb.get_item().table_name("UploadsTable");
    let day = day.key(
        "id",
        AttributeValue::S(format!("~day/{org}/{}", OffsetDateTime::now_utc().date())),
    );
    let day = day.send().await.unwrap().item.unwrap();
    assert_eq!(day["uploads"], AttributeValue::N("1".to_owned()));

    let other = declaration("2.0");
    let reply = begun_with_key(&system, token.reveal(), &other).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (422, "idempotency_key_reused".into())
    );
    let another = system.stack.create_token("t", org, &[Right::Publish]).await;
    let reply = begun_with_key(&system, another.unwrap().reveal(), &other).await;
    assert_eq!(reply.status, 201);
    assert_ne!(reply.json()["uploadId"], first["uploadId"]);
}

#[tokio::test]
async fn whatever_fails_one_upload_is_begun() {
    let system = System::start().await;
    let org = organization();
    let token = system.stack.create_token("t", org, &[Right::Publish]).await;
    let token = token.unwrap();
    let body = declaration("1.0");
    // So that the token's use is noted already.
    begun_with_key(&system, token.reveal(), &body).await;
    let through = async |failures: &Failures, key: &str| {
        let clients = failures.clients(&system.stack.clients["PublishReport"]);
        let publishing = system.stack.publishing_with(&clients).unwrap();
        let request = Request::post("/security/report")
            .header("authorization", format!("Bearer {}", token.reveal()))
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = publish_report::router(publishing).oneshot(request).await;
        response.unwrap().status().as_u16()
    };
    let counted = Failures::none();
    assert_eq!(through(&counted, "counted").await, 201);
    let calls = ["GetItem", "PutItem", "UpdateItem", "TransactWriteItems"];
    assert_eq!(counted.log(), calls);
    for call in 1..=calls.len() {
        for (seam, kill) in [
            (Seam::Before, false),
            (Seam::Before, true),
            (Seam::After, false),
            (Seam::After, true),
        ] {
            let key = format!("{call} {seam:?} {kill}");
            let failures = Failures::at(call, seam, kill);
            through(&failures, &key).await;
            assert!(failures.has_struck(), "{key}");
            // If it died, its time must pass first.
            let scan = system.stack.dynamodb.scan().table_name("IdempotencyTable");
            for item in scan.send().await.unwrap().items.unwrap_or_default() {
                let update = system.stack.dynamodb.update_item();
                let update = update
                    .table_name("IdempotencyTable")
                    .key("org", item["org"].clone())
                    .key("id", item["id"].clone())
                    .update_expression("SET leaseUntil = :past")
                    .expression_attribute_values(":past", AttributeValue::S(String::new()));
                update.send().await.unwrap();
            }
            let again = async || {
                let request = system.request("POST", "/security/report");
                let request = request
                    .bearer_auth(token.reveal())
                    .header("idempotency-key", &key)
                    .body(body.to_string());
                system.send(request).await
            };
            let (one, other) = (again().await, again().await);
            assert_eq!(one.status, 201, "{key}: {one:?}");
            assert_eq!(one.json()["uploadId"], other.json()["uploadId"], "{key}");
        }
    }
    let scan = system.stack.dynamodb.scan().table_name("UploadsTable");
    let uploads = scan.send().await.unwrap().items.unwrap_or_default();
    let uploads = uploads.iter().filter(|it| it.contains_key("reportId"));
    assert_eq!(uploads.count(), 2 + 4 * calls.len(), "one for each key");
}
