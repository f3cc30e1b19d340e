//! Reading where the organization's id alone does not open its reports.

use domain::organization::OrganizationId;
use domain::token::Right;
use local::Options;
use reqwest::StatusCode;
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization};
use time::{Duration, OffsetDateTime};

async fn start() -> System {
    System::start_with(Options {
        read_by_token: true,
        ..Options::default()
    })
    .await
}

/// The paths of a list, of a download and of a file.
fn paths(org: OrganizationId, report: &str) -> [String; 3] {
    [
        format!("/security/report/list?org={org}&minver=0"),
        format!("/security/report/files?org={org}&reports={report}"),
        format!("/security/report/file?org={org}&report={report}&name=report.html"),
    ]
}

fn assert_refused(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!(reply.status.as_u16(), status, "{what}: {reply:?}");
    if !reply.body.is_empty() {
        assert_eq!(reply.json()["code"], code, "{what}");
    }
    let challenge = reply.headers.get("www-authenticate");
    assert_eq!(challenge.is_some(), status == 401, "{what}: {reply:?}");
}

#[tokio::test]
async fn only_a_token_with_the_right_to_read_reads_and_only_its_organizations_reports() {
    let system = start().await;
    let (org, other) = (organization(), organization());
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    let now = OffsetDateTime::now_utc();
    let (reader, may_read) = system.token(org, &[Right::ReadReports], None).await;
    let others = [Right::Publish, Right::ManageWebhooks, Right::ReadDeliveries];
    let (_, may_all_else) = system.token(org, &others, None).await;
    let (_, stranger) = system.token(other, &Right::ALL, None).await;
    let (_, expired) = system
        .token(org, &Right::ALL, Some(now - Duration::MINUTE))
        .await;
    let jwt = system.jwt(org, identity::Role::Owner);
    for path in paths(org, &report) {
        for method in ["GET", "HEAD"] {
            let send = async |bearer: Option<&str>| {
                let request = system.request(method, &path);
                let request = match bearer {
                    Some(bearer) => request.bearer_auth(bearer),
                    None => request,
                };
                system.send(request).await
            };
            let reply = send(Some(&may_read)).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
            for (bearer, status, code) in [
                (None, 401, "missing_token"),
                (Some("srt_nobody's"), 401, "invalid_token"),
                (Some(jwt.as_str()), 401, "invalid_token"),
                (Some(expired.as_str()), 401, "expired_token"),
                (Some(may_all_else.as_str()), 403, "insufficient_right"),
                (Some(stranger.as_str()), 403, "wrong_organization"),
            ] {
                assert_refused(&send(bearer).await, status, code, &path);
            }
        }
    }
    let tokens = &system.stack.tables.tokens;
    assert!(tokens.revoke(org, reader.id, now).await.unwrap());
    for path in paths(org, &report) {
        let reply = system.call("GET", &path, &may_read, None).await;
        assert_refused(&reply, 401, "revoked_token", &path);
    }
}

#[tokio::test]
async fn scripts_of_other_sites_do_not_read_with_somebodys_token() {
    let system = start().await;
    let org = organization();
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    let token = system
        .stack
        .create_token("t", org, &[Right::ReadReports])
        .await
        .unwrap();
    for path in paths(org, &report) {
        let request = system.request("GET", &path).bearer_auth(token.reveal());
        let read = system
            .send(request.header("origin", "https://a.example"))
            .await;
        assert_eq!(read.status, StatusCode::OK, "{read:?}");
        let preflight = system
            .request("OPTIONS", &path)
            .header("origin", "https://a.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        let preflight = system.send(preflight).await;
        assert_eq!(preflight.status, StatusCode::METHOD_NOT_ALLOWED);
        for reply in [read, preflight] {
            let cors = reply
                .headers
                .keys()
                .find(|name| name.as_str().starts_with("access-control"));
            assert_eq!(cors, None, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn where_reading_is_open_a_token_makes_no_difference() {
    let system = System::start().await;
    let org = organization();
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    for path in paths(org, &report) {
        let reply = system.call("GET", &path, "srt_nobody's", None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
}
