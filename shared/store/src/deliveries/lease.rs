//! Who may try a delivery, and what came of it.
//!
//! A lease is the right to try a delivery for a while. It is claimed by a conditional write, so of any number that claim it
//! at once one gets it, and whoever ends without a word loses it when its time is over.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::delivery::attempt::Attempt;
use domain::delivery::{Delivery, DeliveryKey, DeliveryState, Lease};
use serde_dynamo::aws_sdk_dynamodb_1::{to_attribute_value, to_item};
use time::{Duration, OffsetDateTime};

use super::DeliveryStore;
use super::items::{Beside, attempt_key, shard_of, state_order, table_key};
use crate::dynamodb::{Changed, changed, string, transact};
use crate::error::{Context as _, Result, describe};

/// How long a lease holds: nobody else tries the delivery in this time. It is longer than the function that tries may
/// run (template.yaml: 150 s), so that a lease that has ended means an attempt that has ended.
pub const LEASE_VALIDITY: Duration = Duration::minutes(3);

/// What became of claiming a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the caller's to try, until [`LEASE_VALIDITY`] is over.
    Started(Box<Delivery>, Lease),
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
    /// It is due. This is it as it was read, with what makes it due: an attempt that ended in between is not in it.
    Due(Box<Delivery>),
    /// Somebody is trying it.
    InProgress,
    /// There is none.
    Gone,
}

impl DeliveryStore {
    /// Claims a delivery that is due.
    pub async fn claim(&self, key: DeliveryKey, now: OffsetDateTime) -> Result<Claimed> {
        let lease = Lease::new();
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression("SET lease = :lease, dueAt = :until")
            .condition_expression("dueAt <= :now AND expiresAt > :seconds")
            .expression_attribute_values(":lease", string(lease.uuid()))
            .expression_attribute_values(":until", string(timestamp(now + LEASE_VALIDITY)))
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
                let delivery = self.unreadable.read(item);
                let delivery = delivery.with_context(|| format!("claim delivery {}", key.id))?;
                Ok(Claimed::Started(Box::new(delivery), lease))
            }
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => {
                Ok(match self.get(key).await? {
                    None => Claimed::Gone,
                    // The SDK may have asked twice, and the answer to the first time was lost.
                    Some(it) if it.lease == Some(lease) => Claimed::Started(Box::new(it), lease),
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

    /// Gives a lease back without an attempt: the delivery is due at `due_at`.
    pub async fn release(
        &self,
        key: DeliveryKey,
        lease: Lease,
        due_at: OffsetDateTime,
    ) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression("SET dueAt = :due REMOVE lease")
            .condition_expression("lease = :lease")
            .expression_attribute_values(":due", string(timestamp(due_at)))
            .expression_attribute_values(":lease", string(lease.uuid()));
        changed(update.send().await).with_context(|| format!("release delivery {}", key.id))?;
        Ok(())
    }

    /// Records an attempt and what it came to, in one write. The attempt gets the next free number in place of the one that it
    /// has, and is given back with it; `None` when it is not recorded.
    ///
    /// A failure counts only for whoever still has the lease: if it has ended, somebody else is trying. A success always
    /// counts, since the receiver has the message; if somebody else has recorded an attempt meanwhile, it is the next one.
    pub async fn record(
        &self,
        delivery: &Delivery,
        lease: Lease,
        attempt: Attempt,
        outcome: Outcome,
    ) -> Result<Option<Attempt>> {
        /// Each time somebody else has recorded an attempt. Two may be at work at once, when a lease has ended.
        const MAX_TRIES: usize = 5;
        let mut recorded = delivery.attempts;
        for _ in 0..MAX_TRIES {
            let attempt = Attempt {
                number: recorded + 1,
                ..attempt.clone()
            };
            let written = self.record_as(delivery, lease, &attempt, outcome).await?;
            if written == Changed::Stored {
                return Ok(Some(attempt));
            }
            match self.get(delivery.key()).await? {
                Some(now) if now.attempts != recorded && outcome == Outcome::Delivered => {
                    recorded = now.attempts;
                }
                _ => break,
            }
        }
        tracing::warn!(
            delivery = %delivery.id,
            "an attempt at delivery {} is not recorded: somebody else tries it, or it is gone", delivery.id
        );
        Ok(None)
    }

    /// Records an attempt under its number, if that is the next one.
    async fn record_as(
        &self,
        delivery: &Delivery,
        lease: Lease,
        attempt: &Attempt,
        outcome: Outcome,
    ) -> Result<Changed> {
        let key = delivery.key();
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
            .expression_attribute_values(
                ":before",
                AttributeValue::N((attempt.number - 1).to_string()),
            )
            .expression_attribute_values(":attempt", to_attribute_value(attempt.summary())?);
        let update = match outcome {
            Outcome::Delivered => update
                .update_expression(
                    "SET #state = :state, stateOrder = :order, attempts = :count, lastAttempt = :attempt \
                     REMOVE lease, dueAt, dueShard",
                )
                .condition_expression("attempts = :before"),
            Outcome::Failed(due_at) => update
                .update_expression(
                    "SET #state = :state, stateOrder = :order, attempts = :count, lastAttempt = :attempt, \
                     dueAt = :due REMOVE lease",
                )
                .condition_expression("lease = :lease AND attempts = :before")
                .expression_attribute_values(":due", string(timestamp(due_at)))
                .expression_attribute_values(":lease", string(lease.uuid())),
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
        transact(&self.client, items)
            .await
            .with_context(|| format!("record an attempt at delivery {}", key.id))
    }

    /// Makes a delivery due at `now` that has failed and that nobody is trying.
    pub async fn hasten(&self, key: DeliveryKey, now: OffsetDateTime) -> Result<Changed> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression("SET dueAt = :now")
            .condition_expression("#state = :failed AND attribute_not_exists(lease)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":failed", to_attribute_value(DeliveryState::Failed)?)
            .expression_attribute_values(":now", string(timestamp(now)));
        changed(update.send().await).with_context(|| format!("hasten delivery {}", key.id))
    }

    /// Makes a delivery due at `now`, whatever its state; one that was delivered becomes pending.
    pub async fn make_due(&self, key: DeliveryKey, now: OffsetDateTime) -> Result<MadeDue> {
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
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression(
                "SET #state = :state, stateOrder = :order, dueAt = :now, dueShard = :shard REMOVE lease",
            )
            // The second part holds when this very update was made: the SDK may ask twice, when an answer gets lost.
            .condition_expression(
                "(#state = :seen AND (attribute_not_exists(lease) OR dueAt <= :now)) \
                 OR (#state = :state AND dueAt = :now AND attribute_not_exists(lease))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", to_attribute_value(state)?)
            .expression_attribute_values(":seen", to_attribute_value(delivery.state)?)
            .expression_attribute_values(":order", string(state_order(state, key.id)))
            .expression_attribute_values(":now", string(timestamp(now)))
            // It asks for no attributes back: who may update only some of them must not ask for all.
            .expression_attribute_values(":shard", string(shard_of(key.webhook)));
        let made_due = changed(update.send().await)
            .with_context(|| format!("make delivery {} due", key.id))?;
        Ok(match made_due {
            Changed::Stored => MadeDue::Due(Box::new(Delivery {
                state,
                due_at: Some(timestamp(now)),
                lease: None,
                ..delivery
            })),
            // Somebody has begun to try it, or has just ended.
            Changed::Lost => MadeDue::InProgress,
        })
    }
}
