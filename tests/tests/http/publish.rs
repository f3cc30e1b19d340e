//! Publishing a report.

use std::io::Read as _;

use aws_sdk_dynamodb::types::AttributeValue;
use local::client::{File, Publisher};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::organization::OrganizationId;
use shared::token::{Right, Token, TokenSecret};
use tests::samples::{files, metadata, noise};
use tests::system::{Reply, System, organization, text};
use time::OffsetDateTime;

const BEGIN: &str = "/security/report";

fn complete_path(upload_id: &str) -> String {
    format!("/security/report/uploads/{upload_id}/complete")
}

/// An upload that was begun, with nothing uploaded yet.
async fn begun(publisher: &Publisher, version: &str, files: &[File]) -> Value {
    let response = publisher.begin(&metadata(version), files).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json().await.unwrap()
}

/// The objects whose keys begin with a prefix.
async fn objects(system: &System, prefix: &str) -> Vec<String> {
    let list = system
        .stack
        .s3
        .list_objects_v2()
        .bucket(system.stack.bucket())
        .prefix(prefix)
        .send()
        .await
        .unwrap();
    list.contents
        .unwrap_or_default()
        .into_iter()
        .map(|object| object.key.unwrap())
        .collect()
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
        system.stack.tables.tokens.put(&token).await.unwrap();
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
    for (body, status, code, parameter) in [
        ("{".to_owned(), 400, "invalid_json", None),
        ("[]".to_owned(), 400, "invalid_json", None),
        (" ".repeat(200_000), 413, "body_too_large", None),
        (
            with("organizationId", json!(organization())),
            403,
            "wrong_organization",
            Some("organizationId"),
        ),
        (
            with("projektName", json!("x")),
            400,
            "unknown_field",
            Some("projektName"),
        ),
        (
            with("projectName", json!(null)),
            400,
            "missing_field",
            Some("projectName"),
        ),
        (
            with("projectVersion", json!("not provided")),
            400,
            "invalid_version",
            Some("projectVersion"),
        ),
        (
            with("securityRating", json!("F")),
            400,
            "invalid_rating",
            Some("securityRating"),
        ),
        (
            with("vulnerabilitiesCount", json!(-1)),
            400,
            "invalid_count",
            Some("vulnerabilitiesCount"),
        ),
        (
            with("date", json!("2025-12-17T09:05:48")),
            400,
            "invalid_date",
            Some("date"),
        ),
        (with("files", json!([])), 400, "no_files", Some("files")),
        (
            with("files", json!((0..21).map(|n| json!({"name": format!("{n}.pdf"), "size": 1, "sha256": "0".repeat(64)})).collect::<Value>())),
            400,
            "too_many_files",
            Some("files"),
        ),
        (
            with("files", json!([{"name": "a.pdf", "size": 1, "sha256": "0".repeat(64)}, {"name": "A.pdf", "size": 1, "sha256": "0".repeat(64)}])),
            400,
            "duplicate_file_name",
            Some("files[1].name"),
        ),
        (
            with("files", json!([{"name": "a\n.html", "size": 1, "sha256": "0".repeat(64)}])),
            400,
            "invalid_file_name",
            Some("files[0].name"),
        ),
        (
            with("files", json!([{"name": "a.exe", "size": 1, "sha256": "0".repeat(64)}])),
            400,
            "invalid_file_name",
            Some("files[0].name"),
        ),
        (
            with("projectKey", json!("a b")),
            400,
            "invalid_field",
            Some("projectKey"),
        ),
        (
            with("files", json!(null)),
            400,
            "missing_field",
            Some("files"),
        ),
        (
            with(
                "files",
                json!([{"name": "../a.html", "size": 1, "sha256": "0".repeat(64)}]),
            ),
            400,
            "invalid_file_name",
            Some("files[0].name"),
        ),
        (
            with(
                "files",
                json!([{"name": "a.html", "size": 500_000_001, "sha256": "0".repeat(64)}]),
            ),
            400,
            "file_too_large",
            Some("files[0].size"),
        ),
        (
            with(
                "files",
                json!([{"name": "a.html", "size": 1, "sha256": "0"}]),
            ),
            400,
            "invalid_sha256",
            Some("files[0].sha256"),
        ),
    ] {
        let shown: String = body.chars().take(200).collect();
        let reply = post(body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (status, code),
            "{shown}"
        );
        assert_eq!(
            reply.json().get("parameter").map(text).as_deref(),
            parameter,
            "{shown}"
        );
    }
    assert_eq!(system.listed(&format!("org={org}&minver=0")).await.len(), 0);
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
