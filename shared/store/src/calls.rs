//! The table of calls: what sources were told, byte for byte.
//!
//! *Invariant:* a call that webhooks are to be told of is stored with its `unannounced` mark, in one write, before it is answered.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::organization::OrganizationId;
use domain::source::SourceId;
use domain::source::call::{Call, CallId, CallKey, Outcome};
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use time::OffsetDateTime;

use crate::dynamodb::{
    Item, Unreadable, batch_get, changed, get_item, query_all, query_page, single, string,
};
use crate::error::{Context as _, Error, Result, describe};
use crate::mark;
use crate::packed::Packed;

/// The index in which a source's calls lie in the order of time.
pub const BY_TIME: &str = "by-time";

/// The body of a call, in its item.
const BODY: &str = "body";

/// The table of calls.
#[derive(Clone, Debug)]
pub struct CallStore {
    client: Client,
    table: String,
    /// Calls that could not be read.
    pub unreadable: Unreadable,
}

/// What became of storing a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    New,
    /// It came before, and is stored as this. It may not have been announced.
    Known(Box<Call>),
}

/// A call that is to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Call")]
pub struct Unannounced {
    pub org: OrganizationId,
    pub source: SourceId,
    pub id: CallId,
}

impl Unannounced {
    /// The call's key.
    pub fn key(&self) -> CallKey {
        CallKey {
            source: self.source,
            id: self.id,
        }
    }
}

impl CallStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Stores a call with its body, unless it is known.
    ///
    /// # Errors
    /// When DynamoDB fails. Then it may be stored all the same.
    pub async fn store(&self, call: &Call, body: &str, now: OffsetDateTime) -> Result<Stored> {
        let context = || format!("store a call of source {}", call.source);
        let mut item: Item = to_item(call).context("make the item of a call")?;
        item.insert(BODY.to_owned(), Packed::of(body)?.attribute());
        item.insert("receivedOrder".to_owned(), string(Position::of(call).0));
        if call.outcome == Outcome::Accepted {
            item.extend(mark::of(call.id.uuid(), now));
        }
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            // DynamoDB takes its time to delete what has expired.
            .condition_expression("attribute_not_exists(id) OR expiresAt <= :now")
            .expression_attribute_values(
                ":now",
                AttributeValue::N(now.unix_timestamp().to_string()),
            );
        match single!(put, PutItemError) {
            Ok(_) => Ok(Stored::New),
            Err(PutItemError::ConditionalCheckFailedException(_)) => {
                let known = self.get(call.key()).await?;
                let (known, _) = known
                    .context("it is there, and is not")
                    .with_context(context)?;
                Ok(if known == *call {
                    // The SDK has asked twice, and the answer to the first time was lost.
                    Stored::New
                } else {
                    Stored::Known(Box::new(known))
                })
            }
            Err(error) => Err(describe(error)).with_context(context),
        }
    }

    /// The call as it is now, and its body.
    pub async fn get(&self, key: CallKey) -> Result<Option<(Call, String)>> {
        let item = get_item(&self.client, &self.table, table_key(key)).await;
        let item = item.with_context(|| format!("get a call of source {}", key.source))?;
        let read = item.map(|item| self.unreadable.counting(read(item)));
        read.transpose()
            .with_context(|| format!("read call {} of source {}", key.id, key.source))
    }

    /// Those of the calls that exist, with their bodies, in no particular order.
    pub async fn get_all(&self, keys: &[CallKey]) -> Result<Vec<(Call, String)>> {
        let keys = keys.iter().copied().map(table_key);
        let items = batch_get(&self.client, &self.table, keys).await;
        let items = items.context("get calls")?;
        Ok(self.unreadable.rest_by(Some(items), "call", read).collect())
    }

    /// Records that the call is on the queue.
    pub async fn set_announced(&self, key: CallKey) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression(format!("REMOVE {}", mark::ATTRIBUTES))
            .condition_expression("attribute_exists(id)");
        changed(update)
            .await
            .with_context(|| format!("mark a call of source {} as announced", key.source))?;
        Ok(())
    }

    /// The calls of a shard that have waited for their announcement since before `before`, longest first.
    pub async fn unannounced(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<Unannounced>> {
        let query = mark::query(&self.client, &self.table, shard, before);
        query_all(query, &self.unreadable, "the key of call")
            .await
            .with_context(|| format!("query the unannounced calls of shard {shard}"))
    }

    /// A source's calls from behind `after`, the newest first, at most `limit`, and whether more follow. The index is eventually
    /// consistent: a new call can be missing for a moment.
    pub async fn page(
        &self,
        source: SourceId,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<(Vec<Call>, bool)> {
        let last = after.map_or("~", |after| after.0.as_str());
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_TIME)
            .key_condition_expression("#source = :source AND receivedOrder < :last")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":source", string(source))
            .expression_attribute_values(":last", string(last))
            .scan_index_forward(false);
        query_page(query, limit, &self.unreadable, "call")
            .await
            .with_context(|| format!("query the calls of source {source}"))
    }
}

/// Where a call lies among its source's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(String);

impl Position {
    /// The position of a call.
    pub fn of(call: &Call) -> Self {
        Self(format!("{}/{}", call.received_at, call.id))
    }

    /// The position as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what [`Position::as_str`] gave, `None` for any text that has not its form.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('/')?;
        let format = &time::format_description::well_known::Rfc3339;
        let is_position =
            OffsetDateTime::parse(time, format).is_ok() && id.parse::<CallId>().is_ok();
        is_position.then(|| Self(text.to_owned()))
    }
}

fn read(mut item: Item) -> Result<(Call, String)> {
    let body = item.remove(BODY).context("it has no body")?;
    let body = Packed::read(body)?.text()?;
    Ok((from_item(item).map_err(Error::unreadable)?, body))
}

fn table_key(key: CallKey) -> Item {
    Item::from([
        ("source".to_owned(), string(key.source)),
        ("id".to_owned(), string(key.id)),
    ])
}
