//! Sources, as administrators manage them.

use domain::token::Right;
use identity::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::source::{Source, call_of, signature};
use tests::system::{System, organization, text};

fn path(source: &Source) -> String {
    format!("/sources/{}", source.id)
}

#[tokio::test]
async fn a_source_has_an_address_and_a_secret_that_is_shown_once() {
    let system = System::start().await;
    let org = organization();
    let body = json!({"name": "Ours", "kind": "sonarqube", "projects": ["acme:*", "shop"]});
    let reply = system.manage(org, "POST", "/sources", Some(body)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.header("etag"), "\"1\"");
    let mut created = reply.json();
    let id = text(&created["id"]);
    assert_eq!(reply.header("location"), format!("sources/{id}"));
    let secret = created.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(text(&secret).starts_with("whsec_"));
    let expected = json!({
        "id": id, "organizationId": org.to_string(), "kind": "sonarqube", "name": "Ours",
        "projects": ["acme:*", "shop"], "enabled": true, "url": system.url(&format!("/events/{id}")),
        "hasSecret": true, "createdAt": created["createdAt"], "updatedAt": created["createdAt"],
    });
    assert_eq!(created, expected);
    let one = format!("/sources/{id}");
    assert_eq!(system.manage(org, "GET", &one, None).await.json(), expected);
    let list = system.manage(org, "GET", "/sources", None).await.json();
    assert_eq!(list, json!({"sources": [expected]}));
    // What was read can be sent back.
    let put = system
        .manage(org, "PUT", &one, Some(expected.clone()))
        .await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    assert_eq!(put.json()["projects"], expected["projects"]);

    let gone = system.manage(org, "DELETE", &one, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for method in ["GET", "DELETE"] {
        let reply = system.manage(org, method, &one, None).await;
        assert_eq!(reply.code(), "source_not_found");
    }
}

#[tokio::test]
async fn whatever_is_no_source_is_refused() {
    let system = System::start().await;
    let org = organization();
    let with = |name: &str, value: Value| {
        let mut body = json!({"name": "n", "kind": "sonarqube"});
        body[name] = value;
        body
    };
    for (body, code) in [
        (json!({"kind": "sonarqube"}), "missing_field"),
        (json!({"name": "n"}), "missing_field"),
        (with("kind", json!("sonar")), "invalid_field"),
        (with("projects", json!("a")), "invalid_field"),
        (with("projects", json!(["a b"])), "invalid_field"),
        (with("projects", json!(["a", "a"])), "invalid_field"),
        (with("projects", json!(["a*b"])), "invalid_field"),
        (with("projects", json!(["a b*"])), "invalid_field"),
        (with("projects", json!(vec!["a"; 101])), "invalid_field"),
        (with("enabled", json!("yes")), "invalid_field"),
        (with("secret", json!("short")), "invalid_secret"),
        (with("project", json!("a")), "unknown_field"),
    ] {
        let reply = system
            .manage(org, "POST", "/sources", Some(body.clone()))
            .await;
        assert_eq!(reply.code(), code, "{body}: {reply:?}");
    }
    for projects in [json!(["*"]), json!(["7*"]), json!([]), json!(null)] {
        let body = with("projects", projects);
        let reply = system.manage(org, "POST", "/sources", Some(body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_only_the_revision_that_is_meant() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create_with(&system, org, json!({"projects": ["a"]})).await;
    let patch = json!({"enabled": false});
    let reply = system
        .manage(org, "PATCH", &path(&source), Some(patch))
        .await;
    assert_eq!(reply.header("etag"), "\"2\"");
    let now = reply.json();
    assert_eq!(
        (&now["enabled"], &now["projects"]),
        (&json!(false), &json!(["a"]))
    );
    let patch = json!({"projects": null});
    let reply = system
        .manage(org, "PATCH", &path(&source), Some(patch))
        .await;
    let now = reply.json();
    assert_eq!(
        (&now["enabled"], &now["projects"]),
        (&json!(false), &json!([]))
    );

    let full = format!("/organizations/{org}{}", path(&source));
    let request = system.request("PATCH", &full).header("if-match", "\"2\"");
    let request = request.bearer_auth(system.jwt(org, Role::Administrator));
    let stale = system.send(request.json(&json!({"name": "x"}))).await;
    assert_eq!(stale.code(), "precondition_failed");
    let other = json!({"kind": "codescoring"});
    let reply = system
        .manage(org, "PATCH", &path(&source), Some(other))
        .await;
    assert_eq!(reply.code(), "invalid_field");
}

#[tokio::test]
async fn for_a_day_the_old_secret_is_good_too() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let rotate = format!("{}/secret", path(&source));
    let reply = system.manage(org, "POST", &rotate, None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let rotated = reply.json();
    assert!(rotated["previousSecretUntil"].is_string());
    let new = Source {
        secret: text(&rotated["secret"]),
        ..source.clone()
    };
    assert_ne!(new.secret, source.secret);
    for (source, task) in [(&source, "1"), (&new, "2")] {
        let reply = source.call(&system, call_of(task).as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
    }
    let given = json!({"secret": "a secret of one's own"});
    let reply = system.manage(org, "POST", &rotate, Some(given)).await;
    assert_eq!(reply.json()["secret"], json!(null));
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_key_makes_one_source() {
    let system = System::start().await;
    let org = organization();
    let jwt = system.jwt(org, Role::Administrator);
    let request = || {
        let path = format!("/organizations/{org}/sources");
        let request = system.request("POST", &path).bearer_auth(&jwt);
        let request = request.header("idempotency-key", "once");
        system.send(request.json(&json!({"name": "n", "kind": "sonarqube"})))
    };
    let (one, again) = (request().await, request().await);
    assert_eq!(one.json(), again.json());
    let list = system.manage(org, "GET", "/sources", None).await.json();
    assert_eq!(list["sources"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn there_are_so_many_sources_and_no_more() {
    let system = System::start().await;
    let org = organization();
    for _ in 0..domain::source::MAX_SOURCES {
        Source::create(&system, org).await;
    }
    let body = json!({"name": "n", "kind": "sonarqube"});
    let reply = system
        .manage(org, "POST", "/sources", Some(body.clone()))
        .await;
    assert_eq!(reply.code(), "too_many_sources");
    let list = system.manage(org, "GET", "/sources", None).await.json();
    let one = format!("/sources/{}", text(&list["sources"][0]["id"]));
    system.manage(org, "DELETE", &one, None).await;
    let reply = system.manage(org, "POST", "/sources", Some(body)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
}

#[tokio::test]
async fn who_may_see_what_a_source_was_told() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let body = call_of("AZ1");
    source.call(&system, body.as_bytes()).await;
    let path = format!("/organizations/{org}/sources/{}/calls", source.id);
    let token = async |right| {
        let rights = [right];
        let token = system.stack.create_token("t", org, &rights).await;
        token.unwrap().reveal().to_owned()
    };
    for (bearer, sees) in [
        (system.jwt(org, Role::Administrator), Some(true)),
        (system.jwt(org, Role::Viewer), Some(false)),
        (token(Right::ManageSources).await, Some(true)),
        (token(Right::ReadDeliveries).await, Some(false)),
        (token(Right::ManageWebhooks).await, None),
        (token(Right::Publish).await, None),
    ] {
        let reply = system.call("GET", &path, &bearer, None).await;
        let Some(sees) = sees else {
            assert_eq!(reply.code(), "insufficient_right");
            continue;
        };
        let call = &reply.json()["calls"][0];
        assert_eq!(call["project"], "acme:shop");
        assert_eq!(call["payload"] == json!(body), sees, "{call}");
        assert_eq!(call["payload"].is_null(), !sees);
    }
    // A token that manages webhooks manages no sources, and the other way round.
    let manages = token(Right::ManageSources).await;
    let sources = format!("/organizations/{org}/sources");
    let reply = system.call("GET", &sources, &manages, None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let webhooks = format!("/organizations/{org}/webhooks");
    let reply = system.call("GET", &webhooks, &manages, None).await;
    assert_eq!(reply.code(), "insufficient_right");
    let other = token(Right::ManageWebhooks).await;
    let reply = system.call("GET", &sources, &other, None).await;
    assert_eq!(reply.code(), "insufficient_right");
}

#[tokio::test]
async fn another_organizations_source_is_none() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    let source = Source::create(&system, org).await;
    for (method, end, body) in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", Some(json!({"enabled": false}))),
        ("PUT", "", Some(json!({"name": "n", "kind": "sonarqube"}))),
        ("POST", "/secret", None),
        ("GET", "/calls", None),
    ] {
        let path = format!("{}{end}", path(&source));
        let reply = system.manage(other, method, &path, body).await;
        assert_eq!(reply.code(), "source_not_found", "{method} {path}");
    }
    let reply = source.call(&system, call_of("1").as_bytes()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "nothing has changed");
}

#[tokio::test]
async fn calls_are_listed_page_by_page_and_large_ones_in_smaller_pages() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let filling = "x".repeat(250_000);
    for task in 0..12 {
        let call = format!(r#"{{"taskId":"{task}","project":{{"key":"a"}},"x":"{filling}"}}"#);
        let reply = source.call(&system, call.as_bytes()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
    }
    let (mut tasks, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let mut path = format!("{}/calls?limit=10", path(&source));
        if let Some(cursor) = &cursor {
            path += &format!("&cursor={cursor}");
        }
        let page = system.manage(org, "GET", &path, None).await.json();
        for call in page["calls"].as_array().unwrap() {
            tasks.push(text(&call["taskId"]).parse::<u8>().unwrap());
            assert!(text(&call["payload"]).contains(&filling));
        }
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(tasks, (0..12).rev().collect::<Vec<u8>>());
    assert!(pages > 1, "3 MB are no one page");
    let wrong = format!("{}/calls?cursor=AAAA", path(&source));
    let reply = system.manage(org, "GET", &wrong, None).await;
    assert_eq!(reply.code(), "invalid_cursor");
}

#[test]
fn signatures_are_those_of_openssl() {
    // printf '%s' '{"a":1}' | openssl dgst -sha256 -hmac 'a secret of sixteen'
    let expected = "caa4775720d49242eb88da3949222458cd41c008a44471868774ff86d94ce44e";
    assert_eq!(signature("a secret of sixteen", br#"{"a":1}"#), expected);
}
