//! The table of sources.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::source::{Source, SourceId};
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;

use crate::counted::Counted;
use crate::dynamodb::{
    Changed, Item, Unreadable, changed, changed_by, get, number, string, transact, transact_once,
};
use crate::error::{Context as _, Result, describe};
use crate::pages::query_all;

/// The index of an organization's sources by id.
pub const BY_ORG: &str = "by-org";

/// The index of the sources from whose servers reports are imported.
pub const IMPORTING: &str = "importing";

/// The attribute that is the index's key. All sources have the same value: only administrators write it, so rarely.
const SHARD: &str = "importShard";
/// Its value.
const ONLY_SHARD: &str = "0";

const COUNTED: Counted = Counted {
    key: "id",
    count: "sources",
};

/// The table of sources.
#[derive(Clone, Debug)]
pub struct SourceStore {
    client: Client,
    table: String,
    /// Sources that could not be read.
    pub unreadable: Unreadable,
}

impl SourceStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Every source of an organization that can be read, sorted by id. The index is eventually consistent: a new source can
    /// be missing for a moment.
    pub async fn all(&self, org: OrganizationId) -> Result<Vec<Source>> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_ORG)
            .key_condition_expression("org = :org")
            .expression_attribute_values(":org", string(org));
        query_all(query, &self.unreadable, "source")
            .await
            .with_context(|| format!("query the sources of organization {}", org.digest()))
    }

    /// The sources from whose servers reports are imported, and their organizations, after `start`, and the key to continue
    /// from.
    pub async fn importing(
        &self,
        start: Option<Item>,
    ) -> Result<(Vec<(OrganizationId, SourceId)>, Option<Item>)> {
        #[derive(Deserialize)]
        struct Key {
            org: OrganizationId,
            id: SourceId,
        }
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(IMPORTING)
            .key_condition_expression(format!("{SHARD} = :shard"))
            .expression_attribute_values(":shard", string(ONLY_SHARD))
            .set_exclusive_start_key(start);
        let output = query.send().await.map_err(describe);
        let output = output.context("query the importing sources")?;
        let keys = self.unreadable.rest(output.items, "the key of source");
        Ok((
            keys.map(|Key { org, id }| (org, id)).collect(),
            output.last_evaluated_key,
        ))
    }

    /// The current source.
    pub async fn get(&self, id: SourceId) -> Result<Option<Source>> {
        get(&self.client, &self.table, table_key(id), &self.unreadable)
            .await
            .with_context(|| format!("get source {id}"))
    }

    /// Adds a source if the organization has fewer than `most`, and writes `alongside` in the same transaction. Otherwise it
    /// is `Lost`, as it is when `alongside` cannot be written.
    pub async fn add(
        &self,
        source: &Source,
        most: u64,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let added = (source.org, item_of(source)?);
        let added = COUNTED.add(&self.client, &self.table, added, most, alongside);
        added
            .await
            .with_context(|| format!("add source {}", source.id))
    }

    /// Replaces the settings, if the stored revision is the one before, and writes `alongside` in the same transaction.
    pub async fn replace(
        &self,
        source: &Source,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item_of(source)?))
            .condition_expression("revision = :previous")
            .expression_attribute_values(":previous", number(source.revision - 1));
        let mut items = vec![TransactWriteItem::builder().put(put.build()?).build()];
        items.extend(alongside);
        changed_by(transact_once(&self.client, items).await)
            .with_context(|| format!("replace source {}", source.id))
    }

    /// Deletes an organization's source. It is `Lost` when there is none. The source is not read, so one that cannot be read
    /// can be deleted.
    pub async fn delete(&self, org: OrganizationId, id: SourceId) -> Result<Changed> {
        let context = || format!("delete source {id}");
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(id)))
            .condition_expression("org = :org")
            .expression_attribute_values(":org", string(org));
        let items = vec![
            TransactWriteItem::builder().delete(delete.build()?).build(),
            COUNTED.one_less(&self.table, org)?,
        ];
        transact(&self.client, items).await.with_context(context)
    }

    /// Records that a source was called at `now`.
    pub async fn note_call(&self, id: SourceId, now: OffsetDateTime) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(id)))
            .update_expression("SET lastCallAt = :now")
            .condition_expression("attribute_exists(id)")
            .expression_attribute_values(":now", string(timestamp(now)));
        changed(update)
            .await
            .with_context(|| format!("note a call of source {id}"))?;
        Ok(())
    }
}

fn item_of(source: &Source) -> Result<Item> {
    let mut item: Item = to_item(source).context("make the item of a source")?;
    if source.importing().is_some() {
        item.insert(SHARD.to_owned(), string(ONLY_SHARD));
    }
    Ok(item)
}

fn table_key(id: SourceId) -> Item {
    Item::from([("id".to_owned(), string(id))])
}
