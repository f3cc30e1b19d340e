//! Publishing, step by step.

use domain::token::Right;
use local::client::File;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::api::text;
use tests::deployment::Deployment;
use tests::samples::{files, metadata, noise};
use tests::system::organization;

const BEGIN: &str = "/security/report";

fn declaration(version: &str, files: &[File]) -> Value {
    let mut declaration = metadata(version);
    declaration["files"] = files.iter().map(File::declaration).collect();
    declaration
}

#[tokio::test]
async fn a_report_is_seen_when_it_is_complete() {
    let (system, org) = (Deployment::open().await, organization());
    let token = system.token(org, &[Right::Publish]).await;
    let (publisher, files) = (system.publisher(org).await, files("a"));
    let query = format!("org={org}&version=1.0");

    let declared = Some(declaration("1.0", &files));
    let begun = system.call("POST", BEGIN, &token, declared).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let begun = begun.json();
    assert!(system.listed(&query).await.is_empty());

    let complete = format!("{BEGIN}/uploads/{}/complete", text(&begun["uploadId"]));
    let missing = system.call("POST", &complete, &token, None).await;
    assert_eq!(missing.status, StatusCode::CONFLICT, "{missing:?}");
    assert!(system.listed(&query).await.is_empty());

    publisher.upload(&begun, &files).await.unwrap();
    // Whoever has not got the answer asks again, and gets the same one.
    let completed = system.call("POST", &complete, &token, None).await;
    assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
    let once_more = system.call("POST", &complete, &token, None).await;
    assert_eq!(once_more.json(), completed.json());
    assert_eq!(completed.json()["id"], begun["reportId"]);
    assert_eq!(completed.json()["revision"], 1);
    assert_eq!(system.listed(&query).await, [text(&begun["reportId"])]);
}

#[tokio::test]
async fn other_bytes_than_the_declared_ones_are_refused() {
    let (system, org) = (Deployment::open().await, organization());
    let publisher = system.publisher(org).await;
    let files = files("a");
    let begun = publisher.begin(&metadata("1.0"), &files).await.unwrap();
    let begun: Value = begun.json().await.unwrap();
    publisher.upload(&begun, &files).await.unwrap();
    let other = noise(files[1].bytes.len());
    let refused = publisher.put(&begun["files"][1], other).await.unwrap();
    assert!(refused.status().is_client_error(), "{refused:?}");
}

#[tokio::test]
async fn publishing_again_updates_the_report() {
    let (system, org) = (Deployment::open().await, organization());
    let first = system.publish(org, &metadata("1.0"), &files("a")).await;
    let mut changed = metadata("1.0");
    changed["securityRating"] = json!("D");
    let second = system.publish(org, &changed, &files("b")).await;
    assert_eq!(second["id"], first["id"]);
    assert_eq!(
        (&first["revision"], &second["revision"]),
        (&json!(1), &json!(2))
    );
    let list = format!("/security/report/list?org={org}&version=1.0");
    let reports = system.get(&list).await.json()["reports"].clone();
    assert_eq!(reports.as_array().unwrap().len(), 1);
    assert_eq!(reports[0]["securityRating"], "D");
}
