//! What failed is tried again, as the same message, at its time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use domain::delivery::{DeliveryId, DeliveryState};
use domain::webhook::WebhookKey;
use local::Options;
use outbound::address::AddressPolicy;
use outbound::sender::{Sender, SenderOptions};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use store::queue::work::Work;
use store::webhooks::Forgotten;
use tests::receiver::{Answer, Received, Receiver, assert_signed};
use tests::system::{System, organization, text};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{due, handle, hours, ids, kept, key, published, round, states, stored, tell};

/// The only delivery of a webhook as the API shows it.
async fn shown(system: &System, webhook: WebhookKey) -> Value {
    let id = kept(system, webhook).await[0].id;
    let path = format!("/webhooks/{}/deliveries/{id}", webhook.id);
    system.manage(webhook.org, "GET", &path, None).await.json()
}

fn date(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(&text(value), &Rfc3339).unwrap()
}

/// An answer with this header.
fn answer_with(status: u16, name: &str, value: &str) -> Answer {
    Answer::Full {
        status,
        headers: vec![(name.to_owned(), value.to_owned())],
        body: Bytes::new(),
    }
}

#[tokio::test]
async fn a_retry_is_the_same_message_signed_anew() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = system.webhook(org, &receiver.url).await;
        let mut report = stored(&system, org, 1).await.remove(0);
        receiver.answer_next([Answer::Status(status), Answer::Status(status)]);
        tell(&system, &report, start).await;
        // What is said of the report from now on is said in other messages.
        report.metadata.project_name = "Another name".to_owned();
        system.seed([report]).await;
        for hour in 1..=4 {
            round(&system, start + hours(hour)).await;
        }

        let received = receiver.take();
        assert_eq!(received.len(), 3, "two failures and a success");
        for (hour, attempt) in (0..).zip(&received) {
            assert_eq!(
                attempt.header("webhook-id"),
                received[0].header("webhook-id")
            );
            assert_eq!(attempt.body, received[0].body);
            let seconds: i64 = attempt.header("webhook-timestamp").parse().unwrap();
            let expected = (start + hours(hour)).unix_timestamp();
            assert!((0..60).contains(&(seconds - expected)), "{hour}: {seconds}");
            assert_signed(attempt, &text(&webhook["secret"]));
        }
        let expected = [(DeliveryState::Delivered, 3)];
        assert_eq!(states(&system, key(org, &webhook)).await, expected);
    }
}

#[tokio::test]
async fn nothing_is_tried_before_it_is_due() {
    for status in [404, 500] {
        let (system, receiver) = (System::start().await, Receiver::start().await);
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = system.webhook(org, &receiver.url).await;
        let webhook = key(org, &webhook);
        receiver.answer(Answer::Status(status));
        let report = &stored(&system, org, 1).await[0];
        tell(&system, report, start).await;
        let delivery = kept(&system, webhook).await[0].id;
        receiver.take();

        let minutes = |count| start + Duration::minutes(count);
        for count in [0, 1, 49] {
            round(&system, minutes(count)).await;
            // Also not when a message comes again, or the change itself.
            let works = [due(webhook, &[delivery]), Work::change(published(report))];
            let failed = handle(&system.stack.delivering, works, minutes(count)).await;
            assert!(failed.is_empty());
            assert!(receiver.take().is_empty(), "{status}: {count} minutes");
        }
        // An hourly round does not miss it, however long the attempt took.
        round(&system, minutes(55)).await;
        assert_eq!(receiver.take().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn every_status_but_2xx_is_a_failure_that_is_recorded() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let elsewhere = Receiver::start().await;
    let start = OffsetDateTime::now_utc();
    let location = elsewhere.url.clone();
    // The beginning of a long body of two-byte characters, cut in the midst of one.
    let body = format!("x{}", "ä".repeat(4000));
    receiver.answer_by(move |received: &Received| {
        let status = received.path[1..].parse().unwrap();
        match status {
            300..400 => Answer::Redirect {
                status,
                location: location.clone(),
            },
            _ => Answer::Full {
                status,
                headers: Vec::new(),
                body: body.clone().into(),
            },
        }
    });
    for status in [
        300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 413, 422, 429, 500, 502, 503,
        504,
    ] {
        let org = organization();
        let webhook = system
            .webhook(org, &format!("{}{status}", receiver.url))
            .await;
        let webhook = key(org, &webhook);
        tell(&system, &stored(&system, org, 1).await[0], start).await;
        assert_eq!(receiver.take().len(), 1, "{status}");

        let shown = shown(&system, webhook).await;
        assert_eq!(shown["state"], "failed", "{status}");
        assert_eq!(shown["attemptCount"], 1);
        assert_eq!(shown["lastAttempt"]["status"], status);
        assert_eq!(shown["lastAttempt"]["error"], "status");
        let attempts = shown["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1);
        let attempt = &attempts[0];
        assert_eq!(
            (&attempt["number"], &attempt["status"]),
            (&json!(1), &json!(status))
        );
        assert_eq!(attempt["error"]["kind"], "status");
        let message = text(&attempt["error"]["message"]);
        assert!(message.contains(&status.to_string()), "{message}");
        assert_eq!(attempt["at"], shown["lastAttempt"]["at"]);
        assert_eq!(attempt["durationMs"], shown["lastAttempt"]["durationMs"]);
        assert!((start..start + Duration::minutes(1)).contains(&date(&attempt["at"])));
        assert!(attempt["durationMs"].as_u64().unwrap() < 60_000);
        let response = text(&attempt["response"]);
        if status < 400 {
            assert_eq!(response, "");
        } else {
            // The 4,096th byte is the first half of a character.
            assert_eq!(
                response,
                format!("x{}", "ä".repeat(2047)),
                "{}",
                response.len()
            );
        }
        let due_at = date(&shown["dueAt"]);
        let usual = start + Duration::minutes(50);
        assert!(
            (usual..usual + Duration::minutes(1)).contains(&due_at),
            "{due_at}"
        );
    }
    assert!(elsewhere.take().is_empty(), "no redirect is followed");
}

#[tokio::test]
async fn every_2xx_is_success() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let start = OffsetDateTime::now_utc();
    for status in [200, 201, 202, 204, 226] {
        receiver.answer(Answer::Status(status));
        let org = organization();
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        tell(&system, &stored(&system, org, 1).await[0], start).await;
        let shown = shown(&system, webhook).await;
        assert_eq!(shown["state"], "delivered", "{status}");
        assert_eq!(shown["lastAttempt"]["status"], status);
        assert!(shown["lastAttempt"].get("error").is_none() && shown.get("dueAt").is_none());
        assert!(shown["attempts"][0].get("error").is_none());
    }
}

/// A resolver that knows one name, whose address is private.
struct OnePrivateName;

impl Resolve for OnePrivateName {
    fn resolve(&self, name: Name) -> Resolving {
        let is_known = name.as_str() == "inside.example";
        Box::pin(async move {
            if !is_known {
                return Err("nobody knows it".into());
            }
            let addresses: Addrs = Box::new(std::iter::once(SocketAddr::from(([10, 0, 0, 1], 0))));
            Ok(addresses)
        })
    }
}

/// Lets a webhook have a URL that could not be given to the API.
async fn point(system: &System, webhook: WebhookKey, url: &str) {
    let webhooks = &system.stack.tables.webhooks;
    let mut webhook = webhooks.get(webhook).await.unwrap().unwrap();
    webhook.settings.url = url.parse().unwrap();
    webhook.revision += 1;
    webhooks
        .replace(&webhook, Forgotten::Nothing, None, None)
        .await
        .unwrap();
}

/// Answers everything in plain HTTP, also a greeting of TLS.
async fn without_tls() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 16 * 1024];
            let _ = stream.read(&mut greeting).await;
            let _ = stream.write_all(b"HTTP/1.1 400 \r\n\r\n").await;
        }
    });
    format!("https://{address}/")
}

#[tokio::test]
async fn every_kind_of_failure_is_recorded_and_tried_again() {
    let deadline = StdDuration::from_millis(300);
    let options = Options {
        delivery_deadline: deadline,
        ..Options::default()
    };
    let mut system = System::start_with(options).await;
    let options = SenderOptions {
        addresses: AddressPolicy::PublicAndLoopback,
        plain_http: true,
        deadline,
    };
    system.stack.delivering.sender =
        Sender::with_resolver(options, Arc::new(OnePrivateName)).unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_by(|received| match received.path.as_str() {
        "/before" => Answer::CloseBeforeHead,
        "/head" => Answer::CloseInHead,
        "/silence" => Answer::Silence,
        "/trickle-head" => Answer::TrickleHead,
        _ => Answer::Status(418),
    });
    let of = |path: &str| format!("{}{path}", receiver.url);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody_url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let cases = [
        ("http://outside.example/".to_owned(), "dns", None),
        ("http://inside.example/".to_owned(), "address_refused", None),
        ("http://10.0.0.1/".to_owned(), "address_refused", None),
        (
            "http://169.254.169.254/latest".to_owned(),
            "address_refused",
            None,
        ),
        (nobody_url, "connect", None),
        (of("before"), "connect", None),
        (of("head"), "connect", None),
        (without_tls().await, "tls", None),
        (of("silence"), "timeout", None),
        (of("trickle-head"), "timeout", None),
        (of("status"), "status", Some(418)),
    ];
    let start = OffsetDateTime::now_utc();
    for (url, kind, status) in cases {
        let org = organization();
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        point(&system, webhook, &url).await;
        tell(&system, &stored(&system, org, 1).await[0], start).await;
        // The address that nobody has may have somebody by now.
        let shown = shown(&system, webhook).await;
        let attempt = &shown["attempts"][0];
        assert_eq!(attempt["error"]["kind"], kind, "{url}: {shown}");
        assert_eq!(
            attempt.get("status").and_then(Value::as_u64),
            status,
            "{url}"
        );
        assert!(!text(&attempt["error"]["message"]).is_empty());
        assert_eq!(attempt.get("response").is_some(), status.is_some(), "{url}");
        assert_eq!(shown["lastAttempt"]["error"], kind);
        assert_eq!(
            (&shown["state"], &shown["attemptCount"]),
            (&json!("failed"), &json!(1))
        );
        let milliseconds = attempt["durationMs"].as_u64().unwrap();
        assert_eq!(
            milliseconds >= 300,
            kind == "timeout",
            "{url}: {milliseconds}"
        );
        assert!(milliseconds < 5000, "{url}: {milliseconds}");
        assert_eq!(
            attempt["requestHeaders"]["x-sonarqube-project"],
            "project-0"
        );

        point(&system, webhook, &of("status")).await;
        receiver.take();
        round(&system, start + hours(1)).await;
        assert_eq!(receiver.take().len(), 1, "{url}");
        assert_eq!(states(&system, webhook).await, [(DeliveryState::Failed, 2)]);
    }
}

#[tokio::test]
async fn the_latest_25_of_30_attempts_are_kept() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    for attempts in 1..30_u32 {
        // At the limit, one is forgotten for each that comes.
        if matches!(attempts, 24..=26) {
            let numbers = numbers(&shown(&system, webhook).await);
            assert_eq!(
                numbers,
                Vec::from_iter(attempts.saturating_sub(25) + 1..=attempts)
            );
        }
        round(&system, start + hours(attempts.into())).await;
    }
    let shown = shown(&system, webhook).await;
    assert_eq!(shown["attemptCount"], 30);
    assert_eq!(numbers(&shown), Vec::from_iter(6..=30));
    let last = &shown["attempts"][24];
    assert_eq!(last["at"], shown["lastAttempt"]["at"]);
    let begun = start + hours(29);
    assert!((begun..begun + Duration::minutes(1)).contains(&date(&last["at"])));
    let received = receiver.take();
    let ids: BTreeSet<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    assert_eq!((received.len(), ids.len()), (30, 1));
}

fn numbers(delivery: &Value) -> Vec<u32> {
    let attempts = delivery["attempts"].as_array().unwrap().iter();
    let number = |attempt: &Value| u32::try_from(attempt["number"].as_u64().unwrap()).unwrap();
    attempts.map(number).collect()
}

/// A date as HTTP has it (RFC 9110, section 5.6.7).
fn http_date(date: OffsetDateTime) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    date.format(format).unwrap()
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let start = OffsetDateTime::now_utc();
    let date = |at: OffsetDateTime| Some(http_date(at));
    let seconds = |count: u32| Some(count.to_string());
    // After how many minutes nothing may be sent, and after how many it is.
    let cases = [
        (429, seconds(7200), 119, 121),
        (503, seconds(7200), 119, 121),
        (429, date(start + hours(3)), 179, 181),
        (503, date(start + hours(3)), 179, 181),
        // A day is the longest.
        (429, seconds(1_000_000), 24 * 60 - 1, 24 * 60 + 1),
        (503, date(start + hours(1000)), 24 * 60 - 1, 24 * 60 + 1),
        // Without it, it is as for every other status.
        (429, None, 49, 51),
        (503, None, 49, 51),
        (429, Some("soon".to_owned()), 49, 51),
        // A shorter time than usual is honoured too.
        (503, seconds(600), 9, 11),
        (429, seconds(0), -1, 1),
        (503, date(start - hours(1)), -1, 1),
        // Who answers otherwise does not ask.
        (502, seconds(7200), 49, 51),
        (504, seconds(7200), 49, 51),
    ];
    let (system, receiver) = (System::start().await, Receiver::start().await);
    for (status, value, not_yet, then) in cases {
        let case = format!("{status} {value:?}");
        let org = organization();
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 2).await;
        receiver.answer(match &value {
            Some(value) => answer_with(status, "retry-after", value),
            None => Answer::Status(status),
        });
        tell(&system, &reports[0], start).await;
        assert_eq!(receiver.take().len(), 1, "{case}");
        receiver.answer(Answer::Status(200));

        let minutes = |count| start + Duration::minutes(count);
        if not_yet > 0 {
            tell(&system, &reports[1], minutes(not_yet)).await;
            round(&system, minutes(not_yet)).await;
            assert!(receiver.take().is_empty(), "{case}: too early");
            let expected = [(DeliveryState::Failed, 1), (DeliveryState::Pending, 0)];
            assert_eq!(states(&system, webhook).await, expected, "{case}");
        }
        round(&system, minutes(then)).await;
        let count = if not_yet > 0 { 2 } else { 1 };
        assert_eq!(receiver.take().len(), count, "{case}: not in time");
        let states = states(&system, webhook).await;
        assert!(
            states
                .iter()
                .all(|(state, _)| *state == DeliveryState::Delivered),
            "{case}"
        );
    }
}

/// Whether what the receiver said last is still so depends on whether it asked to be left alone.
#[tokio::test]
async fn a_success_that_was_under_way_ends_a_pause_but_no_wish_to_be_left_alone() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let cases = [(429, true), (503, true), (429, false), (503, false)];
    for ((status, is_wish), in_one_batch) in
        cases.into_iter().flat_map(|it| [(it, true), (it, false)])
    {
        let (org, start) = (organization(), OffsetDateTime::now_utc());
        let webhook = key(org, &system.webhook(org, &receiver.url).await);
        let reports = stored(&system, org, 3).await;
        receiver.answer(Answer::Status(404));
        for report in &reports[..2] {
            tell(&system, report, start - hours(1)).await;
        }
        receiver.take();
        let deliveries = kept(&system, webhook).await;
        let ids: Vec<DeliveryId> = deliveries.iter().map(|it| it.id).collect();
        let permits = Arc::new(Semaphore::new(0));
        let busy = match is_wish {
            true => answer_with(status, "retry-after", "7200"),
            false => Answer::Status(status),
        };
        receiver.answer(Answer::Status(200));
        receiver.answer_next([Answer::Hold(Arc::clone(&permits)), busy]);
        let delivering = system.stack.delivering.clone();
        let (first, second) = if in_one_batch {
            (&ids[..], &[][..])
        } else {
            ids.split_at(1)
        };
        let works = [due(webhook, first)];
        let running = tokio::spawn(async move { handle(&delivering, works, start).await });
        if !in_one_batch {
            receiver.wait_for(1).await;
            let works = [due(webhook, second)];
            assert!(
                handle(&system.stack.delivering, works, start)
                    .await
                    .is_empty()
            );
        }
        let is_paused = async || {
            let seen = system.webhook_now(org, &json!(webhook.id)).await;
            seen.get("pausedUntil").is_some()
        };
        // The other one is answered, and that is noted.
        while !is_paused().await {}
        permits.add_permits(1);
        assert!(running.await.unwrap().is_empty());
        assert_eq!(receiver.take().len(), 2);
        assert_eq!(is_paused().await, is_wish, "{status}");

        let minutes = |count| start + Duration::minutes(count);
        tell(&system, &reports[2], minutes(119)).await;
        assert_eq!(receiver.take().is_empty(), is_wish, "{status}");
        round(&system, minutes(119)).await;
        assert_eq!(receiver.take().is_empty(), is_wish, "{status}");
        round(&system, minutes(121)).await;
        assert_eq!(
            receiver.take().len(),
            if is_wish { 2 } else { 0 },
            "{status}"
        );
        let states = states(&system, webhook).await;
        assert!(
            states
                .iter()
                .all(|(state, _)| *state == DeliveryState::Delivered),
            "{status}"
        );
    }
}

/// An error of its own may be because of one message.
#[tokio::test]
async fn a_500_asks_for_nothing() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 2).await;
    receiver.answer_next([answer_with(500, "retry-after", "7200")]);
    tell(&system, &reports[0], start).await;
    tell(&system, &reports[1], start + Duration::minutes(49)).await;
    round(&system, start + Duration::minutes(49)).await;
    let told: Vec<String> = receiver
        .take()
        .iter()
        .flat_map(Received::report_ids)
        .collect();
    assert_eq!(told, ids(&reports));
    round(&system, start + Duration::minutes(51)).await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 2), (DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn what_is_delivered_is_never_sent_again() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let report = &stored(&system, org, 1).await[0];
    tell(&system, report, start).await;
    assert_eq!(receiver.take().len(), 1);
    let delivery = kept(&system, webhook).await[0].id;
    for hour in [0, 1, 2, 24] {
        let now = start + hours(hour);
        let works = [due(webhook, &[delivery]), Work::change(published(report))];
        assert!(
            handle(&system.stack.delivering, works, now)
                .await
                .is_empty()
        );
        tell(&system, report, now).await;
        let made = round(&system, now).await;
        assert_eq!(made, retry_webhooks::Round::default());
    }
    assert!(receiver.take().is_empty());
    assert_eq!(
        states(&system, webhook).await,
        [(DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn after_30_days_it_is_not_tried_any_more() {
    let (mut system, receiver) = (System::start().await, Receiver::start().await);
    system.stack.delivering.limits.disable_after = StdDuration::from_secs(100 * 24 * 3600);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(Answer::Status(404));
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    receiver.take();
    round(&system, start + Duration::days(30) - hours(2)).await;
    assert_eq!(receiver.take().len(), 1);
    let delivery = kept(&system, webhook).await[0].id;
    round(&system, start + Duration::days(30) + hours(1)).await;
    let works = [due(webhook, &[delivery])];
    let late = start + Duration::days(31);
    assert!(
        handle(&system.stack.delivering, works, late)
            .await
            .is_empty()
    );
    assert!(receiver.take().is_empty());
    assert!(states(&system, webhook).await.is_empty(), "it is forgotten");
}

/// The messages that come from the queue within 20 s, which is the longest that it waits for one.
async fn awaited(system: &System) -> Vec<Work> {
    let receive = system.stack.sqs.receive_message();
    let receive = receive
        .queue_url(system.stack.events_queue())
        .wait_time_seconds(20);
    let messages = receive.send().await.unwrap().messages.unwrap_or_default();
    let work = |body: Option<String>| Work::from_json(&body.unwrap()).unwrap();
    messages.into_iter().map(|it| work(it.body)).collect()
}

#[tokio::test]
async fn a_receiver_that_says_for_how_long_is_called_as_soon_as_that_is_over() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    let reports = stored(&system, org, 3).await;
    receiver.answer(answer_with(429, "retry-after", "1"));
    tell(&system, &reports[0], start).await;
    for report in &reports[1..] {
        tell(&system, report, start).await;
    }
    assert_eq!(receiver.take().len(), 1, "it is left alone");
    receiver.answer(Answer::Status(200));

    let came = awaited(&system).await;
    let kept = kept(&system, webhook).await;
    let first = kept.iter().find(|it| it.attempts == 1).unwrap().id;
    let [Work::Due(call)] = came.as_slice() else {
        panic!("one message calls it again: {came:?}");
    };
    assert_eq!(
        (call.webhook, call.due.as_slice()),
        (webhook.id, &[first][..])
    );
    // Not sooner than in five seconds: it must not say how much work there is.
    let later = start + Duration::seconds(10);
    let failed = handle(&system.stack.delivering, came, later).await;
    assert!(failed.is_empty(), "{failed:?}");
    crate::support::deliver(&system, later).await;
    assert_eq!(receiver.take().len(), 3, "and all that waits follows");
}

#[tokio::test]
async fn a_wait_of_more_than_an_hour_ends_with_a_round() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    system.webhook(org, &receiver.url).await;
    let delayed = async || {
        let attributes = system.stack.sqs.get_queue_attributes();
        let name = QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let attributes = attributes
            .queue_url(system.stack.events_queue())
            .attribute_names(name.clone());
        attributes.send().await.unwrap().attributes.unwrap()[&name].clone()
    };
    let reports = stored(&system, org, 2).await;
    receiver.answer(answer_with(429, "retry-after", "3660"));
    tell(&system, &reports[0], start).await;
    assert_eq!(delayed().await, "0");
    let over = start + Duration::seconds(3661);
    receiver.answer(answer_with(429, "retry-after", "3600"));
    tell(&system, &reports[1], over).await;
    assert_eq!(delayed().await, "1");
}

#[tokio::test]
async fn a_receiver_that_says_it_for_ever_is_left_to_the_rounds() {
    let (system, receiver) = (System::start().await, Receiver::start().await);
    let (org, start) = (organization(), OffsetDateTime::now_utc());
    let webhook = key(org, &system.webhook(org, &receiver.url).await);
    receiver.answer(answer_with(429, "retry-after", "0"));
    tell(&system, &stored(&system, org, 1).await[0], start).await;
    let delivery = kept(&system, webhook).await[0].id;
    for attempt in 2..=25 {
        let due = Work::due(org, webhook.id, &[delivery]);
        let now = start + Duration::seconds(attempt);
        let failed = handle(&system.stack.delivering, due, now).await;
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert_eq!(receiver.take().len(), 25);
    let names = [
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        QueueAttributeName::ApproximateNumberOfMessages,
    ];
    let attributes = system.stack.sqs.get_queue_attributes();
    let attributes = attributes
        .queue_url(system.stack.events_queue())
        .set_attribute_names(Some(names.to_vec()));
    let attributes = attributes.send().await.unwrap().attributes.unwrap();
    let calls = names
        .iter()
        .map(|name| attributes[name].parse::<u32>().unwrap());
    assert_eq!(calls.sum::<u32>(), 20);
}
