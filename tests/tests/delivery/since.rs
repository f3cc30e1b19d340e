//! Since when a webhook is told of what.

use domain::report::Report;
use serde_json::json;
use tests::receiver::Receiver;
use tests::system::{System, organization};
use time::OffsetDateTime;

use crate::support::{backdate, hours, ids, kept, key, sorted, stored, stored_at, tell, told};

/// The reports as they would be, were they stored at this time.
fn at(reports: &[Report], time: OffsetDateTime) -> Vec<Report> {
    reports.iter().map(|it| stored_at(it, time)).collect()
}

#[tokio::test]
async fn a_webhook_is_not_told_of_what_was_stored_before_it_was_made() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let start = OffsetDateTime::now_utc();
    let reports = stored(&system, org, 2).await;
    tell(&system, &at(&reports, start - hours(1))[0], start).await;
    assert!(kept(&system, webhook).await.is_empty());
    tell(&system, &at(&reports, start)[1], start).await;
    assert_eq!(told(&receiver.take()), ids(&reports[1..]));
}

#[tokio::test]
async fn a_webhook_is_told_of_more_only_as_far_as_it_was_stored_afterwards() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let org = organization();
    let webhook = json!({"name": "n", "url": receiver.url, "project": "project-0"});
    let webhook = key(org, &system.webhook_with(org, webhook).await);
    backdate(&system, webhook, OffsetDateTime::now_utc() - hours(2)).await;
    let path = format!("/webhooks/{}", webhook.id);
    let everything = Some(json!({"project": null}));
    let reply = system.manage(org, "PATCH", &path, everything).await;
    assert!(reply.status.is_success(), "{reply:?}");

    let start = OffsetDateTime::now_utc();
    let reports = stored(&system, org, 3).await;
    for report in at(&reports[..2], start - hours(1)) {
        tell(&system, &report, start).await;
    }
    let expected = ids(&reports[..1]);
    assert_eq!(
        told(&receiver.take()),
        expected,
        "what it was told of anyway"
    );
    for report in at(&reports[1..], start) {
        tell(&system, &report, start).await;
    }
    assert_eq!(told(&receiver.take()), sorted(ids(&reports[1..])));
}
