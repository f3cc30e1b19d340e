//! The outbox's mark: the attributes of an item that is not announced yet, and the index of the marked items.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use domain::date::timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::dynamodb::{Item, string};

/// The index of marked items. Each table with an outbox has one.
const INDEX: &str = "unannounced";
/// Over how many keys the index spreads its writes. DynamoDB allows 1,000 writes a second to one key.
pub(crate) const SHARDS: u8 = 4;

/// The attribute that is the index's key.
pub(crate) const SHARD: &str = "unannouncedShard";
/// The attribute with the time of the mark.
pub(crate) const SINCE: &str = "unannouncedSince";
/// Both, as the update names them that removes the mark.
pub(crate) const ATTRIBUTES: &str = "unannouncedShard, unannouncedSince";

/// The outbox's mark for a thing with this id that is stored at `now`.
pub(crate) fn of(id: Uuid, now: OffsetDateTime) -> Item {
    // The id is a digest, so its first byte is as good as random.
    let shard = id.as_bytes()[0] % SHARDS;
    Item::from([
        (SHARD.to_owned(), string(shard)),
        (SINCE.to_owned(), string(timestamp(now))),
    ])
}

/// Queries a shard for the items that were marked before `before`, the oldest mark first.
pub(crate) fn query(
    client: &Client,
    table: &str,
    shard: u8,
    before: OffsetDateTime,
) -> QueryFluentBuilder {
    client
        .query()
        .table_name(table)
        .index_name(INDEX)
        .key_condition_expression("unannouncedShard = :shard AND unannouncedSince < :before")
        .expression_attribute_values(":shard", string(shard))
        .expression_attribute_values(":before", string(timestamp(before)))
}
