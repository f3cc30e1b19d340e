//! The table of calls: what sources received, byte for byte.
//!
//! A body that is too long for an item lies beside its call, in pieces. The call and its pieces are written in one
//! transaction.
//!
//! *Invariant:* a call that webhooks are to be told of is stored together with its `unannounced` mark, the mark of the
//! outbox. One write stores both, before the call is answered.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::source::SourceId;
use domain::source::call::{Call, CallId, CallKey, Outcome};
use domain::source::import::Import;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use time::OffsetDateTime;

use crate::dynamodb::{
    self, Changed, Item, Unreadable, alone, batch_get_only, changed, get, get_item, number, string,
    transact,
};
use crate::error::{Context as _, Error, Result};
use crate::mark;
use crate::packed::Packed;
use crate::pages::{query_all, query_page};

/// The index of a source's calls in the order of time.
pub const BY_TIME: &str = "by-time";

/// The index of a source's calls whose imports are not done, in the order in which they are due.
pub const IMPORT_DUE: &str = "import-due";

/// When the import of a call is due: the index's key.
const DUE: &str = "importDueAt";
/// The body of a call, in its item.
const BODY: &str = "body";
/// In how many items beside it the body lies instead.
const PIECES: &str = "pieces";
/// A packed body of at most this size, in bytes, lies in the call's item. An item of DynamoDB has at most 400 KB. The call's
/// other attributes take up to 60 kB: the positions of thousands of events.
const MAX_BODY: usize = 300_000;
/// The largest piece, in bytes.
const MAX_PIECE: usize = 350_000;

/// The table of calls.
#[derive(Clone, Debug)]
pub struct CallStore {
    client: Client,
    table: String,
    /// Calls that could not be read.
    pub unreadable: Unreadable,
}

/// The result of storing a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    New,
    /// The call came before, and is stored in this form. It may not be announced yet.
    Known(Box<Call>),
}

/// A call whose import is not done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DueImport {
    /// The call.
    #[serde(flatten)]
    pub key: CallKey,
    /// When the import is due, in the form of [`domain::date::timestamp`].
    #[serde(rename = "importDueAt")]
    pub due_at: String,
    /// The project.
    #[serde(default)]
    pub project: Option<String>,
    /// The branch.
    #[serde(default)]
    pub branch: Option<String>,
}

/// A call in the outbox: it is not announced yet.
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
    /// DynamoDB failed. The call may be stored all the same.
    pub async fn store(&self, call: &Call, body: &str, now: OffsetDateTime) -> Result<Stored> {
        let context = || format!("store a call of source {}", call.source);
        let mut item: Item = to_item(call).context("make the item of a call")?;
        let packed = Packed::of(body)?;
        let mut pieces = Vec::new();
        if packed.fits(MAX_BODY) {
            item.insert(BODY.to_owned(), packed.attribute());
        } else {
            pieces = packed.pieces(MAX_PIECE).collect();
            item.insert(PIECES.to_owned(), number(pieces.len()));
        }
        item.insert("receivedOrder".to_owned(), string(Position::of(call).0));
        if call.outcome == Outcome::Accepted {
            item.extend(mark::of(call.id.uuid(), now));
        }
        let due_at = call.import.as_ref().and_then(|it| it.due_at.as_ref());
        item.extend(due_at.map(|at| (DUE.to_owned(), string(at))));
        if self
            .put_new(item, call, pieces, now)
            .await
            .with_context(context)?
            == Changed::Stored
        {
            return Ok(Stored::New);
        }
        // Without its body, which may lie in pieces.
        let key = table_key(call.key());
        let known = get(&self.client, &self.table, key, &self.unreadable).await;
        let known: Option<Call> = known.with_context(context)?;
        let known = known
            .context("it is known, but cannot be found")
            .with_context(context)?;
        Ok(if known == *call {
            // The SDK sent the request twice, and the answer to the first one was lost.
            Stored::New
        } else {
            Stored::Known(Box::new(known))
        })
    }

    /// Puts a call's item, and the pieces of its body, if there is no such item yet.
    async fn put_new(
        &self,
        item: Item,
        call: &Call,
        pieces: Vec<Packed>,
        now: OffsetDateTime,
    ) -> Result<Changed> {
        // DynamoDB deletes expired items only after some time.
        const NEW: &str = "attribute_not_exists(id) OR expiresAt <= :now";
        let unix = number(now.unix_timestamp());
        if pieces.is_empty() {
            let put = self.client.put_item().table_name(&self.table);
            let put = put
                .set_item(Some(item))
                .condition_expression(NEW)
                .expression_attribute_values(":now", unix);
            return dynamodb::put(put).await;
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = put
            .condition_expression(NEW)
            .expression_attribute_values(":now", unix);
        let mut items = vec![TransactWriteItem::builder().put(put.build()?).build()];
        for (position, piece) in (0..).zip(pieces) {
            let mut item = piece_key(call.key(), position);
            item.insert(BODY.to_owned(), piece.attribute());
            item.insert("expiresAt".to_owned(), number(call.expires_at));
            let put = Put::builder().table_name(&self.table).set_item(Some(item));
            items.push(TransactWriteItem::builder().put(put.build()?).build());
        }
        transact(&self.client, items).await
    }

    /// The current call and its body.
    pub async fn get(&self, key: CallKey) -> Result<Option<(Call, String)>> {
        let context = || format!("get a call of source {}", key.source);
        let item = get_item(&self.client, &self.table, table_key(key)).await;
        let Some(mut item) = item.with_context(context)? else {
            return Ok(None);
        };
        if let Some(count) = item.remove(PIECES) {
            let body = self.body_of(key, &count).await;
            let body = self.unreadable.counting(body).with_context(context)?;
            item.insert(BODY.to_owned(), body.attribute());
        }
        let read = self.unreadable.counting(read(item));
        let context = || format!("read call {} of source {}", key.id, key.source);
        read.with_context(context).map(Some)
    }

    /// The body of a call whose pieces lie beside it. `count` is their number.
    async fn body_of(&self, key: CallKey, count: &AttributeValue) -> Result<Packed> {
        let count = count.as_n().ok().and_then(|count| count.parse().ok());
        let missing = || Error::unreadable("a piece of a call is missing");
        let count: u32 = count.ok_or_else(missing)?;
        let pieces = (0..count).map(async |number| {
            let item = get_item(&self.client, &self.table, piece_key(key, number)).await?;
            // They are written together, but DynamoDB deletes the expired ones one by one.
            let piece = item.and_then(|mut item| item.remove(BODY));
            Packed::read(piece.ok_or_else(missing)?)
        });
        Ok(Packed::joined(try_join_all(pieces).await?))
    }

    /// Records that the call is on the queue: takes it out of the outbox.
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

    /// Records the state of a call's import. The call may be gone.
    pub async fn set_import(&self, key: CallKey, import: &Import) -> Result<()> {
        let update = self.recording(key, import)?;
        changed(alone(&self.client, update))
            .await
            .with_context(|| format!("record the import of a call of source {}", key.source))?;
        Ok(())
    }

    /// The same, as a part of the transaction that publishes a report of the import.
    pub fn with_import(&self, key: CallKey, import: &Import) -> Result<TransactWriteItem> {
        let update = self.recording(key, import)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn recording(&self, key: CallKey, import: &Import) -> Result<Update> {
        let item = to_item(import).context("make the item of an import")?;
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .condition_expression("attribute_exists(id)")
            .expression_attribute_names("#import", "import")
            .expression_attribute_values(":import", AttributeValue::M(item));
        let update = match &import.due_at {
            Some(at) => update
                .update_expression(format!("SET #import = :import, {DUE} = :due"))
                .expression_attribute_values(":due", string(at)),
            None => update.update_expression(format!("SET #import = :import REMOVE {DUE}")),
        };
        Ok(update.build()?)
    }

    /// A source's calls whose imports are due by `until`, in the order in which they are due, at most `limit`. The index is
    /// eventually consistent: it may not have a new call yet, and may still have one that is done.
    pub async fn due_imports(
        &self,
        source: SourceId,
        until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<DueImport>> {
        self.importing(source, timestamp(until), limit).await
    }

    /// The same, whenever they are due.
    pub async fn pending_imports(&self, source: SourceId, limit: usize) -> Result<Vec<DueImport>> {
        // `~` follows every time.
        self.importing(source, "~".to_owned(), limit).await
    }

    async fn importing(
        &self,
        source: SourceId,
        until: String,
        limit: usize,
    ) -> Result<Vec<DueImport>> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(IMPORT_DUE)
            .key_condition_expression(format!("#source = :source AND {DUE} <= :until"))
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":source", string(source))
            .expression_attribute_values(":until", AttributeValue::S(until));
        let page = query_page(query, limit, &self.unreadable, "the key of call").await;
        let (due, _) = page.with_context(|| format!("query the due imports of source {source}"))?;
        Ok(due)
    }

    /// The current imports of those calls that have one. The calls' bodies are not read.
    pub async fn imports_of(
        &self,
        keys: impl IntoIterator<Item = CallKey>,
    ) -> Result<HashMap<CallId, Import>> {
        #[derive(Deserialize)]
        struct OfCall {
            id: CallId,
            import: Option<Import>,
        }
        let keys = keys.into_iter().map(table_key);
        let items = batch_get_only(&self.client, &self.table, keys, &["id", "import"]).await;
        let items = items.context("get the imports of calls")?;
        let read = self.unreadable.rest(Some(items), "the import of call");
        let of = |it: OfCall| it.import.map(|import| (it.id, import));
        Ok(read.filter_map(of).collect())
    }

    /// The calls of a shard in the outbox that were marked before `before`, the oldest mark first.
    pub async fn unannounced(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<Unannounced>> {
        let query = mark::query(&self.client, &self.table, shard, before);
        query_all(query, &self.unreadable, "the key of call")
            .await
            .with_context(|| format!("query the unannounced calls of shard {shard}"))
    }

    /// A source's calls after the position `after`, the newest first, at most `limit`, and whether more follow. The index is
    /// eventually consistent: a new call can be missing for a moment.
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

/// The position of a call among those of its source.
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

    /// Reads what [`Position::as_str`] gives; `None` for a text of another form.
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
    key_of(key.source, &key.id)
}

/// `~` follows every character of an id.
fn piece_key(key: CallKey, number: u32) -> Item {
    key_of(key.source, &format!("~{}/{number}", key.id))
}

fn key_of(source: SourceId, id: &impl ToString) -> Item {
    Item::from([
        ("source".to_owned(), string(source)),
        ("id".to_owned(), AttributeValue::S(id.to_string())),
    ])
}
