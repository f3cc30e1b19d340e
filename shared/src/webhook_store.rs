//! The table of webhooks.

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};
use time::OffsetDateTime;

use crate::aws::{Item, describe, string};
use crate::date::timestamp;
use crate::organization::OrganizationId;
use crate::webhook::{Disabled, DisabledReason, Health, Webhook, WebhookKey};

/// In the place of an id: an item per organization that counts the changes of which webhooks there are. `~` lies behind
/// every id.
const GENERATION: &str = "~generation";

/// The table of webhooks.
#[derive(Clone, Debug)]
pub struct WebhookStore {
    client: Client,
    table: String,
}

/// An organization's webhooks at one moment.
#[derive(Debug)]
pub struct Webhooks {
    /// The webhooks, in the order of their ids.
    pub webhooks: Vec<Webhook>,
    /// How often webhooks were added or moved to another project.
    generation: u64,
}

/// What became of a change that was made on a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Yes,
    /// Somebody else was faster, or the thing is gone.
    No,
}

impl WebhookStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Every webhook of an organization, as they are now.
    pub async fn all(&self, org: OrganizationId) -> anyhow::Result<Webhooks> {
        let mut found = Webhooks {
            webhooks: Vec::new(),
            generation: 0,
        };
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("org = :org")
                .expression_attribute_values(":org", string(org))
                // Whoever creates a webhook is told of what is published next.
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the webhooks of organization {org}"))?;
            for item in output.items.unwrap_or_default() {
                match item.get("generation") {
                    Some(generation) => found.generation = number(generation)?,
                    None => found
                        .webhooks
                        .push(from_item(item).context("read the item of a webhook")?),
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// The webhook as it is now.
    pub async fn get(&self, key: WebhookKey) -> anyhow::Result<Option<Webhook>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("get webhook {}", key.id))?;
        output
            .item
            .map(from_item)
            .transpose()
            .with_context(|| format!("read the item of webhook {}", key.id))
    }

    /// Adds a webhook, unless another one was added since `among` was read: so a limit that held among these holds
    /// afterwards.
    pub async fn add(&self, webhook: &Webhook, among: &Webhooks) -> anyhow::Result<Changed> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(
                to_item(webhook).context("make the item of a webhook")?,
            ))
            .condition_expression("attribute_not_exists(id)")
            .build()?;
        let put = TransactWriteItem::builder().put(put).build();
        self.change_set(webhook.key(), put, among).await
    }

    /// Replaces what an administrator set, if the stored revision is the one before. `among` as in [`WebhookStore::add`]
    /// when the webhook is moved to another project.
    pub async fn replace(
        &self,
        webhook: &Webhook,
        among: Option<&Webhooks>,
    ) -> anyhow::Result<Changed> {
        let update = self.replacement(webhook)?;
        if let Some(among) = among {
            let update = TransactWriteItem::builder().update(update).build();
            return self.change_set(webhook.key(), update, among).await;
        }
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(webhook.key())))
            .update_expression(update.update_expression)
            .set_condition_expression(update.condition_expression)
            .set_expression_attribute_names(update.expression_attribute_names)
            .set_expression_attribute_values(update.expression_attribute_values)
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Changed::Yes),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Changed::No),
            Err(error) => {
                Err(describe(error)).with_context(|| format!("replace webhook {}", webhook.id))
            }
        }
    }

    /// An update of every attribute but those of the health, which changes by itself, unless the webhook is enabled by it.
    fn replacement(&self, webhook: &Webhook) -> anyhow::Result<Update> {
        const OPTIONAL: [&str; 7] = [
            "previousSecret",
            "project",
            "events",
            "headers",
            "disabled",
            "failingSince",
            "pausedUntil",
        ];
        let mut item: Item = to_item(webhook).context("make the item of a webhook")?;
        for key in ["org", "id"] {
            item.remove(key);
        }
        let mut absent: Vec<&str> = OPTIONAL
            .into_iter()
            .filter(|name| !item.contains_key(*name))
            .collect();
        if webhook.health != Health::default() {
            for health in ["failingSince", "pausedUntil"] {
                item.remove(health);
                absent.retain(|name| *name != health);
            }
        }
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(webhook.key())))
            .condition_expression("revision = :previous")
            .expression_attribute_values(
                ":previous",
                AttributeValue::N((webhook.revision - 1).to_string()),
            );
        let mut sets = Vec::new();
        for (name, value) in item {
            sets.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let mut expression = format!("SET {}", sets.join(", "));
        if !absent.is_empty() {
            let names: Vec<String> = absent.iter().map(|name| format!("#{name}")).collect();
            expression += &format!(" REMOVE {}", names.join(", "));
            for name in absent {
                update = update.expression_attribute_names(format!("#{name}"), name);
            }
        }
        Ok(update.update_expression(expression).build()?)
    }

    async fn change_set(
        &self,
        key: WebhookKey,
        change: TransactWriteItem,
        among: &Webhooks,
    ) -> anyhow::Result<Changed> {
        let generation = Update::builder()
            .table_name(&self.table)
            .key("org", string(key.org))
            .key("id", string(GENERATION))
            .update_expression("SET generation = :next")
            .condition_expression(if among.generation == 0 {
                "attribute_not_exists(generation)"
            } else {
                "generation = :previous"
            })
            .expression_attribute_values(
                ":next",
                AttributeValue::N((among.generation + 1).to_string()),
            );
        let generation = if among.generation == 0 {
            generation
        } else {
            generation.expression_attribute_values(
                ":previous",
                AttributeValue::N(among.generation.to_string()),
            )
        };
        let result = self
            .client
            .transact_write_items()
            .transact_items(change)
            .transact_items(
                TransactWriteItem::builder()
                    .update(generation.build()?)
                    .build(),
            )
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Changed::Yes),
            Err(TransactWriteItemsError::TransactionCanceledException(cancelled))
                if lost_a_race(&cancelled) =>
            {
                Ok(Changed::No)
            }
            Err(error) => Err(describe(error)).with_context(|| format!("write webhook {}", key.id)),
        }
    }

    /// Deletes the webhook, if it has this revision.
    pub async fn delete(&self, key: WebhookKey, revision: u64) -> anyhow::Result<Changed> {
        let result = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", AttributeValue::N(revision.to_string()))
            .send()
            .await;
        match result.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Changed::Yes),
            Err(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(Changed::No),
            Err(error) => {
                Err(describe(error)).with_context(|| format!("delete webhook {}", key.id))
            }
        }
    }

    /// Takes the right to try one delivery of a webhook whose pause is over: of any number that ask at once, one gets it.
    /// The others find the webhook paused anew, until `until`.
    pub async fn claim_probe(
        &self,
        webhook: &Webhook,
        until: OffsetDateTime,
    ) -> anyhow::Result<Changed> {
        let Some(seen) = &webhook.health.paused_until else {
            return Ok(Changed::No);
        };
        let update = self
            .update(webhook.key())
            .update_expression("SET pausedUntil = :until")
            .condition_expression("pausedUntil = :seen AND attribute_not_exists(disabled)")
            .expression_attribute_values(":until", string(timestamp(until)))
            .expression_attribute_values(":seen", string(seen));
        changed(update.send().await)
            .with_context(|| format!("claim the probe of webhook {}", webhook.id))
    }

    /// Records that a delivery failed at `now`, and pauses the webhook when it seems to be down. Gives the health after it;
    /// `None` when there is no such webhook, or none that is enabled.
    pub async fn failed(
        &self,
        key: WebhookKey,
        now: OffsetDateTime,
        paused_until: Option<OffsetDateTime>,
    ) -> anyhow::Result<Option<Health>> {
        let update = self
            .update(key)
            .condition_expression("attribute_exists(id) AND attribute_not_exists(disabled)")
            .expression_attribute_values(":now", string(timestamp(now)))
            .return_values(ReturnValue::AllNew);
        let update = match paused_until {
            None => {
                update.update_expression("SET failingSince = if_not_exists(failingSince, :now)")
            }
            Some(until) => update
                .update_expression(
                    "SET failingSince = if_not_exists(failingSince, :now), pausedUntil = :until",
                )
                .expression_attribute_values(":until", string(timestamp(until))),
        };
        match update.send().await.map_err(SdkError::into_service_error) {
            Ok(output) => {
                let item = output.attributes.context("DynamoDB gave no attributes")?;
                let health = from_item(item).context("read the health of a webhook")?;
                Ok(Some(health))
            }
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            Err(error) => Err(describe(error))
                .with_context(|| format!("record that webhook {} fails", key.id)),
        }
    }

    /// Ends the pause of a webhook whose receiver is there, but keeps since when its deliveries fail.
    pub async fn unpause(&self, key: WebhookKey) -> anyhow::Result<()> {
        let update = self
            .update(key)
            .update_expression("REMOVE pausedUntil")
            .condition_expression("attribute_exists(id)");
        changed(update.send().await)
            .with_context(|| format!("end the pause of webhook {}", key.id))?;
        Ok(())
    }

    /// Records that a delivery succeeded.
    pub async fn succeeded(&self, key: WebhookKey) -> anyhow::Result<()> {
        let update = self
            .update(key)
            .update_expression("REMOVE failingSince, pausedUntil")
            .condition_expression("attribute_exists(id)");
        changed(update.send().await)
            .with_context(|| format!("record that webhook {} works", key.id))?;
        Ok(())
    }

    /// Disables the webhook. With `failing_since` only if it has failed since then: a success in the meantime keeps it.
    pub async fn disable(
        &self,
        key: WebhookKey,
        reason: DisabledReason,
        failing_since: Option<&str>,
        now: OffsetDateTime,
    ) -> anyhow::Result<Changed> {
        let disabled = Disabled {
            reason,
            at: timestamp(now),
        };
        let condition = match failing_since {
            None => "attribute_exists(id) AND attribute_not_exists(disabled)",
            Some(_) => "failingSince = :since AND attribute_not_exists(disabled)",
        };
        let update = self
            .update(key)
            .update_expression("SET disabled = :disabled, updatedAt = :now ADD revision :one")
            .condition_expression(condition)
            .expression_attribute_values(":disabled", to_attribute_value(disabled)?)
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        let update = match failing_since {
            None => update,
            Some(since) => update.expression_attribute_values(":since", string(since)),
        };
        changed(update.send().await).with_context(|| format!("disable webhook {}", key.id))
    }

    fn update(
        &self,
        key: WebhookKey,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
    }
}

fn changed<T, R: std::fmt::Debug + Send + Sync + 'static>(
    result: Result<T, SdkError<UpdateItemError, R>>,
) -> anyhow::Result<Changed> {
    match result.map_err(SdkError::into_service_error) {
        Ok(_) => Ok(Changed::Yes),
        Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Changed::No),
        Err(error) => Err(describe(error)),
    }
}

fn lost_a_race(cancelled: &aws_sdk_dynamodb::types::error::TransactionCanceledException) -> bool {
    cancelled
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| reason.code())
        .all(|code| {
            matches!(
                code,
                "None" | "ConditionalCheckFailed" | "TransactionConflict"
            )
        })
}

fn number(value: &AttributeValue) -> anyhow::Result<u64> {
    let text = value.as_n().ok().context("an attribute is no number")?;
    Ok(text.parse()?)
}

fn table_key(key: WebhookKey) -> Item {
    Item::from([
        ("org".to_owned(), string(key.org)),
        ("id".to_owned(), string(key.id)),
    ])
}
