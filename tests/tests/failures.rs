//! Calls of AWS fail where a test says so, and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::report::{ReportId, ReportKey};
use domain::token::Token;
use domain::version::VersionRange;
use domain::webhook::{WebhookId, WebhookKey};
use publishing::{ReportFiles, SupersededObject};
use store::objects::ObjectRead;
use store::products::ProductStore;
use store::reports::{Filter, Order, Part, ReportStore};
use store::tokens::TokenStore;
use store::webhooks::WebhookStore;
use tests::failures::{Failures, Seam};
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use uuid::Uuid;

#[tokio::test]
async fn without_failures_every_call_passes_and_is_counted_once() {
    let system = System::start().await;
    let failures = Failures::none();
    let dynamodb = failures.dynamodb(&system.stack.dynamodb);
    let sqs = failures.sqs(&system.stack.sqs);
    put(&dynamodb, "a").await.unwrap();
    send(&sqs, &system).await.unwrap();
    assert!(exists(&dynamodb, "a").await);
    assert_eq!(failures.log(), ["PutItem", "SendMessage", "GetItem"]);
    assert_eq!((failures.calls(), failures.has_struck()), (3, false));

    // Clients that were not made of these failures are not counted.
    assert!(exists(&system.stack.dynamodb, "a").await);
    assert_eq!(failures.calls(), 3);
}

#[tokio::test]
async fn an_error_says_what_failed_and_not_whose_it_is() {
    let (system, org) = (System::start().await, organization());
    let failures = Failures::at(1, Seam::Before, true);
    let dynamodb = failures.dynamodb(&system.stack.dynamodb);
    let reports = ReportStore::new(dynamodb.clone(), "ReportsTable");
    let webhooks = WebhookStore::new(dynamodb.clone(), "WebhooksTable");
    let tokens = TokenStore::new(dynamodb.clone(), "TokensTable");
    let now = OffsetDateTime::now_utc();
    let report = ReportKey {
        org,
        id: ReportId::new(Uuid::new_v4()),
    };
    let webhook = WebhookKey {
        org,
        id: WebhookId::new(Uuid::new_v4()),
    };
    let (token, _) = Token::new(org, "name", [], None, now).unwrap();
    let part = Part {
        range: &VersionRange::ALL,
        order: Order::Ascending,
        after: None,
        limit: 1,
    };
    let filter = Filter::default();
    let products = ProductStore::new(dynamodb.clone(), "ProductsTable");
    let key = format!("reports/{org}/{}/0", report.id);
    let (s3, bucket) = (system.stack.s3.clone(), system.stack.bucket());
    let read = ObjectRead::open(s3.clone(), bucket.clone(), key.clone(), None, 0, 1).await;
    let files = ReportFiles::new(s3, format!("{bucket}-gone"));
    let object = SupersededObject {
        key,
        version_id: None,
    };
    for error in [
        reports.page(org, part).await.unwrap_err(),
        reports
            .page_of_product(org, "acme", filter, part)
            .await
            .unwrap_err(),
        products.get(org, "acme").await.unwrap_err(),
        products.page(org, None, 1).await.unwrap_err(),
        reports.latest(report).await.unwrap_err(),
        reports.get_all(org, &[report.id]).await.unwrap_err(),
        webhooks.all(org).await.unwrap_err(),
        webhooks.all_to_change(org).await.unwrap_err(),
        webhooks.get(webhook).await.unwrap_err(),
        webhooks.delete(webhook, None).await.unwrap_err(),
        tokens.add(&token, u64::MAX, None).await.unwrap_err(),
        tokens.page(org, None, 1).await.unwrap_err(),
        tokens.revoke(org, token.id, now).await.unwrap_err(),
    ] {
        let text = format!("{error} {error:?}");
        assert!(text.contains("injected: "), "{text}");
        assert!(!text.contains(&org.to_string()), "{text}");
    }
    let tag = files.mark_superseded(&[object]).await.unwrap_err();
    for text in [format!("{:?}", read.unwrap_err()), format!("{tag:?}")] {
        let shown = format!("reports/{}/{}/0", org.digest(), report.id);
        assert!(text.contains(&shown), "{text}");
        assert!(!text.contains(&org.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_failure_before_a_call_leaves_no_trace() {
    let system = System::start().await;
    let failures = Failures::at(2, Seam::Before, false);
    let dynamodb = failures.dynamodb(&system.stack.dynamodb);
    put(&dynamodb, "a").await.unwrap();
    assert!(!failures.has_struck());
    let error = put(&dynamodb, "b").await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert!(failures.has_struck());
    put(&dynamodb, "c").await.unwrap();
    assert_eq!(failures.log(), ["PutItem"; 3]);
    assert_eq!(written(&system).await, ["a", "c"]);
}

#[tokio::test]
async fn a_failure_after_a_call_leaves_its_effect() {
    let system = System::start().await;
    let failures = Failures::at(2, Seam::After, false);
    let dynamodb = failures.dynamodb(&system.stack.dynamodb);
    put(&dynamodb, "a").await.unwrap();
    let error = put(&dynamodb, "b").await.unwrap_err();
    assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
    assert!(failures.has_struck());
    put(&dynamodb, "c").await.unwrap();
    assert_eq!(failures.log(), ["PutItem"; 3]);
    assert_eq!(written(&system).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn calls_of_both_clients_count_together() {
    for (seam, messages) in [(Seam::Before, 0), (Seam::After, 1)] {
        let system = System::start().await;
        let failures = Failures::at(2, seam, false);
        let dynamodb = failures.dynamodb(&system.stack.dynamodb);
        let sqs = failures.clone().sqs(&system.stack.sqs);
        put(&dynamodb, "a").await.unwrap();
        send(&sqs, &system).await.unwrap_err();
        put(&dynamodb, "b").await.unwrap();
        assert_eq!(failures.log(), ["PutItem", "SendMessage", "PutItem"]);
        assert_eq!(waiting(&system).await, messages, "{seam:?}");
    }
}

#[tokio::test]
async fn after_a_kill_every_call_fails() {
    for (seam, kept) in [(Seam::Before, &["a"][..]), (Seam::After, &["a", "b"][..])] {
        let system = System::start().await;
        let failures = Failures::at(2, seam, true);
        let dynamodb = failures.dynamodb(&system.stack.dynamodb);
        let sqs = failures.sqs(&system.stack.sqs);
        put(&dynamodb, "a").await.unwrap();
        put(&dynamodb, "b").await.unwrap_err();
        for _ in 0..2 {
            put(&dynamodb, "c").await.unwrap_err();
            send(&sqs, &system).await.unwrap_err();
        }
        assert_eq!((failures.calls(), failures.has_struck()), (6, true));
        assert_eq!(written(&system).await, kept, "{seam:?}");
        assert_eq!(waiting(&system).await, 0);
    }
}

#[tokio::test]
async fn a_kill_loses_the_answers_of_calls_under_way() {
    for kill in [false, true] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let permits = Arc::new(Semaphore::new(0));
        receiver.answer(Answer::Hold(Arc::clone(&permits)));
        let failures = Failures::at(2, Seam::Before, kill);
        let dynamodb = failures.dynamodb(&client_of(&system, &receiver));
        let (first, second) = tokio::join!(put(&dynamodb, "a"), async {
            receiver.wait_for(1).await;
            let second = put(&dynamodb, "b").await;
            permits.add_permits(1);
            second
        });
        second.unwrap_err();
        assert_eq!(first.is_err(), kill, "{first:?}");
        assert_eq!(receiver.received().len(), 1);
    }
}

#[tokio::test]
async fn only_the_answer_of_the_call_itself_is_lost() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let permits = Arc::new(Semaphore::new(0));
    receiver.answer_next([Answer::Hold(Arc::clone(&permits))]);
    let failures = Failures::at(1, Seam::After, false);
    let dynamodb = failures.dynamodb(&client_of(&system, &receiver));
    let (first, second) = tokio::join!(put(&dynamodb, "a"), async {
        receiver.wait_for(1).await;
        let second = put(&dynamodb, "b").await;
        permits.add_permits(1);
        second
    });
    first.unwrap_err();
    second.unwrap();
}

#[tokio::test]
async fn no_call_is_tried_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    receiver.answer(Answer::Status(500));
    let failures = Failures::none();
    let dynamodb = failures.dynamodb(&client_of(&system, &receiver));
    put(&dynamodb, "a").await.unwrap_err();
    let sqs = system.stack.sqs.config().to_builder();
    let sqs = sqs.endpoint_url(&receiver.url).build();
    let sqs = failures.sqs(&aws_sdk_sqs::Client::from_conf(sqs));
    let message = sqs.send_message().queue_url(&receiver.url);
    message.message_body("x").send().await.unwrap_err();
    assert_eq!(failures.log(), ["PutItem", "SendMessage"]);
    assert_eq!(receiver.received().len(), 2);
}

/// A client of the system's whose calls the receiver answers.
fn client_of(system: &System, receiver: &Receiver) -> Client {
    let config = system.stack.dynamodb.config().to_builder();
    Client::from_conf(config.endpoint_url(&receiver.url).build())
}

async fn put(client: &Client, key: &str) -> Result<PutItemOutput, SdkError<PutItemError>> {
    client
        .put_item()
        .table_name("TokensTable")
        .item("sha256", AttributeValue::S(key.to_owned()))
        .send()
        .await
}

async fn exists(client: &Client, key: &str) -> bool {
    let get = client
        .get_item()
        .table_name("TokensTable")
        .key("sha256", AttributeValue::S(key.to_owned()));
    get.send().await.unwrap().item.is_some()
}

/// Which of the items are in the table.
async fn written(system: &System) -> Vec<&'static str> {
    let mut written = Vec::new();
    for key in ["a", "b", "c"] {
        if exists(&system.stack.dynamodb, key).await {
            written.push(key);
        }
    }
    written
}

async fn send(client: &aws_sdk_sqs::Client, system: &System) -> Result<(), aws_sdk_sqs::Error> {
    let queue = system.stack.events_queue();
    let message = client.send_message().queue_url(queue).message_body("x");
    message.send().await?;
    Ok(())
}

/// How many messages are in the queue.
async fn waiting(system: &System) -> usize {
    let queue = system.stack.events_queue();
    let receive = system.stack.sqs.receive_message().queue_url(queue);
    let output = receive.max_number_of_messages(10).send().await.unwrap();
    output.messages.unwrap_or_default().len()
}
