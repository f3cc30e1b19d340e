//! The binary of the function, as a process against a Runtime API.

use identity::Role;
use serde_json::json;
use tests::lambda::{Function, assert_same_answer, event};
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
