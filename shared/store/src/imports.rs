//! The table of imports: the health of each source's server, the lease on the source, and the branches that the source has
//! reported.
//!
//! *Invariant:* one process at a time asks the server of a source. It holds the source's lease. A process that comes in the
//! meantime leaves a note, and the lease is not given back before its holder has seen the note.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::date::timestamp;
use domain::source::SourceId;
use domain::source::import::{Standing, Watched};
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::dynamodb::{
    self, Changed, Item, Unreadable, batch_get, changed, number, string, updated,
};
use crate::error::{Context as _, Error, Result, describe};
use crate::pages::query_page;

/// How long a lease lasts. That is longer than Lambda lets a function run, so that two never hold it at once.
pub const LEASE_VALIDITY: Duration = Duration::from_secs(16 * 60);

/// The item with the state of a source's imports.
const STANDING: &str = "standing";
/// The prefix of the items of branches.
const BRANCH: &str = "branch/";
/// How long the state of a source is kept after the last visit. Each hourly sweep visits the sources that have a server.
const STANDING_RETENTION: time::Duration = time::Duration::days(90);
/// How often a claim is tried when others take the lease and give it back.
const MAX_TRIES: u32 = 5;

/// The table of imports.
#[derive(Clone, Debug)]
pub struct ImportStore {
    client: Client,
    table: String,
    /// Items that could not be read.
    pub unreadable: Unreadable,
}

/// The result of claiming the lease of a source.
#[derive(Debug)]
pub enum Claim {
    /// The caller holds the lease.
    Claimed(Box<Standing>),
    /// Another process holds the lease. The note tells it that there is something to do.
    Noted,
}

/// The result of giving a lease back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is given back.
    Done,
    /// Somebody left a note, which is removed now: there may be something to do that the holder has not seen.
    Noted,
    /// The lease belonged to another process already.
    Lost,
}

#[derive(Deserialize)]
struct StandingItem {
    source: SourceId,
    #[serde(default)]
    standing: Standing,
}

impl ImportStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Claims the lease of a source for `holder`, or leaves a note for whoever holds it.
    pub async fn claim(
        &self,
        source: SourceId,
        holder: Uuid,
        now: OffsetDateTime,
    ) -> Result<Claim> {
        let context = || format!("claim source {source}");
        for _ in 0..MAX_TRIES {
            // The SDK may send a request twice.
            let claim = self
                .updating(source, holder)
                .update_expression("SET holder = :holder, leaseUntil = :until REMOVE noted")
                .condition_expression(
                    "attribute_not_exists(leaseUntil) OR leaseUntil <= :now OR holder = :holder",
                )
                .expression_attribute_values(":until", string(timestamp(now + LEASE_VALIDITY)))
                .expression_attribute_values(":now", string(timestamp(now)))
                .return_values(ReturnValue::AllNew);
            if let Some(output) = updated(claim).await.with_context(context)? {
                let item = output.attributes.unwrap_or_default();
                // What was said of the server is no reason to leave it alone for ever.
                let read: Result<StandingItem> = self.unreadable.read(item);
                let standing = read.map(|it| it.standing).unwrap_or_default();
                return Ok(Claim::Claimed(Box::new(standing)));
            }
            let note = self
                .update(source)
                .update_expression("SET noted = :now")
                .condition_expression("leaseUntil > :now")
                .expression_attribute_values(":now", string(timestamp(now)));
            if changed(note).await.with_context(context)? == Changed::Stored {
                return Ok(Claim::Noted);
            }
        }
        Err(Error::new("its lease is taken and given back all the time")).with_context(context)
    }

    /// Gives the lease back at `now` and stores the source's standing, unless somebody left a note. Then the lease is kept.
    pub async fn release(
        &self,
        source: SourceId,
        holder: Uuid,
        standing: &Standing,
        now: OffsetDateTime,
    ) -> Result<Released> {
        let context = || format!("release source {source}");
        let release = self
            .releasing(source, holder, standing, now)?
            .condition_expression("holder = :holder AND attribute_not_exists(noted)");
        if changed(release).await.with_context(context)? == Changed::Stored {
            return Ok(Released::Done);
        }
        let see = self
            .updating(source, holder)
            .update_expression("REMOVE noted")
            .condition_expression("holder = :holder");
        Ok(match changed(see).await.with_context(context)? {
            Changed::Stored => Released::Noted,
            Changed::Lost => Released::Lost,
        })
    }

    /// Gives the lease back at `now` and stores the source's standing, whether somebody left a note or not.
    pub async fn leave(
        &self,
        source: SourceId,
        holder: Uuid,
        standing: &Standing,
        now: OffsetDateTime,
    ) -> Result<Released> {
        let leave = self
            .releasing(source, holder, standing, now)?
            .condition_expression("holder = :holder")
            .return_values(ReturnValue::AllOld);
        let left = updated(leave).await;
        let left = left.with_context(|| format!("leave source {source}"))?;
        Ok(match left.map(|it| it.attributes.unwrap_or_default()) {
            Some(before) if before.contains_key("noted") => Released::Noted,
            Some(_) => Released::Done,
            None => Released::Lost,
        })
    }

    fn releasing(
        &self,
        source: SourceId,
        holder: Uuid,
        standing: &Standing,
        now: OffsetDateTime,
    ) -> Result<UpdateItemFluentBuilder> {
        let standing = to_item(standing).context("make the item of a standing")?;
        let expires_at = (now + STANDING_RETENTION).unix_timestamp();
        Ok(self
            .updating(source, holder)
            .update_expression(
                "SET standing = :standing, expiresAt = :expires REMOVE holder, leaseUntil, noted",
            )
            .expression_attribute_values(":standing", AttributeValue::M(standing))
            .expression_attribute_values(":expires", number(expires_at)))
    }

    fn updating(&self, source: SourceId, holder: Uuid) -> UpdateItemFluentBuilder {
        self.update(source)
            .expression_attribute_values(":holder", string(holder))
    }

    fn update(&self, source: SourceId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(standing_key(source)))
    }

    /// The known states of sources.
    pub async fn standings(
        &self,
        sources: impl IntoIterator<Item = SourceId>,
    ) -> Result<HashMap<SourceId, Standing>> {
        let keys = sources.into_iter().map(standing_key);
        let items = batch_get(&self.client, &self.table, keys).await;
        let items = items.context("get how sources stand")?;
        let items = self.unreadable.rest(Some(items), "standing");
        let of = |item: StandingItem| (item.source, item.standing);
        Ok(items.map(of).collect())
    }

    /// Stores a branch, unless a newer analysis of it is known.
    pub async fn watch(&self, watched: &Watched) -> Result<()> {
        let mut item: Item = to_item(watched).context("make the item of a branch")?;
        item.insert("id".to_owned(), string(branch_id(watched)));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id) OR analysed < :analysed")
            .expression_attribute_values(":analysed", number(watched.analysed));
        dynamodb::put(put)
            .await
            .with_context(|| format!("remember a branch of source {}", watched.source))?;
        Ok(())
    }

    /// Deletes a branch.
    pub async fn forget(&self, watched: &Watched) -> Result<()> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("source", string(watched.source))
            .key("id", string(branch_id(watched)));
        delete
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("forget a branch of source {}", watched.source))?;
        Ok(())
    }

    /// A source's branches after the position `after`, at most `limit`, and the position to continue from.
    pub async fn watched(
        &self,
        source: SourceId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Watched>, Option<String>)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#source = :source AND id BETWEEN :first AND :last")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":source", string(source))
            // No other branch's position begins with this position.
            .expression_attribute_values(
                ":first",
                match after {
                    Some(after) => string(format_args!("{after}~")),
                    None => string(BRANCH),
                },
            )
            .expression_attribute_values(":last", string(format_args!("{BRANCH}~")));
        let page = query_page(query, limit, &self.unreadable, "branch").await;
        let (page, has_more): (Vec<Watched>, bool) =
            page.with_context(|| format!("query the branches of source {source}"))?;
        let next = page.last().filter(|_| has_more).map(position);
        Ok((page, next))
    }
}

/// The position of a branch among those of its source.
pub fn position(watched: &Watched) -> String {
    branch_id(watched)
}

fn standing_key(source: SourceId) -> Item {
    Item::from([
        ("source".to_owned(), string(source)),
        ("id".to_owned(), string(STANDING)),
    ])
}

/// The key of a branch: a digest, since a project key and a branch name together may be longer than DynamoDB's keys. It is a
/// version 5 UUID (RFC 9562) in the source's namespace.
fn branch_id(watched: &Watched) -> String {
    let parts = [Some(watched.project.as_str()), watched.branch.as_deref()];
    // A JSON array keeps the parts apart whatever characters they hold.
    let name = serde_json::to_string(&parts).unwrap_or_default();
    let id = Uuid::new_v5(&watched.source.uuid(), name.as_bytes());
    format!("{BRANCH}{id}")
}
