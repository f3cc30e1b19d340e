//! Webhooks in `SonarQube`'s words: what its Web API answers, limit by limit and text by text.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::answers::Answers;
use tests::receiver::{Receiver, assert_signed};
use tests::samples::{files, metadata};
use tests::system::{Reply, System, organization, text};

use super::support::{Sonar, analysis, assert_sonar_error, now, with_form};
use crate::support::{URL, create, list};

const SECRET: &str = "correct horse battery staple";

#[tokio::test]
async fn a_url_is_shown_as_it_was_given() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    for given in [
        "http://127.0.0.1:9",
        "http://127.0.0.1:9?a=1",
        "HTTP://LocalHost:9/a/../b",
    ] {
        let parameters = [("name", "n"), ("url", given)];
        let created = sonar.post("webhooks/create", &parameters).await.json();
        assert_eq!(created["webhook"]["url"], given);
        let [listed] = sonar.list(&[]).await.try_into().unwrap();
        assert_eq!(listed["url"], given);
        let [here] = list(&system, sonar.org).await.try_into().unwrap();
        assert_eq!(here["url"], given);
        let key = text(&listed["key"]);
        sonar.post("webhooks/delete", &[("webhook", &key)]).await;
    }
}

/// Terraform makes ten resources at once unless it is told otherwise, and gives up at an answer of 409.
#[tokio::test]
async fn ten_who_create_a_webhook_each_at_once_are_served() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let projects: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
    let create_one = async |project: &String| {
        let parameters = [("name", "n"), ("url", URL), ("project", project)];
        sonar.create(&parameters).await
    };
    let keys = join_all(projects.iter().map(create_one)).await;
    let keys: BTreeSet<String> = keys.into_iter().collect();
    assert_eq!(keys.len(), 10);
    assert_eq!(list(&system, sonar.org).await.len(), 10);
}

#[tokio::test]
async fn a_webhook_that_is_made_there_is_one_here_and_the_other_way_round() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let parameters = [("name", " b "), ("url", URL), ("secret", SECRET)];
    let created = sonar.post("webhooks/create", &parameters).await;
    let created = created.json();
    let key = text(&created["webhook"]["key"]);
    // As long as a key may be there.
    assert!(key.len() <= 40);
    let expected = json!({"key": key, "name": "b", "url": URL, "hasSecret": true});
    assert_eq!(created, json!({"webhook": expected}));

    let [here] = list(&system, sonar.org).await.try_into().unwrap();
    assert_eq!(
        (&here["id"], &here["format"], &here["schedule"]),
        (&json!(key), &json!("sonarqube"), &json!("hourly"))
    );
    assert_eq!(here.get("project"), None);

    let ours = json!({"name": "a", "url": URL});
    let ours = create(&system, sonar.org, ours).await.json();
    // In the order of names.
    let a = json!({"key": ours["id"], "name": "a", "url": URL, "hasSecret": true});
    assert_eq!(sonar.list(&[]).await, [a, expected]);

    let id = text(&ours["id"]);
    let other = "http://127.0.0.1:9/other";
    let parameters = [("webhook", &*id), ("name", "c"), ("url", other)];
    let updated = sonar.post("webhooks/update", &parameters).await;
    assert_eq!(
        (updated.status, updated.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    let changed = system.webhook_now(sonar.org, &ours["id"]).await;
    assert_eq!(
        (&changed["name"], &changed["url"]),
        (&json!("c"), &json!(other))
    );
    // What that API does not know stays.
    for field in [
        "format",
        "events",
        "headers",
        "enabled",
        "hasSecret",
        "createdAt",
    ] {
        assert_eq!(changed.get(field), ours.get(field), "{field}");
    }

    for key in [&id, &key] {
        let deleted = sonar.post("webhooks/delete", &[("webhook", key)]).await;
        assert_eq!(
            (deleted.status, deleted.body.len()),
            (StatusCode::NO_CONTENT, 0)
        );
    }
    assert!(list(&system, sonar.org).await.is_empty());
}

#[tokio::test]
async fn a_list_has_the_webhooks_of_a_project_or_those_of_all_and_never_both() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let project = |project| [("name", "of a project"), ("url", URL), ("project", project)];
    let of_shop = sonar.create(&project("acme:shop")).await;
    let of_other = sonar.create(&project("acme:other")).await;
    // A project that is empty is none there.
    let global = sonar.create(&project("")).await;
    let both = json!({"name": "x", "url": URL, "projects": ["acme:shop", "acme:other"]});
    let both = text(&create(&system, sonar.org, both).await.json()["id"]);
    for (project, expected) in [
        (None, vec![&global]),
        (Some(""), vec![&global]),
        (Some("acme:shop"), vec![&of_shop, &both]),
        (Some("acme:other"), vec![&of_other, &both]),
        (Some("acme:none"), vec![]),
    ] {
        let parameters: Vec<_> = project.map(|it| ("project", it)).into_iter().collect();
        let listed = sonar.list(&parameters).await;
        let keys: Vec<String> = listed.iter().map(|it| text(&it["key"])).collect();
        assert_eq!(keys.iter().collect::<Vec<_>>(), expected, "{project:?}");
    }
}

#[tokio::test]
async fn each_limit_and_its_text_are_sonarqubes() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let key = sonar.create(&[("name", "n"), ("url", URL)]).await;
    let of = |length: usize| "a".repeat(length);
    let url_of = |length: usize| format!("{URL}/{}", of(length - URL.len() - 1));
    let (unknown, nil) = ("unknown", "00000000-0000-0000-0000-000000000000");
    let (long_name, long_url, long_key) = (of(101), url_of(513), of(41));
    let (long_project, long_secret) = (of(401), of(201));
    // Java counts in UTF-16, where such a sign is two.
    let wide_name = "\u{1f600}".repeat(51);
    let (name, url, webhook) = (("name", "n"), ("url", URL), ("webhook", &*key));

    type Row<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);
    let rows: Vec<Row<'_>> = vec![
        ("without a name", "create", vec![url]),
        ("a name that is empty", "create", vec![("name", ""), url]),
        ("a name of spaces", "create", vec![("name", " \t"), url]),
        ("without a URL", "create", vec![name]),
        ("a name of 101", "create", vec![("name", &long_name), url]),
        (
            "a name of 102 units of UTF-16",
            "create",
            vec![("name", &wide_name), url],
        ),
        ("a URL of 513", "create", vec![name, ("url", &long_url)]),
        (
            "a project of 401",
            "create",
            vec![name, url, ("project", &long_project)],
        ),
        (
            "a secret of 3",
            "create",
            vec![name, url, ("secret", "123")],
        ),
        (
            "a secret that is empty",
            "create",
            vec![name, url, ("secret", "")],
        ),
        (
            "a secret of 201",
            "create",
            vec![name, url, ("secret", &long_secret)],
        ),
        ("a URL that is none", "create", vec![name, ("url", "foo")]),
        (
            "a URL of ftp",
            "create",
            vec![name, ("url", "ftp://user:secret@host/")],
        ),
        ("without a webhook", "update", vec![name, url]),
        ("without a name", "update", vec![webhook, url]),
        ("without a URL", "update", vec![webhook, name]),
        (
            "a webhook of 41",
            "update",
            vec![("webhook", &long_key), name, url],
        ),
        (
            "a URL that is none",
            "update",
            vec![webhook, name, ("url", "foo")],
        ),
        (
            "a secret of 3",
            "update",
            vec![webhook, name, url, ("secret", "123")],
        ),
        (
            "a secret of 201",
            "update",
            vec![webhook, name, url, ("secret", &long_secret)],
        ),
        (
            "a webhook that is no id",
            "update",
            vec![("webhook", unknown), name, url],
        ),
        (
            "a webhook that is not there",
            "update",
            vec![("webhook", nil), name, url],
        ),
        ("without a webhook", "delete", vec![]),
        ("a webhook of 41", "delete", vec![("webhook", &long_key)]),
        (
            "a webhook that is no id",
            "delete",
            vec![("webhook", unknown)],
        ),
        (
            "a webhook that is not there",
            "delete",
            vec![("webhook", nil)],
        ),
        ("a project of 401", "list", vec![("project", &long_project)]),
        ("of nothing", "deliveries", vec![]),
        ("of a component", "deliveries", vec![("componentKey", "k")]),
        ("of a task", "deliveries", vec![("ceTaskId", "t")]),
        (
            "of a webhook and a component",
            "deliveries",
            vec![webhook, ("componentKey", "k")],
        ),
        (
            "of a component and a task",
            "deliveries",
            vec![("componentKey", "k"), ("ceTaskId", "t")],
        ),
        // There, all three together are one too.
        (
            "of all three",
            "deliveries",
            vec![webhook, ("componentKey", "k"), ("ceTaskId", "t")],
        ),
        ("a page of 501", "deliveries", vec![webhook, ("ps", "501")]),
        ("a page of 0", "deliveries", vec![webhook, ("ps", "0")]),
        ("page 0", "deliveries", vec![webhook, ("p", "0")]),
        ("page x", "deliveries", vec![webhook, ("p", "x")]),
        ("page 101", "deliveries", vec![webhook, ("p", "101")]),
        (
            "page 3 of 500 each",
            "deliveries",
            vec![webhook, ("p", "3"), ("ps", "500")],
        ),
        ("without a delivery", "delivery", vec![]),
        (
            "a delivery that is not there",
            "delivery",
            vec![("deliveryId", nil)],
        ),
        (
            "the id of a webhook",
            "delivery",
            vec![("deliveryId", &key)],
        ),
    ];
    let mut answers = Answers::default();
    for (row, action, parameters) in rows {
        let row = format!("{action}, {row}");
        let action = format!("webhooks/{action}");
        // A form, or the query alone: they are one map.
        let reply = match action.as_str() {
            "webhooks/list" | "webhooks/deliveries" | "webhooks/delivery" => {
                sonar.get(&action, &parameters).await
            }
            _ => {
                let path = sonar.path(&action);
                let request = system.request("POST", &path).query(&parameters);
                let request = request.basic_auth(&sonar.token, Some(""));
                let in_query = system.send(request).await;
                let in_form = sonar.post(&action, &parameters).await;
                assert_eq!(in_query.body, in_form.body, "{row}");
                in_form
            }
        };
        assert_eq!(reply.header("content-type"), "application/json", "{row}");
        answers.add(&row, &reply);
    }
    insta::assert_snapshot!(answers);
    // Whatever was wrong has changed nothing.
    let [left] = sonar.list(&[]).await.try_into().unwrap();
    assert_eq!(
        left,
        json!({"key": key, "name": "n", "url": URL, "hasSecret": false})
    );

    // As long as they may be.
    let (name, url, project) = (of(100), url_of(512), of(400));
    for secret in [of(16), of(200)] {
        sonar
            .create(&[
                ("name", &name),
                ("url", &url),
                ("project", &project),
                ("secret", &secret),
            ])
            .await;
        let parameters = [
            ("webhook", &*key),
            ("name", "n"),
            ("url", URL),
            ("secret", &secret),
        ];
        let updated = sonar.post("webhooks/update", &parameters).await;
        assert_eq!(updated.status, StatusCode::NO_CONTENT, "{updated:?}");
    }
    for parameters in [[("p", "100"), ("ps", "10")], [("p", "2"), ("ps", "500")]] {
        let parameters = [&parameters[..], &[("webhook", &*key)]].concat();
        let page = sonar.get("webhooks/deliveries", &parameters).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
    }
}

#[tokio::test]
async fn ten_for_a_project_and_ten_for_all_however_they_were_made() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    for number in 0..10 {
        let is_ours = number % 2 == 0;
        for project in [None, Some("acme:shop")] {
            if is_ours {
                let webhook = json!({"name": "ours", "url": URL, "project": project});
                let made = create(&system, sonar.org, webhook).await;
                assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
            } else {
                let project = project.unwrap_or_default();
                let parameters = [("name", "theirs"), ("url", URL), ("project", project)];
                sonar.create(&parameters).await;
            }
        }
    }
    for (project, message) in [
        ("", "Maximum number of global webhooks reached"),
        (
            "acme:shop",
            "Maximum number of webhook reached for project 'acme:shop'",
        ),
    ] {
        let parameters = [("name", "one more"), ("url", URL), ("project", project)];
        let refused = sonar.post("webhooks/create", &parameters).await;
        assert_sonar_error(&refused, 400, message);
        let ours = json!({"name": "one more", "url": URL, "projects": match project {
            "" => json!([]),
            project => json!([project]),
        }});
        let refused = create(&system, sonar.org, ours).await;
        assert_eq!(refused.code(), "too_many_webhooks");
    }
    let parameters = [("name", "another"), ("url", URL), ("project", "acme:other")];
    sonar.create(&parameters).await;
}

#[tokio::test]
async fn a_secret_stays_is_removed_or_is_replaced_at_once() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let receiver = Receiver::start().await;
    let webhook = [("name", "n"), ("url", receiver.url.as_str())];
    let key = sonar
        .create(&[&webhook[..], &[("secret", SECRET)]].concat())
        .await;
    let update = async |number: u32, secret: Option<&str>| {
        let mut parameters = vec![("webhook", key.as_str())];
        parameters.extend(webhook);
        parameters.extend(secret.map(|secret| ("secret", secret)));
        let updated = sonar.post("webhooks/update", &parameters).await;
        assert_eq!(updated.status, StatusCode::NO_CONTENT, "{updated:?}");
        let [listed] = sonar.list(&[]).await.try_into().unwrap();
        let report = analysis(number);
        system.publish(sonar.org, &report, &files("a")).await;
        system.deliver(now()).await;
        let [received] = receiver.take().try_into().unwrap();
        (listed["hasSecret"] == true, received)
    };
    let (other, third) = (
        "another secret of 32 characters!",
        "the third secret of them",
    );
    for (number, (secret, signing)) in (0..).zip([
        (None, Some(SECRET)),
        (Some(other), Some(other)),
        (Some(""), None),
        (Some(third), Some(third)),
    ]) {
        let (has_secret, received) = update(number, secret).await;
        assert_eq!(has_secret, signing.is_some(), "{secret:?}");
        match signing {
            None => {
                assert_eq!(received.header("x-sonar-webhook-hmac-sha256"), "");
                assert_eq!(received.header("webhook-signature"), "");
            }
            Some(secret) => {
                assert_signed(&received, secret);
                // None that was before signs too.
                let signatures = received.header("webhook-signature");
                assert_eq!(signatures.matches("v1,").count(), 1);
            }
        }
    }
    // Our own API lets a few sign at once, and then refuses; here there is never more than one, so that there is no limit.
    for _ in 0..4 {
        let path = format!("/webhooks/{key}/secret");
        let rotated = system.manage(sonar.org, "POST", &path, None).await;
        assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    }
    for number in 0..8 {
        let parameters = [
            ("webhook", key.as_str()),
            webhook[0],
            webhook[1],
            ("secret", &format!("secret number {number} of eight")),
        ];
        let updated = sonar.post("webhooks/update", &parameters).await;
        assert_eq!(updated.status, StatusCode::NO_CONTENT, "{updated:?}");
    }
    // One of our own format cannot be without.
    let ours = json!({"name": "ours", "url": receiver.url});
    let ours = text(&create(&system, sonar.org, ours).await.json()["id"]);
    let parameters = [("webhook", &*ours), webhook[0], webhook[1], ("secret", "")];
    let refused = sonar.post("webhooks/update", &parameters).await;
    assert_sonar_error(
        &refused,
        400,
        "A webhook of the format 'reports' must have a secret",
    );
}

#[tokio::test]
async fn a_url_is_shown_with_stars_and_keeps_what_they_stand_for() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let receiver = Receiver::start().await;
    let with = |user: &str| receiver.url.replace("http://", &format!("http://{user}@"));
    let parameters = [("name", "n"), ("url", &*with("user:p%40ss"))];
    let created = sonar.post("webhooks/create", &parameters).await.json();
    let starred = with("****:******");
    assert_eq!(created["webhook"]["url"], starred);
    let key = text(&created["webhook"]["key"]);
    let [listed] = sonar.list(&[]).await.try_into().unwrap();
    assert_eq!(listed["url"], starred);

    // Who reads a list and sends back another name does not lose the password.
    let parameters = [("webhook", &*key), ("name", "other"), ("url", &*starred)];
    let updated = sonar.post("webhooks/update", &parameters).await;
    assert_eq!(updated.status, StatusCode::NO_CONTENT, "{updated:?}");
    system
        .publish(sonar.org, &metadata("1.0"), &files("a"))
        .await;
    system.deliver(now()).await;
    let [received] = receiver.take().try_into().unwrap();
    assert_eq!(received.header("authorization"), "Basic dXNlcjpwQHNz");

    // Other stars stand for nothing.
    let url = with("*****:******");
    let parameters = [("webhook", &*key), ("name", "other"), ("url", &*url)];
    let refused = sonar.post("webhooks/update", &parameters).await;
    let message = format!("Url parameter with value '{url}' is not a valid url");
    assert_sonar_error(&refused, 400, &message);
}

#[tokio::test]
async fn the_query_counts_before_the_form_and_what_is_not_known_is_ignored() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let form = "application/x-www-form-urlencoded";
    for (query, content_type, body, expected) in [
        (
            vec![("name", "query")],
            form,
            format!("name=form&url={URL}"),
            Some("query"),
        ),
        (
            vec![],
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
            format!("name=f%C3%B6rm&url={URL}"),
            Some("förm"),
        ),
        (
            vec![("name", "one"), ("name", "two"), ("url", URL)],
            form,
            String::new(),
            Some("one"),
        ),
        (
            vec![("name", "q"), ("url", URL)],
            "application/json",
            "{}".to_owned(),
            Some("q"),
        ),
        (
            vec![("name", "q"), ("url", URL)],
            "application/json",
            String::new(),
            Some("q"),
        ),
        (
            vec![
                ("name", "q"),
                ("url", URL),
                ("organization", "o"),
                ("x", "1"),
            ],
            form,
            String::new(),
            Some("q"),
        ),
        // What is no form has no parameters.
        (
            vec![],
            "application/json",
            json!({"name": "j", "url": URL}).to_string(),
            None,
        ),
    ] {
        let request = system.request("POST", &sonar.path("webhooks/create.json"));
        let request = request.basic_auth(&sonar.token, Some("")).query(&query);
        let request = request.header("content-type", content_type).body(body);
        let created = system.send(request).await;
        let Some(expected) = expected else {
            assert_sonar_error(&created, 400, "The 'name' parameter is missing");
            continue;
        };
        assert_eq!(created.json()["webhook"]["name"], expected, "{created:?}");
    }
    // GET has its parameters in the query only.
    let request = system.request("GET", &sonar.path("webhooks/list"));
    let request = request.basic_auth(&sonar.token, Some(""));
    let request = with_form(request, &[("project", "acme:shop")]);
    assert_eq!(
        system.send(request).await.json()["webhooks"]
            .as_array()
            .unwrap()
            .len(),
        6
    );

    let large = format!("name=n&url={URL}&x={}", "a".repeat(65_536));
    let request = system.request("POST", &sonar.path("webhooks/create"));
    let request = request.basic_auth(&sonar.token, Some(""));
    let request = request.header("content-type", form).body(large);
    let refused = system.send(request).await;
    assert_sonar_error(&refused, 413, "the body may have at most 65536 bytes");
}

#[tokio::test]
async fn what_is_not_there_and_wrong_methods_are_told_as_sonarqube_tells_them() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    for (method, action, status, message) in [
        (
            "GET",
            "webhooks/unknown",
            404,
            "Unknown url : /api/webhooks/unknown",
        ),
        ("POST", "webhooks", 404, "Unknown url : /api/webhooks"),
        ("GET", "", 404, "Unknown url : /api/"),
        (
            "GET",
            "projects/search",
            404,
            "Unknown url : /api/projects/search",
        ),
        (
            "GET",
            "webhooks/create",
            405,
            "HTTP method POST is required",
        ),
        (
            "GET",
            "webhooks/update",
            405,
            "HTTP method POST is required",
        ),
        (
            "GET",
            "webhooks/delete.json",
            405,
            "HTTP method POST is required",
        ),
        ("POST", "webhooks/list", 405, "HTTP method GET is required"),
        (
            "POST",
            "webhooks/deliveries.json",
            405,
            "HTTP method GET is required",
        ),
        (
            "DELETE",
            "webhooks/list",
            405,
            "HTTP method DELETE is not allowed",
        ),
        (
            "PUT",
            "webhooks/create",
            405,
            "HTTP method PUT is not allowed",
        ),
    ] {
        let request = system.request(method, &sonar.path(action));
        let request = request.basic_auth(&sonar.token, Some(""));
        assert_sonar_error(&system.send(request).await, status, message);
    }
    for path in ["", "/"] {
        let request = system.request("GET", &format!("/sonarqube/{}{path}", sonar.org));
        assert_sonar_error(&system.send(request).await, 404, "Unknown url : /");
    }
    // A message of ours manages nothing here either.
    let request = system.request("POST", &sonar.path("webhooks/create"));
    let request = request.basic_auth(&sonar.token, Some(""));
    let request = request.query(&[("name", "n"), ("url", URL)]);
    let looped = system.send(request.header("webhook-id", "1")).await;
    let message = "a webhook's message manages nothing; its url must not lead back here";
    assert_sonar_error(&looped, 403, message);
    assert!(sonar.list(&[]).await.is_empty());
}

#[tokio::test]
async fn answers_say_when_a_token_expires() {
    const HEADER: &str = "sonarqube-authentication-token-expiration";
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let asked_by = async |token: &str, action: &str| {
        let request = system.request("GET", &sonar.path(action));
        system.send(request.basic_auth(token, Some(""))).await
    };
    let told = |reply: &Reply| reply.headers.get(HEADER).cloned();
    for (right, status) in [("manage-webhooks", 200), ("publish", 403)] {
        let draft =
            json!({"name": "n", "rights": [right], "expiresAt": "2099-12-17T10:05:48.9+01:00"});
        let made = system.manage(sonar.org, "POST", "/tokens", Some(draft));
        let token = text(&made.await.json()["token"]);
        let reply = asked_by(&token, "webhooks/list").await;
        assert_eq!(reply.status, status);
        assert_eq!(told(&reply).unwrap(), "2099-12-17T09:05:48+0000");
        let valid = asked_by(&token, "authentication/validate").await;
        assert_eq!(valid.json()["valid"], true);
        assert_eq!(told(&valid), told(&reply));
        // Who asks without it, or in our own words, is not told.
        let public = system.request("GET", &sonar.path("system/status"));
        assert_eq!(told(&system.send(public).await), None);
        let ours = system.request("GET", &format!("/organizations/{}/webhooks", sonar.org));
        assert_eq!(told(&system.send(ours.bearer_auth(&token)).await), None);
    }
    let lasting = asked_by(&sonar.token, "webhooks/list").await;
    assert_eq!((lasting.status.as_u16(), told(&lasting)), (200, None));
}

#[tokio::test]
async fn clients_find_a_server_that_they_know() {
    let system = System::start().await;
    let sonar = Sonar::new(&system, organization()).await;
    let info = sonar.get("system/info", &[]).await.json();
    assert_eq!(info["System"]["Edition"], "Community");
    let version = text(&info["System"]["Version"]);
    let status = sonar.get("system/status", &[]).await.json();
    assert_eq!(
        (&status["version"], &status["status"]),
        (&json!(version), &json!("UP"))
    );
    let told = sonar.get("server/version", &[]).await;
    assert_eq!(told.header("content-type"), "text/plain");
    assert_eq!(told.body, version.as_bytes());
    // The Terraform provider wants 9.9 or later.
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
    assert!((parts.next(), parts.next()) >= (Some(9), Some(9)));
    let valid: Value = sonar.get("authentication/validate", &[]).await.json();
    assert_eq!(valid, json!({"valid": true}));
}
