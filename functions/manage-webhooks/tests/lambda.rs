//! The binary of the function, as a process against a Runtime API.

use identity::Role;
use serde_json::json;
use tests::lambda::{Function, assert_same_answer, event};
use tests::log;
use tests::receiver::Receiver;
use tests::system::{System, organization, text};

#[tokio::test]
async fn a_request_of_api_gateway_is_answered_like_plain_http() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let webhook = system.webhook(org, &receiver.url).await;
    let jwt = system.jwt(org, Role::Administrator);
    let authorization = format!("Bearer {jwt}");
    let headers = [("Authorization", authorization.as_str())];
    let binary = env!("CARGO_BIN_EXE_manage-webhooks");
    let mut function = Function::start(binary, &system.stack.environment()).await;

    let webhooks = format!("/organizations/{org}/webhooks");
    let path = format!("{webhooks}/{}", text(&webhook["id"]));
    for (method, path, headers) in [
        ("GET", "/webhook-events", &headers[..0]),
        ("GET", &webhooks, &headers[..]),
        ("GET", &webhooks, &headers[..0]),
        ("GET", &path, &headers[..]),
        ("GET", &format!("{path}/deliveries"), &headers[..]),
        ("GET", &format!("{webhooks}/none"), &headers[..]),
    ] {
        let answer = function
            .invoke(event(method, path, &[], headers, None))
            .await;
        let request = system.request(method, path);
        let request = headers
            .iter()
            .fold(request, |it, (name, value)| it.header(*name, *value));
        assert_same_answer(&answer.into_reply(), &system.send(request).await);
    }
    let deleted = function
        .invoke(event("DELETE", &path, &[], &headers, None))
        .await;
    assert_eq!(deleted.into_reply().status, 204);
}

#[tokio::test]
async fn the_address_of_a_source_is_that_by_which_the_api_was_called() {
    let system = System::start().await;
    let org = organization();
    let authorization = format!("Bearer {}", system.jwt(org, Role::Administrator));
    let headers = [("Authorization", authorization.as_str())];
    let binary = env!("CARGO_BIN_EXE_manage-webhooks");
    let mut function = Function::start(binary, &system.stack.environment()).await;
    let body = json!({"name": "n", "kind": "sonarqube"}).to_string();
    let path = format!("/organizations/{org}/sources");
    let mut request = event("POST", &path, &[], &headers, Some(&body));
    let domain = text(&request["requestContext"]["domainName"]);
    // The stage stands in the path, unless the API has a domain of its own.
    for (stage, at) in [("/v1", domain.as_str()), ("", "api.example.com")] {
        request["requestContext"]["path"] = json!(format!("{stage}{path}"));
        request["requestContext"]["domainName"] = json!(at);
        let created = function.invoke(request.clone()).await.into_reply().json();
        let expected = format!("https://{at}{stage}/events/{}", text(&created["id"]));
        assert_eq!(created["url"], expected);
    }
}

#[tokio::test]
async fn what_is_deployed_does_not_send_to_this_machine() {
    let system = System::start().await;
    let org = organization();
    let receiver = Receiver::start().await;
    let stored = system.webhook(org, &receiver.url).await;
    let authorization = format!("Bearer {}", system.jwt(org, Role::Administrator));
    let headers = [("Authorization", authorization.as_str())];
    let binary = env!("CARGO_BIN_EXE_manage-webhooks");
    let mut function = Function::start(binary, &system.stack.environment()).await;

    let webhooks = format!("/organizations/{org}/webhooks");
    let body = json!({"name": "inside", "url": receiver.url}).to_string();
    for path in [webhooks.clone(), format!("{webhooks}/test")] {
        let request = event("POST", &path, &[], &headers, Some(&body));
        let refused = function.invoke(request).await.into_reply();
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (400, "address_refused")
        );
    }
    let path = format!("{webhooks}/{}/test", text(&stored["id"]));
    let tried = function
        .invoke(event("POST", &path, &[], &headers, None))
        .await;
    let tried = tried.into_reply().json();
    assert_eq!(tried["attempt"]["error"]["kind"], "address_refused");
    assert!(receiver.received().is_empty());
}

/// Some clients of `SonarQube`'s Web API send everything in the query.
#[tokio::test]
async fn no_secret_of_a_query_is_logged() {
    const SECRET: &str = "0Secret1OfAQuery2";
    let system = System::start().await;
    let org = organization();
    log::watch_secret(SECRET);
    let authorization = format!("Bearer {}", system.jwt(org, Role::Administrator));
    let headers = [("Authorization", authorization.as_str())];
    let looped = [headers[0], ("webhook-id", "1")];
    let mut environment = system.stack.environment();
    let binary = env!("CARGO_BIN_EXE_manage-webhooks");
    let mut function = Function::start(binary, &environment).await;
    // There is no table.
    for (name, value) in &mut environment {
        if name.starts_with("AWS_ENDPOINT_URL_DYNAMODB") {
            "http://127.0.0.1:1".clone_into(value);
        }
    }
    let mut broken = Function::start(binary, &environment).await;

    // An address that is no public one, so that nothing is called.
    let good = [
        ("name", "n"),
        ("url", "http://127.0.0.1:9/"),
        ("secret", SECRET),
    ];
    let long = SECRET.repeat(20);
    let with = |name, value| {
        let mut parameters = good.to_vec();
        parameters.retain(|(of, _)| *of != name);
        parameters.push((name, value));
        parameters
    };
    type Pairs<'a> = Vec<(&'a str, &'a str)>;
    let (headers, looped) = (headers.to_vec(), looped.to_vec());
    let cases: [(&str, &str, Pairs<'_>, &Pairs<'_>, u16); 9] = [
        ("POST", "create", good.to_vec(), &headers, 400),
        ("POST", "create", with("secret", &long), &headers, 400),
        ("POST", "create", with("url", SECRET), &headers, 400),
        ("POST", "create", with("name", ""), &headers, 400),
        ("POST", "update", with("webhook", "none"), &headers, 404),
        ("GET", "create", good.to_vec(), &headers, 405),
        ("POST", "unknown", good.to_vec(), &headers, 404),
        ("POST", "create", good.to_vec(), &Vec::new(), 401),
        ("POST", "create", good.to_vec(), &looped, 403),
    ];
    for (method, action, query, headers, status) in cases {
        let path = format!("/sonarqube/{org}/api/webhooks/{action}");
        let answer = function.invoke(event(method, &path, &query, headers, None));
        let answer = answer.await.into_reply();
        assert_eq!(answer.status, status, "{method} {action}: {answer:?}");
    }
    let path = format!("/sonarqube/{org}/api/webhooks/update");
    let id = uuid::Uuid::new_v4().to_string();
    let query = with("webhook", &id);
    let answer = broken.invoke(event("POST", &path, &query, &headers, None));
    assert_eq!(answer.await.into_reply().status, 500);
    function.recorded().await;
    broken.recorded().await;
    assert_eq!(log::leaks(), Vec::<String>::new());
}
