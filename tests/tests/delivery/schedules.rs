//! Each schedule, step by step: the queue hands messages over after their delay, rounds are made by the hour, and time goes from
//! one to the next.

use std::time::{Duration as StdDuration, Instant};

use bytes::Bytes;
use deliver_webhooks::Delivering;
use domain::delivery::DeliveryState;
use domain::organization::OrganizationId;
use domain::webhook::WebhookKey;
use local::Options;
use retry_webhooks::Retrying;
use serde_json::{Value, json};
use store::queue::work::Work;
use tests::deployment::eventually;
use tests::posted::Posted;
use tests::receiver::{Answer, Received, Receiver};
use tests::samples::{files, metadata};
use tests::system::{System, organization};
use time::{Duration, OffsetDateTime};

use crate::support::{change, handle, hours, ids, kept, key, seen, sorted, states, stored, told};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// The time from each attempt to the next one, in seconds.
const CODESCORING: [i64; 7] = [
    MINUTE,
    5 * MINUTE,
    30 * MINUTE,
    3 * HOUR,
    12 * HOUR,
    24 * HOUR,
    48 * HOUR,
];
/// The same.
const STANDARD: [i64; 9] = [
    5,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];
/// So exact is every wait, in seconds. Delays are whole ones, and each of some hops rounds up.
const PRECISION: i64 = 30;

/// A webhook with a schedule, and the time that goes on.
struct World {
    system: System,
    org: OrganizationId,
    webhook: WebhookKey,
    receiver: Receiver,
    delivering: Delivering,
    retrying: Retrying,
    posted: Posted,
    /// So many it was told of.
    reports: u64,
    start: OffsetDateTime,
    now: OffsetDateTime,
    /// When the next round is.
    round: OffsetDateTime,
    /// What is on the queue, and when it comes.
    queue: Vec<(OffsetDateTime, Work)>,
}

impl World {
    /// The first round is in so many minutes.
    async fn new(settings: Value, first_round: i64) -> Self {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, posted) = (organization(), Posted::default());
        let mut settings = settings;
        settings["name"] = json!("test");
        settings["url"] = json!(receiver.url);
        let webhook = system.webhook_with(org, settings).await;
        let of = |function| posted.of(&system, function);
        let start = OffsetDateTime::now_utc();
        Self {
            delivering: system
                .stack
                .delivering_with(&of("DeliverWebhooks"))
                .unwrap(),
            retrying: system.stack.retrying_with(&of("RetryWebhooks")).unwrap(),
            webhook: key(org, &webhook),
            org,
            system,
            receiver,
            posted,
            reports: 0,
            start,
            now: start,
            round: start + Duration::minutes(first_round),
            queue: Vec::new(),
        }
    }

    /// Tells of so many new reports, each in a message of its own.
    async fn tell(&mut self, count: u64) -> Vec<String> {
        let before = self.reports;
        self.reports += count;
        let mut reports = stored(&self.system, self.org, self.reports).await;
        let reports = reports.split_off(usize::try_from(before).unwrap());
        for report in &reports {
            let failed = handle(&self.delivering, [change(report)], self.now).await;
            assert!(failed.is_empty(), "{failed:?}");
            self.collect();
        }
        ids(&reports)
    }

    fn collect(&mut self) {
        let now = self.now;
        let posted = self.posted.take().into_iter();
        self.queue
            .extend(posted.map(|(delay, work)| (now + delay, work)));
    }

    /// Takes to the queue what the API has put there: what somebody has asked for.
    async fn called_for(&mut self) {
        let queued = self.system.queued().await.into_iter();
        // The others are known: functions have put them there.
        let asked = queued.filter(|work| match work {
            Work::Replay(_) => true,
            Work::Due(due) => due.at.is_none(),
            Work::Change(_) | Work::Call(_) | Work::Gathered(_) => false,
        });
        self.queue = asked.map(|work| (self.now, work)).collect();
        // A replay makes a schedule begin anew.
        let is_replay = |work: &Work| matches!(work, Work::Replay(_));
        self.queue.sort_by_key(|(_, work)| !is_replay(work));
    }

    /// Lets time go on until `end`.
    async fn until(&mut self, end: OffsetDateTime) {
        loop {
            self.queue.sort_by_key(|(at, _)| *at);
            let next = self.queue.first().map_or(self.round, |(at, _)| *at);
            if next.min(self.round) > end {
                self.now = end;
                return;
            }
            if next < self.round {
                let (at, work) = self.queue.remove(0);
                self.now = self.now.max(at);
                let began = Instant::now();
                let failed = handle(&self.delivering, [work], self.now).await;
                // What one batch makes due is due when the next one begins.
                self.now += began.elapsed();
                assert!(failed.is_empty(), "{failed:?}");
            } else {
                self.now = self.round;
                self.round += Duration::HOUR;
                let budget = retry_webhooks::BUDGET;
                retry_webhooks::round(&self.retrying, self.now, budget).await;
            }
            self.collect();
        }
    }

    async fn go_on(&mut self, by: Duration) {
        self.until(self.now + by).await;
    }

    /// When the receiver was called, in seconds from the start.
    fn called(&self) -> Vec<i64> {
        let at = |received: &Received| {
            let at: i64 = received.header("webhook-timestamp").parse().unwrap();
            at - self.start.unix_timestamp()
        };
        self.receiver.take().iter().map(at).collect()
    }

    /// That the receiver was called at once, and then after each of these waits.
    fn assert_waits(&self, waits: &[i64], what: &str) {
        let called = self.called();
        assert_eq!(called.len(), waits.len() + 1, "{what}: {called:?}");
        for (pair, wait) in called.windows(2).zip(waits) {
            let late = pair[1] - pair[0] - wait;
            assert!((-1..PRECISION).contains(&late), "{what}: {called:?}");
        }
    }
}

#[tokio::test]
async fn codescorings_ends_with_the_webhook_disabled_and_nothing_is_lost() {
    for (status, first_round) in [(404, 17), (503, 59), (500, 1)] {
        let what = format!("{status}, round after {first_round} min");
        let mut world = World::new(json!({"schedule": "codescoring"}), first_round).await;
        world.receiver.answer(Answer::Status(status));
        let mut reports = world.tell(1).await;
        world.go_on(hours(87)).await;
        assert_eq!(seen(&world.system, world.webhook).await["enabled"], true);
        world.go_on(hours(2)).await;
        world.assert_waits(&CODESCORING, &what);
        let disabled = seen(&world.system, world.webhook).await;
        assert_eq!(disabled["enabled"], false, "{what}");
        assert_eq!(disabled["disabledReason"], "retries_exhausted");

        // What happens meanwhile is held.
        reports.extend(world.tell(2).await);
        world.go_on(hours(100)).await;
        assert!(world.called().is_empty());
        let held = (DeliveryState::Held, 0);
        let expected = [(DeliveryState::Failed, 8), held, held];
        assert_eq!(states(&world.system, world.webhook).await, expected);

        // Enabled, it gets all of it, and the schedule of each begins anew.
        let path = format!("/webhooks/{}/enable", world.webhook.id);
        let enable = world.system.manage(world.org, "POST", &path, None).await;
        assert!(enable.status.is_success(), "{enable:?}");
        world.called_for().await;
        world.go_on(Duration::seconds(30)).await;
        assert!(!world.called().is_empty(), "{what}");
        assert_eq!(seen(&world.system, world.webhook).await["enabled"], true);
        world.receiver.answer(Answer::Status(200));
        world.go_on(hours(1)).await;
        assert_eq!(told(&world.receiver.take()), sorted(reports), "{what}");
    }
}

#[tokio::test]
async fn that_of_standard_webhooks_ends_with_the_delivery_failed_and_the_webhook_goes_on() {
    for (status, first_round) in [(404, 17), (503, 59)] {
        let what = format!("{status}, round after {first_round} min");
        let mut world = World::new(json!({"schedule": "standard"}), first_round).await;
        world.receiver.answer(Answer::Status(status));
        world.tell(1).await;
        world.go_on(hours(100)).await;
        world.assert_waits(&STANDARD, &what);
        let webhook = seen(&world.system, world.webhook).await;
        assert_eq!(webhook["enabled"], true, "{what}");
        let delivery = kept(&world.system, world.webhook).await.remove(0);
        assert_eq!(delivery.state, DeliveryState::Failed);
        assert_eq!(delivery.due_at, None);

        // What is new is tried, and after five days without a success the webhook is disabled.
        let new = world.tell(1).await;
        world.go_on(hours(19)).await;
        assert_eq!(told(&world.receiver.take())[0], new[0]);
        assert_eq!(seen(&world.system, world.webhook).await["enabled"], true);
        world.go_on(hours(13)).await;
        let disabled = seen(&world.system, world.webhook).await;
        assert_eq!(disabled["disabledReason"], "no_success", "{what}");
    }
}

#[tokio::test]
async fn a_delivery_that_was_given_up_is_sent_to_who_asks_for_it() {
    for action in ["redeliver", "replay", "enable"] {
        let mut world = World::new(json!({"schedule": "standard"}), 17).await;
        world.receiver.answer(Answer::Status(404));
        world.tell(1).await;
        world.go_on(hours(76)).await;
        assert_eq!(world.called().len(), 10);
        let (org, id) = (world.org, world.webhook.id);
        let manage = async |path: String, body: Option<Value>| {
            let reply = world.system.manage(org, "POST", &path, body).await;
            assert!(reply.status.is_success(), "{reply:?}");
        };
        match action {
            "redeliver" => {
                let delivery = kept(&world.system, world.webhook).await[0].id;
                manage(
                    format!("/webhooks/{id}/deliveries/{delivery}/redeliver"),
                    None,
                )
                .await;
            }
            "replay" => {
                let since = world.start - hours(1);
                let since = domain::date::timestamp(since);
                manage(
                    format!("/webhooks/{id}/replay"),
                    Some(json!({"since": since})),
                )
                .await;
            }
            _ => {
                manage(format!("/webhooks/{id}/disable"), None).await;
                manage(format!("/webhooks/{id}/enable"), None).await;
            }
        }
        world.called_for().await;
        // It fails once more, and the schedule begins anew.
        world.go_on(Duration::seconds(30)).await;
        assert_eq!(world.called().len(), 2, "{action}");
        world.receiver.answer(Answer::Status(200));
        world.go_on(hours(1)).await;
        assert_eq!(world.called().len(), 1, "{action}");
        let expected = [(DeliveryState::Delivered, 13)];
        assert_eq!(states(&world.system, world.webhook).await, expected);
    }
}

#[tokio::test]
async fn if_the_message_of_what_was_asked_for_is_lost_the_round_finds_it() {
    let mut world = World::new(json!({"schedule": "standard"}), 17).await;
    world.receiver.answer(Answer::Status(404));
    world.tell(1).await;
    world.go_on(hours(76)).await;
    assert_eq!(world.called().len(), 10);
    for action in ["disable", "enable"] {
        let path = format!("/webhooks/{}/{action}", world.webhook.id);
        let reply = world.system.manage(world.org, "POST", &path, None).await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    let mut works = world.system.queued().await;
    works.retain(|work| matches!(work, Work::Replay(_)));
    let failed = handle(&world.delivering, works, world.now).await;
    assert!(failed.is_empty(), "{failed:?}");
    // What the replay has put on the queue is lost.
    assert_eq!(world.posted.take().len(), 1);
    world.receiver.answer(Answer::Status(200));
    world.go_on(hours(1)).await;
    assert_eq!(world.called().len(), 1);
}

#[tokio::test]
async fn what_waits_for_a_receiver_that_is_down_comes_with_the_delivery_that_found_it_so() {
    for (schedule, waits) in [
        ("codescoring", &CODESCORING[..3]),
        ("standard", &STANDARD[..3]),
    ] {
        let mut world = World::new(json!({"schedule": schedule}), 50).await;
        world.receiver.answer(Answer::Status(503));
        let mut reports = world.tell(3).await;
        let minutes = Duration::minutes(35);
        world.go_on(minutes).await;
        let called = world.called();
        assert_eq!(called.len(), 3, "only the first is tried: {called:?}");
        // The pause is as long as the wait.
        let webhook = seen(&world.system, world.webhook).await;
        let paused: OffsetDateTime = OffsetDateTime::parse(
            webhook["pausedUntil"].as_str().unwrap(),
            &time::format_description::well_known::Rfc3339,
        )
        .unwrap();
        let wait = (paused - world.start).whole_seconds() - called[2];
        assert!((-1..PRECISION).contains(&(wait - waits[2])), "{wait}");

        reports.extend(world.tell(1).await);
        assert!(world.called().is_empty());
        world.receiver.answer(Answer::Status(200));
        world.go_on(minutes).await;
        assert_eq!(told(&world.receiver.take()), sorted(reports), "{schedule}");
    }
}

#[tokio::test]
async fn who_says_for_how_long_lengthens_a_wait_and_never_shortens_it() {
    let told_to_wait = |seconds: i64| Answer::Full {
        status: 429,
        headers: vec![("retry-after".to_owned(), seconds.to_string())],
        body: Bytes::new(),
    };
    for (schedule, says, waits) in [
        // Every one has hops, or none.
        (
            "codescoring",
            [7 * MINUTE, 10, 40 * MINUTE],
            [7 * MINUTE, 5 * MINUTE, 40 * MINUTE],
        ),
        (
            "standard",
            [2 * HOUR, 10, 31 * MINUTE],
            [2 * HOUR, 5 * MINUTE, 31 * MINUTE],
        ),
        (
            "hourly",
            [20 * MINUTE, 60, 59 * MINUTE],
            [20 * MINUTE, 60, 59 * MINUTE],
        ),
    ] {
        let mut world = World::new(json!({"schedule": schedule}), 58).await;
        world.receiver.answer_next(says.map(told_to_wait));
        world.tell(1).await;
        world.go_on(hours(5)).await;
        world.assert_waits(&waits, schedule);
        let expected = [(DeliveryState::Delivered, 4)];
        assert_eq!(states(&world.system, world.webhook).await, expected);
    }
}

#[tokio::test]
async fn what_the_queue_loses_the_next_round_finds() {
    for schedule in ["codescoring", "standard"] {
        let mut world = World::new(json!({"schedule": schedule}), 50).await;
        world.receiver.answer_next([404, 404].map(Answer::Status));
        world.tell(1).await;
        world.queue.clear();
        world.go_on(hours(3)).await;
        world.assert_waits(&[50 * MINUTE, 5 * MINUTE], schedule);
    }
}

#[tokio::test]
async fn another_schedule_begins_with_the_first_failure_under_it() {
    let mut world = World::new(json!({}), 50).await;
    world.receiver.answer(Answer::Status(404));
    world.tell(1).await;
    // More failures than any schedule has.
    world.go_on(hours(12)).await;
    assert!(world.called().len() > 10);
    let path = format!("/webhooks/{}", world.webhook.id);
    for schedule in ["standard", "hourly", "codescoring"] {
        let body = json!({"schedule": schedule});
        let reply = world.system.manage(world.org, "PATCH", &path, Some(body));
        assert_eq!(reply.await.json()["schedule"], schedule);
        let before = world.now;
        world.go_on(hours(2)).await;
        let waits: &[i64] = match schedule {
            "standard" => &STANDARD[..3],
            // It waits as it was told before, and for the next round.
            "hourly" => &[],
            _ => &CODESCORING[..3],
        };
        let called = world.called();
        assert_eq!(called.len(), waits.len() + 1, "{schedule}: {called:?}");
        assert!(called[0] >= (before - world.start).whole_seconds());
        for (pair, wait) in called.windows(2).zip(waits) {
            let late = pair[1] - pair[0] - wait;
            assert!((-1..PRECISION).contains(&late), "{schedule}: {called:?}");
        }
    }
    assert_eq!(seen(&world.system, world.webhook).await["enabled"], true);
}

/// What is not due yet says nothing of the receiver, and keeps nobody else from finding out.
#[tokio::test]
async fn a_delivery_that_waits_claims_no_probe() {
    let mut world = World::new(json!({"schedule": "codescoring"}), 50).await;
    world.receiver.answer(Answer::Status(503));
    world.tell(1).await;
    let now = world.now + Duration::minutes(2);
    let id = kept(&world.system, world.webhook).await[0].id;
    let later = [(id, now + Duration::minutes(20))];
    let [(work, _)] = Work::due_at(world.webhook, &later, now).try_into().unwrap();
    let before = seen(&world.system, world.webhook).await;
    let failed = handle(&world.delivering, [work.clone()], now).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(seen(&world.system, world.webhook).await, before);
    let posted = world.posted.take();
    let expected = (StdDuration::from_secs(900), work);
    assert_eq!(posted.last(), Some(&expected), "it hops");
}

/// A round's message says of fifty deliveries that they are due, and one of them has a message of its own.
#[tokio::test]
async fn two_messages_of_one_delivery_are_one_try() {
    let mut world = World::new(json!({"schedule": "codescoring"}), 50).await;
    world.receiver.answer(Answer::Status(404));
    world.tell(2).await;
    let now = world.now + Duration::minutes(2);
    let deliveries = kept(&world.system, world.webhook).await;
    let ids: Vec<_> = deliveries.iter().map(|it| it.id).collect();
    let round = Work::due(world.org, world.webhook.id, &ids);
    world.called();
    for (at, own) in [
        (now, now - Duration::MINUTE),
        (now + Duration::minutes(10), now + Duration::minutes(11)),
    ] {
        let own = Work::due_at(world.webhook, &[(ids[0], own)], now);
        let own = own.into_iter().map(|(work, _)| work);
        let works: Vec<Work> = own.chain(round.iter().cloned()).collect();
        let failed = handle(&world.delivering, works, at).await;
        assert!(failed.is_empty(), "each is tried once: {failed:?}");
        assert_eq!(
            world.called().len(),
            2,
            "what one message says is due does not wait"
        );
    }
}

#[tokio::test]
async fn a_stack_of_ones_own_keeps_a_schedule_many_times_as_fast() {
    let options = Options {
        retry_every: Some(StdDuration::from_secs(3600)),
        time_factor: 100_000,
        ..Options::default()
    };
    let (system, receiver) = (System::start_with(options).await, Receiver::start().await);
    let org = organization();
    let settings = json!({"name": "test", "url": receiver.url, "schedule": "codescoring"});
    let webhook = key(org, &system.webhook_with(org, settings).await);
    let publish = async |version| {
        system
            .publish(org, &metadata(version), &files(version))
            .await
    };
    // Failing, failing, success.
    receiver.answer_next([404, 404].map(Answer::Status));
    let first = publish("1.0.0").await;
    let received = receiver.wait_for(3).await;
    assert_eq!(told(&received), vec![first; 3]);
    receiver.take();

    // Exhausted, and disabled.
    receiver.answer(Answer::Status(404));
    let second = publish("2.0.0").await;
    receiver.wait_for(8).await;
    let disabled = async || {
        let webhook = seen(&system, webhook).await;
        (webhook["enabled"] == false).then_some(webhook)
    };
    let disabled = eventually("the webhook is disabled", disabled).await;
    assert_eq!(disabled["disabledReason"], "retries_exhausted");
    assert_eq!(receiver.take().len(), 8);
    let third = publish("3.0.0").await;
    let held = async || {
        let states = states(&system, webhook).await;
        (states.last()?.0 == DeliveryState::Held).then_some(())
    };
    eventually("what happens meanwhile is held", held).await;

    // Enabled, and all of it arrives.
    receiver.answer(Answer::Status(200));
    let path = format!("/webhooks/{}/enable", webhook.id);
    let reply = system.manage(org, "POST", &path, None).await;
    assert!(reply.status.is_success(), "{reply:?}");
    let received = receiver.wait_for(2).await;
    assert_eq!(told(&received), sorted(vec![second, third]));
}
