//! Deliveries: listed and shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use domain::delivery::DeliveryState;
use domain::organization::OrganizationId;
use domain::token::Right;
use domain::webhook::WebhookKey;
use identity::Role;
use manage_webhooks::Managing;
use reqwest::StatusCode;
use serde_json::{Value, json};
use store::deliveries::DeliveryStore;
use tests::receiver::{Answer, Received, Receiver};
use tests::samples::{files, metadata};
use tests::system::{System, organization, text};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::{Stage, assert_refused, assert_wrong, expect, manage_through, store_delivery};

const MILLISECOND: Duration = Duration::MILLISECOND;

/// A webhook that is told of nothing by itself.
async fn webhook(system: &System, org: OrganizationId) -> WebhookKey {
    let webhook = system.webhook(org, "http://127.0.0.1:9/").await;
    let id = text(&webhook["id"]).parse().unwrap();
    WebhookKey { org, id }
}

/// Stores a delivery that was never tried, and gives its id.
async fn store(
    system: &System,
    webhook: WebhookKey,
    state: DeliveryState,
    at: OffsetDateTime,
) -> String {
    store_delivery(system, webhook, state, at, None).await
}

/// The time, in whole milliseconds: that is how exactly deliveries are found.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().truncate_to_millisecond()
}

fn list_path(webhook: WebhookKey, query: &str) -> String {
    format!("/webhooks/{}/deliveries?{query}", webhook.id)
}

async fn page(system: &System, webhook: WebhookKey, query: &str) -> Value {
    let path = list_path(webhook, query);
    let reply = system.manage(webhook.org, "GET", &path, None).await;
    expect(&reply, StatusCode::OK)
}

fn ids(page: &Value) -> Vec<String> {
    let deliveries = page["deliveries"].as_array().unwrap();
    deliveries.iter().map(|it| text(&it["id"])).collect()
}

fn date(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn pages_have_every_delivery_once_the_newest_first_while_others_come() {
    let system = System::start().await;
    let webhook = webhook(&system, organization()).await;
    let begin = now() - Duration::HOUR;
    let mut expected = Vec::new();
    for number in 0..25 {
        let at = begin + Duration::MINUTE * number;
        expected.insert(0, store(&system, webhook, DeliveryState::Failed, at).await);
    }
    for filter in ["", "&state=failed", &format!("&since={}", date(begin))] {
        for limit in [1, 7, 25, 1000] {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = page(&system, webhook, &format!("limit={limit}{filter}{cursor}")).await;
                let ids = ids(&page);
                assert!((1..=limit).contains(&ids.len()));
                found.extend(ids);
                assert!(found.len() <= 100, "the list does not go on");
                if limit == 7 {
                    store(&system, webhook, DeliveryState::Failed, now()).await;
                }
                match page.get("nextCursor") {
                    None => break,
                    Some(next) => cursor = format!("&cursor={}", text(next)),
                }
            }
            // Of those that came in between only those are seen that came before the first page.
            let begin = found.len() - expected.len();
            assert_eq!(found[begin..], expected, "{limit} {filter}");
            let distinct: BTreeSet<_> = found.iter().collect();
            assert_eq!(distinct.len(), found.len());
        }
    }
}

#[tokio::test]
async fn a_page_of_what_is_delivered_may_come_short_and_goes_on() {
    let system = System::start().await;
    let webhook = webhook(&system, organization()).await;
    let begin = now() - Duration::HOUR;
    let mut expected = Vec::new();
    for number in 0..3 {
        let at = begin + Duration::SECOND * number;
        expected.insert(
            0,
            store(&system, webhook, DeliveryState::Delivered, at).await,
        );
    }
    // So many are read for a page at the most.
    for number in 0..1050 {
        let at = begin + Duration::MINUTE + Duration::MILLISECOND * number;
        store(&system, webhook, DeliveryState::Failed, at).await;
    }
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = page(
            &system,
            webhook,
            &format!("state=delivered&limit=2{cursor}"),
        )
        .await;
        let ids = ids(&page);
        pages.push(ids.len());
        assert!(pages.len() <= 3, "the list does not go on");
        found.extend(ids);
        match page.get("nextCursor") {
            None => break,
            Some(next) => cursor = format!("&cursor={}", text(next)),
        }
    }
    assert_eq!(found, expected);
    assert_eq!(pages, [0, 2, 1]);
    // And what is replayed is found behind the others too.
    let replay = json!({"states": ["delivered"], "dryRun": true});
    let path = format!("/webhooks/{}/replay", webhook.id);
    let counted = system
        .manage(webhook.org, "POST", &path, Some(replay))
        .await;
    let expected = json!({"count": 3, "hasMore": false, "dryRun": true});
    assert_eq!(counted.json(), expected);
}

#[tokio::test]
async fn a_page_has_a_hundred_unless_another_limit_is_asked_for() {
    let system = System::start().await;
    let webhook = webhook(&system, organization()).await;
    for number in 0..101 {
        let at = now() - Duration::SECOND * number;
        store(&system, webhook, DeliveryState::Failed, at).await;
    }
    let first = page(&system, webhook, "").await;
    assert_eq!(ids(&first).len(), 100);
    let cursor = text(&first["nextCursor"]);
    let second = page(&system, webhook, &format!("cursor={cursor}&limit=5")).await;
    assert_eq!(
        ids(&second).len(),
        1,
        "the limit may change from page to page"
    );
    assert!(second.get("nextCursor").is_none());
    let all = page(&system, webhook, "limit=101").await;
    assert!(all.get("nextCursor").is_none());
}

#[tokio::test]
async fn a_state_selects_the_deliveries_in_it() {
    let system = System::start().await;
    let webhook = webhook(&system, organization()).await;
    let mut of_state = Vec::new();
    for (number, state) in (0..).zip(DeliveryState::ALL) {
        let mut ids = Vec::new();
        for turn in 0..2 {
            let at = now() - Duration::MINUTE * (10 * turn + number);
            ids.push(store(&system, webhook, state, at).await);
        }
        of_state.push((state, ids));
    }
    for (state, expected) in of_state {
        let page = page(&system, webhook, &format!("state={}", state.as_str())).await;
        assert_eq!(ids(&page), expected, "{state:?}");
        for delivery in page["deliveries"].as_array().unwrap() {
            assert_eq!(delivery["state"], state.as_str());
        }
    }
    assert_eq!(ids(&page(&system, webhook, "").await).len(), 10);
}

#[tokio::test]
async fn since_is_the_first_moment_and_until_the_first_one_beyond() {
    let system = System::start().await;
    let webhook = webhook(&system, organization()).await;
    let at = now() - Duration::HOUR;
    let mut ids_of = Vec::new();
    for number in 0..3 {
        let at = at + MILLISECOND * number;
        ids_of.push(store(&system, webhook, DeliveryState::Held, at).await);
    }
    ids_of.reverse();
    let [one, two] = [1, 2].map(|number| date(at + MILLISECOND * number));
    let day = Duration::DAY;
    let offset = date((at + MILLISECOND).to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap()));
    for state in ["", "&state=held"] {
        for (query, expected) in [
            (format!("since={one}"), &ids_of[..2]),
            (format!("until={one}"), &ids_of[2..]),
            (format!("since={one}&until={two}"), &ids_of[1..2]),
            (format!("since={one}&until={one}"), &[]),
            (format!("since={two}&until={one}"), &[]),
            (
                format!("since={}", offset.replace('+', "%2B")),
                &ids_of[..2],
            ),
            (format!("since={}", date(at - day * 1000)), &ids_of[..]),
            (format!("since={}", date(at + day)), &[]),
            (format!("until={}", date(at - day * 1000)), &[]),
            (
                "since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z".to_owned(),
                &ids_of[..],
            ),
        ] {
            let page = page(&system, webhook, &format!("{query}{state}")).await;
            assert_eq!(ids(&page), expected, "{query}{state}");
        }
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_the_query_is_refused() {
    let system = System::start().await;
    let org = organization();
    let (one, other) = (webhook(&system, org).await, webhook(&system, org).await);
    for webhook in [one, other] {
        for _ in 0..2 {
            store(&system, webhook, DeliveryState::Failed, now()).await;
        }
    }
    let cursor = text(&page(&system, one, "limit=1").await["nextCursor"]);
    let by_state = text(&page(&system, one, "limit=1&state=failed").await["nextCursor"]);
    for (query, code, parameter) in [
        ("state=gone", "invalid_state", "state"),
        ("state=", "invalid_state", "state"),
        ("state=Failed", "invalid_state", "state"),
        ("state=failed&state=held", "duplicate_parameter", "state"),
        ("since=yesterday", "invalid_date", "since"),
        ("since=", "invalid_date", "since"),
        ("since=2025-01-01T00:00:00", "invalid_date", "since"),
        ("since=2025-01-01T00:00:00+00:00", "invalid_date", "since"),
        ("until=2025-02-30T00:00:00Z", "invalid_date", "until"),
        (
            "until=2025-01-01T00:00:00Z&until=2025-01-01T00:00:00Z",
            "duplicate_parameter",
            "until",
        ),
        ("limit=0", "invalid_limit", "limit"),
        ("limit=1001", "invalid_limit", "limit"),
        ("limit=-1", "invalid_limit", "limit"),
        ("limit=", "invalid_limit", "limit"),
        ("limit=99999999999999999999", "invalid_limit", "limit"),
        ("cursor=", "invalid_cursor", "cursor"),
        ("cursor=AAAA", "invalid_cursor", "cursor"),
        (
            &format!("cursor={cursor}&state=failed"),
            "invalid_cursor",
            "cursor",
        ),
        (
            &format!("cursor={cursor}&since=2025-01-01T00:00:00Z"),
            "invalid_cursor",
            "cursor",
        ),
        (
            &format!("cursor={cursor}&until=2099-01-01T00:00:00Z"),
            "invalid_cursor",
            "cursor",
        ),
        (&format!("cursor={by_state}"), "invalid_cursor", "cursor"),
        (&format!("cursor={cursor}A"), "invalid_cursor", "cursor"),
        ("status=failed", "unknown_parameter", "status"),
    ] {
        let reply = system
            .manage(org, "GET", &list_path(one, query), None)
            .await;
        assert_wrong(&reply, code, parameter);
    }
    let query = format!("cursor={cursor}");
    let of_other = system
        .manage(org, "GET", &list_path(other, &query), None)
        .await;
    assert_wrong(&of_other, "invalid_cursor", "cursor");
    assert_eq!(ids(&page(&system, one, &query).await).len(), 1);
}

#[tokio::test]
async fn a_delivery_is_not_there_any_more_after_thirty_days() {
    let system = System::start().await;
    let org = organization();
    let webhook = webhook(&system, org).await;
    let age = Duration::days(30);
    let kept = now() - age + Duration::HOUR;
    let kept = store(&system, webhook, DeliveryState::Failed, kept).await;
    let over = now() - age - Duration::SECOND;
    let over = store(&system, webhook, DeliveryState::Failed, over).await;
    for query in ["", "state=failed", "since=2020-01-01T00:00:00Z"] {
        let page = page(&system, webhook, query).await;
        assert_eq!(ids(&page), [kept.as_str()], "{query}");
    }
    for (id, is_there) in [(&kept, true), (&over, false)] {
        let path = format!("/webhooks/{}/deliveries/{id}", webhook.id);
        let reply = system.manage(org, "GET", &path, None).await;
        let redelivered = system
            .manage(org, "POST", &format!("{path}/redeliver"), None)
            .await;
        if is_there {
            expect(&reply, StatusCode::OK);
            expect(&redelivered, StatusCode::ACCEPTED);
        } else {
            assert_refused(&reply, 404, "delivery_not_found");
            assert_refused(&redelivered, 404, "delivery_not_found");
        }
    }
}

#[tokio::test]
async fn a_latest_delivery_is_not_there_any_more_after_thirty_days_either() {
    let system = System::start().await;
    let org = organization();
    let webhook = webhook(&system, org).await;
    let over = now() - Duration::days(30) - Duration::SECOND;
    store(&system, webhook, DeliveryState::Failed, over).await;
    let shown = system
        .webhook_now(org, &json!(webhook.id.to_string()))
        .await;
    assert!(shown.get("latestDelivery").is_none(), "{shown}");
    let list = system.manage(org, "GET", "/webhooks", None).await.json();
    assert!(
        list["webhooks"][0].get("latestDelivery").is_none(),
        "{list}"
    );
}

/// Counts the items that queries read, whether they give them or not.
#[derive(Clone, Debug, Default)]
struct ItemsRead(Arc<AtomicU64>);

impl Intercept for ItemsRead {
    fn name(&self) -> &'static str {
        "ItemsRead"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body: Value = serde_json::from_slice(context.response().body().bytes().unwrap())?;
        if let Some(items) = body["ScannedCount"].as_u64() {
            self.0.fetch_add(items, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// *Invariant:* reading a page costs what the page holds, not what the webhook has.
#[tokio::test]
async fn a_page_costs_the_same_among_few_and_among_many() {
    let system = System::start().await;
    let org = organization();
    let (few, many) = (webhook(&system, org).await, webhook(&system, org).await);
    let begin = now();
    for (webhook, count) in [(few, 20), (many, 400)] {
        for number in 0..count {
            let at = begin - Duration::SECOND * number;
            store(&system, webhook, DeliveryState::Failed, at).await;
            if webhook == many {
                store(&system, webhook, DeliveryState::Delivered, at).await;
            }
        }
    }
    let items = ItemsRead::default();
    let config = system.stack.clients["ManageWebhooks"]
        .dynamodb
        .config()
        .to_builder();
    let client = Client::from_conf(config.interceptor(items.clone()).build());
    let managing = Managing {
        deliveries: DeliveryStore::new(client, "DeliveriesTable"),
        ..system.stack.managing.clone()
    };
    let until = date(begin - Duration::SECOND * 4);
    for query in [
        "limit=10",
        "limit=10&state=failed",
        &format!("limit=10&until={until}"),
    ] {
        for webhook in [few, many] {
            items.0.store(0, Ordering::Relaxed);
            let path = list_path(webhook, query);
            let reply = manage_through(&system, &managing, org, ("GET", &path), None).await;
            assert_eq!(ids(&reply.json()).len(), 10);
            // One more tells whether there is another page.
            assert_eq!(items.0.load(Ordering::Relaxed), 11, "{query}");
        }
    }
}

#[tokio::test]
async fn who_may_only_look_sees_neither_what_was_sent_nor_what_was_answered() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let paths = [
        format!(
            "/organizations/{}/webhooks/{}/deliveries",
            stage.org, stage.webhook
        ),
        format!(
            "/organizations/{}/webhooks/{}/deliveries/{}",
            stage.org, stage.webhook, stage.delivery
        ),
    ];
    let token = async |right| {
        let token = system.stack.create_token("t", stage.org, &[right]).await;
        token.unwrap().reveal().to_owned()
    };
    let administrator = system.jwt(stage.org, Role::Administrator);
    let whole = system
        .call("GET", &paths[1], &administrator, None)
        .await
        .json();
    assert!(whole["payload"].is_string());
    let attempt = &whole["attempts"][0];
    assert!(attempt["response"].is_string() && attempt["requestHeaders"].is_object());
    let mut part = whole.clone();
    part.as_object_mut().unwrap().remove("payload");
    for name in ["response", "requestHeaders"] {
        part["attempts"][0].as_object_mut().unwrap().remove(name);
    }
    let list = system
        .call("GET", &paths[0], &administrator, None)
        .await
        .json();
    for (bearer, expected) in [
        (system.jwt(stage.org, Role::Viewer), &part),
        (system.jwt(stage.org, Role::Editor), &part),
        (token(Right::ReadDeliveries).await, &part),
        (token(Right::ManageWebhooks).await, &whole),
        (system.jwt(stage.org, Role::Owner), &whole),
    ] {
        let one = system.call("GET", &paths[1], &bearer, None).await.json();
        assert_eq!(one, *expected);
        let listed = system.call("GET", &paths[0], &bearer, None).await.json();
        assert_eq!(listed, list);
    }
}

#[tokio::test]
async fn a_delivery_shows_exactly_what_was_sent_and_each_attempt() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    let webhook = system.webhook(org, &receiver.url).await;
    receiver.answer_next([
        Answer::Full {
            status: 503,
            headers: Vec::new(),
            body: "later".into(),
        },
        Answer::CloseBeforeHead,
        Answer::CloseBeforeHead,
    ]);
    system.publish(org, &metadata("1.0"), &files("a")).await;
    let begin = OffsetDateTime::now_utc();
    system.deliver(begin).await;
    for hour in 1..=2 {
        system.round(begin + Duration::HOUR * hour).await;
    }
    let mut received = receiver.received();
    assert_eq!(received.len(), 4);
    // The second attempt found the connection of the first one closed.
    let again = received.remove(2);
    let signature = |it: &Received| it.header("webhook-signature").to_owned();
    assert_eq!(signature(&again), signature(&received[1]));

    let summary = system.deliveries(org, &webhook["id"]).await.remove(0);
    let id = text(&summary["id"]);
    let path = format!("/webhooks/{}/deliveries/{id}", text(&webhook["id"]));
    let delivery = expect(
        &system.manage(org, "GET", &path, None).await,
        StatusCode::OK,
    );
    for (name, value) in summary.as_object().unwrap() {
        assert_eq!(delivery[name], *value, "{name}");
    }
    assert_eq!(
        (&delivery["state"], &delivery["attemptCount"]),
        (&json!("delivered"), &json!(3))
    );
    assert_eq!(
        (&delivery["events"], &delivery["reports"]),
        (&json!(["report.published"]), &json!(1))
    );
    assert_eq!(
        (&delivery["project"], delivery.get("dueAt")),
        (&json!("acme:shop"), None)
    );

    let attempts = delivery["attempts"].as_array().unwrap();
    let outcomes: Vec<Value> = attempts
        .iter()
        .map(|it| {
            json!([
                it["number"],
                it["status"],
                it["response"],
                it["error"]["kind"]
            ])
        })
        .collect();
    let expected = [
        json!([1, 503, "later", "status"]),
        json!([2, null, null, "connect"]),
        json!([3, 200, "", null]),
    ];
    assert_eq!(outcomes, expected);
    for (attempt, received) in attempts.iter().zip(&received) {
        assert_eq!(received.header("webhook-id"), id);
        assert_eq!(text(&delivery["payload"]).as_bytes(), received.body);
        let shown = &attempt["requestHeaders"];
        for name in ["webhook-signature", "webhook-timestamp", "x-webhook-event"] {
            assert_eq!(shown[name], received.header(name), "{name}");
        }
        let at = OffsetDateTime::parse(&text(&attempt["at"]), &Rfc3339).unwrap();
        assert_eq!(
            at.unix_timestamp().to_string(),
            received.header("webhook-timestamp")
        );
    }
    let last = &attempts[2];
    assert_eq!(
        delivery["lastAttempt"],
        json!({"at": last["at"], "durationMs": last["durationMs"], "status": 200})
    );
}

#[tokio::test]
async fn of_many_attempts_the_latest_are_shown() {
    let system = System::start().await;
    let (org, receiver) = (organization(), Receiver::start().await);
    receiver.answer(Answer::Status(500));
    let webhook = system.webhook(org, &receiver.url).await;
    system.publish(org, &metadata("1.0"), &files("a")).await;
    let begin = OffsetDateTime::now_utc();
    system.deliver(begin).await;
    for hour in 1..=27 {
        system.round(begin + Duration::HOUR * hour).await;
    }
    let summary = system.deliveries(org, &webhook["id"]).await.remove(0);
    assert_eq!(
        (&summary["attemptCount"], &summary["state"]),
        (&json!(28), &json!("failed"))
    );
    let path = format!(
        "/webhooks/{}/deliveries/{}",
        text(&webhook["id"]),
        text(&summary["id"])
    );
    let delivery = system.manage(org, "GET", &path, None).await.json();
    let attempts = delivery["attempts"].as_array().unwrap();
    let numbers: Vec<u64> = attempts
        .iter()
        .map(|it| it["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (4..=28).collect::<Vec<u64>>());
}
