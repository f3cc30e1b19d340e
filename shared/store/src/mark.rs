//! The outbox's mark: the attributes by which an item says that it is not announced yet, and the index in which such items lie.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use domain::date::timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::dynamodb::{Item, string};

/// The index, of each table that has such items.
const INDEX: &str = "unannounced";
/// Over how many keys the index spreads its writes. DynamoDB gives one key 1,000 writes a second.
pub(crate) const SHARDS: u8 = 4;

/// The attribute that is the index's key.
pub(crate) const SHARD: &str = "unannouncedShard";
/// The attribute with the time of the mark.
pub(crate) const SINCE: &str = "unannouncedSince";
/// Both, as an update names them that takes the mark away.
pub(crate) const ATTRIBUTES: &str = "unannouncedShard, unannouncedSince";

/// The mark of a thing with this id, that is stored at `now`.
pub(crate) fn of(id: Uuid, now: OffsetDateTime) -> Item {
    // The first byte of an id that is a digest is as good as random.
    let shard = id.as_bytes()[0] % SHARDS;
    Item::from([
        (SHARD.to_owned(), string(shard)),
        (SINCE.to_owned(), string(timestamp(now))),
    ])
}

/// Asks for what has been marked in a shard since before `before`, longest first.
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
