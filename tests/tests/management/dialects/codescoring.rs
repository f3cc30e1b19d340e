//! Webhooks in `CodeScoring`'s words.

use domain::organization::OrganizationId;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::receiver::{Answer, Receiver};
use tests::samples::files;
use tests::system::{Reply, System, organization, text};

use super::support::{analysis, manager, now};
use crate::support::{URL, create, list};

struct Client<'a> {
    system: &'a System,
    org: OrganizationId,
    token: String,
}

impl<'a> Client<'a> {
    async fn new(system: &'a System) -> Self {
        let org = organization();
        Self {
            system,
            org,
            token: manager(system, org).await,
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let path = format!("/codescoring/{}/api/settings/webhooks{path}", self.org);
        let request = self.system.request(method, &path);
        let request = request.header("authorization", format!("Token {}", self.token));
        let request = match body {
            None => request,
            Some(body) => request.json(&body),
        };
        self.system.send(request).await
    }
}

fn dashboard(url: &str) -> Value {
    json!({"name": "Dashboard", "url": url, "token": "t0ken"})
}

#[tokio::test]
async fn what_stands_twice_in_a_list_counts_once() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    let mut draft = dashboard(URL);
    let events = ["sca_policy_has_been_triggered"; 2];
    draft["events"] = json!(events);
    draft["projects"] = json!(["7", 7, "Customer portal", 7.0, "Customer portal"]);
    let created = client.call("POST", "/", Some(draft)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let mut expected = created.json();
    assert_eq!(expected["events"], json!(events[..1]));
    assert_eq!(expected["projects"], json!([7, "Customer portal"]));

    // There may be ten, and these are.
    let id = text(&expected["id"]);
    let patch = json!({"projects": Vec::from_iter((1..=10).chain(1..=10))});
    let patched = client.call("PATCH", &format!("/{id}/"), Some(patch)).await;
    let projects = [1, 10, 2, 3, 4, 5, 6, 7, 8, 9];
    expected["projects"] = json!(projects);
    assert_eq!((patched.status, patched.json()), (StatusCode::OK, expected));
}

#[tokio::test]
async fn a_webhook_is_made_read_changed_and_deleted() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    for slash in ["", "/"] {
        let events = json!(["security_report_published", "project_sca_analysis_finished"]);
        let mut draft = dashboard(URL);
        draft["projects"] = json!(["Customer portal", 7]);
        draft["events"] = events.clone();
        // What is not known is ignored there.
        draft["created_at"] = json!("2025-12-17T09:05:48Z");
        let created = client.call("POST", slash, Some(draft)).await;
        assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
        let created = created.json();
        let id = text(&created["id"]);
        assert_eq!(
            created,
            json!({
                "id": id, "name": "Dashboard", "url": URL, "projects": [7, "Customer portal"], "events": events,
                "is_active": true, "is_available": true,
            })
        );
        let [here] = list(&system, client.org).await.try_into().unwrap();
        assert_eq!(
            (
                &here["format"],
                &here["schedule"],
                &here["hasToken"],
                &here["hasSecret"]
            ),
            (
                &json!("codescoring"),
                &json!("codescoring"),
                &json!(true),
                &json!(false)
            )
        );
        assert_eq!(
            here["events"],
            json!([
                "report.published",
                "codescoring.project_sca_analysis_finished"
            ])
        );
        assert_eq!(here["projects"], json!(["7", "Customer portal"]));

        let one = format!("/{id}{slash}");
        assert_eq!(client.call("GET", &one, None).await.json(), created);
        // What was read can be sent back.
        let put = client.call("PUT", &one, Some(created.clone())).await;
        assert_eq!(put.json(), created);

        let patched = client
            .call("PATCH", &one, Some(json!({"is_active": false})))
            .await;
        let mut expected = created.clone();
        expected["is_active"] = json!(false);
        expected["is_available"] = json!(false);
        assert_eq!(patched.json(), expected);

        let whole = json!({"name": "Other", "url": URL});
        let put = client.call("PUT", &one, Some(whole)).await.json();
        assert_eq!(
            (
                &put["name"],
                &put["projects"],
                &put["events"],
                &put["is_active"]
            ),
            (&json!("Other"), &json!([]), &json!([]), &json!(false))
        );
        let [here] = list(&system, client.org).await.try_into().unwrap();
        assert_eq!(
            (&here["hasToken"], here.get("events")),
            (&json!(true), None)
        );

        let deleted = client.call("DELETE", &one, None).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        let gone = client.call("GET", &one, None).await;
        assert_eq!(gone.json(), json!({"detail": "Not found."}));
    }
}

#[tokio::test]
async fn a_list_is_an_array_and_with_a_page_an_envelope_of_this_format_only() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    assert_eq!(client.call("GET", "/", None).await.json(), json!([]));
    let ours = json!({"name": "ours", "url": URL});
    let other = text(&create(&system, client.org, ours).await.json()["id"]);
    let mut made = Vec::new();
    for number in 0..3 {
        let mut draft = dashboard(URL);
        draft["projects"] = json!([number]);
        made.push(client.call("POST", "/", Some(draft)).await.json());
    }
    assert_eq!(client.call("GET", "/", None).await.json(), json!(made));
    let path = format!("/codescoring/{}/api/settings/webhooks/", client.org);
    let link = |query: &str| format!("{}{path}?{query}", system.stack.api_url);
    let first = client.call("GET", "/?per_page=2", None).await.json();
    assert_eq!(
        first,
        json!({
            "count": 3, "next": link("page=2&per_page=2"), "previous": null, "results": made[..2],
        })
    );
    let second = client.call("GET", "/?page=2&per_page=2", None).await.json();
    assert_eq!(
        second,
        json!({
            "count": 3, "next": null, "previous": link("page=1&per_page=2"), "results": made[2..],
        })
    );
    for query in ["page=3&per_page=2", "page=0", "page=x", "per_page=0"] {
        let reply = client.call("GET", &format!("?{query}"), None).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (404, json!({"detail": "Invalid page."}))
        );
    }
    // What is of another format has no token, and is told of what is no trigger.
    for (method, path) in [
        ("GET", format!("/{other}")),
        ("PATCH", format!("/{other}/")),
        ("DELETE", format!("/{other}/")),
        ("POST", format!("/{other}/refresh_availability_status/")),
    ] {
        let reply = client.call(method, &path, Some(json!({}))).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (404, json!({"detail": "Not found."}))
        );
    }
    assert_eq!(list(&system, client.org).await.len(), 4);
}

#[tokio::test]
async fn what_is_wrong_is_said_by_field() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    let required = json!(["This field is required."]);
    let null = json!(["This field may not be null."]);
    let choice = json!(["\"none\" is not a valid choice."]);
    let project = json!(["must be a name, or a whole number from 0 to 9007199254740991"]);
    let with = |field: &str, value: Value| {
        let mut draft = dashboard(URL);
        draft[field] = value;
        draft
    };
    for (body, field, message) in [
        (json!({"url": URL, "token": "t"}), "name", Some(&required)),
        (json!({"name": "n", "token": "t"}), "url", Some(&required)),
        (json!({"name": "n", "url": URL}), "token", Some(&required)),
        (with("url", json!("none")), "url", None),
        (with("name", json!("a".repeat(101))), "name", None),
        (with("projects", json!("7")), "projects", None),
        (with("projects", json!([true])), "projects", Some(&project)),
        (with("projects", json!([1.5])), "projects", Some(&project)),
        (with("projects", json!([-1])), "projects", Some(&project)),
        (with("projects", json!([null])), "projects", Some(&project)),
        (
            with("projects", json!(Vec::from_iter(1..=11))),
            "projects",
            None,
        ),
        (
            with("projects", json!([9_007_199_254_740_992_u64])),
            "projects",
            Some(&project),
        ),
        (with("events", json!(["none"])), "events", Some(&choice)),
        (with("events", json!(["report.published"])), "events", None),
        (with("events", json!("none")), "events", None),
        (with("events", json!([1])), "events", None),
        (with("is_active", json!("yes")), "is_active", None),
        (with("token", json!("")), "token", None),
        (with("is_active", Value::Null), "is_active", Some(&null)),
        (with("projects", Value::Null), "projects", Some(&null)),
        (with("events", Value::Null), "events", Some(&null)),
    ] {
        let reply = client.call("POST", "/", Some(body.clone())).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}: {reply:?}");
        let errors = reply.json();
        let fields: Vec<&String> = errors.as_object().unwrap().keys().collect();
        assert_eq!(fields, [field], "{body}");
        if let Some(message) = message {
            assert_eq!(errors[field], *message);
        }
        // The name of the field does not stand in the message once more.
        assert!(!text(&errors[field][0]).starts_with(field), "{errors}");
    }
    assert!(list(&system, client.org).await.is_empty());

    let id = text(&client.call("POST", "/", Some(dashboard(URL))).await.json()["id"]);
    for (body, field) in [(json!({"url": URL}), "name"), (json!({"name": "n"}), "url")] {
        let reply = client.call("PUT", &format!("/{id}/"), Some(body)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (400, json!({field: required}))
        );
    }
    for (method, path, status, expected) in [
        ("POST", "/", 400, None),
        ("PUT", "/", 405, Some("Method \"PUT\" not allowed.")),
        ("GET", "/test/", 405, Some("Method \"GET\" not allowed.")),
        ("GET", "/../alerts/", 404, Some("Not found.")),
    ] {
        let reply = client.call(method, path, Some(json!([]))).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        let detail = text(&reply.json()["detail"]);
        assert!(
            expected.is_none_or(|expected| expected == detail),
            "{detail}"
        );
    }
    // Ten for all projects, however they were made.
    for _ in 1..10 {
        client.call("POST", "/", Some(dashboard(URL))).await;
    }
    let full = client.call("POST", "/", Some(dashboard(URL))).await;
    let message = "there are 10 webhooks for all projects already";
    assert_eq!(
        (full.status.as_u16(), full.json()),
        (400, json!({"non_field_errors": [message]}))
    );
}

#[tokio::test]
async fn a_test_says_the_status_and_stores_nothing() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    let receiver = Receiver::start().await;
    let draft = dashboard(&receiver.url);
    for (status, is_available) in [(200, true), (503, false)] {
        receiver.answer(Answer::Status(status));
        let tested = client.call("POST", "/test/", Some(draft.clone())).await;
        assert_eq!(
            tested.json(),
            json!({"status_code": status, "is_available": is_available})
        );
        let [received] = receiver.take().try_into().unwrap();
        assert_eq!(received.header("x-codescoring-authentication"), "t0ken");
        assert_eq!(received.json()["events"][0]["trigger"], "test");
        assert_eq!(received.json()["events"][0]["payload"], json!({}));
    }
    receiver.answer(Answer::CloseBeforeHead);
    let tested = client
        .call("POST", "/test/", Some(draft.clone()))
        .await
        .json();
    assert_eq!(tested, json!({"status_code": null, "is_available": false}));
    assert!(list(&system, client.org).await.is_empty());

    // As many as there may be in a minute, in whichever words.
    for _ in 0..20 {
        let tested = client.call("POST", "/test", Some(draft.clone())).await;
        if tested.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(tested.json()["detail"].is_string());
            assert!(!tested.header("retry-after").is_empty());
            return;
        }
    }
    panic!("there is no end");
}

#[tokio::test]
async fn a_refresh_ends_a_pause_and_what_waited_arrives() {
    let system = System::start_hasty().await;
    let client = Client::new(&system).await;
    let receiver = Receiver::start().await;
    let created = client
        .call("POST", "/", Some(dashboard(&receiver.url)))
        .await
        .json();
    let one = format!("/{}/", text(&created["id"]));
    let refresh = format!("{one}refresh_availability_status/");
    let is_available = async || client.call("GET", &one, None).await.json()["is_available"].clone();

    receiver.answer(Answer::Status(503));
    system.publish(client.org, &analysis(1), &files("a")).await;
    system.deliver(now()).await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(is_available().await, false);
    // It is still down, which changes nothing.
    let refreshed = client.call("POST", &refresh, None).await.json();
    assert_eq!(refreshed["is_available"], false);
    assert_eq!(receiver.take().len(), 1);

    receiver.answer(Answer::Status(204));
    let refreshed = client.call("POST", &refresh, None).await.json();
    assert_eq!(
        (&refreshed["id"], &refreshed["is_available"]),
        (&created["id"], &json!(true))
    );
    assert_eq!(is_available().await, true);
    system.deliver(now()).await;
    let [tried, waited] = receiver.take().try_into().unwrap();
    assert_eq!(tried.json()["events"][0]["trigger"], "test");
    assert_eq!(
        waited.json()["events"][0]["trigger"],
        "security_report_published"
    );

    // What is disabled is not available, whatever its receiver says.
    client
        .call("PATCH", &one, Some(json!({"is_active": false})))
        .await;
    let refreshed = client.call("POST", &refresh, None).await.json();
    assert_eq!(refreshed["is_available"], false);
}

#[tokio::test]
async fn each_trigger_that_is_listed_can_be_named() {
    let system = System::start().await;
    let client = Client::new(&system).await;
    let triggers = client.call("GET", "/triggers/", None).await.json();
    let triggers = triggers.as_array().unwrap();
    assert_eq!(triggers.len(), 34);
    let values: Vec<&Value> = triggers.iter().map(|trigger| &trigger["value"]).collect();
    let mut draft = dashboard(URL);
    draft["events"] = json!(values);
    let created = client.call("POST", "/", Some(draft)).await.json();
    assert_eq!(created["events"].as_array().unwrap().len(), 34, "{created}");
}
