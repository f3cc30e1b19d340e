//! Tokens: made, listed, revoked.

use domain::organization::OrganizationId;
use domain::token::TokenSecret;
use local::client::Publisher;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::tokens::Found;
use tests::answers::Answers;
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::{assert_refused, assert_wrong, expect};

async fn make(system: &System, org: OrganizationId, token: Value) -> Value {
    let reply = system.manage(org, "POST", "/tokens", Some(token)).await;
    expect(&reply, StatusCode::CREATED)
}

async fn list(system: &System, org: OrganizationId) -> Vec<Value> {
    let list = system.manage(org, "GET", "/tokens", None).await.json();
    assert!(list.get("nextCursor").is_none());
    list["tokens"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_token_is_shown_once_and_then_without_its_value() {
    let system = System::start().await;
    let org = organization();
    let given = json!({"name": "build server", "rights": ["read-deliveries", "publish"]});
    let reply = system.manage(org, "POST", "/tokens", Some(given)).await;
    let mut made = expect(&reply, StatusCode::CREATED);
    let secret = made.as_object_mut().unwrap().remove("token").unwrap();
    let id = text(&made["id"]);
    assert_eq!(reply.header("location"), format!("tokens/{id}"));
    let expected = json!({
        "id": id,
        "organizationId": org.to_string(),
        "name": "build server",
        "rights": ["publish", "read-deliveries"],
        "createdAt": made["createdAt"],
    });
    assert_eq!(made, expected);
    assert_eq!(list(&system, org).await, [expected]);
    let shown = system.manage(org, "GET", "/tokens", None).await;
    let shown = String::from_utf8(shown.body.to_vec()).unwrap();
    let secret = TokenSecret::parse(&text(&secret)).unwrap();
    assert!(
        !shown.contains(secret.reveal()) && !shown.contains(&secret.sha256()),
        "{shown}"
    );
}

#[tokio::test]
async fn a_token_that_is_wrong_in_a_field_is_not_made() {
    let system = System::start().await;
    let org = organization();
    let past = (OffsetDateTime::now_utc() - Duration::SECOND)
        .format(&Rfc3339)
        .unwrap();
    let named = |name: Value| json!({"name": name, "rights": ["publish"]});
    let with_rights = |rights: Value| json!({"name": "n", "rights": rights});
    let with =
        |field: &str, value: Value| json!({"name": "n", "rights": ["publish"], field: value});
    let mut answers = Answers::default();
    for (row, token) in [
        ("no name", json!({"rights": ["publish"]})),
        ("no rights", json!({"name": "n"})),
        ("a name that is empty", named(json!(""))),
        ("a name of 101", named(json!("ä".repeat(101)))),
        ("a name with a line break", named(json!("a\nb"))),
        ("a name that is a number", named(json!(5))),
        ("rights that are empty", with_rights(json!([]))),
        ("rights that are text", with_rights(json!("publish"))),
        (
            "a right that there is not",
            with_rights(json!(["publish", "own"])),
        ),
        ("a right in capitals", with_rights(json!(["Publish"]))),
        ("a right that is null", with_rights(json!([null]))),
        ("a right twice", with_rights(json!(["publish", "publish"]))),
        ("an end in the past", with("expiresAt", json!(past))),
        (
            "an end without a time",
            with("expiresAt", json!("2099-01-01")),
        ),
        (
            "an end without an offset",
            with("expiresAt", json!("2099-01-01T00:00:00")),
        ),
        ("an end that is a number", with("expiresAt", json!(5))),
        ("a misspelt field", with("expires", json!(5))),
        ("an id", with("id", json!("x"))),
    ] {
        let reply = system.manage(org, "POST", "/tokens", Some(token)).await;
        answers.add(row, &reply);
    }
    insta::assert_snapshot!(answers);
    assert!(list(&system, org).await.is_empty());
    for name in ["n".to_owned(), "ä".repeat(100)] {
        let rights = ["publish", "manage-webhooks", "read-deliveries"];
        make(
            &system,
            org,
            json!({"name": name, "rights": rights, "expiresAt": null}),
        )
        .await;
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let system = System::start().await;
    let org = organization();
    let expires_at = OffsetDateTime::now_utc() + Duration::HOUR;
    let given = expires_at.format(&Rfc3339).unwrap();
    let made = make(
        &system,
        org,
        json!({"name": "n", "rights": ["manage-webhooks"], "expiresAt": given}),
    )
    .await;
    let shown = OffsetDateTime::parse(&text(&made["expiresAt"]), &Rfc3339).unwrap();
    assert!(
        (shown - expires_at).abs() < Duration::MICROSECOND,
        "{shown}"
    );
    let path = format!("/organizations/{org}/webhooks");
    let secret = text(&made["token"]);
    let reply = system.call("GET", &path, &secret, None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let tokens = &system.stack.tables.tokens;
    let before = expires_at - Duration::SECOND;
    let found = tokens.find(&secret, before).await.unwrap();
    assert!(matches!(found, Found::Good(_)), "{found:?}");
    let found = tokens.find(&secret, expires_at).await.unwrap();
    let Found::Refused(refused) = found else {
        panic!("{found:?}");
    };
    assert_eq!(
        web::bearer::refused(&refused).code().as_str(),
        "expired_token"
    );
    // It is shown nevertheless.
    assert_eq!(list(&system, org).await[0]["id"], made["id"]);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_stays_in_the_list() {
    let system = System::start().await;
    let org = organization();
    let made = make(
        &system,
        org,
        json!({"name": "n", "rights": ["manage-webhooks"]}),
    )
    .await;
    let other = make(
        &system,
        org,
        json!({"name": "m", "rights": ["manage-webhooks"]}),
    )
    .await;
    let path = format!("/organizations/{org}/webhooks");
    let secret = text(&made["token"]);
    assert_eq!(
        system.call("GET", &path, &secret, None).await.status,
        StatusCode::OK
    );

    let revoke = format!("/tokens/{}", text(&made["id"]));
    let reply = system.manage(org, "DELETE", &revoke, None).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let refused = system.call("GET", &path, &secret, None).await;
    assert_refused(&refused, 401, "revoked_token");
    assert!(refused.header("www-authenticate").contains("invalid_token"));

    let first = list(&system, org).await;
    assert!(
        first[1]["revokedAt"].is_string() && first[0].get("revokedAt").is_none(),
        "{first:?}"
    );
    let again = system.manage(org, "DELETE", &revoke, None).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_eq!(
        list(&system, org).await,
        first,
        "it was revoked when it was revoked first"
    );
    let reply = system
        .call("GET", &path, &text(&other["token"]), None)
        .await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_says_when_it_was_used_last() {
    let system = System::start().await;
    let org = organization();
    let made = make(
        &system,
        org,
        json!({"name": "n", "rights": ["manage-webhooks"]}),
    )
    .await;
    assert!(list(&system, org).await[0].get("lastUsedAt").is_none());
    let path = format!("/organizations/{org}/webhooks");
    system.call("GET", &path, &text(&made["token"]), None).await;
    let used = text(&list(&system, org).await[0]["lastUsedAt"]);
    let used_at = OffsetDateTime::parse(&used, &Rfc3339).unwrap();
    let age = OffsetDateTime::now_utc() - used_at;
    assert!((Duration::ZERO..Duration::MINUTE).contains(&age), "{used}");

    // Not every use is noted.
    system.call("GET", &path, &text(&made["token"]), None).await;
    assert_eq!(list(&system, org).await[0]["lastUsedAt"], used);
    let tokens = &system.stack.tables.tokens;
    let later = OffsetDateTime::now_utc() + Duration::HOUR;
    tokens.find(&text(&made["token"]), later).await.unwrap();
    assert!(text(&list(&system, org).await[0]["lastUsedAt"]) > used);
}

#[tokio::test]
async fn a_token_with_the_right_to_publish_publishes_for_its_organization() {
    let system = System::start().await;
    let org = organization();
    for (right, succeeds) in [
        ("publish", true),
        ("manage-webhooks", false),
        ("read-deliveries", false),
    ] {
        let made = make(&system, org, json!({"name": "n", "rights": [right]})).await;
        let secret = TokenSecret::parse(&text(&made["token"])).unwrap();
        let publisher = Publisher::new(&system.stack.api_url, secret).unwrap();
        let published = publisher.publish(&metadata("1.0"), &files("a")).await;
        assert_eq!(published.is_ok(), succeeds, "{right}: {published:?}");
        let listed = system.listed(&format!("org={org}&minver=0")).await;
        assert_eq!(listed.len(), 1);
    }
}

#[tokio::test]
async fn pages_have_every_token_once_the_newest_first() {
    let system = System::start().await;
    let org = organization();
    let mut made = Vec::new();
    for number in 0..7 {
        let token = json!({"name": number.to_string(), "rights": ["publish"]});
        made.push(make(&system, org, token).await["name"].clone());
    }
    made.reverse();
    for limit in [1, 3, 7, 1000] {
        let mut names: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/tokens?limit={limit}{cursor}");
            let page = system.manage(org, "GET", &path, None).await.json();
            let tokens = page["tokens"].as_array().unwrap();
            assert!((1..=limit).contains(&tokens.len()));
            names.extend(tokens.iter().map(|token| token["name"].clone()));
            assert!(names.len() <= 100, "the list does not go on");
            match page.get("nextCursor") {
                None => break,
                Some(next) => cursor = format!("&cursor={}", text(next)),
            }
            if limit == 3 && names.len() == 3 {
                // What is made in between is on no later page.
                make(&system, org, json!({"name": "late", "rights": ["publish"]})).await;
                made.insert(0, json!("late"));
            }
        }
        let expected = if limit == 3 { &made[1..] } else { &made };
        assert_eq!(names, expected, "{limit}");
    }
}

#[tokio::test]
async fn a_cursor_is_good_in_its_own_list_only() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    for org in [org, other] {
        for name in ["a", "b"] {
            make(&system, org, json!({"name": name, "rights": ["publish"]})).await;
        }
    }
    let page = system
        .manage(org, "GET", "/tokens?limit=1", None)
        .await
        .json();
    let cursor = text(&page["nextCursor"]);
    let path = format!("/tokens?cursor={cursor}");
    assert_eq!(
        system.manage(org, "GET", &path, None).await.status,
        StatusCode::OK
    );
    assert_wrong(
        &system.manage(other, "GET", &path, None).await,
        "invalid_cursor",
        "cursor",
    );
    for (query, code, parameter) in [
        ("cursor=", "invalid_cursor", "cursor"),
        ("cursor=x", "invalid_cursor", "cursor"),
        ("limit=0", "invalid_limit", "limit"),
        ("limit=1001", "invalid_limit", "limit"),
        ("limit=%2B1", "invalid_limit", "limit"),
        ("limit=1&limit=1", "duplicate_parameter", "limit"),
        ("state=failed", "unknown_parameter", "state"),
    ] {
        let reply = system
            .manage(org, "GET", &format!("/tokens?{query}"), None)
            .await;
        assert_wrong(&reply, code, parameter);
    }
}
