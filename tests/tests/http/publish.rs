//! Publishing a report.

use std::io::Read as _;

use domain::token::{Right, Token, TokenSecret};
use local::client::File;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::answers::Answers;
use tests::samples::{files, metadata, noise};
use tests::system::{Reply, System, organization, text};
use time::OffsetDateTime;

use crate::support::{complete_path, objects};

const BEGIN: &str = "/security/report";

#[tokio::test]
async fn a_report_is_published_and_then_updated() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    let mut metadata = metadata("1.0-rc.1");
    metadata["qualityGate"] = json!("OK");
    metadata["properties"] = json!({"sonar.analysis.build": "12"});
    metadata["revision"] = json!("f84442009c09b1adc278b6aa80a3853419f54007");
    metadata["branch"] = json!("main");
    metadata["organizationId"] = json!(org);

    let begun: Value = publisher
        .begin(&metadata, &files("a"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    publisher.upload(&begun, &files("a")).await.unwrap();
    assert!(
        system
            .listed(&format!("org={org}&minver=0"))
            .await
            .is_empty(),
        "nothing is seen before it is complete"
    );
    let first = publisher.complete(&text(&begun["uploadId"])).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Value = first.json().await.unwrap();
    assert_eq!(first["id"], begun["reportId"]);
    assert_eq!(first["organizationId"], json!(org));
    assert_eq!(
        (&first["revision"], &first["projectVersion"]),
        (&json!(1), &json!("1.0-rc.1"))
    );
    assert_eq!(
        first["scmRevision"],
        "f84442009c09b1adc278b6aa80a3853419f54007"
    );
    assert_eq!(
        first["files"][1]["sha256"],
        files("a")[1].declaration()["sha256"]
    );

    metadata["vulnerabilitiesCount"] = json!(3);
    metadata["securityRating"] = json!("C");
    let begun: Value = publisher
        .begin(&metadata, &files("b"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    publisher.upload(&begun, &files("b")).await.unwrap();
    let second = publisher.complete(&text(&begun["uploadId"])).await.unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    let second: Value = second.json().await.unwrap();
    assert_eq!(
        (&second["id"], &second["revision"]),
        (&first["id"], &json!(2))
    );
    let listed = system
        .get(&format!("/security/report/list?org={org}&minver=0"))
        .await
        .json();
    assert_eq!(listed["reports"].as_array().unwrap().len(), 1);
    assert_eq!(listed["reports"][0]["vulnerabilitiesCount"], 3);
    assert_eq!(listed["reports"][0]["uploadDate"], second["uploadDate"]);
}

#[tokio::test]
async fn another_branch_version_or_type_is_another_report() {
    let system = System::start().await;
    let org = organization();
    for change in [
        json!({}),
        json!({"branch": "b"}),
        json!({"projectVersion": "1.0.0"}),
        json!({"reportType": "x"}),
        json!({"reportVersion": 2025}),
        json!({"projectKey": "k"}),
    ] {
        let mut metadata = metadata("1.0");
        metadata
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        system.publish(org, &metadata, &files("a")).await;
    }
    assert_eq!(
        system.listed(&format!("org={org}&version=1")).await.len(),
        6
    );
}

#[tokio::test]
async fn html_is_stored_for_a_browser_and_pdf_as_it_is() {
    let system = System::start().await;
    let org = organization();
    system.publish(org, &metadata("1.0"), &files("a")).await;
    let keys = objects(&system, "reports/").await;
    assert_eq!(keys.len(), 2);
    for (key, file) in keys.iter().zip(files("a")) {
        let object = system
            .stack
            .s3
            .get_object()
            .bucket(system.stack.bucket())
            .key(key)
            .send()
            .await
            .unwrap();
        let (encoding, kind) = (
            object.content_encoding.clone(),
            object.content_type.clone().unwrap(),
        );
        let bytes = object.body.collect().await.unwrap().to_vec();
        if file.name == "report.html" {
            assert_eq!(
                (encoding.as_deref(), kind.as_str()),
                (Some("gzip"), "text/html")
            );
            let mut html = Vec::new();
            flate2::read::GzDecoder::new(bytes.as_slice())
                .read_to_end(&mut html)
                .unwrap();
            assert_eq!(html, file.bytes);
        } else {
            assert_eq!((encoding, kind.as_str()), (None, "application/pdf"));
            assert_eq!(bytes, file.bytes);
        }
    }
}

#[tokio::test]
async fn large_files_go_through_in_parts() {
    let system = System::start().await;
    let org = organization();
    // Above two parts of 8 MiB, compressible and not.
    let files = vec![
        File {
            name: "noise.pdf".to_owned(),
            bytes: noise(17 << 20),
        },
        File {
            name: "noise.html".to_owned(),
            bytes: noise(9 << 20),
        },
        File {
            name: "zeros.html".to_owned(),
            bytes: vec![0; 30 << 20],
        },
    ];
    let id = system.publish(org, &metadata("1.0"), &files).await;
    let archive = system
        .get(&format!("/security/report/files?org={org}&reports={id}"))
        .await
        .body;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    for (number, file) in files.iter().enumerate() {
        let mut bytes = Vec::new();
        archive
            .by_index(number + 1)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(bytes == file.bytes, "{}", file.name);
    }
}

#[tokio::test]
async fn only_a_good_token_publishes() {
    let system = System::start().await;
    let org = organization();
    let stored = async |change: fn(&mut Token)| {
        let now = OffsetDateTime::now_utc();
        let (mut token, secret) = Token::new(org, "t", [Right::Publish], None, now).unwrap();
        change(&mut token);
        system.store_token(&token).await;
        format!("Bearer {}", secret.reveal())
    };
    for (authorization, status, code) in [
        (None, 401, "missing_token"),
        (Some("Basic dTpw".to_owned()), 401, "missing_token"),
        (Some("Bearer".to_owned()), 401, "missing_token"),
        (Some("Bearer x".to_owned()), 401, "invalid_token"),
        (
            Some(format!(
                "Bearer {}",
                TokenSecret::generate().unwrap().reveal()
            )),
            401,
            "invalid_token",
        ),
        (
            Some(
                stored(|it| it.revoked_at = Some("2025-06-01T00:00:00.0000000+00:00".to_owned()))
                    .await,
            ),
            401,
            "revoked_token",
        ),
        (
            Some(
                stored(|it| it.expires_at = Some("2025-06-01T00:00:00.0000000+00:00".to_owned()))
                    .await,
            ),
            401,
            "expired_token",
        ),
        (
            Some(stored(|it| it.rights.clear()).await),
            403,
            "insufficient_right",
        ),
        (
            Some(
                stored(|it| it.expires_at = Some("2999-06-01T00:00:00.0000000+00:00".to_owned()))
                    .await,
            ),
            400,
            "invalid_json",
        ),
    ] {
        for path in [
            BEGIN.to_owned(),
            complete_path("00000000-0000-4000-8000-000000000000"),
        ] {
            let mut request = system.request("POST", &path);
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let reply = system.send(request).await;
            if code == "invalid_json" && path != BEGIN {
                assert_eq!(reply.code(), "upload_not_found");
                continue;
            }
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (status, code),
                "{authorization:?} {path}"
            );
            assert_eq!(
                reply.headers.contains_key("www-authenticate"),
                status == 401
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_declaration_is_refused() {
    let system = System::start().await;
    let org = organization();
    let token = system
        .stack
        .create_token("t", org, &[Right::Publish])
        .await
        .unwrap();
    let post = async |body: String| -> Reply {
        system
            .send(
                system
                    .request("POST", BEGIN)
                    .bearer_auth(token.reveal())
                    .body(body),
            )
            .await
    };
    let with = |field: &str, value: Value| {
        let mut body = metadata("1.0");
        body["files"] = files("a").iter().map(File::declaration).collect();
        body[field] = value;
        body.to_string()
    };
    let file =
        |name: &str, size: u64| json!({"name": name, "size": size, "sha256": "0".repeat(64)});
    let mut answers = Answers::default();
    for (row, body) in [
        ("half an object", "{".to_owned()),
        ("a list", "[]".to_owned()),
        ("200,000 spaces", " ".repeat(200_000)),
        (
            "another organization",
            with("organizationId", json!(organization())),
        ),
        ("a misspelt field", with("projektName", json!("x"))),
        ("a project without a name", with("projectName", json!(null))),
        (
            "a version without a number",
            with("projectVersion", json!("not provided")),
        ),
        (
            "a rating that there is not",
            with("securityRating", json!("F")),
        ),
        (
            "a count below zero",
            with("vulnerabilitiesCount", json!(-1)),
        ),
        (
            "a date without an offset",
            with("date", json!("2025-12-17T09:05:48")),
        ),
        ("a key with a space", with("projectKey", json!("a b"))),
        ("no list of files", with("files", json!(null))),
        ("no file", with("files", json!([]))),
        (
            "21 files",
            with(
                "files",
                (0..21).map(|n| file(&format!("{n}.pdf"), 1)).collect(),
            ),
        ),
        (
            "two files of one name",
            with("files", json!([file("a.pdf", 1), file("A.pdf", 1)])),
        ),
        (
            "a file's name with a line break",
            with("files", json!([file("a\n.html", 1)])),
        ),
        (
            "a file of another format",
            with("files", json!([file("a.exe", 1)])),
        ),
        (
            "a file in a folder",
            with("files", json!([file("../a.html", 1)])),
        ),
        (
            "a file of more than 500 MB",
            with("files", json!([file("a.html", 500_000_001)])),
        ),
        (
            "a digest of one digit",
            with(
                "files",
                json!([{"name": "a.html", "size": 1, "sha256": "0"}]),
            ),
        ),
    ] {
        answers.add(row, &post(body).await);
    }
    insta::assert_snapshot!(answers);
    assert_eq!(system.listed(&format!("org={org}&minver=0")).await.len(), 0);
}

/// *Invariant:* nothing of one organization is readable or writable through another's id or token.
#[tokio::test]
async fn a_reader_of_another_organization_sees_nothing() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    let id = system.publish(org, &metadata("1.0"), &files("a")).await;
    assert_eq!(
        system
            .get(&format!("/security/report/list?org={other}&minver=0"))
            .await
            .status,
        204
    );
    assert_eq!(
        system
            .get(&format!("/security/report/files?org={other}&reports={id}"))
            .await
            .status,
        204
    );

    // The same metadata under another token is another report.
    let theirs = system.publish(other, &metadata("1.0"), &files("b")).await;
    assert_ne!(theirs, id);
    assert_eq!(
        system.listed(&format!("org={org}&minver=0")).await,
        [id.as_str()]
    );
    let mixed = system
        .get(&format!(
            "/security/report/files?org={other}&reports={id},{theirs}"
        ))
        .await;
    assert_eq!(
        (mixed.status.as_u16(), mixed.header("x-missing-reports")),
        (200, id.as_str())
    );
}

#[tokio::test]
async fn publications_of_one_report_at_once_are_one_revision_each() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    let publish = async |topic: &str| {
        publisher
            .publish(&metadata("1.0"), &files(topic))
            .await
            .unwrap()
    };
    let (a, b, c, d) = tokio::join!(publish("a"), publish("b"), publish("c"), publish("d"));
    let mut revisions: Vec<u64> = [&a, &b, &c, &d]
        .iter()
        .map(|it| it["revision"].as_u64().unwrap())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4]);
    let mut announced: Vec<u64> = system
        .changes()
        .await
        .iter()
        .map(|change| change.revision)
        .collect();
    announced.sort_unstable();
    announced.dedup();
    assert_eq!(announced, [1, 2, 3, 4]);
}
