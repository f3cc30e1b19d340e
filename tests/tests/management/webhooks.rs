//! Webhooks: created and shown.

use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::answers::{Answers, said};
use tests::receiver::{Answer, Receiver};
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::{
    Stage, URL, assert_refused, assert_wrong, create, expect, list, path_of, with, with_password,
};

fn of_length(length: usize) -> String {
    "ä".repeat(length)
}

fn base64_secret(bytes: usize) -> String {
    format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
}

fn one_header(name: &str, value: &str) -> Value {
    json!({"headers": [{"name": name, "value": value}]})
}

fn many_headers(count: usize) -> Value {
    let header = |number| json!({"name": format!("x-{number}"), "value": "value"});
    json!({"headers": (0..count).map(header).collect::<Vec<_>>()})
}

#[tokio::test]
async fn a_webhook_has_defaults_and_a_secret_that_is_shown_once() {
    let system = System::start().await;
    let org = organization();
    let reply = create(&system, org, json!({"name": "n", "url": URL})).await;
    let mut created = expect(&reply, StatusCode::CREATED);
    assert_eq!(reply.header("etag"), "\"1\"");
    let id = text(&created["id"]);
    assert_eq!(reply.header("location"), format!("webhooks/{id}"));
    let secret = created.as_object_mut().unwrap().remove("secret").unwrap();
    assert_eq!(STANDARD.decode(&text(&secret)[6..]).unwrap().len(), 32);
    let expected = json!({
        "id": id,
        "organizationId": org.to_string(),
        "name": "n",
        "url": URL,
        "hasSecret": true,
        "hasToken": false,
        "headers": [],
        "format": "reports",
        "schedule": "hourly",
        "enabled": true,
        "createdAt": created["createdAt"],
        "updatedAt": created["createdAt"],
    });
    assert_eq!(created, expected);
    assert_eq!(system.webhook_now(org, &created["id"]).await, expected);
    assert_eq!(list(&system, org).await, [expected]);

    let other = create(&system, org, json!({"name": "n", "url": URL})).await;
    assert_ne!(other.json()["secret"], secret);
}

#[tokio::test]
async fn a_webhook_has_what_it_was_given() {
    let system = System::start().await;
    let org = organization();
    let given = json!({
        "name": "n",
        "url": URL,
        "secret": "a secret of sixteen",
        "project": "acme:shop",
        "events": ["report.updated"],
        "headers": [{"name": "X-Tenant", "value": "acme"}],
        "enabled": false,
    });
    let created = create(&system, org, given).await.json();
    for (name, expected) in [
        ("name", json!("n")),
        ("url", json!(URL)),
        ("project", json!("acme:shop")),
        ("events", json!(["report.updated"])),
        ("headers", json!([{"name": "x-tenant"}])),
        ("enabled", json!(false)),
        ("disabledReason", json!("administrator")),
        ("disabledAt", created["createdAt"].clone()),
        ("hasSecret", json!(true)),
        ("secret", Value::Null),
    ] {
        assert_eq!(created[name], expected, "{name}");
    }
    assert_eq!(system.webhook_now(org, &created["id"]).await, created);
}

#[tokio::test]
async fn each_field_is_taken_up_to_its_limits() {
    let system = System::start().await;
    let org = organization();
    let longest_url = format!("{URL}?{}", "a".repeat(511 - URL.len()));
    for patch in [
        json!({"name": "n"}),
        json!({"name": of_length(100)}),
        json!({"url": longest_url}),
        json!({"url": "HTTP://127.0.0.1:9"}),
        json!({"secret": of_length(16)}),
        json!({"secret": of_length(200)}),
        json!({"secret": base64_secret(24)}),
        json!({"secret": base64_secret(64)}),
        json!({"secret": null}),
        json!({"project": "p"}),
        json!({"project": "p".repeat(400)}),
        json!({"project": "0-a_B.9:z"}),
        json!({"project": "7:"}),
        json!({"project": null}),
        json!({"events": ["report.updated", "report.published"]}),
        json!({"events": null}),
        many_headers(10),
        json!({"headers": []}),
        json!({"headers": null}),
        one_header(&"x".repeat(100), "value"),
        one_header("x-a", "v"),
        one_header("x-a", &"v".repeat(2048)),
        one_header("x-a", "!with spaces between~"),
        one_header("Authorization", "Bearer secret"),
        // Neither is what begins with a reserved name, but for those that stand for many.
        one_header("hosts", "value"),
        one_header("x-webhooks", "value"),
        one_header("x-original", "value"),
        one_header("x-amz-security-token", "value"),
        one_header("x-api-key", "value"),
        json!({"enabled": false}),
        json!({"enabled": null}),
        json!({
            "id": 5,
            "organizationId": "somebody else's",
            "hasSecret": false,
            "previousSecretUntil": [],
            "disabledReason": "gone",
            "disabledAt": {},
            "failingSince": null,
            "pausedUntil": "tomorrow",
            "createdAt": "yesterday",
            "updatedAt": 0,
            "latestDelivery": {"id": 1},
        }),
    ] {
        let webhook = with(json!({"name": "n", "url": URL}), &patch);
        let created = expect(&create(&system, org, webhook).await, StatusCode::CREATED);
        assert_eq!(created["organizationId"], org.to_string());
        assert!(created.get("failingSince").is_none());
        let path = path_of(&created);
        let patched = system.manage(org, "PATCH", &path, Some(patch)).await;
        assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
        let deleted = system.manage(org, "DELETE", &path, None).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
    }
}

/// How many characters of a table's row are its name.
const ROW: usize = 100;

/// Fields of a webhook that are wrong.
fn wrong_webhooks() -> Vec<Value> {
    let mut wrong = vec![
        json!({"name": ""}),
        json!({"name": of_length(101)}),
        json!({"name": "a\nb"}),
        json!({"name": 5}),
        json!({"name": null}),
        json!({"url": null}),
        json!({"project": ""}),
        json!({"project": "p".repeat(401)}),
        json!({"project": "a b"}),
        json!({"project": "a/b"}),
        json!({"project": "a\"b"}),
        json!({"project": "Prüfung"}),
        json!({"project": "123"}),
        json!({"project": "a\u{7f}"}),
        json!({"project": 7}),
        json!({"events": []}),
        json!({"events": "report.updated"}),
        json!({"events": {}}),
        json!({"events": ["report.gone"]}),
        json!({"events": ["report.test"]}),
        json!({"events": [5]}),
        json!({"events": ["report.updated", "report.updated"]}),
        json!({"enabled": "true"}),
        json!({"enabled": 1}),
        json!({"urll": URL}),
        json!({"Name": "n"}),
        json!({"headers": {"x-a": "v"}}),
        many_headers(11),
        json!({"headers": ["x-a"]}),
        json!({"headers": [{"value": "v"}]}),
        json!({"headers": [{"name": "x-a"}]}),
        json!({"headers": [{"name": "x-a", "value": "v", "x": 1}]}),
        json!({"headers": [{"name": "x-a", "value": "v"}, {"name": "X-A", "value": "w"}]}),
        one_header("", "v"),
        one_header(&"x".repeat(101), "v"),
        json!({"url": "http://user:password@127.0.0.1:9/", "headers": [{"name": "AUTHORIZATION", "value": "v"}]}),
    ];
    for name in ["x a", "x:a", "ä", "x\r\ny"] {
        wrong.push(one_header(name, "v"));
    }
    for name in [
        "Host",
        "content-length",
        "Content-Type",
        "content-encoding",
        "Transfer-Encoding",
        "connection",
        "Cookie",
        "Expect",
        "USER-AGENT",
        "Webhook-Id",
        "webhook-signature",
        "X-Webhook-Event",
        "X-Sonar-Webhook-HMAC-SHA256",
        "x-sonarqube-project",
        "X-Forwarded-For",
        "x-forwarded-anything",
        "X-Real-IP",
        "client-ip",
        "True-Client-IP",
        "CF-Connecting-IP",
        "cf-anything",
        "x-original-url",
        "X-Rewrite-URL",
        "x-http-method-override",
        "X-Amzn-Trace-Id",
        "CDN-Loop",
        "Set-Cookie",
        "traceparent",
        "x-envoy-original-path",
        "X_Forwarded_For",
        "webhook_id",
        "content_type",
        "x-originating-ip",
        "remote-user",
        "x-goog-iap-jwt-assertion",
        "Proxy-Authorization",
        "sec-fetch-mode",
    ] {
        wrong.push(one_header(name, "v"));
    }
    let too_long = "v".repeat(2049);
    for value in [
        "",
        " v",
        "v ",
        "a\tb",
        "a\r\nx-b: c",
        "ä",
        "\u{7f}",
        &too_long,
    ] {
        wrong.push(one_header("x-a", value));
    }
    wrong.push(json!({"headers": [{"name": "x-a", "value": 5}]}));
    for secret in [
        json!(of_length(15)),
        json!(of_length(201)),
        json!("a secret\nof two lines"),
        json!("whsec_this is no base64"),
        json!(base64_secret(23)),
        json!(base64_secret(65)),
        json!(""),
        json!(5),
    ] {
        wrong.push(json!({"secret": secret}));
    }
    let too_long = format!("{URL}?{}", "a".repeat(512 - URL.len()));
    for url in [
        json!(""),
        json!("127.0.0.1"),
        json!("/hook"),
        json!("ftp://127.0.0.1/"),
        json!("http://"),
        json!("http://127.0.0.1:0/"),
        json!("http://127.0.0.1/#fragment"),
        json!("http://127.0.0.1/a b"),
        json!("http://127.0.0.1\\a"),
        json!("http://:password@127.0.0.1/"),
        json!("http://us%3Aer:password@127.0.0.1/"),
        json!(too_long),
        json!(5),
    ] {
        wrong.push(json!({"url": url}));
    }
    wrong
}

#[tokio::test]
async fn whatever_is_wrong_with_a_webhook_is_refused_and_changes_nothing() {
    let system = System::start().await;
    let org = organization();
    let webhook = create(&system, org, json!({"name": "n", "url": URL})).await;
    let path = path_of(&webhook.json());
    let before = list(&system, org).await;
    let mut answers = Answers::default();
    for patch in wrong_webhooks() {
        let whole = with(json!({"name": "n", "url": URL}), &patch);
        let created = create(&system, org, whole.clone()).await;
        // As much of it as shows which row it is.
        let row: String = patch.to_string().chars().take(ROW).collect();
        // Of control characters JSON escapes all but this one.
        answers.add(&row.replace('\u{7f}', "\\u007f"), &created);
        for (method, path, body) in [
            ("POST", "/webhooks/test", &whole),
            ("PUT", path.as_str(), &whole),
            ("PATCH", path.as_str(), &patch),
        ] {
            let reply = system.manage(org, method, path, Some(body.clone())).await;
            assert_eq!(said(&reply), said(&created), "{method} {path} {patch}");
        }
    }
    insta::assert_snapshot!(answers);
    for (method, path, body, field) in [
        ("POST", "/webhooks", json!({"url": URL}), "name"),
        ("POST", "/webhooks", json!({"name": "n"}), "url"),
        ("POST", "/webhooks/test", json!({}), "url"),
        ("PUT", path.as_str(), json!({"url": URL}), "name"),
        ("PUT", path.as_str(), json!({"name": "n"}), "url"),
    ] {
        let reply = system.manage(org, method, path, Some(body)).await;
        assert_wrong(&reply, "missing_field", field);
    }
    assert_eq!(list(&system, org).await, before);
}

#[tokio::test]
async fn an_authorization_is_refused_beside_a_user_in_the_url_whichever_was_there_first() {
    let system = System::start().await;
    let org = organization();
    let header = one_header("authorization", "Bearer secret");
    let with_user = json!({"url": "http://user:password@127.0.0.1:9/"});
    for (first, second) in [(&header, &with_user), (&with_user, &header)] {
        let webhook = with(json!({"name": "n", "url": URL}), first);
        let webhook = create(&system, org, webhook).await.json();
        let path = path_of(&webhook);
        let reply = system
            .manage(org, "PATCH", &path, Some(second.clone()))
            .await;
        assert_wrong(&reply, "invalid_header", "headers");
        let now = system.webhook_now(org, &webhook["id"]).await;
        assert_eq!(now["url"], webhook["url"]);
    }
}

#[tokio::test]
async fn a_body_is_strict_json() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let before = stage.snapshot(&system).await;
    let path = format!("/webhooks/{}", stage.webhook);
    let (secret, replay) = (format!("{path}/secret"), format!("{path}/replay"));
    let twice = format!("{{\"name\":\"n\",\"name\":\"n\",\"url\":\"{URL}\"}}");
    let deep = format!(
        "{{\"name\":\"n\",\"url\":\"{URL}\",\"headers\":[{{\"name\":\"x-a\",\"value\":\"v\",\"value\":\"v\"}}]}}"
    );
    let bodies: [&[u8]; 9] = [
        twice.as_bytes(),
        deep.as_bytes(),
        b"{",
        b"[]",
        b"null",
        b"\"text\"",
        b"{} {}",
        b"{\"name\": NaN}",
        b"{\"name\": \"\xff\"}",
    ];
    for (method, path) in [
        ("POST", "/webhooks"),
        ("POST", "/webhooks/test"),
        ("PUT", &path),
        ("PATCH", &path),
        ("POST", &secret),
        ("POST", &replay),
        ("POST", "/tokens"),
    ] {
        let send = async |body: &[u8]| {
            let path = format!("/organizations/{}{path}", stage.org);
            let jwt = system.jwt(stage.org, Role::Administrator);
            let request = system.request(method, &path).bearer_auth(jwt);
            system.send(request.body(body.to_vec())).await
        };
        for body in bodies {
            assert_refused(&send(body).await, 400, "invalid_json");
        }
        if path != secret {
            assert_refused(&send(b"").await, 400, "invalid_json");
        }
        assert_wrong(&send(b"{\"other\": 1}").await, "unknown_field", "other");
    }
    assert_eq!(stage.snapshot(&system).await, before);
}

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_answer_and_no_log_has_a_secret() {
    let log = Log::default();
    let to = log.clone();
    // As on Lambda. The guard is of this thread, in which all of this test's system runs.
    // Were it the only one, a line that another test's thread comes to first would be logged nowhere.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || to.clone())
            .finish(),
    );
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::Status(500)]);
    let url = with_password(&receiver);
    let settings = json!({
        "name": "n",
        "url": url,
        "secret": "the given secret",
        "headers": [{"name": "x-a", "value": "the header's value"}],
    });
    let mut answers = Vec::new();
    let created = create(&system, org, settings.clone()).await;
    let path = path_of(&created.json());
    answers.push(created);
    system.publish(org, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let id = path.rsplit_once('/').unwrap().1.into();
    let delivery = text(&system.deliveries(org, &id).await[0]["id"]);
    let deliveries = format!("{path}/deliveries");
    for (method, path, body) in [
        ("GET", "/webhooks", None),
        ("GET", path.as_str(), None),
        ("PUT", path.as_str(), Some(settings.clone())),
        ("PATCH", path.as_str(), Some(settings.clone())),
        (
            "POST",
            &format!("{path}/secret"),
            Some(json!({"secret": "the next secret.."})),
        ),
        ("POST", &format!("{path}/disable"), None),
        ("POST", &format!("{path}/enable"), None),
        ("POST", &format!("{path}/test"), None),
        ("POST", "/webhooks/test", Some(settings.clone())),
        ("GET", deliveries.as_str(), None),
        ("GET", &format!("{deliveries}/{delivery}"), None),
        ("POST", &format!("{deliveries}/{delivery}/redeliver"), None),
        // Wrong in another field, and in the URL itself.
        (
            "PATCH",
            path.as_str(),
            Some(with(settings.clone(), &json!({"events": []}))),
        ),
        (
            "PATCH",
            path.as_str(),
            Some(json!({"url": format!("{url}#fragment")})),
        ),
        (
            "PATCH",
            path.as_str(),
            Some(json!({"secret": "pass%20word\n the given secret"})),
        ),
    ] {
        answers.push(system.manage(org, method, path, body).await);
    }
    system.deliver(OffsetDateTime::now_utc()).await;

    let basic = STANDARD.encode("user:pass word");
    let secrets = [
        "pass word",
        "pass%20word",
        "the given secret",
        "the next secret",
        "the header's value",
        &basic,
    ];
    for answer in &answers {
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        for secret in secrets {
            assert!(!body.contains(secret), "{secret} in {answer:?}");
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("was created by")
            && log.contains("POST /organizations/{organizationId}/webhooks 201"),
        "{log}"
    );
    // Whoever knows an organization's id can read its reports.
    for secret in secrets.into_iter().chain([org.to_string().as_str()]) {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    assert!(
        receiver.received()[0]
            .header("authorization")
            .contains(&basic)
    );
}

#[tokio::test]
async fn a_webhook_is_shown_with_its_latest_delivery() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = system.webhook(org, &receiver.url).await;
    let idle = json!({"name": "idle", "url": URL, "project": "another"});
    let idle = system.webhook_with(org, idle).await;
    for version in ["1.0", "1.1"] {
        system.publish(org, &metadata(version), &files("a")).await;
        system.deliver(OffsetDateTime::now_utc()).await;
    }
    let deliveries = system.deliveries(org, &webhook["id"]).await;
    assert_eq!(deliveries.len(), 2);
    let mut shown = list(&system, org).await;
    shown.push(system.webhook_now(org, &webhook["id"]).await);
    for shown in shown {
        let expected = match shown["id"] == idle["id"] {
            true => None,
            false => Some(&deliveries[0]),
        };
        assert_eq!(shown.get("latestDelivery"), expected);
    }
}
