//! Deliveries: listed, shown, tried again.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::date::GivenDate;
use domain::delivery::DeliveryKey;
use domain::delivery::{DeliveryId, DeliveryState, RETENTION};
use domain::webhook::Webhook;
use serde::Serialize;
use serde_json::Value;
use store::deliveries::Range;
use store::deliveries::lease::MadeDue;
use store::queue::work::{Replay, Work};
use time::{Duration, OffsetDateTime};
use web::api::{self, ApiError, ErrorCode};
use web::cursor::Scope;
use web::fields::{Fields, each_once, invalid};
use web::json;
use web::query::Query;
use web::text::shortened;

use crate::access::{Call, ManageWebhooks, ReadDeliveries};
use crate::body::{DeliveryBody, DeliverySummaryBody};
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::target::delivery_not_found;

/// The query parameters of a webhook's deliveries.
pub const DELIVERIES_PARAMETERS: [&str; 5] = ["state", "since", "until", "limit", "cursor"];

/// How far deliveries are counted. Counting takes a few reads of a megabyte each.
const MAX_COUNT: usize = 10_000;

/// How late a webhook may be told of a change at most. A message is kept for 14 days on the queue and the dead-letter queue
/// together, and may reach the queue a day late.
const LATEST: Duration = Duration::days(15);

const REPLAY_FIELDS: [&str; 4] = ["since", "until", "states", "dryRun"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveriesBody {
    deliveries: Vec<DeliverySummaryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayBody {
    #[serde(flatten)]
    counted: Option<Counted>,
    dry_run: bool,
}

/// How many deliveries a replay covers. They are counted only on request, and up to [`MAX_COUNT`], because counting reads
/// them.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    count: usize,
    /// Whether there are more.
    has_more: bool,
}

pub(crate) async fn list(
    State(managing): State<Managing>,
    call: Call<ReadDeliveries>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let now = call.now;
    let webhook = managing.webhook(call.key()?).await?;
    let query = Query::parse(raw.as_deref(), &DELIVERIES_PARAMETERS)?;
    let state = query
        .optional("state")?
        .map(|text| state(text, "state"))
        .transpose()?;
    let (since, until) = (query.optional("since")?, query.optional("until")?);
    let scope = Scope::new(&serde_json::json!([webhook.id, state, since, until]));
    let since = since.map(|text| date(text, "since")).transpose()?;
    let until = until.map(|text| date(text, "until")).transpose()?;
    let limit = query.limit()?;
    let mut range = range(&webhook, state, since, until, now);
    if let Some(cursor) = query.optional("cursor")? {
        let last: DeliveryId = scope.open(cursor, |text| text.parse().ok())?;
        range.to = range.to.min(last.previous());
    }

    let page = managing.deliveries.page(&range, true, limit).await?;

    let body = DeliveriesBody {
        next_cursor: page.next.map(|last| scope.seal(&last.to_string())),
        deliveries: page
            .deliveries
            .iter()
            // DynamoDB deletes expired items only after some time.
            .filter(|delivery| !delivery.is_expired(now))
            .map(|delivery| DeliverySummaryBody::of(delivery, now))
            .collect(),
    };
    api::json(StatusCode::OK, &body)
}

pub(crate) async fn get(
    State(managing): State<Managing>,
    call: Call<ReadDeliveries>,
) -> Result<Response, ApiError> {
    let webhook = managing.webhook(call.key()?).await?;
    let key = key(&webhook, call.target.delivery()?);
    let whole = managing
        .deliveries
        .whole(key, call.caller.may_manage)
        .await?;
    let whole = whole
        .filter(|whole| !whole.delivery.is_expired(call.now))
        .ok_or_else(delivery_not_found)?;
    let body = DeliveryBody::of(&whole.delivery, whole.message, whole.attempts, call.now);
    api::json(StatusCode::OK, &body)
}

pub(crate) async fn redeliver(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.webhook(call.key()?).await?;
    let key = key(&webhook, call.target.delivery()?);
    if managing.deliveries.get(key).await?.is_none() {
        return Err(delivery_not_found());
    }
    managing.prepare(&webhook).await?;
    match managing.deliveries.make_due(key, true, call.now).await? {
        MadeDue::Due(delivery) => {
            let messages = Work::due(webhook.org, webhook.id, &[delivery.id]);
            managing.enqueue(&webhook, &messages).await;
            let body = DeliverySummaryBody::of(&delivery, call.now);
            api::json(StatusCode::ACCEPTED, &body)
        }
        MadeDue::InProgress => {
            let message = "the delivery is being tried at this moment; see what comes of it";
            Err(ApiError::new(ErrorCode::DeliveryInProgress, message))
        }
        MadeDue::Delivered | MadeDue::Gone => Err(delivery_not_found()),
    }
}

pub(crate) async fn replay(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let (caller, now) = (&call.caller, call.now);
    let webhook = managing.webhook(call.key()?).await?;
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let mut fields = Fields::of(body, String::new(), &REPLAY_FIELDS)?;
    let since = given_date(&mut fields, "since")?;
    let until = given_date(&mut fields, "until")?;
    let states = states(&mut fields)?;
    let dry_run = fields.boolean("dryRun")?.unwrap_or_default();

    // Deliveries that are created from now on are not included, whatever `until` says.
    let until = Some(until.map_or(now, |until| until.min(now)));
    let ranges: Vec<(DeliveryState, Range)> = states
        .into_iter()
        .map(|state| (state, range(&webhook, Some(state), since, until, now)))
        .collect();
    if dry_run {
        let mut counted = Counted::default();
        for (_, range) in &ranges {
            let left = MAX_COUNT - counted.count;
            let of_state = managing.deliveries.count(range, left).await?;
            counted.count += of_state.count;
            counted.has_more |= of_state.has_more;
        }
        let counted = Some(counted);
        return api::json(StatusCode::OK, &ReplayBody { dry_run, counted });
    }
    managing.prepare(&webhook).await?;
    let messages: Vec<Work> = ranges
        .into_iter()
        .map(|(state, range)| {
            Work::Replay(Replay {
                org: webhook.org,
                webhook: webhook.id,
                replay: state,
                early: true,
                from: range.from,
                to: range.to,
            })
        })
        .collect();
    // The caller has to know if the queue does not take all of it. What the queue took is done, and a repeated request does
    // the rest.
    managing.queue.send(&messages).await?;
    tracing::info!(
        webhook = %webhook.id, caller = caller.name,
        "a replay of deliveries to webhook {} was begun by {}", webhook.id, caller.name
    );
    let counted = None;
    api::json(StatusCode::ACCEPTED, &ReplayBody { dry_run, counted })
}

impl Managing {
    /// Prepares the webhook for requested deliveries: a receiver that seemed to be down is tried again.
    async fn prepare(&self, webhook: &Webhook) -> Result<(), ApiError> {
        if !webhook.is_enabled() {
            let message = "the webhook is disabled; enabling it sends what it has missed";
            return Err(ApiError::new(ErrorCode::WebhookDisabled, message));
        }
        if webhook.health.paused_until.is_some() {
            self.webhooks.unpause(webhook.key()).await?;
        }
        Ok(())
    }

    /// Puts messages on the queue. What cannot be put there now is due, so the next round of the sweep finds it.
    async fn enqueue(&self, webhook: &Webhook, messages: &[Work]) {
        if let Err(error) = self.queue.send(messages).await {
            tracing::error!(webhook = %webhook.id, "a delivery to webhook {} waits for an hour at most: {error:#}", webhook.id);
        }
    }
}

fn key(webhook: &Webhook, id: DeliveryId) -> DeliveryKey {
    DeliveryKey {
        webhook: webhook.id,
        id,
    }
}

/// The deliveries from `since` on and before `until`, as far as they are kept.
fn range(
    webhook: &Webhook,
    state: Option<DeliveryState>,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Range {
    // A delivery that was created late is kept as long as any other, and its time is that of the change.
    let oldest = now - RETENTION - LATEST;
    let since = since.map_or(oldest, |since| since.max(oldest));
    let all = Range::all(webhook.id);
    Range {
        state,
        from: DeliveryId::first_at(since),
        to: until.map_or(all.to, DeliveryId::last_before),
        ..all
    }
}

fn state(text: &str, path: &str) -> Result<DeliveryState, ApiError> {
    let state = DeliveryState::ALL
        .into_iter()
        .find(|state| state.as_str() == text);
    state.ok_or_else(|| {
        let known = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        let message = format!("'{}' is no state; known are {known}", shortened(text));
        invalid(ErrorCode::InvalidState, path, &message)
    })
}

fn states(fields: &mut Fields) -> Result<BTreeSet<DeliveryState>, ApiError> {
    let not_states = || {
        let message = "must be an array of at least one state";
        invalid(ErrorCode::InvalidState, "states", message)
    };
    match fields.optional("states") {
        None => Ok(DeliveryState::UNDELIVERED.into()),
        Some(Value::Array(values)) if !values.is_empty() => {
            let read = |value: Value, path: &str| state(value.as_str().unwrap_or_default(), path);
            let states = each_once(values, ErrorCode::InvalidState, "states", read)?;
            Ok(states.into_iter().collect())
        }
        Some(_) => Err(not_states()),
    }
}

fn given_date(fields: &mut Fields, name: &str) -> Result<Option<OffsetDateTime>, ApiError> {
    let Some(value) = fields.optional(name) else {
        return Ok(None);
    };
    let text = value
        .as_str()
        .ok_or_else(|| invalid(ErrorCode::InvalidDate, name, "must be text"))?;
    date(text, name).map(Some)
}

fn date(text: &str, path: &str) -> Result<OffsetDateTime, ApiError> {
    let date: Result<GivenDate, _> = text.parse();
    date.map(|date| date.instant()).map_err(|reason| {
        // In a query string, '+' means a space.
        let hint = if text.contains(' ') {
            " (in a query a '+' must be sent as %2B)"
        } else {
            ""
        };
        let message = format!("'{}' is refused: {reason}{hint}", shortened(text));
        invalid(ErrorCode::InvalidDate, path, &message)
    })
}
