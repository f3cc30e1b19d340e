//! Requests that create something, and are sent again because the first answer got lost: `Idempotency-Key`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::extract::FromRequestParts as _;
use axum::http::Request;
use domain::organization::OrganizationId;
use idempotency::{Attempt, Begun, Idempotency, Keyed, Scope};
use identity::Role;
use manage_webhooks::Managing;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::idempotency::LEASE;
use tests::failures::{Failures, Seam, asking_twice, colliding_once};
use tests::system::{Reply, System, organization, text};
use time::{Duration, OffsetDateTime};

use crate::support::{URL, assert_refused, list, path_of, send_through, with};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// Calls as an administrator, with this key.
async fn keyed(
    system: &System,
    org: OrganizationId,
    path: &str,
    key: &str,
    body: Option<&str>,
) -> Reply {
    let request = system
        .request("POST", &format!("/organizations/{org}{path}"))
        .bearer_auth(system.jwt(org, Role::Administrator))
        .header("idempotency-key", key)
        .body(body.unwrap_or_default().to_owned());
    system.send(request).await
}

/// The same by a function that is not the system's own.
async fn keyed_through(
    system: &System,
    managing: &Managing,
    org: OrganizationId,
    path: &str,
    body: &str,
) -> Reply {
    let bearer = system.jwt(org, Role::Administrator);
    let request = Request::post(format!("/organizations/{org}{path}"))
        .header("authorization", format!("Bearer {bearer}"))
        .header("idempotency-key", KEY)
        .body(body.to_owned().into())
        .unwrap();
    send_through(system, managing, request).await
}

fn webhook() -> String {
    json!({"name": "n", "url": URL}).to_string()
}

fn assert_same(one: &Reply, other: &Reply) {
    assert!(one.status.is_success(), "{one:?}");
    assert_eq!((one.status, &one.body), (other.status, &other.body));
    for name in ["content-type", "etag", "location"] {
        assert_eq!(one.header(name), other.header(name), "{name}");
    }
}

async fn tokens(system: &System, org: OrganizationId) -> usize {
    let tokens = system.manage(org, "GET", "/tokens", None).await.json();
    tokens["tokens"].as_array().unwrap().len()
}

/// Begins the creation of a webhook as the administrator would, at this time.
async fn begin(
    system: &System,
    idempotency: &Idempotency,
    org: OrganizationId,
    at: OffsetDateTime,
) -> Attempt {
    let request = Request::post(format!("/organizations/{org}/webhooks"));
    let request = request.header("idempotency-key", KEY).body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let Ok(keyed) = Keyed::from_request_parts(&mut parts, &()).await;
    let subject = subject(&system.jwt(org, Role::Administrator));
    let scope = Scope {
        org,
        caller: &subject,
    };
    let body = webhook();
    let begun = idempotency.begin::<Value>(scope, &keyed, body.as_bytes(), at);
    match begun.await.unwrap() {
        Begun::First(attempt) => attempt,
        Begun::Again(_) => panic!("it was carried out before"),
    }
}

/// Whom a JWT is about.
fn subject(jwt: &str) -> String {
    use base64::Engine as _;
    let claims = jwt.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    text(&claims["sub"])
}

/// What is kept of requests.
async fn kept(system: &System) -> Vec<HashMap<String, AttributeValue>> {
    let scan = system.stack.dynamodb.scan().table_name("IdempotencyTable");
    scan.send().await.unwrap().items.unwrap_or_default()
}

/// Changes an attribute of the only request that is kept.
async fn set(system: &System, name: &str, value: AttributeValue) {
    let [item] = kept(system).await.try_into().unwrap();
    let update = system.stack.dynamodb.update_item();
    let update = update
        .table_name("IdempotencyTable")
        .key("org", item["org"].clone())
        .key("id", item["id"].clone())
        .update_expression("SET #name = :value")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", value);
    update.send().await.unwrap();
}

#[tokio::test]
async fn who_asks_again_gets_the_same_answer_and_nothing_is_created_twice() {
    let (system, org) = (System::start().await, organization());
    let created = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    let again = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_same(&created, &again);
    let replayed = [&created, &again].map(|reply| reply.header("idempotency-replayed"));
    assert_eq!(replayed, ["", "true"]);
    assert!(created.json()["secret"].is_string());
    assert_eq!(list(&system, org).await.len(), 1);

    let secret = format!("{}/secret", path_of(&created.json()));
    let rotated = keyed(&system, org, &secret, KEY, None).await;
    assert_same(&rotated, &keyed(&system, org, &secret, KEY, None).await);
    assert_ne!(rotated.json()["secret"], created.json()["secret"]);
    let now = system.webhook_now(org, &created.json()["id"]).await;
    assert_eq!(now["updatedAt"], rotated.json()["updatedAt"]);
    // A precondition that held the first time does not hold any more, which changes nothing.
    let request = |key: &str| {
        system
            .request("POST", &format!("/organizations/{org}{secret}"))
            .bearer_auth(system.jwt(org, Role::Administrator))
            .header("idempotency-key", key)
            .header("if-match", rotated.header("etag"))
    };
    let rotated = system.send(request("k2")).await;
    assert_same(&rotated, &system.send(request("k2")).await);
    assert_refused(
        &system.send(request("k3")).await,
        412,
        "precondition_failed",
    );

    let settings = json!({"name": "t", "rights": ["publish"]}).to_string();
    let token = keyed(&system, org, "/tokens", KEY, Some(&settings)).await;
    let again = keyed(&system, org, "/tokens", KEY, Some(&settings)).await;
    assert_same(&token, &again);
    assert_eq!(tokens(&system, org).await, 1);
    // The answer is kept, not the thing.
    let path = format!("/tokens/{}", text(&token.json()["id"]));
    system.manage(org, "DELETE", &path, None).await;
    let again = keyed(&system, org, "/tokens", KEY, Some(&settings)).await;
    assert_same(&token, &again);
    assert_eq!(tokens(&system, org).await, 1);

    // What is kept does not have the key, which the client may use elsewhere too.
    let kept = format!("{:?}", kept(&system).await);
    assert!(!kept.contains(KEY) && kept.contains(&text(&token.json()["token"])));
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_one_path_and_one_body() {
    let (system, org, other) = (System::start().await, organization(), organization());
    let settings = webhook();
    let spaced = settings.replace(',', ", ");
    assert!(
        keyed(&system, org, "/webhooks", KEY, Some(&settings))
            .await
            .status
            .is_success()
    );
    for body in [spaced.as_str(), "{}", "no JSON", ""] {
        let reply = keyed(&system, org, "/webhooks", KEY, Some(body)).await;
        assert_refused(&reply, 422, "idempotency_key_reused");
        assert_eq!(reply.json()["parameter"], "Idempotency-Key");
    }
    assert_eq!(list(&system, org).await.len(), 1);

    // Another key, another caller, another organization, another path.
    let quoted = format!("\"{KEY}\"");
    keyed(&system, org, "/webhooks", &quoted, Some(&spaced)).await;
    let token = json!({"name": "t", "rights": ["manage-webhooks"]});
    let token = system.manage(org, "POST", "/tokens", Some(token)).await;
    let request = system.request("POST", &format!("/organizations/{org}/webhooks"));
    let request = request
        .bearer_auth(text(&token.json()["token"]))
        .header("idempotency-key", KEY)
        .body(settings.clone());
    assert_eq!(system.send(request).await.status, 201);
    assert_eq!(list(&system, org).await.len(), 3);
    keyed(&system, other, "/webhooks", KEY, Some(&settings)).await;
    assert_eq!(list(&system, other).await.len(), 1);
    for webhook in list(&system, org).await {
        let secret = format!("{}/secret", path_of(&webhook));
        assert_eq!(keyed(&system, org, &secret, KEY, None).await.status, 200);
    }
    // Somebody who may not has no use of a key.
    let request = system.request("POST", &format!("/organizations/{org}/webhooks"));
    let request = request
        .bearer_auth(system.jwt(org, Role::Viewer))
        .header("idempotency-key", KEY)
        .body(settings);
    assert_refused(&system.send(request).await, 403, "insufficient_role");
}

#[tokio::test]
async fn what_was_refused_may_be_asked_for_with_another_body() {
    let (system, org) = (System::start().await, organization());
    let refused = keyed(&system, org, "/webhooks", KEY, Some("{}")).await;
    assert_refused(&refused, 400, "missing_field");
    assert!(kept(&system).await.is_empty());
    let created = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_eq!(created.status, 201);
}

#[tokio::test]
async fn while_the_first_one_is_carried_out_others_wait() {
    let (system, org) = (System::start().await, organization());
    let now = OffsetDateTime::now_utc();
    let idempotency = &system.stack.managing.idempotency;
    let attempt = begin(&system, idempotency, org, now).await;
    let reply = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_refused(&reply, 409, "idempotency_key_in_use");
    let seconds: i64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=31).contains(&seconds), "{seconds}");
    let reply = keyed(&system, org, "/webhooks", KEY, Some("{}")).await;
    assert_refused(&reply, 422, "idempotency_key_reused");
    assert!(list(&system, org).await.is_empty());

    let failed: Result<(), _> = attempt
        .settle(Err(anyhow::anyhow!("it failed").into()))
        .await;
    failed.unwrap_err();
    let created = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_eq!(created.status, 201);
}

#[tokio::test]
async fn of_many_at_once_one_creates() {
    let (system, org) = (System::start().await, organization());
    let body = webhook();
    let call = async || keyed(&system, org, "/webhooks", KEY, Some(&body)).await;
    let replies = tokio::join!(call(), call(), call(), call());
    let replies = [replies.0, replies.1, replies.2, replies.3];
    let created = replies.iter().filter(|it| it.status == 201);
    let ids: Vec<Value> = created.map(|it| it.json()["id"].clone()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]));
    for reply in replies.iter().filter(|it| it.status != 201) {
        assert_refused(reply, 409, "idempotency_key_in_use");
    }
    assert_eq!(list(&system, org).await.len(), 1);
    assert_eq!(call().await.json()["id"], ids[0]);
}

#[tokio::test]
async fn one_that_died_is_carried_out_by_who_asks_again() {
    let (system, org) = (System::start().await, organization());
    let past = OffsetDateTime::now_utc() - LEASE - Duration::SECOND;
    let idempotency = &system.stack.managing.idempotency;
    let dead = begin(&system, idempotency, org, past).await;
    let reply = keyed(&system, org, "/webhooks", KEY, Some("{}")).await;
    assert_refused(&reply, 422, "idempotency_key_reused");
    let created = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_eq!(created.status, 201);
    // Were it still alive, it would make nothing.
    let late = dead.keeping(&"late").unwrap();
    let transaction = system.stack.dynamodb.transact_write_items();
    transaction
        .set_transact_items(late.map(|it| vec![it]))
        .send()
        .await
        .unwrap_err();
    // What is done stays done, also long after it.
    let long_ago = AttributeValue::S(String::new());
    set(&system, "leaseUntil", long_ago).await;
    let again = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    assert_same(&created, &again);
}

#[tokio::test]
async fn after_a_day_a_key_is_new() {
    let (system, org) = (System::start().await, organization());
    let first = keyed(&system, org, "/webhooks", KEY, Some(&webhook())).await;
    let [item] = kept(&system).await.try_into().unwrap();
    let expires: i64 = item["expiresAt"].as_n().unwrap().parse().unwrap();
    let left = expires - OffsetDateTime::now_utc().unix_timestamp();
    assert!((86_340..=86_400).contains(&left), "{left}");
    set(&system, "expiresAt", AttributeValue::N("1".to_owned())).await;
    let other = with(json!({"name": "other"}), &json!({"url": URL})).to_string();
    let second = keyed(&system, org, "/webhooks", KEY, Some(&other)).await;
    assert_eq!(second.status, 201);
    assert_ne!(first.json()["id"], second.json()["id"]);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let (system, org) = (System::start().await, organization());
    let refused = async |keys: &[&[u8]]| {
        let mut request = system
            .request("POST", &format!("/organizations/{org}/webhooks"))
            .bearer_auth(system.jwt(org, Role::Administrator))
            .body(webhook());
        for key in keys {
            let key = reqwest::header::HeaderValue::from_bytes(key).unwrap();
            request = request.header("idempotency-key", key);
        }
        let reply = system.send(request).await;
        assert_refused(&reply, 400, "invalid_idempotency_key");
        assert_eq!(reply.json()["parameter"], "Idempotency-Key");
    };
    refused(&[b""]).await;
    refused(&[b"a", b"a"]).await;
    refused(&["é".as_bytes()]).await;
    refused(&[b"a\tb"]).await;
    refused(&["k".repeat(256).as_bytes()]).await;
    assert!(list(&system, org).await.is_empty());
    let longest = "k".repeat(255);
    let reply = keyed(&system, org, "/webhooks", &longest, Some(&webhook())).await;
    assert_eq!(reply.status, 201);
    // Where nothing is created, nobody looks at it.
    let path = format!("{}/test", path_of(&reply.json()));
    assert_eq!(keyed(&system, org, &path, "", None).await.status, 200);
}

/// A function whose calls of DynamoDB fail as they say.
fn failing(system: &System, failures: &Failures) -> Managing {
    let clients = failures.clients(&system.stack.clients["ManageWebhooks"]);
    system.stack.managing_with(&clients).unwrap()
}

/// Everything that can become of a call.
const SEAMS: [(Seam, bool); 4] = [
    (Seam::Before, false),
    (Seam::Before, true),
    (Seam::After, false),
    (Seam::After, true),
];

/// Creates something while each of so many calls of DynamoDB fails, then asks again, and has `check` look at the answer.
async fn at_each_call(
    system: &System,
    calls: &[&str],
    prepare: impl AsyncFn() -> (OrganizationId, String),
    body: &str,
    check: impl AsyncFn(OrganizationId, Value) -> bool,
) {
    let (org, path) = prepare().await;
    let counted = Failures::none();
    let managing = failing(system, &counted);
    let reply = keyed_through(system, &managing, org, &path, body).await;
    assert!(reply.status.is_success(), "{reply:?}");
    let of_dynamodb = counted.log().into_iter();
    let of_dynamodb: Vec<String> = of_dynamodb.filter(|it| it != "SendMessageBatch").collect();
    assert_eq!(of_dynamodb, calls);
    clear(system).await;
    for call in 1..=calls.len() {
        for (seam, kill) in SEAMS {
            let (org, path) = prepare().await;
            let failures = Failures::at(call, seam, kill);
            let managing = failing(system, &failures);
            let first = keyed_through(system, &managing, org, &path, body).await;
            let what = format!("{path}, call {call}, {seam:?}, {kill}: {first:?}");
            assert!(failures.has_struck(), "{what}");
            // If it died, its time must pass first.
            for item in kept(system).await {
                if !item.contains_key("answer") {
                    set(system, "leaseUntil", AttributeValue::S(String::new())).await;
                }
            }
            let again = keyed(system, org, &path, KEY, Some(body)).await;
            assert!(again.status.is_success(), "{what} {again:?}");
            assert_same(&again, &keyed(system, org, &path, KEY, Some(body)).await);
            assert!(check(org, again.json()).await, "{what} {again:?}");
            clear(system).await;
        }
    }
}

#[tokio::test]
async fn whatever_fails_one_webhook_is_created() {
    let system = System::start().await;
    let prepare = async || (organization(), "/webhooks".to_owned());
    let is_one = async |org, answer: Value| {
        let [webhook] = list(&system, org).await.try_into().unwrap();
        webhook["id"] == answer["id"]
    };
    let calls = ["PutItem", "GetItem", "Query", "TransactWriteItems"];
    at_each_call(&system, &calls, prepare, &webhook(), is_one).await;
}

#[tokio::test]
async fn whatever_fails_one_token_is_created() {
    let system = System::start().await;
    let prepare = async || (organization(), "/tokens".to_owned());
    let is_one = async |org, _| tokens(&system, org).await == 1;
    let body = json!({"name": "t", "rights": ["publish"]}).to_string();
    let calls = ["PutItem", "TransactWriteItems"];
    at_each_call(&system, &calls, prepare, &body, is_one).await;
}

#[tokio::test]
async fn whatever_fails_a_secret_is_replaced_once() {
    let system = System::start().await;
    let prepare = async || {
        let org = organization();
        let webhook = system.webhook(org, URL).await;
        (org, format!("{}/secret", path_of(&webhook)))
    };
    let is_one = async |org, answer: Value| {
        let webhooks = system.stack.tables.webhooks.all(org).await.unwrap();
        let [webhook] = webhooks.try_into().unwrap();
        let settings = &webhook.settings;
        settings.secrets.secret.as_ref().unwrap().reveal() == text(&answer["secret"])
            && settings.secrets.previous_secrets.len() == 1
    };
    let calls = ["PutItem", "GetItem", "TransactWriteItems"];
    at_each_call(&system, &calls, prepare, "", is_one).await;
}

/// Forgets what is kept of requests.
async fn clear(system: &System) {
    for item in kept(system).await {
        let delete = system.stack.dynamodb.delete_item();
        let delete = delete
            .table_name("IdempotencyTable")
            .key("org", item["org"].clone())
            .key("id", item["id"].clone());
        delete.send().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_the_sdk_sends_twice_is_one() {
    for operation in ["PutItem", "TransactWriteItems"] {
        let (system, org) = (System::start().await, organization());
        let mut clients = system.stack.clients["ManageWebhooks"].clone();
        clients.dynamodb = asking_twice(&clients.dynamodb, operation);
        let managing = system.stack.managing_with(&clients).unwrap();
        let reply = keyed_through(&system, &managing, org, "/webhooks", &webhook()).await;
        assert_eq!(reply.status, 201, "{operation}: {reply:?}");
        assert_eq!(list(&system, org).await.len(), 1);
    }
}

#[tokio::test]
async fn a_request_that_collides_with_the_first_ones_transaction_is_begun_again() {
    for operation in ["PutItem", "DeleteItem"] {
        let (system, org) = (System::start().await, organization());
        let mut clients = system.stack.clients["ManageWebhooks"].clone();
        clients.dynamodb = colliding_once(&clients.dynamodb, operation);
        let managing = system.stack.managing_with(&clients).unwrap();
        let refused = keyed_through(&system, &managing, org, "/webhooks", "{}").await;
        assert_refused(&refused, 400, "missing_field");
        let reply = keyed_through(&system, &managing, org, "/webhooks", &webhook()).await;
        assert_eq!(reply.status, 201, "{operation}: {reply:?}");
    }
}
