//! Webhooks: changed, enabled, disabled, deleted; each only as it was expected to be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::organization::OrganizationId;
use domain::webhook::{WebhookId, WebhookKey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{Answer, Receiver, assert_signed};
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};
use time::OffsetDateTime;

use crate::support::{
    Stage, URL, assert_refused, assert_wrong, expect, list, manage_if, path_of, with, with_password,
};

/// Creates a webhook that has everything.
async fn full_webhook(system: &System, org: OrganizationId, receiver: &Receiver) -> Value {
    let webhook = json!({
        "name": "n",
        "url": with_password(receiver),
        "secret": "the given secret",
        "project": "acme:shop",
        "events": ["report.updated"],
        "headers": [{"name": "x-a", "value": "one"}, {"name": "x-b", "value": "two"}],
    });
    system.webhook_with(org, webhook).await
}

/// Makes a test call and asserts that it has what [`full_webhook`] set.
async fn assert_calls_as_before(system: &System, org: OrganizationId, path: &str, at: &Receiver) {
    at.take();
    let tested = system
        .manage(org, "POST", &format!("{path}/test"), None)
        .await;
    assert_eq!(tested.json()["delivered"], true, "{tested:?}");
    let received = at.take().remove(0);
    assert_signed(&received, "the given secret");
    assert!(
        !received.header("webhook-signature").contains(' '),
        "one secret signs"
    );
    let basic = format!("Basic {}", STANDARD.encode("user:pass word"));
    assert_eq!(received.header("authorization"), basic);
    assert_eq!(
        (received.header("x-a"), received.header("x-b")),
        ("one", "two")
    );
}

#[tokio::test]
async fn what_was_read_can_be_put_back() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = full_webhook(&system, org, &receiver).await;
    let path = path_of(&webhook);
    system
        .manage(org, "POST", &format!("{path}/disable"), None)
        .await;
    for method in ["PUT", "PATCH"] {
        let before = system.webhook_now(org, &webhook["id"]).await;
        assert!(text(&before["url"]).contains("user:***@"), "{before}");
        let reply = system
            .manage(org, method, &path, Some(before.clone()))
            .await;
        let mut after = expect(&reply, StatusCode::OK);
        assert_eq!(system.webhook_now(org, &webhook["id"]).await, after);
        after["updatedAt"] = before["updatedAt"].clone();
        assert_eq!(after, before);
        assert_calls_as_before(&system, org, &path, &receiver).await;
    }
}

#[tokio::test]
async fn put_gives_absent_fields_their_defaults_and_keeps_the_secret() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = full_webhook(&system, org, &receiver).await;
    let path = path_of(&webhook);
    system
        .manage(org, "POST", &format!("{path}/disable"), None)
        .await;
    let put = json!({"name": "m", "url": receiver.url});
    let after = expect(
        &system.manage(org, "PUT", &path, Some(put)).await,
        StatusCode::OK,
    );
    for absent in [
        "project",
        "events",
        "disabledReason",
        "disabledAt",
        "secret",
        "previousSecretUntil",
    ] {
        assert!(after.get(absent).is_none(), "{after}");
    }
    assert_eq!(
        (&after["name"], &after["headers"]),
        (&json!("m"), &json!([]))
    );
    assert_eq!(
        (&after["enabled"], &after["createdAt"]),
        (&json!(true), &webhook["createdAt"])
    );
    system
        .manage(org, "POST", &format!("{path}/test"), None)
        .await;
    let received = receiver.take().remove(0);
    assert_signed(&received, "the given secret");
    assert_eq!(
        (received.header("authorization"), received.header("x-a")),
        ("", "")
    );
}

#[tokio::test]
async fn a_masked_password_stands_for_the_stored_one_in_the_same_url_only() {
    let system = System::start().await;
    let org = organization();
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let webhook = full_webhook(&system, org, &receiver).await;
    let path = path_of(&webhook);
    let masked = text(&webhook["url"]);
    for url in [
        masked.replace(&receiver.url[7..], &other.url[7..]),
        format!("{masked}elsewhere"),
        masked.replace("user", "somebody"),
        masked.replace("user", "***"),
        masked.replace("user:***", "***"),
        masked.replace("user:***", "***:password"),
    ] {
        let whole = json!({"name": "n", "url": url, "headers": []});
        for (method, path) in [
            ("POST", "/webhooks"),
            ("POST", "/webhooks/test"),
            ("PUT", path.as_str()),
            ("PATCH", path.as_str()),
        ] {
            let reply = system.manage(org, method, path, Some(whole.clone())).await;
            assert_wrong(&reply, "invalid_url", "url");
        }
    }
    assert!(other.received().is_empty());
    assert_calls_as_before(&system, org, &path, &receiver).await;
    // It is no mark where it is a part of a password.
    let whole = json!({"url": with_password(&receiver).replace("word", "***")});
    let reply = system.manage(org, "PATCH", &path, Some(whole)).await;
    expect(&reply, StatusCode::OK);
}

/// Whoever may change a webhook must not read the values so.
#[tokio::test]
async fn stored_values_of_headers_do_not_go_to_another_host() {
    let system = System::start().await;
    let org = organization();
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let webhook = full_webhook(&system, org, &receiver).await;
    let path = path_of(&webhook);
    let without_values = json!([{"name": "x-b", "value": "three"}, {"name": "x-a"}]);
    for url in [
        other.url.clone(),
        receiver.url.replace("127.0.0.1", "localhost"),
        receiver.url.replace("http:", "https:"),
    ] {
        let whole = json!({"name": "n", "url": url, "headers": without_values});
        for method in ["PUT", "PATCH"] {
            let reply = system.manage(org, method, &path, Some(whole.clone())).await;
            assert_wrong(&reply, "missing_field", "headers[1].value");
        }
        let reply = system
            .manage(org, "PATCH", &path, Some(json!({"url": url})))
            .await;
        assert_wrong(&reply, "missing_field", "headers");
    }
    assert_calls_as_before(&system, org, &path, &receiver).await;

    // On the same host they stay, and so do those that are given.
    let elsewhere = with_password(&receiver) + "elsewhere";
    let patch = json!({"url": elsewhere});
    expect(
        &system.manage(org, "PATCH", &path, Some(patch)).await,
        StatusCode::OK,
    );
    assert_calls_as_before(&system, org, &path, &receiver).await;
    let test = format!("{path}/test");
    for (headers, expected) in [
        (
            json!([{"name": "x-a", "value": "four"}]),
            [("x-a", "four"), ("x-b", "")],
        ),
        (json!([]), [("x-a", ""), ("x-b", "")]),
        (Value::Null, [("x-a", ""), ("x-b", "")]),
    ] {
        for method in ["PUT", "PATCH"] {
            let reset = json!({"url": receiver.url, "headers": [{"name": "x-b", "value": "two"}]});
            expect(
                &system.manage(org, "PATCH", &path, Some(reset)).await,
                StatusCode::OK,
            );
            let whole = json!({"name": "n", "url": other.url, "headers": headers});
            let reply = system.manage(org, method, &path, Some(whole)).await;
            expect(&reply, StatusCode::OK);
            system.manage(org, "POST", &test, None).await;
            let received = other.take().remove(0);
            for (name, value) in expected {
                assert_eq!(received.header(name), value, "{method} {headers}");
            }
        }
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = full_webhook(&system, org, &receiver).await;
    let path = path_of(&webhook);
    let mut expected = system.webhook_now(org, &webhook["id"]).await;
    for (patch, changed) in [
        (json!({}), json!({})),
        (json!({"name": "m"}), json!({"name": "m"})),
        (
            json!({"project": null}),
            json!({"project": null, "projects": null}),
        ),
        (
            json!({"project": "other"}),
            json!({"project": "other", "projects": ["other"]}),
        ),
        (
            json!({"events": ["report.published"]}),
            json!({"events": ["report.published"]}),
        ),
        (json!({"events": null}), json!({"events": null})),
        (json!({"secret": null}), json!({})),
        (
            json!({"headers": [{"name": "x-b"}, {"name": "x-c", "value": "three"}]}),
            json!({"headers": [{"name": "x-b"}, {"name": "x-c"}]}),
        ),
    ] {
        let reply = system.manage(org, "PATCH", &path, Some(patch)).await;
        let after = expect(&reply, StatusCode::OK);
        expected = with(expected, &changed);
        expected["updatedAt"] = after["updatedAt"].clone();
        expected
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        assert_eq!(after, expected);
        assert_eq!(system.webhook_now(org, &webhook["id"]).await, expected);
    }
    system
        .manage(org, "POST", &format!("{path}/test"), None)
        .await;
    let received = receiver.take().remove(0);
    assert_signed(&received, "the given secret");
    let values = ["x-a", "x-b", "x-c"].map(|name| received.header(name));
    assert_eq!(values, ["", "two", "three"]);
    assert!(!received.header("authorization").is_empty());

    let no_headers = json!({"headers": null, "enabled": false});
    let after = system
        .manage(org, "PATCH", &path, Some(no_headers))
        .await
        .json();
    assert_eq!(
        (&after["headers"], &after["enabled"]),
        (&json!([]), &json!(false))
    );
    let after = system
        .manage(org, "PATCH", &path, Some(json!({"enabled": null})))
        .await;
    assert_eq!(after.json()["enabled"], true, "null means the default");
}

#[tokio::test]
async fn a_header_that_was_removed_has_no_value_to_keep() {
    let system = System::start().await;
    let org = organization();
    let webhook = full_webhook(&system, org, &Receiver::start().await).await;
    let path = path_of(&webhook);
    let none = json!({"headers": []});
    expect(
        &system.manage(org, "PATCH", &path, Some(none)).await,
        StatusCode::OK,
    );
    let again = json!({"headers": [{"name": "x-a"}]});
    let reply = system.manage(org, "PATCH", &path, Some(again)).await;
    assert_wrong(&reply, "missing_field", "headers[0].value");
}

#[tokio::test]
async fn another_url_begins_with_a_clean_record() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(500));
    let webhook = system.webhook(org, &receiver.url).await;
    system.publish(org, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let failing = system.webhook_now(org, &webhook["id"]).await;
    assert!(failing["failingSince"].is_string(), "{failing}");
    let path = path_of(&webhook);
    let renamed = system
        .manage(org, "PATCH", &path, Some(json!({"name": "m"})))
        .await;
    assert_eq!(renamed.json()["failingSince"], failing["failingSince"]);
    let moved = system
        .manage(org, "PATCH", &path, Some(json!({"url": URL})))
        .await;
    assert!(moved.json().get("failingSince").is_none(), "{moved:?}");
}

/// The operations that a precondition may be set for, each with a body.
const CONDITIONAL: [(&str, &str, Option<&str>); 6] = [
    (
        "PUT",
        "",
        Some("{\"name\": \"m\", \"url\": \"http://127.0.0.1:9/hook\"}"),
    ),
    ("PATCH", "", Some("{\"name\": \"o\"}")),
    ("POST", "/secret", None),
    ("POST", "/disable", None),
    ("POST", "/enable", None),
    ("DELETE", "", None),
];

#[tokio::test]
async fn a_change_to_another_state_than_expected_is_refused_and_changes_nothing() {
    let system = System::start().await;
    let org = organization();
    let webhook = system.webhook(org, URL).await;
    let path = path_of(&webhook);
    let renamed = system
        .manage(org, "PATCH", &path, Some(json!({"name": "m"})))
        .await;
    assert_eq!(renamed.header("etag"), "\"2\"");
    let stored = async || {
        let store = &system.stack.tables.webhooks;
        let id: WebhookId = text(&webhook["id"]).parse().unwrap();
        store.get(WebhookKey { org, id }).await.unwrap().unwrap()
    };
    let before = stored().await;
    for (method, suffix, body) in CONDITIONAL {
        let path = format!("{path}{suffix}");
        let body: Option<Value> = body.map(|body| serde_json::from_str(body).unwrap());
        for stale in [
            "\"1\"",
            "\"3\"",
            "2",
            "W/\"2\"",
            "\"1\", \"3\"",
            "",
            "\"*\"",
        ] {
            let reply = manage_if(&system, org, (method, &path), stale, body.clone()).await;
            assert_refused(&reply, 412, "precondition_failed");
        }
    }
    assert_eq!(stored().await, before);
}

#[tokio::test]
async fn a_change_to_the_expected_state_is_made() {
    let system = System::start().await;
    let org = organization();
    let list: fn(&str) -> String = |tag| format!("\"0\", {tag} , \"x\"");
    let exact: fn(&str) -> String = str::to_owned;
    let any: fn(&str) -> String = |_| "*".to_owned();
    for condition in [exact, any, list] {
        let webhook = system.webhook(org, URL).await;
        let path = path_of(&webhook);
        let mut tag = system
            .manage(org, "GET", &path, None)
            .await
            .header("etag")
            .to_owned();
        for (method, suffix, body) in CONDITIONAL {
            let path = format!("{path}{suffix}");
            let body: Option<Value> = body.map(|body| serde_json::from_str(body).unwrap());
            let reply = manage_if(&system, org, (method, &path), &condition(&tag), body).await;
            assert!(reply.status.is_success(), "{reply:?}");
            assert_ne!(reply.header("etag"), tag);
            reply.header("etag").clone_into(&mut tag);
            if method != "DELETE" {
                let shown = system.manage(org, "GET", &path_of(&webhook), None).await;
                assert_eq!(shown.header("etag"), tag);
            }
        }
    }
}

#[tokio::test]
async fn of_changes_to_one_state_one_is_made() {
    let system = System::start().await;
    let org = organization();
    let webhook = system.webhook(org, URL).await;
    let path = path_of(&webhook);
    let change = |name: &'static str| {
        let body = Some(json!({"name": name}));
        manage_if(&system, org, ("PATCH", &path), "\"1\"", body)
    };
    let (one, other) = tokio::join!(change("one"), change("other"));
    let (won, lost) = match one.status == StatusCode::OK {
        true => (one, other),
        false => (other, one),
    };
    assert_refused(&lost, 412, "precondition_failed");
    let now = system.webhook_now(org, &webhook["id"]).await;
    assert_eq!(now["name"], won.json()["name"]);
}

#[tokio::test]
async fn a_delivery_leaves_the_tag_as_it_is() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    stage.receiver.answer(Answer::Status(500));
    let path = format!("/webhooks/{}", stage.webhook);
    system
        .publish(stage.org, &metadata("1.1"), &files("a"))
        .await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let shown = system.manage(stage.org, "GET", &path, None).await;
    assert_eq!(shown.header("etag"), "\"1\"");
    assert!(shown.json()["failingSince"].is_string(), "{shown:?}");
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_told_of_nothing() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let path = format!("/webhooks/{}", stage.webhook);
    let deleted = system.manage(stage.org, "DELETE", &path, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for method in ["GET", "DELETE"] {
        let reply = system.manage(stage.org, method, &path, None).await;
        assert_refused(&reply, 404, "webhook_not_found");
    }
    assert!(list(&system, stage.org).await.is_empty());
    system
        .publish(stage.org, &metadata("1.1"), &files("a"))
        .await;
    system.deliver(OffsetDateTime::now_utc()).await;
    assert!(stage.receiver.received().is_empty());
}

#[tokio::test]
async fn enabling_and_disabling_again_changes_no_more_than_once() {
    let system = System::start().await;
    let org = organization();
    let webhook = system.webhook(org, URL).await;
    let path = path_of(&webhook);
    let (enable, disable) = (format!("{path}/enable"), format!("{path}/disable"));
    let first = system.manage(org, "POST", &disable, None).await.json();
    assert_eq!(
        (&first["enabled"], &first["disabledReason"]),
        (&json!(false), &json!("administrator"))
    );
    let second = system.manage(org, "POST", &disable, None).await.json();
    assert_eq!(second["disabledAt"], first["disabledAt"]);
    for _ in 0..2 {
        let enabled = system.manage(org, "POST", &enable, None).await.json();
        assert_eq!(enabled["enabled"], true);
        assert!(enabled.get("disabledReason").is_none() && enabled.get("disabledAt").is_none());
    }
}

#[tokio::test]
async fn enabling_begins_with_a_clean_record_too() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    receiver.answer(Answer::Status(500));
    let webhook = system.webhook(org, &receiver.url).await;
    let path = path_of(&webhook);
    system.publish(org, &metadata("1.0"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    let failing = system.webhook_now(org, &webhook["id"]).await;
    assert!(failing["failingSince"].is_string(), "{failing}");
    let disable = format!("{path}/disable");
    let disabled = system.manage(org, "POST", &disable, None).await.json();
    assert_eq!(disabled["failingSince"], failing["failingSince"]);
    let enable = format!("{path}/enable");
    let enabled = system.manage(org, "POST", &enable, None).await.json();
    assert!(enabled.get("failingSince").is_none(), "{enabled}");
}
