//! Leases on deliveries, and the results of attempts.
//!
//! A lease is the exclusive right to try a delivery for a limited time. It is claimed by a conditional write, so of several
//! functions that claim it at once only one gets it. A function that dies keeps its lease no longer than [`LEASE_VALIDITY`].

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::delivery::attempt::Attempt;
use domain::delivery::{Delivery, DeliveryKey, DeliveryState, Lease};
use futures_util::future::try_join_all;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;
use time::{Duration, OffsetDateTime};

use super::DeliveryStore;
use super::items::{
    self, ATTEMPT, LATEST, Stored, attempt_key, pack, shard_of, state_order, table_key, unpack,
};
use crate::dynamodb::{Changed, Item, alone, changed, number, string, transact, updated};
use crate::error::{Context as _, Result, describe};
use crate::packed::{MAX_ATTEMPTS, Packed};

/// How long a lease lasts. Nobody else tries the delivery in this time. It is longer than the function that tries may run
/// (template.yaml: 150 s), so when a lease has ended, so has its attempt.
pub const LEASE_VALIDITY: Duration = Duration::minutes(3);

/// A delivery of which the caller holds the lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// The delivery as it was when the lease began.
    pub delivery: Delivery,
    lease: Lease,
    message: Option<Packed>,
    latest: Option<Packed>,
}

impl Leased {
    /// A delivery that was created with this lease, and has never been tried.
    pub fn new(delivery: Delivery, lease: Lease) -> Self {
        Self {
            delivery,
            lease,
            message: None,
            latest: None,
        }
    }

    fn of(stored: Stored, lease: Lease) -> Self {
        Self {
            delivery: stored.delivery,
            lease,
            message: stored.message,
            latest: stored.latest,
        }
    }
}

/// The result of claiming the lease of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Claimed {
    /// The caller holds the lease, for [`LEASE_VALIDITY`].
    Started(Box<Leased>),
    /// It is delivered.
    AlreadyDelivered,
    /// Somebody else holds the lease.
    InProgress,
    /// It is not due yet, or is no longer due because it was tried in the meantime.
    NotDue,
    /// It does not exist: it was deleted, or has expired.
    Gone,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is delivered.
    Delivered,
    /// It is not delivered, and is due again.
    Failed(Next),
    /// It is not delivered, and is tried again only on request. It stays in this state.
    GivenUp(DeliveryState),
}

/// When a delivery is tried again, and its counters until then; see [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Delivery")]
pub struct Next {
    pub due_at: OffsetDateTime,
    pub failures: u32,
    pub unwanted: u32,
}

impl Next {
    /// An attempt at this time, with all counters at zero.
    pub fn at(due_at: OffsetDateTime) -> Self {
        Self {
            due_at,
            failures: 0,
            unwanted: 0,
        }
    }
}

/// Where an attempt is stored.
enum Room {
    /// In the delivery's item, as the last of these.
    Within(Packed),
    /// In an item of its own.
    Beside(Item),
}

/// The result of making a delivery due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeDue {
    /// It is due. The delivery is as it was read, with its new due time. An attempt that ended in between is not in it.
    Due(Box<Delivery>),
    /// Somebody is trying it.
    InProgress,
    /// It was delivered in the meantime, and is not to be delivered again.
    Delivered,
    /// It does not exist.
    Gone,
}

impl DeliveryStore {
    /// Claims the lease of a due delivery.
    pub async fn claim(&self, key: DeliveryKey, now: OffsetDateTime) -> Result<Claimed> {
        let lease = Lease::new();
        let claim = self
            .update(key)
            // Who was the first to try it has left it out of that index.
            .update_expression(
                "SET lease = :lease, dueAt = :until, stateOrder = if_not_exists(stateOrder, :pending)",
            )
            .condition_expression("dueAt <= :now AND expiresAt > :seconds")
            .expression_attribute_values(":lease", string(lease.uuid()))
            .expression_attribute_values(":until", string(timestamp(now + LEASE_VALIDITY)))
            .expression_attribute_values(":pending", pending(key))
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(":seconds", number(now.unix_timestamp()))
            .return_values(ReturnValue::AllNew);
        let context = || format!("claim delivery {}", key.id);
        if let Some(output) = updated(claim).await.with_context(context)? {
            let item = output.attributes.context("DynamoDB gave no attributes")?;
            let stored = self.unreadable.counting(Stored::of(item));
            let stored = stored.with_context(context)?;
            return Ok(Claimed::Started(Box::new(Leased::of(stored, lease))));
        }
        let Some(stored) = self.stored(key).await? else {
            return Ok(Claimed::Gone);
        };
        let delivery = &stored.delivery;
        Ok(if delivery.lease == Some(lease) {
            // The SDK may have asked twice, and the answer to the first time was lost.
            Claimed::Started(Box::new(Leased::of(stored, lease)))
        } else if delivery.state == DeliveryState::Delivered {
            Claimed::AlreadyDelivered
        } else if delivery.is_expired(now) {
            Claimed::Gone
        } else if delivery.is_in_progress(now) {
            Claimed::InProgress
        } else {
            Claimed::NotDue
        })
    }

    /// Gives a lease back without an attempt. The delivery is due at `due_at`.
    pub async fn release(&self, leased: &Leased, due_at: OffsetDateTime) -> Result<()> {
        let key = leased.delivery.key();
        let update = self
            .update(key)
            .update_expression(
                "SET dueAt = :due, stateOrder = if_not_exists(stateOrder, :pending) REMOVE lease",
            )
            .condition_expression("lease = :lease")
            .expression_attribute_values(":due", string(timestamp(due_at)))
            .expression_attribute_values(":pending", pending(key))
            .expression_attribute_values(":lease", string(leased.lease.uuid()));
        changed(update)
            .await
            .with_context(|| format!("release delivery {}", key.id))?;
        Ok(())
    }

    /// The message of a delivery of which the caller holds the lease.
    pub async fn message(&self, leased: &Leased) -> Result<String> {
        let message = match &leased.message {
            Some(message) => Some(message.text()?),
            None => self.message_beside(leased.delivery.key()).await?,
        };
        message.with_context(|| format!("delivery {} has no message", leased.delivery.id))
    }

    /// Records an attempt and its outcome. The attempt gets the next free number instead of the one that it has. The recorded
    /// attempt is returned; `None` when it is not recorded.
    ///
    /// A failure counts only while the caller still holds the lease. After that, somebody else is trying. A success always
    /// counts, since the receiver has the message. If somebody else has recorded an attempt in the meantime, the success is
    /// the next one.
    pub async fn record(
        &self,
        leased: &Leased,
        attempt: Attempt,
        outcome: Outcome,
    ) -> Result<Option<Attempt>> {
        /// The write is tried again each time somebody else has recorded an attempt. Two functions may be at work at once,
        /// when a lease has ended.
        const MAX_TRIES: usize = 5;
        let key = leased.delivery.key();
        let context = || format!("record an attempt at delivery {}", key.id);
        let (mut recorded, mut latest) = (leased.delivery.attempts, leased.latest.clone());
        for _ in 0..MAX_TRIES {
            let attempt = Attempt {
                number: recorded + 1,
                ..attempt.clone()
            };
            let room = self.make_room(leased, latest.as_ref(), &attempt).await;
            let room = room.with_context(context)?;
            let written = self.record_as(leased, &attempt, room, outcome).await;
            if written.with_context(context)? == Changed::Stored {
                return Ok(Some(attempt));
            }
            let Some(now) = self.stored(key).await? else {
                break;
            };
            let is_delivered = outcome == Outcome::Delivered;
            if now.delivery.attempts == attempt.number
                && now.delivery.last_attempt == Some(attempt.summary())
                && (now.delivery.state == DeliveryState::Delivered) == is_delivered
            {
                // The SDK sent the request twice, and the answer to the first one was lost.
                return Ok(Some(attempt));
            }
            if now.delivery.attempts == recorded || !is_delivered {
                break;
            }
            (recorded, latest) = (now.delivery.attempts, now.latest);
        }
        tracing::warn!(
            delivery = %key.id,
            "an attempt at delivery {} is not recorded: somebody else tries it, or it is gone", key.id
        );
        Ok(None)
    }

    /// Decides where an attempt is stored. Earlier attempts that no longer fit into the delivery's item are moved to items of
    /// their own at once. They are counted already, and readers of attempts skip duplicates.
    async fn make_room(
        &self,
        leased: &Leased,
        latest: Option<&Packed>,
        attempt: &Attempt,
    ) -> Result<Room> {
        let latest = latest.map(unpack::<Vec<Attempt>>).transpose();
        let latest = self.unreadable.counting(latest).ok().flatten();
        let mut attempts = latest.unwrap_or_default();
        attempts.push(attempt.clone());
        let mut packed = pack(&attempts)?;
        if !packed.fits(MAX_ATTEMPTS) {
            let earlier = attempts[..attempts.len() - 1].iter();
            let puts = earlier.map(async |earlier| {
                let put = self.client.put_item().table_name(&self.table);
                let put = put.set_item(Some(beside(leased, earlier)?));
                put.send().await.map(drop).map_err(describe)
            });
            try_join_all(puts).await?;
            packed = pack(&[attempt])?;
        }
        Ok(if packed.fits(MAX_ATTEMPTS) {
            Room::Within(packed)
        } else {
            Room::Beside(beside(leased, attempt)?)
        })
    }

    /// Records an attempt under its number, if that is the next one.
    async fn record_as(
        &self,
        leased: &Leased,
        attempt: &Attempt,
        room: Room,
        outcome: Outcome,
    ) -> Result<Changed> {
        let key = leased.delivery.key();
        let state = match outcome {
            Outcome::Delivered => DeliveryState::Delivered,
            Outcome::Failed(_) => DeliveryState::Failed,
            Outcome::GivenUp(state) => state,
        };
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", to_attribute_value(state)?)
            .expression_attribute_values(":count", number(attempt.number))
            .expression_attribute_values(":before", number(attempt.number - 1))
            .expression_attribute_values(":summary", to_attribute_value(attempt.summary())?);
        let mut set = "#state = :state, attempts = :count, lastAttempt = :summary".to_owned();
        let mut remove = "lease".to_owned();
        match &room {
            Room::Within(latest) => {
                set += &format!(", {LATEST} = :latest");
                update = update.expression_attribute_values(":latest", latest.attribute());
            }
            Room::Beside(_) => remove += &format!(", {LATEST}"),
        }
        let update = match outcome {
            Outcome::Delivered => {
                remove += ", dueAt, dueShard, stateOrder";
                update.condition_expression("attempts = :before")
            }
            Outcome::Failed(next) => {
                set += ", dueAt = :due, stateOrder = :order";
                for (name, value, count) in [
                    ("failures", ":failures", next.failures),
                    ("unwanted", ":unwanted", next.unwanted),
                ] {
                    if count == 0 {
                        remove += &format!(", {name}");
                    } else {
                        set += &format!(", {name} = {value}");
                        update = update.expression_attribute_values(value, number(count));
                    }
                }
                update
                    .condition_expression("lease = :lease AND attempts = :before")
                    .expression_attribute_values(":due", string(timestamp(next.due_at)))
                    .expression_attribute_values(":order", string(state_order(state, key.id)))
                    .expression_attribute_values(":lease", string(leased.lease.uuid()))
            }
            Outcome::GivenUp(_) => {
                remove += ", dueAt, dueShard";
                set += ", stateOrder = :order";
                update
                    .condition_expression("lease = :lease AND attempts = :before")
                    .expression_attribute_values(":order", string(state_order(state, key.id)))
                    .expression_attribute_values(":lease", string(leased.lease.uuid()))
            }
        };
        let update = update.update_expression(format!("SET {set} REMOVE {remove}"));
        let update = update.build()?;
        let Room::Beside(attempt) = room else {
            return changed(alone(&self.client, update)).await;
        };
        // In one transaction, so that an attempt that is not recorded does not replace one that is.
        let put = Put::builder().table_name(&self.table);
        let put = put.set_item(Some(attempt)).build()?;
        let items = vec![
            TransactWriteItem::builder().update(update).build(),
            TransactWriteItem::builder().put(put).build(),
        ];
        transact(&self.client, items).await
    }

    /// Makes a delivery due at `now` that has failed and that nobody is trying.
    pub async fn hasten(&self, key: DeliveryKey, now: OffsetDateTime) -> Result<Changed> {
        let update = self
            .update(key)
            .update_expression("SET dueAt = :now, dueShard = :shard REMOVE failures, unwanted")
            .expression_attribute_values(":shard", string(shard_of(key.webhook)))
            .condition_expression("#state = :failed AND attribute_not_exists(lease)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":failed", to_attribute_value(DeliveryState::Failed)?)
            .expression_attribute_values(":now", string(timestamp(now)));
        changed(update)
            .await
            .with_context(|| format!("hasten delivery {}", key.id))
    }

    /// Makes a delivery due at `now`, whatever its state. A delivered one becomes pending if it is to be delivered `again`.
    pub async fn make_due(
        &self,
        key: DeliveryKey,
        again: bool,
        now: OffsetDateTime,
    ) -> Result<MadeDue> {
        let Some(delivery) = self.get(key).await?.filter(|it| !it.is_expired(now)) else {
            return Ok(MadeDue::Gone);
        };
        if delivery.is_in_progress(now) {
            return Ok(MadeDue::InProgress);
        }
        let state = match delivery.state {
            DeliveryState::Delivered if !again => return Ok(MadeDue::Delivered),
            DeliveryState::Delivered => DeliveryState::Pending,
            state => state,
        };
        let update = self
            .update(key)
            .update_expression(
                "SET #state = :state, stateOrder = :order, dueAt = :now, dueShard = :shard REMOVE lease, failures, unwanted",
            )
            // The second part holds if this very update was made: the SDK may send a request twice when an answer is lost.
            .condition_expression(
                "(#state = :seen AND (attribute_not_exists(lease) OR dueAt <= :now)) \
                 OR (#state = :state AND dueAt = :now AND attribute_not_exists(lease))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", to_attribute_value(state)?)
            .expression_attribute_values(":seen", to_attribute_value(delivery.state)?)
            .expression_attribute_values(":order", string(state_order(state, key.id)))
            .expression_attribute_values(":now", string(timestamp(now)))
            // No attributes are asked for in return: a policy that allows updates of some attributes forbids to ask for all.
            .expression_attribute_values(":shard", string(shard_of(key.webhook)));
        let made_due = changed(update)
            .await
            .with_context(|| format!("make delivery {} due", key.id))?;
        Ok(match made_due {
            Changed::Stored => MadeDue::Due(Box::new(Delivery {
                state,
                due_at: Some(timestamp(now)),
                lease: None,
                failures: 0,
                unwanted: 0,
                ..delivery
            })),
            // Somebody has begun to try it, or has just ended.
            Changed::Lost => MadeDue::InProgress,
        })
    }

    fn update(&self, key: DeliveryKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
    }
}

/// The place in the index by state of a delivery that was never tried.
fn pending(key: DeliveryKey) -> AttributeValue {
    string(state_order(DeliveryState::Pending, key.id))
}

/// An attempt in an item of its own.
fn beside(leased: &Leased, attempt: &Attempt) -> Result<Item> {
    let delivery = &leased.delivery;
    let key = attempt_key(delivery.id, attempt.number);
    let packed = pack(attempt)?;
    Ok(items::beside(
        delivery.webhook,
        key,
        ATTEMPT,
        &packed,
        delivery.expires_at,
    ))
}
