//! The table of deliveries.
//!
//! Beside each delivery, in the same partition and behind every delivery's id, lie its message, its latest attempts, and
//! for each change that it tells of an item that says so. By these a change that comes again finds its delivery.

use std::collections::HashMap;

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValue, Select, TransactWriteItem, Update,
};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};
use time::{Duration, OffsetDateTime};

use crate::aws::{Changed, Item, batch_get, describe, string};
use crate::date::timestamp;
use crate::delivery::{Attempt, Claim, Delivery, DeliveryId, DeliveryState, KEPT_ATTEMPTS};
use crate::message::Message;
use crate::organization::OrganizationId;
use crate::queue::ReportChange;
use crate::webhook::WebhookId;

/// The index of the deliveries that are to be tried at some time.
pub const DUE: &str = "due";
/// The index in which a webhook's deliveries lie by state, and then in the order of time.
pub const BY_STATE: &str = "by-state";

/// Over how many keys the index [`DUE`] spreads its writes. DynamoDB gives one key 1,000 writes a second.
pub const DUE_SHARDS: u8 = 8;

/// How long a claim holds: nobody else tries the delivery in this time. It is longer than the function that tries may
/// run (template.yaml: 2 minutes), so that a claim that has ended means an attempt that has ended.
pub const CLAIM_VALIDITY: Duration = Duration::minutes(3);

/// How often a transaction is tried that collides with another one.
const MAX_TRIES: u32 = 5;
/// The pause before it is tried again; it grows by as much with every try.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
/// The same where DynamoDB is too busy.
const THROTTLED_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// The table of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryStore {
    client: Client,
    table: String,
}

/// The key of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of Delivery")]
pub struct DeliveryKey {
    pub webhook: WebhookId,
    pub id: DeliveryId,
}

/// What became of storing a new message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Yes,
    /// Nothing is stored: some of the changes are told of by other deliveries already.
    Told(HashMap<ReportChange, DeliveryId>),
}

/// What became of claiming a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the caller's to try, until [`CLAIM_VALIDITY`] is over.
    Started(Box<Delivery>, Claim),
    /// It is delivered.
    AlreadyDelivered,
    /// Somebody else is trying it.
    InProgress,
    /// It is not due yet, or not any more: it has been tried in the meantime.
    NotDue,
    /// There is none: it was deleted, or its time is over.
    Gone,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is delivered.
    Delivered,
    /// It is not, and due again at this time.
    Failed(OffsetDateTime),
}

/// What became of making a delivery due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeDue {
    /// It is due, and this is it now.
    Yes(Box<Delivery>),
    /// Somebody is trying it.
    InProgress,
    /// There is none.
    Gone,
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

/// The attributes that put a delivery into the indexes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Indexed {
    state_order: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
}

/// An item beside a delivery, without its content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Beside<T> {
    webhook: WebhookId,
    id: String,
    expires_at: i64,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize, Deserialize)]
struct MessageBody {
    body: String,
}

#[derive(Serialize, Deserialize)]
struct Telling {
    delivery: DeliveryId,
}

impl DeliveryStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Stores a delivery together with its message, unless one of the changes in it is told of by another delivery: of any
    /// number of attempts to tell of a change, one succeeds.
    ///
    /// # Errors
    /// When DynamoDB fails. Then it may be stored all the same.
    pub async fn create(&self, delivery: &Delivery, message: &Message) -> anyhow::Result<Created> {
        let context = || {
            format!(
                "store delivery {} of webhook {}",
                delivery.id, delivery.webhook
            )
        };
        let mut item: Item = to_item(delivery)?;
        item.extend(indexed(delivery)?);
        let mut puts = vec![
            self.put_new(item)?,
            self.put_new(to_item(Beside {
                webhook: delivery.webhook,
                id: body_key(delivery.id),
                expires_at: delivery.expires_at,
                content: MessageBody {
                    body: message.body.clone(),
                },
            })?)?,
        ];
        for change in &message.changes {
            puts.push(self.put_new(to_item(Beside {
                webhook: delivery.webhook,
                id: change_key(change),
                expires_at: delivery.expires_at,
                content: Telling {
                    delivery: delivery.id,
                },
            })?)?);
        }
        match self.transact(puts).await.with_context(context)? {
            Changed::Yes => Ok(Created::Yes),
            Changed::No => {
                let told = self.told(delivery.webhook, &message.changes).await?;
                // The SDK may have sent the transaction twice, and the answer to the first one was lost.
                Ok(if told.values().any(|id| *id == delivery.id) {
                    Created::Yes
                } else {
                    Created::Told(told)
                })
            }
        }
    }

    /// Makes a transaction, unless one of its conditions does not hold. One that collides with another one, or that DynamoDB
    /// is too busy for, is tried again.
    async fn transact(&self, items: Vec<TransactWriteItem>) -> anyhow::Result<Changed> {
        let mut tries = 1;
        loop {
            let result = self
                .client
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .send()
                .await;
            let error = match result.map_err(SdkError::into_service_error) {
                Ok(_) => return Ok(Changed::Yes),
                Err(error) => error,
            };
            let pause = match &error {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    if has_reason(cancelled, "ConditionalCheckFailed") {
                        return Ok(Changed::No);
                    }
                    pause(cancelled, tries)
                }
                _ => None,
            };
            let Some(pause) = pause else {
                return Err(describe(error));
            };
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// Which deliveries tell of these changes.
    async fn told(
        &self,
        webhook: WebhookId,
        changes: &[ReportChange],
    ) -> anyhow::Result<HashMap<ReportChange, DeliveryId>> {
        let keys = changes
            .iter()
            .map(|change| beside_key(webhook, change_key(change)));
        let items = batch_get(&self.client, &self.table, keys)
            .await
            .with_context(|| format!("get what webhook {webhook} was told"))?;
        let mut told = HashMap::new();
        for item in items {
            let id = item.get("id").and_then(|id| id.as_s().ok()).cloned();
            let telling: Telling = from_item(item)?;
            if let Some(change) = changes.iter().find(|change| Some(change_key(change)) == id) {
                told.insert(*change, telling.delivery);
            }
        }
        Ok(told)
    }

    /// Claims a delivery that is due.
    pub async fn claim(&self, key: DeliveryKey, now: OffsetDateTime) -> anyhow::Result<Claimed> {
        let claim = Claim::new();
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression("SET claim = :claim, dueAt = :until")
            .condition_expression("dueAt <= :now AND expiresAt > :seconds")
            .expression_attribute_values(":claim", string(claim.uuid()))
            .expression_attribute_values(":until", string(timestamp(now + CLAIM_VALIDITY)))
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(
                ":seconds",
                AttributeValue::N(now.unix_timestamp().to_string()),
            )
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(output) => {
                let item = output.attributes.context("DynamoDB gave no attributes")?;
                let delivery = from_item(item).context("read the item of a delivery")?;
                Ok(Claimed::Started(Box::new(delivery), claim))
            }
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => {
                Ok(match self.get(key).await? {
                    None => Claimed::Gone,
                    // The SDK may have asked twice, and the answer to the first time was lost.
                    Some(it) if it.claim == Some(claim) => Claimed::Started(Box::new(it), claim),
                    Some(it) if it.state == DeliveryState::Delivered => Claimed::AlreadyDelivered,
                    Some(it) if it.is_expired(now) => Claimed::Gone,
                    Some(it) if it.is_in_progress(now) => Claimed::InProgress,
                    Some(_) => Claimed::NotDue,
                })
            }
            Err(error) => {
                Err(describe(error)).with_context(|| format!("claim delivery {}", key.id))
            }
        }
    }

    /// Gives a claim back without an attempt: the delivery is due at `due_at`.
    pub async fn release(
        &self,
        key: DeliveryKey,
        claim: Claim,
        due_at: OffsetDateTime,
    ) -> anyhow::Result<()> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression("SET dueAt = :due REMOVE claim")
            .condition_expression("claim = :claim")
            .expression_attribute_values(":due", string(timestamp(due_at)))
            .expression_attribute_values(":claim", string(claim.uuid()))
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(_) | Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => {
                Err(describe(error)).with_context(|| format!("release delivery {}", key.id))
            }
        }
    }

    /// Records an attempt and what it came to, in one write.
    ///
    /// A failure counts only for whoever still has the claim: if it has ended, somebody else is trying. A success always
    /// counts, since the receiver has the message.
    pub async fn record(
        &self,
        delivery: &Delivery,
        claim: Claim,
        attempt: &Attempt,
        outcome: Outcome,
    ) -> anyhow::Result<Changed> {
        let key = DeliveryKey {
            webhook: delivery.webhook,
            id: delivery.id,
        };
        let state = match outcome {
            Outcome::Delivered => DeliveryState::Delivered,
            Outcome::Failed(_) => DeliveryState::Failed,
        };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", to_attribute_value(state)?)
            .expression_attribute_values(":order", string(state_order(state, delivery.id)))
            .expression_attribute_values(":count", AttributeValue::N(attempt.number.to_string()))
            .expression_attribute_values(":attempt", to_attribute_value(attempt.summary())?);
        let update = match outcome {
            Outcome::Delivered => update
                .update_expression(
                    "SET #state = :state, stateOrder = :order, attempts = :count, lastAttempt = :attempt \
                     REMOVE claim, dueAt, dueShard",
                )
                .condition_expression("attribute_exists(id)"),
            Outcome::Failed(due_at) => update
                .update_expression(
                    "SET #state = :state, stateOrder = :order, attempts = :count, lastAttempt = :attempt, \
                     dueAt = :due REMOVE claim",
                )
                .condition_expression("claim = :claim")
                .expression_attribute_values(":due", string(timestamp(due_at)))
                .expression_attribute_values(":claim", string(claim.uuid())),
        };
        let attempt = Put::builder()
            .table_name(&self.table)
            .set_item(Some(to_item(Beside {
                webhook: key.webhook,
                id: attempt_key(key.id, attempt.number),
                expires_at: delivery.expires_at,
                content: attempt,
            })?))
            .build()?;
        let items = vec![
            TransactWriteItem::builder().update(update.build()?).build(),
            TransactWriteItem::builder().put(attempt).build(),
        ];
        let recorded = self.transact(items).await;
        let recorded =
            recorded.with_context(|| format!("record an attempt at delivery {}", key.id))?;
        if recorded == Changed::No {
            tracing::warn!(
                delivery = %key.id,
                "an attempt at delivery {} is not recorded: somebody else tries it, or it is gone", key.id
            );
        }
        Ok(recorded)
    }

    /// Makes a delivery due at `now`, whatever its state; one that was delivered becomes pending.
    pub async fn make_due(&self, key: DeliveryKey, now: OffsetDateTime) -> anyhow::Result<MadeDue> {
        let Some(delivery) = self.get(key).await?.filter(|it| !it.is_expired(now)) else {
            return Ok(MadeDue::Gone);
        };
        if delivery.is_in_progress(now) {
            return Ok(MadeDue::InProgress);
        }
        let state = match delivery.state {
            DeliveryState::Delivered => DeliveryState::Pending,
            state => state,
        };
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression(
                "SET #state = :state, stateOrder = :order, dueAt = :now, dueShard = :shard REMOVE claim",
            )
            .condition_expression(
                "#state = :seen AND (attribute_not_exists(claim) OR dueAt <= :now)",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", to_attribute_value(state)?)
            .expression_attribute_values(":seen", to_attribute_value(delivery.state)?)
            .expression_attribute_values(":order", string(state_order(state, key.id)))
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(":shard", string(shard_of(key.webhook)))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(output) => {
                let item = output.attributes.context("DynamoDB gave no attributes")?;
                Ok(MadeDue::Yes(Box::new(
                    from_item(item).context("read the item of a delivery")?,
                )))
            }
            // Somebody has begun to try it, or has just ended.
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(MadeDue::InProgress),
            Err(error) => {
                Err(describe(error)).with_context(|| format!("make delivery {} due", key.id))
            }
        }
    }

    /// Forgets a delivery whose webhook is gone. What lies beside it goes with its time to live.
    pub async fn forget(&self, key: DeliveryKey) -> anyhow::Result<()> {
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
    pub async fn get(&self, key: DeliveryKey) -> anyhow::Result<Option<Delivery>> {
        self.get_item(table_key(key))
            .await
            .with_context(|| format!("get delivery {}", key.id))
    }

    /// The body of a delivery's message.
    pub async fn body(&self, key: DeliveryKey) -> anyhow::Result<Option<String>> {
        let body: Option<MessageBody> = self
            .get_item(beside_key(key.webhook, body_key(key.id)))
            .await
            .with_context(|| format!("get the message of delivery {}", key.id))?;
        Ok(body.map(|it| it.body))
    }

    async fn get_item<T: serde::de::DeserializeOwned>(
        &self,
        key: Item,
    ) -> anyhow::Result<Option<T>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)?;
        Ok(output.item.map(from_item).transpose()?)
    }

    /// The latest attempts at a delivery, oldest first; at most [`KEPT_ATTEMPTS`].
    pub async fn attempts(&self, key: DeliveryKey) -> anyhow::Result<Vec<Attempt>> {
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
        let mut attempts: Vec<Attempt> = output
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|item| from_item(item).context("read the item of an attempt"))
            .collect::<anyhow::Result<_>>()?;
        attempts.sort_by_key(|attempt| attempt.number);
        Ok(attempts)
    }

    /// Deliveries of a range, at most `limit`, the newest first or the oldest first, and whether more follow.
    ///
    /// Reads `limit` + 1 items at the most, however many there are. With a state the index is read, which is eventually
    /// consistent.
    pub async fn page(
        &self,
        range: &Range,
        newest_first: bool,
        limit: usize,
    ) -> anyhow::Result<(Vec<Delivery>, bool)> {
        if range.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut deliveries = Vec::new();
        let mut start = None;
        loop {
            let wanted = limit + 1 - deliveries.len();
            let output = self
                .query_of(range)
                .scan_index_forward(!newest_first)
                .limit(i32::try_from(wanted)?)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the deliveries of webhook {}", range.webhook))?;
            for item in output.items.unwrap_or_default() {
                deliveries.push(from_item(item).context("read the item of a delivery")?);
            }
            start = output.last_evaluated_key;
            if deliveries.len() > limit || start.is_none() {
                let has_more = deliveries.len() > limit;
                deliveries.truncate(limit);
                return Ok((deliveries, has_more));
            }
        }
    }

    /// How many deliveries a range has. Reads all of them.
    pub async fn count(&self, range: &Range) -> anyhow::Result<u64> {
        if range.is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        let mut start = None;
        loop {
            let output = self
                .query_of(range)
                .select(Select::Count)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("count the deliveries of webhook {}", range.webhook))?;
            count += u64::try_from(output.count)?;
            start = output.last_evaluated_key;
            if start.is_none() {
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
    ) -> anyhow::Result<(Vec<DueDelivery>, Option<Item>)> {
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
        let due = output
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|item| from_item(item).context("read an item of the index of due deliveries"))
            .collect::<anyhow::Result<_>>()?;
        Ok((due, output.last_evaluated_key))
    }

    fn put_new(&self, item: Item) -> anyhow::Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id)")
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

fn indexed(delivery: &Delivery) -> anyhow::Result<Item> {
    let indexed = Indexed {
        state_order: state_order(delivery.state, delivery.id),
        due_shard: delivery
            .due_at
            .as_ref()
            .map(|_| shard_of(delivery.webhook).to_string()),
    };
    Ok(to_item(indexed)?)
}

fn has_reason(cancelled: &TransactionCanceledException, code: &str) -> bool {
    cancelled
        .cancellation_reasons()
        .iter()
        .any(|reason| reason.code() == Some(code))
}

/// How long to wait before a cancelled transaction is tried again, if it may succeed then. The SDK does not know these
/// reasons, and so does not try again by itself.
fn pause(cancelled: &TransactionCanceledException, tries: u32) -> Option<std::time::Duration> {
    let is_throttled = has_reason(cancelled, "ThrottlingError")
        || has_reason(cancelled, "ProvisionedThroughputExceeded");
    let pause = if is_throttled {
        THROTTLED_PAUSE
    } else if has_reason(cancelled, "TransactionConflict") {
        PAUSE
    } else {
        return None;
    };
    (tries < MAX_TRIES).then(|| pause * tries)
}

/// By webhook, so that a webhook's deliveries are found together.
fn shard_of(webhook: WebhookId) -> u8 {
    // The first byte of a version 4 UUID is random.
    webhook.uuid().as_bytes()[0] % DUE_SHARDS
}

fn state_order(state: DeliveryState, id: DeliveryId) -> String {
    format!("{}/{id}", state.as_str())
}

// `~` lies behind every character of an id.

fn body_key(id: DeliveryId) -> String {
    format!("~body/{id}")
}

fn attempt_prefix(id: DeliveryId) -> String {
    format!("~attempt/{id}/")
}

/// The 26th attempt has the key of the first one, and so replaces it.
fn attempt_key(id: DeliveryId, number: u32) -> String {
    format!("{}{:02}", attempt_prefix(id), number % KEPT_ATTEMPTS)
}

fn change_key(change: &ReportChange) -> String {
    format!("~change/{}/{}", change.report, change.revision)
}

fn beside_key(webhook: WebhookId, id: String) -> Item {
    Item::from([
        ("webhook".to_owned(), string(webhook)),
        ("id".to_owned(), string(id)),
    ])
}

fn table_key(key: DeliveryKey) -> Item {
    beside_key(key.webhook, key.id.to_string())
}
