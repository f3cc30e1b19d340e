//! Limits on how many things of a kind an organization may have. An item of the things' table counts them, and changes in the
//! same transaction as they do.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use domain::organization::OrganizationId;

use crate::dynamodb::{Changed, Item, number, string, transact};
use crate::error::Result;

/// Where a table's things are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// The table's key. The key of a count differs from that of every thing.
    pub(crate) key: &'static str,
    /// The attribute with the count.
    pub(crate) count: &'static str,
}

impl Counted {
    /// Adds a thing if the organization has fewer than `most`, and writes `alongside` in the same transaction. Otherwise it
    /// is `Lost`, as it is when `alongside` cannot be written.
    pub(crate) async fn add(
        self,
        client: &Client,
        table: &str,
        (org, item): (OrganizationId, Item),
        most: u64,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let Self { key, count } = self;
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression(format!("attribute_not_exists({key})"))
            .build()?;
        let more = self
            .update(table, org, "1")
            .condition_expression(format!("attribute_not_exists({count}) OR {count} < :most"))
            .expression_attribute_values(":most", number(most))
            .build()?;
        let mut items = vec![
            TransactWriteItem::builder().put(put).build(),
            TransactWriteItem::builder().update(more).build(),
        ];
        items.extend(alongside);
        transact(client, items).await
    }

    /// The part of a transaction that counts one thing less.
    pub(crate) fn one_less(self, table: &str, org: OrganizationId) -> Result<TransactWriteItem> {
        let less = self.update(table, org, "-1").build()?;
        Ok(TransactWriteItem::builder().update(less).build())
    }

    fn update(
        self,
        table: &str,
        org: OrganizationId,
        more: &str,
    ) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        Update::builder()
            .table_name(table)
            .key(self.key, string(format_args!("~count/{org}")))
            .update_expression(format!("ADD {} :more", self.count))
            .expression_attribute_values(":more", number(more))
    }
}
