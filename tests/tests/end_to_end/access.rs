//! Who may do what.

use domain::token::Right;
use identity::Role;
use reqwest::StatusCode;
use serde_json::json;
use tests::api::text;
use tests::deployment::Deployment;
use tests::samples::{files, metadata};
use tests::system::organization;

#[tokio::test]
async fn each_role_and_each_right_allows_what_it_should() {
    let (system, org, other) = (Deployment::open().await, organization(), organization());
    let receiver = system.receiver().await;
    let webhook = text(&system.webhook(org, &receiver.url).await["id"]);
    let deliveries = format!("/webhooks/{webhook}/deliveries");
    // Who may read deliveries, manage webhooks, manage tokens.
    let jwt = |org, role| system.jwt(org, role);
    for (who, bearer, expected) in [
        ("a viewer", jwt(org, Role::Viewer), [200, 403, 403]),
        ("an editor", jwt(org, Role::Editor), [200, 403, 403]),
        ("an administrator", jwt(org, Role::Administrator), [200; 3]),
        ("an owner", jwt(org, Role::Owner), [200; 3]),
        ("an owner elsewhere", jwt(other, Role::Owner), [404; 3]),
        ("nobody", "garbage".to_owned(), [401; 3]),
        (
            "a token that reads",
            system.token(org, &[Right::ReadDeliveries]).await,
            [200, 403, 403],
        ),
        (
            "a token that manages",
            system.token(org, &[Right::ManageWebhooks]).await,
            [200, 200, 403],
        ),
        (
            "a token that publishes",
            system.token(org, &[Right::Publish]).await,
            [403; 3],
        ),
        (
            "a token elsewhere",
            system.token(other, &Right::ALL).await,
            [404; 3],
        ),
    ] {
        for (path, expected) in [deliveries.as_str(), "/webhooks", "/tokens"]
            .iter()
            .zip(expected)
        {
            let path = format!("/organizations/{org}{path}");
            let reply = system.call("GET", &path, &bearer, None).await;
            assert_eq!(reply.status.as_u16(), expected, "{who}: {path}");
        }
    }
    let bare = system.get(&format!("/organizations/{org}/webhooks")).await;
    assert_eq!(
        (bare.status, bare.code().as_str()),
        (StatusCode::UNAUTHORIZED, "missing_token")
    );
}

#[tokio::test]
async fn only_a_token_with_the_right_to_publish_publishes_and_only_until_it_is_revoked() {
    let (system, org) = (Deployment::open().await, organization());
    let files = files("a");
    let mut declaration = metadata("1.0");
    declaration["files"] = files.iter().map(|file| file.declaration()).collect();
    let begin = async |bearer: &str| {
        let declaration = Some(declaration.clone());
        let reply = system.call("POST", "/security/report", bearer, declaration);
        reply.await.status.as_u16()
    };
    let reading = system.token(org, &[Right::ReadDeliveries]).await;
    assert_eq!(begin(&reading).await, 403);
    assert_eq!(begin(&system.jwt(org, Role::Owner)).await, 401);

    let made = json!({"name": "n", "rights": ["publish"]});
    let made = system
        .manage(org, "POST", "/tokens", Some(made))
        .await
        .json();
    let token = text(&made["token"]);
    assert_eq!(begin(&token).await, 201);
    let revoke = format!("/tokens/{}", text(&made["id"]));
    let revoked = system.manage(org, "DELETE", &revoke, None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(begin(&token).await, 401);
}
