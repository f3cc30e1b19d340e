//! Webhooks in the words of `SonarQube` and `CodeScoring`.

use domain::token::Right;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tests::api::text;
use tests::receiver::assert_sonar_signature;

use crate::support::Stage;

#[tokio::test]
async fn a_client_of_sonarqube_makes_a_webhook_sees_what_it_was_told_and_deletes_it() {
    const SECRET: &str = "correct-horse-battery-staple";
    let stage = Stage::new().await;
    let token = stage
        .system
        .token(stage.org, &[Right::ManageWebhooks])
        .await;
    let call = |method: &str, action: &str| -> RequestBuilder {
        let path = format!("/sonarqube/{}/api/{action}", stage.org);
        let request = stage.system.request(method, &path);
        request.basic_auth(&token, Some(""))
    };
    let send = async |request: RequestBuilder| stage.system.send(request).await;
    let receiver = stage.system.receiver().await;

    let valid = send(call("GET", "authentication/validate")).await.json();
    assert_eq!(valid, json!({"valid": true}));
    // As Terraform's provider sends it, in the query.
    let parameters = [
        ("name", "Jenkins"),
        ("url", &*receiver.url),
        ("secret", SECRET),
    ];
    let created = send(call("POST", "webhooks/create").query(&parameters)).await;
    assert_eq!(created.status, StatusCode::OK, "{created:?}");
    let key = text(&created.json()["webhook"]["key"]);

    stage.publish("1.0").await;
    let [told] = stage.system.told(&receiver, 1).await.try_into().unwrap();
    assert_eq!(told.json()["project"]["key"], "acme:shop");
    assert_sonar_signature(&told, SECRET);
    let key_of_it = json!(key);
    stage
        .system
        .settled(stage.org, &key_of_it, &["delivered"])
        .await;

    let of_webhook = [("webhook", &key)];
    let page = send(call("GET", "webhooks/deliveries").query(&of_webhook))
        .await
        .json();
    assert_eq!(page["paging"]["total"], 1);
    let delivery = [("deliveryId", text(&page["deliveries"][0]["id"]))];
    let delivery = send(call("GET", "webhooks/delivery.json").query(&delivery))
        .await
        .json();
    let payload: Value = serde_json::from_str(&text(&delivery["delivery"]["payload"])).unwrap();
    assert_eq!(payload, told.json());

    // As everybody else does, in a form.
    let form = call("POST", "webhooks/delete");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let deleted = send(form.body(format!("webhook={key}"))).await;
    assert_eq!(
        (deleted.status, deleted.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    let again = send(call("POST", "webhooks/delete").query(&of_webhook)).await;
    let message = format!("No webhook with key '{key}'");
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(again.json(), json!({"errors": [{"msg": message}]}));
}

#[tokio::test]
async fn a_client_of_codescoring_makes_a_webhook_and_tries_it() {
    let stage = Stage::new().await;
    let token = stage
        .system
        .token(stage.org, &[Right::ManageWebhooks])
        .await;
    let call = |method: &str, path: &str| -> RequestBuilder {
        let path = format!("/codescoring/{}/api/settings/webhooks/{path}", stage.org);
        let request = stage.system.request(method, &path);
        request.header("authorization", format!("Token {token}"))
    };
    let receiver = stage.system.receiver().await;
    let draft = json!({"name": "Dashboard", "url": receiver.url, "token": "t0ken"});
    let created = stage.system.send(call("POST", "").json(&draft)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let id = text(&created.json()["id"]);
    let refresh = call("POST", &format!("{id}/refresh_availability_status/"));
    let refreshed = stage.system.send(refresh).await.json();
    assert_eq!(refreshed["is_available"], true, "{refreshed}");
    let [tried] = receiver.take().try_into().unwrap();
    assert_eq!(tried.header("x-codescoring-authentication"), "t0ken");
    let page = stage.system.send(call("GET", "?per_page=1")).await.json();
    assert_eq!(
        (&page["count"], &page["results"][0]["id"]),
        (&json!(1), &json!(id))
    );
    let deleted = stage.system.send(call("DELETE", &format!("{id}/"))).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
}
