//! The table of sources.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::source::{Source, SourceId};
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;

use crate::dynamodb::{Changed, Item, Unreadable, changed, get, string, transact};
use crate::error::{Context as _, Result, describe};

/// The index of an organization's sources by id.
pub const BY_ORG: &str = "by-org";

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

    /// Every source of an organization that can be read, in the order of their ids. The index is eventually consistent: a new
    /// source can be missing for a moment.
    pub async fn all(&self, org: OrganizationId) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_ORG)
                .key_condition_expression("org = :org")
                .expression_attribute_values(":org", string(org))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the sources of organization {}", org.digest()))?;
            sources.extend(self.unreadable.rest(output.items, "source"));
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(sources);
            }
        }
    }

    /// The source as it is now.
    pub async fn get(&self, id: SourceId) -> Result<Option<Source>> {
        get(&self.client, &self.table, table_key(id), &self.unreadable)
            .await
            .with_context(|| format!("get source {id}"))
    }

    /// Adds a source, if the organization has fewer than `most`, and writes `alongside` in the same transaction. It is `Lost`
    /// otherwise, also when that cannot be written.
    pub async fn add(
        &self,
        source: &Source,
        most: usize,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item_of(source)?))
            .condition_expression("attribute_not_exists(id)");
        let count = self
            .count(source.org, "1")
            .condition_expression("attribute_not_exists(sources) OR sources < :most")
            .expression_attribute_values(":most", AttributeValue::N(most.to_string()));
        let mut items = vec![
            TransactWriteItem::builder().put(put.build()?).build(),
            TransactWriteItem::builder().update(count.build()?).build(),
        ];
        items.extend(alongside);
        transact(&self.client, items)
            .await
            .with_context(|| format!("add source {}", source.id))
    }

    /// An update of the item that counts an organization's sources.
    fn count(&self, org: OrganizationId, more: &str) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table)
            // No source has such an id.
            .key("id", string(format_args!("~count/{org}")))
            .update_expression("ADD sources :more")
            .expression_attribute_values(":more", AttributeValue::N(more.to_owned()))
    }

    /// Replaces what an administrator set, if the stored revision is the one before, and writes `alongside` in the same
    /// transaction.
    pub async fn replace(
        &self,
        source: &Source,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item_of(source)?))
            .condition_expression("revision = :previous")
            .expression_attribute_values(
                ":previous",
                AttributeValue::N((source.revision - 1).to_string()),
            );
        let mut items = vec![TransactWriteItem::builder().put(put.build()?).build()];
        items.extend(alongside);
        // A transaction has a token of the SDK's, so that one that is sent twice is made once.
        transact(&self.client, items)
            .await
            .with_context(|| format!("replace source {}", source.id))
    }

    /// Deletes an organization's source. It is `Lost` when there is none. Nothing of it is read for that: one that cannot be read
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
            TransactWriteItem::builder()
                .update(self.count(org, "-1").build()?)
                .build(),
        ];
        transact(&self.client, items).await.with_context(context)
    }

    /// Notes that a source was called at `now`.
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
    to_item(source).context("make the item of a source")
}

fn table_key(id: SourceId) -> Item {
    Item::from([("id".to_owned(), string(id))])
}
