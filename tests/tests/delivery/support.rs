//! Batches as Lambda hands them to the function, made by hand, and what they leave behind.

use aws_lambda_events::sqs::SqsBatchResponse;
use std::collections::BTreeMap;
use std::time::Instant;

use deliver_webhooks::Delivering;
use domain::date::timestamp;
use domain::delivery::DeliveryKey;
use domain::delivery::attempt::Attempt;
use domain::delivery::exchange::Exchange;
use domain::delivery::{Delivery, DeliveryId, DeliveryState};
use domain::organization::OrganizationId;
use domain::report::Report;
use domain::report::change::ReportChange;
use domain::webhook::WebhookKey;
use retry_webhooks::Round;
use serde_json::{Value, json};
use store::deliveries::Range;
use store::dynamodb::Changed;
use store::queue::work::{DueDeliveries, Work};
use store::webhooks::Forgotten;
pub(crate) use tests::queue::batch;
use tests::receiver::{Answer, Received, Receiver};
use tests::samples::stored_report;
use tests::system::{System, text};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;

/// More time than any batch needs.
pub(crate) const AMPLE: std::time::Duration = std::time::Duration::from_secs(90);
/// No time at all: nothing new may be begun.
pub(crate) const NONE: std::time::Duration = std::time::Duration::ZERO;
/// A second.
pub(crate) const SECOND: Duration = Duration::SECOND;

/// The publication of a report.
pub(crate) fn published(report: &Report) -> ReportChange {
    revised(report, 1)
}

/// A revision of a report.
pub(crate) fn revised(report: &Report, revision: u64) -> ReportChange {
    tests::samples::change(report, revision)
}

/// The message that a report was published.
pub(crate) fn change(report: &Report) -> Work {
    Work::change(published(report))
}

/// Reports of an organization that are stored, each of a project of its own. Nobody is told of them yet.
pub(crate) async fn stored(system: &System, org: OrganizationId, count: u64) -> Vec<Report> {
    let reports: Vec<Report> = (0..count).map(|it| stored_report(org, it)).collect();
    system.seed(reports.clone()).await;
    reports
}

/// The ids of reports as messages name them.
pub(crate) fn ids<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Vec<String> {
    let ids = reports.into_iter().map(|report| report.id.to_string());
    ids.collect()
}

/// The ids of the reports that requests told of, sorted.
pub(crate) fn told(received: &[Received]) -> Vec<String> {
    let mut ids: Vec<String> = received.iter().flat_map(Received::report_ids).collect();
    ids.sort_unstable();
    ids
}

/// Ids, sorted as [`told`] gives them.
pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

/// A message of the queue.
pub(crate) fn json(work: &Work) -> String {
    work.to_json()
}

/// Hands a batch to the function, and gives the ids of the messages that have to come again.
pub(crate) async fn handle(
    delivering: &Delivering,
    works: impl IntoIterator<Item = Work>,
    now: OffsetDateTime,
) -> Vec<String> {
    let bodies: Vec<String> = works.into_iter().map(|work| json(&work)).collect();
    failures(&deliver_webhooks::handle(delivering, batch(bodies), now, AMPLE).await)
}

/// The ids of the messages that have to come again.
pub(crate) fn failures(response: &SqsBatchResponse) -> Vec<String> {
    let failures = response.batch_item_failures.iter();
    failures.map(|it| it.item_identifier.clone()).collect()
}

/// Tells of the publication of a report, in a batch of its own, all of which has to be done.
pub(crate) async fn tell(system: &System, report: &Report, now: OffsetDateTime) {
    let work = [Work::change(published(report))];
    let failed = handle(&system.stack.delivering, work, now).await;
    assert!(failed.is_empty(), "{failed:?}");
}

/// Tells of each report in a batch of its own, so that each becomes a delivery of its own; at the same time, because
/// there are many.
pub(crate) async fn tell_each(system: &System, reports: &[Report], now: OffsetDateTime) {
    let mut batches = JoinSet::new();
    for report in reports {
        let delivering = system.stack.delivering.clone();
        let work = [Work::change(published(report))];
        batches.spawn(async move { handle(&delivering, work, now).await });
    }
    for failed in batches.join_all().await {
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// Deliveries of a webhook that have failed, one for each report.
pub(crate) async fn failed_deliveries(
    system: &System,
    org: OrganizationId,
    receiver: &Receiver,
    count: u64,
    now: OffsetDateTime,
) -> (WebhookKey, Vec<DeliveryId>) {
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell_each(system, &stored(system, org, count).await, now).await;
    receiver.take();
    receiver.answer(Answer::Status(200));
    let deliveries = kept(system, webhook).await;
    (webhook, deliveries.iter().map(|it| it.id).collect())
}

/// The key of a webhook from the answer to its creation.
pub(crate) fn key(org: OrganizationId, webhook: &Value) -> WebhookKey {
    WebhookKey {
        org,
        id: text(&webhook["id"]).parse().unwrap(),
    }
}

/// A message that says that these deliveries are due.
pub(crate) fn due(webhook: WebhookKey, deliveries: &[DeliveryId]) -> Work {
    Work::Due(DueDeliveries {
        org: webhook.org,
        webhook: webhook.id,
        due: deliveries.to_vec(),
        at: None,
    })
}

/// A webhook's deliveries as they are stored, the oldest first.
pub(crate) async fn kept(system: &System, webhook: WebhookKey) -> Vec<Delivery> {
    let store = &system.stack.tables.deliveries;
    let range = Range::all(webhook.id);
    let page = store.page(&range, false, 1000).await.unwrap();
    assert_eq!(page.next, None);
    page.deliveries
}

/// The state of each of a webhook's deliveries and how often it was tried, the oldest first.
pub(crate) async fn states(system: &System, webhook: WebhookKey) -> Vec<(DeliveryState, u32)> {
    let deliveries = kept(system, webhook).await;
    let state = |it: &Delivery| (it.state, it.attempts);
    deliveries.iter().map(state).collect()
}

/// The key of a delivery.
pub(crate) fn key_of(delivery: &Delivery) -> DeliveryKey {
    DeliveryKey {
        webhook: delivery.webhook,
        id: delivery.id,
    }
}

/// The webhook as an administrator sees it.
pub(crate) async fn seen(system: &System, webhook: WebhookKey) -> Value {
    system.webhook_now(webhook.org, &json!(webhook.id)).await
}

/// Takes everything from the queue, and gives the bodies.
pub(crate) async fn taken(system: &System) -> Vec<String> {
    let (sqs, queue) = (&system.stack.sqs, system.stack.events_queue());
    let mut bodies = Vec::new();
    loop {
        let receive = sqs.receive_message().queue_url(queue);
        let output = receive.max_number_of_messages(10).send().await.unwrap();
        let messages = output.messages.unwrap_or_default();
        if messages.is_empty() {
            return bodies;
        }
        for message in messages {
            let delete = sqs.delete_message().queue_url(queue);
            let handle = message.receipt_handle.unwrap();
            delete.receipt_handle(handle).send().await.unwrap();
            bodies.push(message.body.unwrap());
        }
    }
}

/// So many hours.
pub(crate) fn hours(count: i64) -> Duration {
    Duration::hours(count)
}

/// Delivers what is on the queue from `now` on, and what that puts there, until there is nothing.
///
/// Unlike [`System::deliver`] it fails when a message has to come again.
pub(crate) async fn deliver(system: &System, now: OffsetDateTime) {
    let begun = Instant::now();
    loop {
        let bodies = taken(system).await;
        if bodies.is_empty() {
            return;
        }
        for bodies in bodies.chunks(100) {
            let delivering = &system.stack.delivering;
            let event = batch(bodies.to_vec());
            let now = now + begun.elapsed();
            let failed = failures(&deliver_webhooks::handle(delivering, event, now, AMPLE).await);
            assert!(failed.is_empty(), "{failed:?} of {bodies:?}");
        }
    }
}

/// Makes the hourly round, and delivers what it put on the queue.
pub(crate) async fn round(system: &System, now: OffsetDateTime) -> Round {
    let begun = Instant::now();
    let round = retry_webhooks::round(&system.stack.retrying, now, retry_webhooks::BUDGET).await;
    deliver(system, now + begun.elapsed()).await;
    round
}

/// The report as it would be, had it been stored at this time.
pub(crate) fn stored_at(report: &Report, time: OffsetDateTime) -> Report {
    Report {
        upload_date: timestamp(time),
        ..report.clone()
    }
}

/// Makes a webhook as old as this.
pub(crate) async fn backdate(system: &System, webhook: WebhookKey, time: OffsetDateTime) {
    let webhooks = &system.stack.tables.webhooks;
    let mut older = webhooks.get(webhook).await.unwrap().unwrap();
    older.created_at = timestamp(time);
    older.revision += 1;
    let replaced = webhooks.replace(&older, Forgotten::Nothing, None, None);
    assert_eq!(replaced.await.unwrap(), Changed::Stored);
}

/// An attempt that was answered with this status.
pub(crate) fn attempt_of(status: u16, number: u32, at: OffsetDateTime) -> Attempt {
    let exchange = Exchange {
        status: Some(status),
        duration: std::time::Duration::ZERO,
        response: None,
        retry_after: None,
        failure: None,
        response_error: None,
        request_headers: BTreeMap::new(),
    };
    Attempt::of(number, at, &exchange)
}
