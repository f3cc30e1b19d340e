//! The table of deliveries.
//!
//! Beside each delivery, in the same partition and behind every delivery's id, lie its message, its latest attempts, and
//! for each change that it tells of a deduplication record. By that a change that comes again finds its delivery.

pub mod creation;
mod items;
pub mod lease;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::Select;
use domain::date::timestamp;
use domain::delivery::attempt::Attempt;
use domain::delivery::{Delivery, DeliveryId, DeliveryKey, DeliveryState};
use domain::organization::OrganizationId;
use domain::webhook::WebhookId;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

pub use self::items::DUE_SHARDS;
use self::items::{MessageBody, attempt_prefix, beside_key, body_key, state_order, table_key};
use crate::dynamodb::{Changed, Item, Unreadable, get, string};
use crate::error::{Context as _, Result, describe};
use crate::quota::{Wanted, take};

/// The index of the deliveries that are to be tried at some time.
pub const DUE: &str = "due";
/// The index in which a webhook's deliveries lie by state, and then in the order of time.
pub const BY_STATE: &str = "by-state";

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
    /// Whose deliveries.
    pub webhook: WebhookId,
    /// Only those in this state.
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

    /// DynamoDB refuses such a range.
    fn is_empty(&self) -> bool {
        self.from > self.to
    }
}

/// A delivery that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Delivery")]
pub struct DueDelivery {
    pub org: OrganizationId,
    pub webhook: WebhookId,
    pub id: DeliveryId,
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

    /// Counts a test call of an organization at `now`, if there were fewer than `most` in this minute. It is `Lost`
    /// otherwise.
    pub async fn count_test(
        &self,
        org: OrganizationId,
        now: OffsetDateTime,
        most: u64,
    ) -> Result<Changed> {
        let minute = now.unix_timestamp().div_euclid(60);
        // Beside no delivery: no webhook has such an id. These items lie here since this table forgets by itself.
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

    /// Forgets a delivery whose webhook is gone. What lies beside it goes with its time to live.
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

    /// The delivery as it is now.
    pub async fn get(&self, key: DeliveryKey) -> Result<Option<Delivery>> {
        get(&self.client, &self.table, table_key(key), &self.unreadable)
            .await
            .with_context(|| format!("get delivery {}", key.id))
    }

    /// The body of a delivery's message.
    pub async fn body(&self, key: DeliveryKey) -> Result<Option<String>> {
        let item = beside_key(key.webhook, body_key(key.id));
        let body: Option<MessageBody> = get(&self.client, &self.table, item, &self.unreadable)
            .await
            .with_context(|| format!("get the message of delivery {}", key.id))?;
        Ok(body.map(|it| it.body))
    }

    /// The latest attempts at a delivery, oldest first; at most
    /// [`KEPT_ATTEMPTS`](domain::delivery::attempt::KEPT_ATTEMPTS).
    pub async fn attempts(&self, key: DeliveryKey) -> Result<Vec<Attempt>> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("webhook = :webhook AND begins_with(id, :prefix)")
            .expression_attribute_values(":webhook", string(key.webhook))
            .expression_attribute_values(":prefix", string(attempt_prefix(key.id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("query the attempts at delivery {}", key.id))?;
        let attempts = self.unreadable.rest(output.items, "attempt");
        let mut attempts: Vec<Attempt> = attempts.collect();
        attempts.sort_by_key(|attempt| attempt.number);
        Ok(attempts)
    }

    /// Deliveries of a range, at most `limit`, the newest first or the oldest first, and whether more follow.
    ///
    /// Reads `limit` + 1 items at the most, however many there are, and as many again for each time that some of them cannot be
    /// read. With a state the index is read, which is eventually
    /// consistent.
    pub async fn page(
        &self,
        range: &Range,
        newest_first: bool,
        limit: usize,
    ) -> Result<(Vec<Delivery>, bool)> {
        if range.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut deliveries = Vec::new();
        let mut start = None;
        loop {
            let wanted = limit + 1;
            let output = self
                .query_of(range)
                .scan_index_forward(!newest_first)
                .limit(i32::try_from(wanted)?)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the deliveries of webhook {}", range.webhook))?;
            deliveries.extend(self.unreadable.rest(output.items, "delivery"));
            start = output.last_evaluated_key;
            if deliveries.len() > limit || start.is_none() {
                let has_more = deliveries.len() > limit;
                deliveries.truncate(limit);
                return Ok((deliveries, has_more));
            }
        }
    }

    /// How many deliveries a range has, counted up to `most`: that many are read, and no more.
    pub async fn count(&self, range: &Range, most: usize) -> Result<usize> {
        if range.is_empty() || most == 0 {
            return Ok(0);
        }
        let mut count = 0;
        let mut start = None;
        loop {
            let output = self
                .query_of(range)
                .select(Select::Count)
                .limit(i32::try_from(most - count)?)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("count the deliveries of webhook {}", range.webhook))?;
            count += usize::try_from(output.count)?;
            start = output.last_evaluated_key;
            if start.is_none() || count >= most {
                return Ok(count);
            }
        }
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
            None => query
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

    /// Some of a shard's deliveries that are due at `now`, longest first, and the key to go on from, if there are more.
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
