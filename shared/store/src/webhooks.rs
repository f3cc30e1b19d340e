//! The table of webhooks.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::webhook::health::{DisabledReason, Pause};
use domain::webhook::{Disabled, Webhook, WebhookKey};
use serde_dynamo::aws_sdk_dynamodb_1::{to_attribute_value, to_item};
use time::OffsetDateTime;

use crate::dynamodb::{
    self, Changed, Item, Unreadable, alone, changed, changed_by, exists, get, number, string,
    transact_once,
};
use crate::error::{Context as _, Error, Result, describe};
use crate::pages::{Bounds, query_within};

/// Stands in the place of an id. The item counts the changes to an organization's set of webhooks. `~` follows every id.
const GENERATION: &str = "~generation";

/// The attributes of [`Health`](domain::webhook::health::Health).
const HEALTH: [&str; 4] = ["failingSince", "pausedUntil", "isAnswering", "isToldToWait"];
/// The condition under which a success ends the pause.
const NOT_TOLD_TO_WAIT: &str = "(NOT isToldToWait = :true OR pausedUntil <= :now)";
/// Deletes the health.
const REMOVE_HEALTH: &str = "REMOVE failingSince, pausedUntil, isAnswering, isToldToWait";

/// The table of webhooks.
#[derive(Clone, Debug)]
pub struct WebhookStore {
    client: Client,
    table: String,
    /// Webhooks that could not be read.
    pub unreadable: Unreadable,
}

/// Which part of the receiver's health a change of a webhook deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing.
    Nothing,
    /// The pause. The time since when deliveries fail is kept.
    Pause,
    /// All of it.
    All,
}

impl Forgotten {
    fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            // All but the first, which is since when deliveries fail.
            Self::Pause => &HEALTH[1..],
            Self::All => &HEALTH,
        }
    }
}

/// The result of deleting a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Done,
    /// It has another revision.
    OtherRevision,
    /// It does not exist.
    Gone,
}

/// An organization's webhooks, read in order to change which there are.
#[derive(Debug)]
pub struct Webhooks {
    /// The webhooks, sorted by id.
    pub webhooks: Vec<Webhook>,
    /// How often webhooks had been added, or moved to another project, before they were read.
    generation: u64,
}

impl WebhookStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Every current webhook of an organization that can be read, sorted by id.
    pub async fn all(&self, org: OrganizationId) -> Result<Vec<Webhook>> {
        Ok(self.all_and_unreadable(org).await?.0)
    }

    /// The same, and how many cannot be read.
    pub async fn all_and_unreadable(&self, org: OrganizationId) -> Result<(Vec<Webhook>, usize)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("org = :org AND id < :generation")
            .expression_attribute_values(":org", string(org))
            .expression_attribute_values(":generation", string(GENERATION))
            // Whoever creates a webhook is told of what is published next.
            .consistent_read(true);
        let mut count = 0;
        let read = |items: Vec<Item>| {
            count += items.len();
            self.unreadable.rest(Some(items), "webhook")
        };
        let found = query_within(query, Bounds::ALL, read)
            .await
            .with_context(|| format!("query the webhooks of organization {}", org.digest()))?;
        let unreadable = count - found.things.len();
        Ok((found.things, unreadable))
    }

    /// The same, for [`WebhookStore::add`] and [`WebhookStore::replace`].
    pub async fn all_to_change(&self, org: OrganizationId) -> Result<Webhooks> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("org", string(org))
            .key("id", string(GENERATION))
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("get the generation of the webhooks of {}", org.digest()))?;
        let generation = output.item.as_ref().and_then(|item| item.get("generation"));
        Ok(Webhooks {
            // First: what is added while the webhooks are read is a generation that was not seen.
            generation: generation.map(read_number).transpose()?.unwrap_or_default(),
            webhooks: self.all(org).await?,
        })
    }

    /// The current webhook.
    pub async fn get(&self, key: WebhookKey) -> Result<Option<Webhook>> {
        get(&self.client, &self.table, table_key(key), &self.unreadable)
            .await
            .with_context(|| format!("get webhook {}", key.id))
    }

    /// Adds a webhook, unless another one was added since `among` was read. So a limit that `among` keeps holds afterwards
    /// too. Writes `alongside` in the same transaction.
    pub async fn add(
        &self,
        webhook: &Webhook,
        among: &Webhooks,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(
                to_item(webhook).context("make the item of a webhook")?,
            ))
            .condition_expression("attribute_not_exists(id)")
            .build()?;
        let put = TransactWriteItem::builder().put(put).build();
        let others = [
            Some(generation(&self.table, webhook.org, among)?),
            alongside,
        ];
        self.write(webhook.key(), put, others).await
    }

    /// Replaces the settings, if the stored revision is the one before. The health stays or is deleted, as `forgotten` says.
    /// `among` is needed when the webhook moves to another project, as in [`WebhookStore::add`], and `alongside` is as there.
    pub async fn replace(
        &self,
        webhook: &Webhook,
        forgotten: Forgotten,
        among: Option<&Webhooks>,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let update = self.replacement(webhook, forgotten)?;
        if among.is_some() || alongside.is_some() {
            let update = TransactWriteItem::builder().update(update).build();
            let generation = among.map(|among| generation(&self.table, webhook.org, among));
            let others = [generation.transpose()?, alongside];
            return self.write(webhook.key(), update, others).await;
        }
        let replaced = changed(alone(&self.client, update))
            .await
            .with_context(|| format!("replace webhook {}", webhook.id))?;
        let is_ours = |stored: &Webhook| {
            let health = webhook.health.clone();
            *webhook
                == Webhook {
                    health,
                    ..stored.clone()
                }
        };
        self.perhaps_ours(webhook.key(), replaced, is_ours).await
    }

    /// Decides whether a lost change was in fact made. The SDK may have sent the request twice, and the answer to the first
    /// one was lost. Then the stored webhook is ours.
    async fn perhaps_ours(
        &self,
        key: WebhookKey,
        changed: Changed,
        is_ours: impl FnOnce(&Webhook) -> bool,
    ) -> Result<Changed> {
        if changed == Changed::Lost && self.get(key).await?.is_some_and(|it| is_ours(&it)) {
            return Ok(Changed::Stored);
        }
        Ok(changed)
    }

    /// An update of every attribute but the health, which changes independently.
    fn replacement(&self, webhook: &Webhook, forgotten: Forgotten) -> Result<Update> {
        const OPTIONAL: [&str; 10] = [
            // Of earlier versions of the product: a secret that no longer signs.
            "previousSecret",
            "previousSecrets",
            "secret",
            "token",
            "project",
            "projects",
            "events",
            "headers",
            "disabled",
            "former",
        ];
        let mut item: Item = to_item(webhook).context("make the item of a webhook")?;
        let not_set = ["org", "id"].into_iter().chain(HEALTH);
        for name in not_set {
            item.remove(name);
        }
        let absent = OPTIONAL
            .into_iter()
            .filter(|name| !item.contains_key(*name))
            .chain(forgotten.attributes().iter().copied());
        let absent: Vec<&str> = absent.collect();
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(webhook.key())))
            .condition_expression("revision = :previous")
            .expression_attribute_values(":previous", number(webhook.revision - 1));
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

    /// Writes a webhook, and what belongs to it in the same transaction.
    async fn write(
        &self,
        key: WebhookKey,
        change: TransactWriteItem,
        others: impl IntoIterator<Item = Option<TransactWriteItem>>,
    ) -> Result<Changed> {
        let mut items = vec![change];
        items.extend(others.into_iter().flatten());
        changed_by(transact_once(&self.client, items).await)
            .with_context(|| format!("write webhook {}", key.id))
    }

    /// Deletes the webhook, if it has one of these revisions. `None` means any revision. The webhook is not read, so one that
    /// cannot be read can be deleted.
    pub async fn delete(&self, key: WebhookKey, revisions: Option<&[u64]>) -> Result<Deleted> {
        let exists = async || {
            exists(&self.client, &self.table, table_key(key))
                .await
                .with_context(|| format!("see whether there is a webhook {}", key.id))
        };
        if !exists().await? {
            return Ok(Deleted::Gone);
        }
        let mut delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)));
        let mut condition = "attribute_exists(id)".to_owned();
        for (position, revision) in revisions.unwrap_or_default().iter().enumerate() {
            condition += if position == 0 {
                " AND revision IN ("
            } else {
                ", "
            };
            condition += &format!(":revision{position}");
            delete = delete
                .expression_attribute_values(format!(":revision{position}"), number(revision));
        }
        match revisions {
            // No webhook has a revision of an empty list.
            Some([]) => condition += " AND attribute_not_exists(id)",
            Some(_) => condition.push(')'),
            None => {}
        }
        let deleted = dynamodb::delete(delete.condition_expression(condition))
            .await
            .with_context(|| format!("delete webhook {}", key.id))?;
        Ok(match deleted {
            Changed::Stored => Deleted::Done,
            Changed::Lost if exists().await? => Deleted::OtherRevision,
            // It was there a moment ago: the SDK has asked twice, or somebody else has deleted it.
            Changed::Lost => Deleted::Done,
        })
    }

    /// Claims the probe of a webhook whose pause is over: the right to try a delivery while the circuit is half-open. Of
    /// several that claim it at once, one gets it. The others find the webhook paused again, until `until`.
    pub async fn claim_probe(&self, webhook: &Webhook, until: OffsetDateTime) -> Result<Changed> {
        let Some(seen) = &webhook.health.paused_until else {
            return Ok(Changed::Lost);
        };
        let update = self
            .update(webhook.key())
            .update_expression("SET pausedUntil = :until REMOVE isToldToWait")
            .condition_expression("pausedUntil = :seen AND attribute_not_exists(disabled)")
            .expression_attribute_values(":until", string(timestamp(until)))
            .expression_attribute_values(":seen", string(seen));
        let claimed = changed(update)
            .await
            .with_context(|| format!("claim the probe of webhook {}", webhook.id))?;
        if claimed == Changed::Stored {
            return Ok(claimed);
        }
        // The SDK may have sent the request twice, and the answer to the first one was lost.
        let stored = self.get(webhook.key()).await?;
        let until = Some(timestamp(until));
        let is_ours = stored.is_some_and(|stored| stored.health.paused_until == until);
        Ok(if is_ours {
            Changed::Stored
        } else {
            Changed::Lost
        })
    }

    /// Gives back the probe that [`WebhookStore::claim_probe`] gave until `until`, because nothing was tried.
    pub async fn return_probe(&self, webhook: &Webhook, until: OffsetDateTime) -> Result<()> {
        let seen = webhook.health.paused_until.as_ref();
        let update = self
            .update(webhook.key())
            .update_expression("SET pausedUntil = :seen")
            .condition_expression("pausedUntil = :until")
            .expression_attribute_values(":seen", string(seen.context("it was paused")?))
            .expression_attribute_values(":until", string(timestamp(until)));
        changed(update)
            .await
            .with_context(|| format!("return the probe of webhook {}", webhook.id))?;
        Ok(())
    }

    /// Records that a delivery failed at `now`, and pauses the webhook if `pause` says so. It records nothing when an
    /// administrator has changed, disabled or deleted the webhook since it was read.
    pub async fn failed(
        &self,
        webhook: &Webhook,
        now: OffsetDateTime,
        pause: Option<Pause>,
    ) -> Result<Changed> {
        let update = self
            .update(webhook.key())
            .condition_expression("revision = :seen")
            .expression_attribute_values(":seen", number(webhook.revision))
            .expression_attribute_values(":now", string(timestamp(now)));
        let update = match pause {
            None => {
                update.update_expression("SET failingSince = if_not_exists(failingSince, :now)")
            }
            Some(Pause {
                until,
                is_answering,
                is_told_to_wait,
            }) => update
                .update_expression(
                    "SET failingSince = if_not_exists(failingSince, :now), pausedUntil = :until, \
                     isAnswering = :answering, isToldToWait = :told",
                )
                .expression_attribute_values(":until", string(timestamp(until)))
                .expression_attribute_values(":answering", AttributeValue::Bool(is_answering))
                .expression_attribute_values(":told", AttributeValue::Bool(is_told_to_wait)),
        };
        changed(update)
            .await
            .with_context(|| format!("record that webhook {} fails", webhook.id))
    }

    /// Ends the pause of a webhook whose receiver answers. The time since when its deliveries fail is kept.
    pub async fn unpause(&self, key: WebhookKey) -> Result<()> {
        let update = self
            .update(key)
            .update_expression("REMOVE pausedUntil, isAnswering, isToldToWait")
            .condition_expression("attribute_exists(id)");
        changed(update)
            .await
            .with_context(|| format!("end the pause of webhook {}", key.id))?;
        Ok(())
    }

    /// Ends the pause of a webhook as it was read. It does not do so if an administrator has changed the webhook since, a
    /// delivery has begun another pause, or somebody has claimed the probe. For a webhook without a pause it only checks that
    /// none has begun.
    pub async fn end_pause(&self, webhook: &Webhook) -> Result<Changed> {
        let update = self
            .update(webhook.key())
            .update_expression("REMOVE pausedUntil, isAnswering, isToldToWait")
            .expression_attribute_values(":revision", number(webhook.revision));
        // The second part also holds when this very update was made: the SDK may ask twice, when an answer gets lost.
        let update = match &webhook.health.paused_until {
            Some(until) => update
                .condition_expression(
                    "revision = :revision AND (pausedUntil = :seen OR attribute_not_exists(pausedUntil))",
                )
                .expression_attribute_values(":seen", string(until)),
            None => update
                .condition_expression("revision = :revision AND attribute_not_exists(pausedUntil)"),
        };
        changed(update)
            .await
            .with_context(|| format!("end the pause of webhook {}", webhook.id))
    }

    /// Records that a delivery succeeded at `now`. That ends a pause, unless the receiver set the end of the pause itself:
    /// then the success is of an earlier request.
    pub async fn succeeded(&self, key: WebhookKey, now: OffsetDateTime) -> Result<()> {
        self.forget_health(key, "attribute_exists(id)", now).await
    }

    /// The same, but only over a failure before `now`, which somebody else may have recorded.
    pub async fn succeeded_since(&self, key: WebhookKey, now: OffsetDateTime) -> Result<()> {
        self.forget_health(key, "failingSince < :now", now).await
    }

    async fn forget_health(
        &self,
        key: WebhookKey,
        condition: &str,
        now: OffsetDateTime,
    ) -> Result<()> {
        let update = self
            .update(key)
            .update_expression(REMOVE_HEALTH)
            .condition_expression(format!("{condition} AND {NOT_TOLD_TO_WAIT}"))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":now", string(timestamp(now)));
        changed(update)
            .await
            .with_context(|| format!("record that webhook {} works", key.id))?;
        Ok(())
    }

    /// Disables the webhook as it was read. It does not do so if an administrator has changed the webhook since. With
    /// `failing_since`, it does so only if the webhook has failed since then, so that a success in the meantime keeps it
    /// enabled.
    pub async fn disable(
        &self,
        webhook: &Webhook,
        reason: DisabledReason,
        failing_since: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Changed> {
        let disabled = Disabled {
            reason,
            at: timestamp(now),
        };
        let update = self
            .update(webhook.key())
            .update_expression("SET disabled = :disabled, updatedAt = :now, revision = :next")
            .expression_attribute_values(":disabled", to_attribute_value(&disabled)?)
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(":next", number(webhook.revision + 1))
            .expression_attribute_values(":seen", number(webhook.revision));
        let update = match failing_since {
            None => update.condition_expression("revision = :seen"),
            Some(since) => update
                .condition_expression("revision = :seen AND failingSince = :since")
                .expression_attribute_values(":since", string(since)),
        };
        let changed = changed(update)
            .await
            .with_context(|| format!("disable webhook {}", webhook.id))?;
        let is_ours = |stored: &Webhook| stored.disabled.as_ref() == Some(&disabled);
        self.perhaps_ours(webhook.key(), changed, is_ours).await
    }

    fn update(&self, key: WebhookKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
    }
}

/// The part of a transaction that counts a change of an organization's set of webhooks, unless the set has changed since
/// `among` was read.
fn generation(table: &str, org: OrganizationId, among: &Webhooks) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(table)
        .key("org", string(org))
        .key("id", string(GENERATION))
        .update_expression("SET generation = :next")
        .expression_attribute_values(":next", number(among.generation + 1));
    let update = if among.generation == 0 {
        update.condition_expression("attribute_not_exists(generation)")
    } else {
        update
            .condition_expression("generation = :previous")
            .expression_attribute_values(":previous", number(among.generation))
    };
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

fn read_number(value: &AttributeValue) -> Result<u64> {
    let text = value.as_n().ok().context("an attribute is no number")?;
    let number = text.parse();
    number.map_err(|error| Error::new(error).during("read a number"))
}

fn table_key(key: WebhookKey) -> Item {
    Item::from([
        ("org".to_owned(), string(key.org)),
        ("id".to_owned(), string(key.id)),
    ])
}
