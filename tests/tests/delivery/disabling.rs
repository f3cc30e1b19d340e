//! A webhook that is disabled, enabled again or deleted, and what waits for it.

use domain::delivery::DeliveryState;
use domain::webhook::WebhookKey;
use domain::webhook::health::DisabledReason;
use store::dynamodb::Changed;
use store::queue::work::Work;
use tests::receiver::{Answer, Receiver};
use tests::system::{System, organization, text};
use time::{Duration, OffsetDateTime};

use crate::support::{
    deliver, handle, hours, ids, kept, key, key_of, published, round, seen, sorted, states, stored,
    taken, tell, tell_each, told,
};

async fn manage(system: &System, webhook: WebhookKey, method: &str, action: &str) {
    let path = format!("/webhooks/{}{action}", webhook.id);
    let reply = system.manage(webhook.org, method, &path, None).await;
    assert!(reply.status.is_success(), "{reply:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_called_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer(Answer::Status(410));
    tell(&system, &reports[0], start).await;
    assert_eq!(receiver.take().len(), 1);
    let disabled = seen(&system, webhook).await;
    assert_eq!(disabled["enabled"], false);
    assert_eq!(disabled["disabledReason"], "gone");
    assert!(disabled.get("disabledAt").is_some());

    receiver.answer(Answer::Status(200));
    tell_each(&system, &reports[1..], start + hours(1)).await;
    let made = round(&system, start + hours(2)).await;
    assert_eq!((made.queued, made.waiting), (0, 3));
    round(&system, start + Duration::days(9)).await;
    assert!(receiver.take().is_empty());
    let held = (DeliveryState::Held, 0);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Failed, 1), held, held]
    );
}

#[tokio::test]
async fn five_days_without_success_disable() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 3).await;
        receiver.answer(Answer::Status(status));
        tell(&system, &reports[0], start).await;
        for hour in [24, 72, 119] {
            round(&system, start + hours(hour)).await;
            let seen = seen(&system, webhook).await;
            assert_eq!(seen["enabled"], true, "{status}: {hour} hours");
        }
        assert_eq!(receiver.take().len(), 4);
        round(&system, start + hours(121)).await;
        assert_eq!(receiver.take().len(), 1);
        let disabled = seen(&system, webhook).await;
        assert_eq!(disabled["enabled"], false, "{status}");
        assert_eq!(disabled["disabledReason"], "no_success");

        receiver.answer(Answer::Status(200));
        tell(&system, &reports[1], start + hours(122)).await;
        round(&system, start + hours(123)).await;
        assert!(receiver.take().is_empty());
        let expected = [(DeliveryState::Failed, 5), (DeliveryState::Held, 0)];
        assert_eq!(states(&system, webhook).await, expected);
    }
}

#[tokio::test]
async fn a_success_begins_the_five_days_anew() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 2).await;
        let poison = reports[0].id.to_string();
        receiver.answer_by(move |received| {
            let is_poisonous = received.report_ids().contains(&poison);
            Answer::Status(if is_poisonous { status } else { 200 })
        });
        tell(&system, &reports[0], start).await;
        round(&system, start + hours(99)).await;
        // The only success, after the pause and before the five days are over.
        tell(&system, &reports[1], start + hours(100)).await;
        for hour in [121, 150, 218] {
            round(&system, start + hours(hour)).await;
            let seen = seen(&system, webhook).await;
            assert_eq!(seen["enabled"], true, "{status}: {hour} hours");
        }
        round(&system, start + hours(242)).await;
        let disabled = seen(&system, webhook).await;
        assert_eq!(disabled["disabledReason"], "no_success", "{status}");
    }
}

/// Somebody else's delivery succeeds between the failure and the decision.
#[tokio::test]
async fn a_success_at_the_last_moment_keeps_a_webhook_enabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let webhooks = &system.stack.tables.webhooks;
    let read = webhooks.get(webhook).await.unwrap().unwrap();
    let failed = async |now| {
        let recorded = webhooks.failed(&read, now, None).await.unwrap();
        assert_eq!(recorded, Changed::Stored);
        let stored = webhooks.get(webhook).await.unwrap().unwrap();
        stored.health.failing_since
    };
    let since = failed(start).await.unwrap();
    assert_eq!(failed(start + hours(1)).await, Some(since.clone()));
    let now = start + hours(121);
    let disable = async || {
        let reason = DisabledReason::NoSuccess;
        webhooks
            .disable(&read, reason, Some(&since), now)
            .await
            .unwrap()
    };
    webhooks.succeeded(webhook, now).await.unwrap();
    assert_eq!(disable().await, Changed::Lost);
    failed(now).await;
    assert_eq!(
        disable().await,
        Changed::Lost,
        "it fails since a moment ago"
    );
    assert_eq!(seen(&system, webhook).await["enabled"], true);
}

#[tokio::test]
async fn a_webhook_without_traffic_is_not_disabled() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 2).await;
    receiver.answer_next([Answer::Status(500)]);
    tell(&system, &reports[0], start).await;
    round(&system, start + hours(1)).await;
    for day in [2, 6, 10] {
        round(&system, start + Duration::days(day)).await;
    }
    // A failure long after the success is the first one.
    receiver.answer(Answer::Status(500));
    let late = start + Duration::days(20);
    tell(&system, &reports[1], late).await;
    round(&system, late + hours(100)).await;
    assert_eq!(seen(&system, webhook).await["enabled"], true);
    assert_eq!(receiver.take().len(), 4);
}

#[tokio::test]
async fn enabling_sends_everything_that_was_missed() {
    for is_message_lost in [false, true] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, now) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 30).await;
        receiver.answer_next([Answer::Status(404), Answer::Status(503)]);
        tell(&system, &reports[0], now - hours(8)).await;
        tell(&system, &reports[1], now - hours(8) + Duration::seconds(1)).await;
        tell(&system, &reports[2], now - hours(8) + Duration::seconds(2)).await;
        manage(&system, webhook, "POST", "/disable").await;
        receiver.take();
        tell_each(&system, &reports[3..], now - hours(6)).await;
        for ago in [5, 4, 3] {
            round(&system, now - hours(ago)).await;
        }
        assert!(
            receiver.take().is_empty(),
            "nothing is sent while it is disabled"
        );
        let states_then = states(&system, webhook).await;
        let failed = (DeliveryState::Failed, 1);
        assert_eq!(
            states_then[..3],
            [failed, failed, (DeliveryState::Pending, 0)]
        );
        assert!(
            states_then[3..]
                .iter()
                .all(|it| *it == (DeliveryState::Held, 0))
        );
        assert_eq!(
            seen(&system, webhook).await["disabledReason"],
            "administrator"
        );

        manage(&system, webhook, "POST", "/enable").await;
        let enabled = seen(&system, webhook).await;
        assert!(enabled["enabled"] == true && enabled.get("failingSince").is_none());
        if is_message_lost {
            assert!(!taken(&system).await.is_empty());
            deliver(&system, now).await;
            assert!(receiver.take().is_empty());
            round(&system, now + hours(1)).await;
        } else {
            deliver(&system, OffsetDateTime::now_utc()).await;
        }
        assert_eq!(
            told(&receiver.take()),
            sorted(ids(&reports)),
            "{is_message_lost}"
        );
        let states = states(&system, webhook).await;
        assert!(
            states
                .iter()
                .all(|(state, _)| *state == DeliveryState::Delivered)
        );
        round(&system, now + hours(2)).await;
        assert!(receiver.take().is_empty(), "each once");
    }
}

#[tokio::test]
async fn after_enabling_five_days_begin_anew() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, now) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(500));
    tell(&system, &stored(&system, org, 1).await[0], now - hours(130)).await;
    round(&system, now - hours(1)).await;
    assert_eq!(seen(&system, webhook).await["disabledReason"], "no_success");
    manage(&system, webhook, "POST", "/enable").await;
    receiver.take();
    deliver(&system, OffsetDateTime::now_utc()).await;
    assert_eq!(receiver.take().len(), 1);
    for hour in [50, 119] {
        round(&system, now + hours(hour)).await;
        assert_eq!(seen(&system, webhook).await["enabled"], true);
    }
    round(&system, now + hours(121)).await;
    assert_eq!(seen(&system, webhook).await["disabledReason"], "no_success");
}

#[tokio::test]
async fn deliveries_of_a_deleted_webhook_are_forgotten() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer(Answer::Status(500));
    tell_each(&system, &reports[..1], start).await;
    tell_each(&system, &reports[1..2], start).await;
    let deliveries = kept(&system, webhook).await;
    assert_eq!(deliveries.len(), 2);
    receiver.take();
    manage(&system, webhook, "DELETE", "").await;

    receiver.answer(Answer::Status(200));
    let works = [Work::change(published(&reports[2]))];
    let failed = handle(&system.stack.delivering, works, start + hours(1)).await;
    assert!(failed.is_empty());
    let made = round(&system, start + hours(1)).await;
    assert_eq!((made.queued, made.failed), (2, 0));
    assert!(receiver.take().is_empty());
    for delivery in &deliveries {
        let found = system.stack.tables.deliveries.get(key_of(delivery)).await;
        assert_eq!(found.unwrap(), None);
    }
    assert_eq!(
        round(&system, start + hours(2)).await,
        retry_webhooks::Round::default()
    );
    let path = format!("/webhooks/{}", webhook.id);
    let gone = system.manage(org, "GET", &path, None).await;
    assert_eq!(text(&gone.json()["code"]), "webhook_not_found");
}
