//! Queries, which DynamoDB answers in pages.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use serde::de::DeserializeOwned;

use crate::dynamodb::{Item, Unreadable};
use crate::error::{Result, describe};

/// How many items are asked for at once, at the most, in search of what there is too little of yet: the most that a caller of
/// the API may ask for, and one more.
const MOST_AT_ONCE: usize = 1001;

/// How much of a query is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many things are wanted, at the most.
    pub(crate) limit: usize,
    /// How many items are read, at the most, where the things lie among others.
    pub(crate) most: usize,
}

impl Bounds {
    /// All of it.
    pub(crate) const ALL: Self = Self {
        limit: usize::MAX,
        most: usize::MAX,
    };
}

/// What was read of a query.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// The things, at most as many as were wanted.
    pub(crate) things: Vec<T>,
    /// Whether there is one more at least.
    pub(crate) has_more: bool,
    /// What reading them cost, in DynamoDB's read capacity units, if the query asks for that.
    pub(crate) read_units: f64,
    /// The key of the last item that was read, if others lie behind it.
    end: Option<Item>,
}

impl<T> Found<T> {
    /// The place from behind which more follow, if they may: that of the last thing, or of the last item that was read.
    pub(crate) fn next<P>(
        &self,
        of_thing: impl FnOnce(&T) -> P,
        of_key: impl FnOnce(&Item) -> Option<P>,
    ) -> Option<P> {
        if self.has_more {
            self.things.last().map(of_thing)
        } else {
            self.end.as_ref().and_then(of_key)
        }
    }
}

/// All that a query finds and that can be read. `what` they are is for the log.
pub(crate) async fn query_all<T: DeserializeOwned>(
    query: QueryFluentBuilder,
    unreadable: &Unreadable,
    what: &'static str,
) -> Result<Vec<T>> {
    let (found, _) = query_page(query, Bounds::ALL.limit, unreadable, what).await?;
    Ok(found)
}

/// The same, but at most `limit`, and whether there are more.
pub(crate) async fn query_page<T: DeserializeOwned>(
    query: QueryFluentBuilder,
    limit: usize,
    unreadable: &Unreadable,
    what: &'static str,
) -> Result<(Vec<T>, bool)> {
    let bounds = Bounds {
        limit,
        ..Bounds::ALL
    };
    let found = query_within(query, bounds, |items| unreadable.rest(Some(items), what)).await?;
    Ok((found.things, found.has_more))
}

/// What `read` makes of the items that a query finds. It goes on from page to page until there is more than is wanted, or no more,
/// or as many items are read as may be.
pub(crate) async fn query_within<T, I: Iterator<Item = T>>(
    mut query: QueryFluentBuilder,
    Bounds { limit, most }: Bounds,
    mut read: impl FnMut(Vec<Item>) -> I,
) -> Result<Found<T>> {
    let mut found = Found {
        things: Vec::new(),
        has_more: false,
        read_units: 0.0,
        end: None,
    };
    // One more than is wanted tells whether there are more. Where few are taken, more are looked at each time.
    let (mut wanted, mut left) = (limit.saturating_add(1), most);
    loop {
        // A bound that is larger than DynamoDB's numbers is none.
        let at_once = i32::try_from(wanted.min(left)).ok();
        // What the SDK holds of a request has some 15 kB, and whoever waits for this would hold them too.
        let page = Box::pin(query.clone().set_limit(at_once).send());
        let output = page.await.map_err(describe)?;
        let units = output.consumed_capacity.and_then(|it| it.capacity_units);
        found.read_units += units.unwrap_or_default();
        let items = output.items.unwrap_or_default();
        left = left.saturating_sub(items.len());
        for thing in read(items) {
            if found.things.len() == limit {
                found.has_more = true;
                return Ok(found);
            }
            found.things.push(thing);
        }
        found.end = output.last_evaluated_key;
        if found.end.is_none() || left == 0 {
            return Ok(found);
        }
        wanted = wanted.saturating_mul(2).min(wanted.max(MOST_AT_ONCE));
        query = query.set_exclusive_start_key(found.end.clone());
    }
}
