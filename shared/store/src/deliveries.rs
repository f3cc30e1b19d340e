//! The table of deliveries.
//!
//! A delivery's item has its message and its latest attempts, as far as they are small. A longer message, and earlier
//! attempts, lie beside it: in the same partition, after the ids of all deliveries. Among the deliveries lie signposts, see
//! [`creation`].
//!
//! *Invariant:* a delivery that is neither delivered nor given up is in the index [`DUE`].

pub mod creation;
mod items;
pub mod lease;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::Select;
use domain::date::timestamp;
use domain::delivery::attempt::{Attempt, KEPT_ATTEMPTS};
use domain::delivery::{Delivery, DeliveryId, DeliveryKey, DeliveryState};
use domain::organization::OrganizationId;
use domain::webhook::WebhookId;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

pub use self::items::DUE_SHARDS;
use self::items::{
    ATTEMPT, MESSAGE, Stored, attempt_prefix, beside_key, message_key, state_order, table_key,
    told_by, unpack,
};
use crate::dynamodb::{Changed, Item, Unreadable, get_item, string};
use crate::error::{Context as _, Result, describe};
use crate::packed::Packed;
use crate::pages::{Bounds, query_within};
use crate::quota::{Wanted, take};

/// The index of the deliveries that are still to be tried.
pub const DUE: &str = "due";
/// The index of a webhook's deliveries by state, and then in the order of time. Deliveries that are delivered, or in their
/// first attempt, are not in it.
pub const BY_STATE: &str = "by-state";

/// How many items are read at most for a page of deliveries from the table itself, where other items lie between them. It is
/// the largest page that may be asked for, and one more.
const MAX_READ: usize = 1001;

/// The table of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryStore {
    client: Client,
    table: String,
    /// Deliveries and attempts that could not be read.
    pub unreadable: Unreadable,
}

/// Some of a webhook's deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The webhook.
    pub webhook: WebhookId,
    /// Only deliveries in this state.
    pub state: Option<DeliveryState>,
    /// The first id.
    pub from: DeliveryId,
    /// The last id.
    pub to: DeliveryId,
}

impl Range {
    /// Every delivery of a webhook.
    pub fn all(webhook: WebhookId) -> Self {
        Self {
            webhook,
            state: None,
            from: DeliveryId::FIRST,
            to: DeliveryId::LAST,
        }
    }

    /// Whether it is read from the index [`BY_STATE`].
    fn is_of_index(&self) -> bool {
        !matches!(self.state, None | Some(DeliveryState::Delivered))
    }

    /// Whether the range is empty. DynamoDB refuses an empty range.
    fn is_empty(&self) -> bool {
        self.from > self.to
    }
}

/// Some of the deliveries of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Set if there may be more: the id after which they lie, in the direction of the page.
    pub next: Option<DeliveryId>,
}

/// How many deliveries a range has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many were counted.
    pub count: usize,
    /// Whether there may be more.
    pub has_more: bool,
}

/// A delivery and all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The delivery.
    pub delivery: Delivery,
    /// Its message.
    pub message: Option<String>,
    /// Its latest attempts, the oldest first; at most [`KEPT_ATTEMPTS`].
    pub attempts: Vec<Attempt>,
}

/// A delivery that is due.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Delivery")]
pub struct DueDelivery {
    pub org: OrganizationId,
    pub webhook: WebhookId,
    pub id: DeliveryId,
    #[serde(rename = "dueAt")]
    pub due_at: String,
}

impl DeliveryStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Counts a test call of an organization at `now`, if this minute had fewer than `most`. Otherwise it is `Lost`.
    pub async fn count_test(
        &self,
        org: OrganizationId,
        now: OffsetDateTime,
        most: u64,
    ) -> Result<Changed> {
        let minute = now.unix_timestamp().div_euclid(60);
        // This item belongs to no delivery, since no webhook has such an id. It is in this table because this table has a
        // time to live.
        let window = Item::from([
            ("webhook".to_owned(), string(format_args!("~tests/{org}"))),
            ("id".to_owned(), string(minute)),
        ]);
        let test = Wanted {
            name: "tests",
            amount: 1,
            most,
        };
        let end = now + Duration::HOUR;
        take(&self.client, &self.table, window, &[test], end)
            .await
            .with_context(|| format!("count a test call of organization {}", org.digest()))
    }

    /// Deletes a delivery whose webhook is gone. The items beside it expire.
    pub async fn forget(&self, key: DeliveryKey) -> Result<()> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("forget delivery {}", key.id))?;
        Ok(())
    }

    /// The current delivery.
    pub async fn get(&self, key: DeliveryKey) -> Result<Option<Delivery>> {
        Ok(self.stored(key).await?.map(|stored| stored.delivery))
    }

    /// The current delivery and all that is kept of it. `with_message` decides whether the message is read too.
    pub async fn whole(&self, key: DeliveryKey, with_message: bool) -> Result<Option<Whole>> {
        let Some(stored) = self.stored(key).await? else {
            return Ok(None);
        };
        let message = match &stored.message {
            Some(message) if with_message => Some(message.text()?),
            None if with_message => self.message_beside(key).await?,
            _ => None,
        };
        Ok(Some(Whole {
            message,
            attempts: self.attempts(&stored).await?,
            delivery: stored.delivery,
        }))
    }

    async fn stored(&self, key: DeliveryKey) -> Result<Option<Stored>> {
        let item = get_item(&self.client, &self.table, table_key(key)).await;
        let item = item.with_context(|| format!("get delivery {}", key.id))?;
        let item = item.filter(|item| told_by(item).is_none());
        let stored = item.map(|item| self.unreadable.counting(Stored::of(item)));
        stored
            .transpose()
            .with_context(|| format!("read delivery {}", key.id))
    }

    /// The message of a delivery, if it lies beside the delivery's item.
    async fn message_beside(&self, key: DeliveryKey) -> Result<Option<String>> {
        let beside = beside_key(key.webhook, message_key(key.id));
        let read = async {
            let item = get_item(&self.client, &self.table, beside).await?;
            let message = item.and_then(|mut item| item.remove(MESSAGE));
            let text = message.map(|message| Packed::read(message)?.text());
            self.unreadable.counting(text.transpose())
        };
        read.await
            .with_context(|| format!("get the message of delivery {}", key.id))
    }

    async fn attempts(&self, stored: &Stored) -> Result<Vec<Attempt>> {
        let delivery = &stored.delivery;
        let latest = stored.latest.as_ref().map(unpack::<Vec<Attempt>>);
        let latest = self.unreadable.counting(latest.transpose());
        let mut attempts = latest.ok().flatten().unwrap_or_default();
        if usize::try_from(delivery.attempts)? > attempts.len() {
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("webhook = :webhook AND begins_with(id, :prefix)")
                .expression_attribute_values(":webhook", string(delivery.webhook))
                .expression_attribute_values(":prefix", string(attempt_prefix(delivery.id)))
                .consistent_read(true)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the attempts at delivery {}", delivery.id))?;
            let read = |mut item: Item| {
                let packed = item.remove(ATTEMPT).context("it has no attempt")?;
                unpack::<Attempt>(&Packed::read(packed)?)
            };
            attempts.extend(self.unreadable.rest_by(output.items, "attempt", read));
        }
        // An attempt without room in the delivery's item is first copied beside it, so for a moment it exists twice.
        attempts.sort_by_key(|attempt| attempt.number);
        attempts.dedup_by_key(|attempt| attempt.number);
        let kept = usize::try_from(KEPT_ATTEMPTS)?;
        attempts.drain(..attempts.len().saturating_sub(kept));
        Ok(attempts)
    }

    /// Deliveries of a range, at most `limit`, the newest first or the oldest first.
    ///
    /// What waits or has failed is read from the index by state, which is eventually consistent: `limit` + 1 items at the most,
    /// however many there are, and then twice as many each time that some of them cannot be read. All deliveries, and those that are
    /// delivered, are read where they lie, among signposts, of which there is one for each further report that a message tells
    /// of: a page reads 1,001 items there at the most, and may have fewer deliveries than there are.
    pub async fn page(&self, range: &Range, newest_first: bool, limit: usize) -> Result<Page> {
        if range.is_empty() {
            return Ok(Page::default());
        }
        let bounds = Bounds {
            limit,
            most: if range.is_of_index() {
                Bounds::ALL.most
            } else {
                MAX_READ
            },
        };
        let is_wanted = |it: &Delivery| range.state.is_none_or(|state| state == it.state);
        let read = |mut items: Vec<Item>| {
            items.retain(|item| told_by(item).is_none());
            self.unreadable
                .rest(Some(items), "delivery")
                .filter(is_wanted)
        };
        let query = self.query_of(range).scan_index_forward(!newest_first);
        let found = query_within(query, bounds, read)
            .await
            .with_context(|| format!("query the deliveries of webhook {}", range.webhook))?;
        let next = found.next(
            |last| last.id,
            |key| key.get("id")?.as_s().ok()?.parse().ok(),
        );
        Ok(Page {
            deliveries: found.things,
            next,
        })
    }

    /// The newest delivery from `from` on. Only one item is read, since no signpost is newer.
    pub async fn newest(&self, webhook: WebhookId, from: DeliveryId) -> Result<Option<Delivery>> {
        let range = Range {
            from,
            ..Range::all(webhook)
        };
        let query = self.query_of(&range).scan_index_forward(false).limit(1);
        let output = query.send().await.map_err(describe);
        let output =
            output.with_context(|| format!("query the newest delivery of webhook {webhook}"))?;
        let has_one = output.count > 0;
        let newest = self.unreadable.rest(output.items, "delivery").next();
        if newest.is_some() || !has_one {
            return Ok(newest);
        }
        // The newest one cannot be read, but others may be.
        Ok(self.page(&range, true, 1).await?.deliveries.pop())
    }

    /// How many deliveries of one state a range has, counted up to `most`. It reads one more, and no further. For delivered
    /// ones it also reads, up to the same number, the other items that lie between them.
    pub async fn count(&self, range: &Range, most: usize) -> Result<Count> {
        let mut counted = Count::default();
        if range.is_empty() {
            return Ok(counted);
        }
        let (mut start, mut read) = (None, 0);
        let readable = most + 1;
        counted.has_more = loop {
            let query = self
                .query_of(range)
                .select(Select::Count)
                .limit(i32::try_from(readable - read)?)
                .set_exclusive_start_key(start);
            let query = match range.state {
                Some(DeliveryState::Delivered) => query
                    .filter_expression("#state = :state")
                    .expression_attribute_names("#state", "state")
                    .expression_attribute_values(
                        ":state",
                        string(DeliveryState::Delivered.as_str()),
                    ),
                _ => query,
            };
            let output = query.send().await.map_err(describe);
            let output = output
                .with_context(|| format!("count the deliveries of webhook {}", range.webhook))?;
            counted.count += usize::try_from(output.count)?;
            read += usize::try_from(output.scanned_count)?;
            start = output.last_evaluated_key;
            if start.is_none() || read >= readable {
                break start.is_some() || counted.count > most;
            }
        };
        counted.count = counted.count.min(most);
        Ok(counted)
    }

    fn query_of(
        &self,
        range: &Range,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .expression_attribute_values(":webhook", string(range.webhook));
        match range.state {
            None | Some(DeliveryState::Delivered) => query
                .key_condition_expression("webhook = :webhook AND id BETWEEN :from AND :to")
                .expression_attribute_values(":from", string(range.from))
                .expression_attribute_values(":to", string(range.to))
                .consistent_read(true),
            Some(state) => query
                .index_name(BY_STATE)
                .key_condition_expression("webhook = :webhook AND stateOrder BETWEEN :from AND :to")
                .expression_attribute_values(":from", string(state_order(state, range.from)))
                .expression_attribute_values(":to", string(state_order(state, range.to))),
        }
    }

    /// Some of a shard's deliveries that are due at `now`, the longest due first, and the key to continue from, if there are
    /// more.
    pub async fn due(
        &self,
        shard: u8,
        now: OffsetDateTime,
        start: Option<Item>,
    ) -> Result<(Vec<DueDelivery>, Option<Item>)> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(DUE)
            .key_condition_expression("dueShard = :shard AND dueAt <= :now")
            .expression_attribute_values(":shard", string(shard))
            .expression_attribute_values(":now", string(timestamp(now)))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("query the due deliveries of shard {shard}"))?;
        let due = self.unreadable.rest(output.items, "the key of delivery");
        Ok((due.collect(), output.last_evaluated_key))
    }
}
