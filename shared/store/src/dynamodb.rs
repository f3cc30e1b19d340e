//! The operations that all tables share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TransactWriteItem, Update};
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;

use crate::error::{Context as _, Error, Result, describe};

/// An item of DynamoDB, or the key of one.
pub type Item = HashMap<String, AttributeValue>;

/// The result of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is stored.
    Stored,
    /// Nothing is stored: somebody else was faster, or the item is gone.
    Lost,
}

impl Changed {
    /// A write that has an output is stored.
    fn of<T>(output: Option<T>) -> Self {
        match output {
            Some(_) => Self::Stored,
            None => Self::Lost,
        }
    }
}

/// The most keys of one `BatchGetItem` (DynamoDB API reference).
const MAX_BATCH_GET: usize = 100;
/// The pause before the keys that DynamoDB left are asked for again. It doubles each time, as the API reference asks.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// After a pause of this length the read fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Counts the items that a store could not read. Such an item is left out of the result and logged, so that it does not
/// affect other items. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<AtomicUsize>);

impl Unreadable {
    /// How many there were since the last call.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }

    /// The items that can be read. `what` names them in the log.
    pub(crate) fn rest<T: DeserializeOwned>(
        &self,
        items: Option<Vec<Item>>,
        what: &'static str,
    ) -> impl Iterator<Item = T> {
        self.rest_by(items, what, |item| {
            from_item(item).map_err(Error::unreadable)
        })
    }

    /// The same, with `read` to read them.
    pub(crate) fn rest_by<T>(
        &self,
        items: Option<Vec<Item>>,
        what: &'static str,
        read: impl Fn(Item) -> Result<T>,
    ) -> impl Iterator<Item = T> {
        let items = items.unwrap_or_default().into_iter();
        items.filter_map(move |item| {
            let id = item.get("id").and_then(|id| id.as_s().ok()).cloned();
            let read = self.counting(read(item)).map_err(|error| {
                let id = id.unwrap_or_default();
                tracing::error!(
                    what,
                    id,
                    "{what} {id} cannot be read and is left out: {error}"
                );
            });
            read.ok()
        })
    }

    /// The item, if it can be read. Otherwise it is counted, and the error says so.
    pub(crate) fn read<T: DeserializeOwned>(&self, item: Item) -> Result<T> {
        self.counting(from_item(item).map_err(Error::unreadable))
    }

    /// Counts an item that cannot be read.
    pub(crate) fn counting<T>(&self, read: Result<T>) -> Result<T> {
        read.inspect_err(|error| {
            if error.is_unreadable() {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

/// A string as an attribute of DynamoDB.
pub(crate) fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// A number as DynamoDB has it.
pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The item as it is now.
pub(crate) async fn get<T: DeserializeOwned>(
    client: &Client,
    table: &str,
    key: Item,
    unreadable: &Unreadable,
) -> Result<Option<T>> {
    let item = get_item(client, table, key).await?;
    item.map(|item| unreadable.read(item))
        .transpose()
        .context("read the item")
}

/// Whether the item exists now, whatever its content.
pub(crate) async fn exists(client: &Client, table: &str, key: Item) -> Result<bool> {
    Ok(get_item(client, table, key).await?.is_some())
}

/// The current item, as DynamoDB gives it.
pub(crate) async fn get_item(client: &Client, table: &str, key: Item) -> Result<Option<Item>> {
    let get = client
        .get_item()
        .table_name(table)
        .set_key(Some(key))
        .consistent_read(true);
    let output = get.send().await.map_err(describe)?;
    Ok(output.item)
}

/// Those of the items that exist, as they are now, in no particular order. The keys must differ from each other.
pub(crate) async fn batch_get(
    client: &Client,
    table: &str,
    keys: impl IntoIterator<Item = Item>,
) -> Result<Vec<Item>> {
    batch_get_only(client, table, keys, &[]).await
}

/// The same with these attributes only; with all of them if none is named.
pub(crate) async fn batch_get_only(
    client: &Client,
    table: &str,
    keys: impl IntoIterator<Item = Item>,
    attributes: &[&str],
) -> Result<Vec<Item>> {
    let keys: Vec<Item> = keys.into_iter().collect();
    let mut items = Vec::with_capacity(keys.len());
    for keys in keys.chunks(MAX_BATCH_GET) {
        let keys = only(attributes)
            .set_keys(Some(keys.to_vec()))
            .consistent_read(true)
            .build()?;
        let mut request = Some(HashMap::from([(table.to_owned(), keys)]));
        let mut pause = FIRST_PAUSE;
        // DynamoDB returns at most 16 MB at a time, and less when it is throttled. It names the keys that are left.
        while let Some(keys) = request.take().filter(|keys| !keys.is_empty()) {
            let output = client
                .batch_get_item()
                .set_request_items(Some(keys))
                .send()
                .await
                .map_err(describe)?;
            items.extend(output.responses.unwrap_or_default().into_values().flatten());
            request = output.unprocessed_keys;
            if request.as_ref().is_some_and(|keys| !keys.is_empty()) {
                if pause > LONGEST_PAUSE {
                    return Err(Error::new("DynamoDB keeps leaving keys unprocessed"));
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    Ok(items)
}

/// A request for these attributes; for all of them if none is named.
fn only(attributes: &[&str]) -> KeysAndAttributesBuilder {
    let request = KeysAndAttributes::builder();
    if attributes.is_empty() {
        return request;
    }
    // Reserved names of DynamoDB can be given only in this way. Other names may be.
    let aliases: Vec<String> = attributes.iter().map(|name| format!("#{name}")).collect();
    let request = request.projection_expression(aliases.join(", "));
    let names = aliases.into_iter().zip(attributes);
    names.fold(request, |request, (alias, name)| {
        request.expression_attribute_names(alias, *name)
    })
}

/// Sends a single write, and repeats it while it conflicts with a transaction on the same item. The SDK does not retry for
/// that reason.
macro_rules! single {
    ($write:expr, $error:ident) => {{
        let write = $write;
        let mut tries = 1;
        loop {
            match write
                .clone()
                .send()
                .await
                .map_err(SdkError::into_service_error)
            {
                Err($error::TransactionConflictException(_))
                    if tries < $crate::dynamodb::MAX_TRIES =>
                {
                    tokio::time::sleep($crate::dynamodb::CONFLICT_PAUSE * tries).await;
                    tries += 1;
                }
                result => break result,
            }
        }
    }};
}
pub(crate) use single;

/// The output of a single write, or `None` when its condition does not hold.
macro_rules! on_condition {
    ($write:expr, $error:ident) => {
        match single!($write, $error) {
            Ok(output) => Ok(Some(output)),
            Err($error::ConditionalCheckFailedException(_)) => Ok(None),
            Err(error) => Err(describe(error)),
        }
    };
}

/// Makes an update on its condition, for its output. There is none when the condition does not hold.
pub(crate) async fn updated(update: UpdateItemFluentBuilder) -> Result<Option<UpdateItemOutput>> {
    on_condition!(update, UpdateItemError)
}

/// Makes an update on its condition.
pub(crate) async fn changed(update: UpdateItemFluentBuilder) -> Result<Changed> {
    on_condition!(update, UpdateItemError).map(Changed::of)
}

/// Makes a conditional put.
pub(crate) async fn put(put: PutItemFluentBuilder) -> Result<Changed> {
    on_condition!(put, PutItemError).map(Changed::of)
}

/// Deletes an item on its condition.
pub(crate) async fn delete(delete: DeleteItemFluentBuilder) -> Result<Changed> {
    on_condition!(delete, DeleteItemError).map(Changed::of)
}

/// An update that could be a part of a transaction, by itself.
pub(crate) fn alone(client: &Client, update: Update) -> UpdateItemFluentBuilder {
    client
        .update_item()
        .table_name(update.table_name)
        .set_key(Some(update.key))
        .set_update_expression(Some(update.update_expression))
        .set_condition_expression(update.condition_expression)
        .set_expression_attribute_names(update.expression_attribute_names)
        .set_expression_attribute_values(update.expression_attribute_values)
}

/// How often a transaction is tried that conflicts with another one.
pub(crate) const MAX_TRIES: u32 = 5;
/// The pause before the next try. It grows by this much with each try.
pub(crate) const CONFLICT_PAUSE: Duration = Duration::from_millis(20);
/// The same when DynamoDB throttles.
const THROTTLED_PAUSE: Duration = Duration::from_millis(200);

/// Makes a transaction, unless one of its conditions fails. A transaction that conflicts with another one, or that DynamoDB
/// throttles, is tried again. The SDK does not retry for these reasons.
///
/// # Errors
/// The transaction may have been made or not.
pub async fn transact(client: &Client, items: Vec<TransactWriteItem>) -> Result<Changed> {
    let mut tries = 1;
    loop {
        let (pause, error) = match transact_once(client, items.clone()).await {
            Ok(()) => return Ok(Changed::Stored),
            Err(NotMade::Condition) => return Ok(Changed::Lost),
            Err(NotMade::Conflict(error)) => (CONFLICT_PAUSE, error),
            Err(NotMade::Throttled(error)) => (THROTTLED_PAUSE, error),
            Err(NotMade::Refused(error) | NotMade::Unknown(error)) => return Err(error),
        };
        if tries == MAX_TRIES {
            return Err(error);
        }
        tokio::time::sleep(pause * tries).await;
        tries += 1;
    }
}

/// Makes a transaction, for whoever knows what to do when it collides or DynamoDB is too busy. The SDK sends an idempotency token
/// along, so one that it sends twice is made once.
pub(crate) async fn transact_once(
    client: &Client,
    items: Vec<TransactWriteItem>,
) -> Result<(), NotMade> {
    let request = client.transact_write_items();
    let request = request.set_transact_items(Some(items));
    request.send().await.map(drop).map_err(NotMade::of)
}

/// What a transaction comes to for whoever reads again and tries again when others win: one that conflicts with theirs is lost,
/// as one whose condition fails.
pub(crate) fn changed_by(made: Result<(), NotMade>) -> Result<Changed> {
    match made {
        Ok(()) => Ok(Changed::Stored),
        Err(NotMade::Condition | NotMade::Conflict(_)) => Ok(Changed::Lost),
        Err(NotMade::Throttled(error) | NotMade::Refused(error) | NotMade::Unknown(error)) => {
            Err(error)
        }
    }
}

/// Why a transaction was not made, as far as DynamoDB tells.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// One of its conditions failed.
    Condition,
    /// It conflicted with another one.
    Conflict(Error),
    /// DynamoDB throttled it.
    Throttled(Error),
    /// It would be refused again.
    Refused(Error),
    /// There was no answer, or none that says. The transaction may have been made.
    Unknown(Error),
}

impl NotMade {
    /// Each part of a transaction may have a reason of its own. A condition that does not hold counts before DynamoDB's being
    /// busy, and that before a conflict: whoever reads again finds out about the rest.
    fn of<R: std::fmt::Debug + Send + Sync + 'static>(
        error: SdkError<TransactWriteItemsError, R>,
    ) -> Self {
        let codes: Vec<String> = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled
                .cancellation_reasons()
                .iter()
                .filter_map(|reason| reason.code().map(str::to_owned))
                .filter(|code| code != "None")
                .collect(),
            _ => return Self::Unknown(describe(error)),
        };
        let error = describe(error);
        let has = |wanted: &str| codes.iter().any(|code| code == wanted);
        if has("ConditionalCheckFailed") {
            Self::Condition
        } else if has("ThrottlingError") || has("ProvisionedThroughputExceeded") {
            Self::Throttled(error)
        } else if has("TransactionConflict") {
            Self::Conflict(error)
        } else {
            Self::Refused(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::CancellationReason;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;

    #[test]
    fn of_many_items_only_the_attributes_are_read_that_are_named() {
        let request = |attributes| only(attributes).keys(Item::new()).build().unwrap();
        let some = request(&["id", "import"]);
        assert_eq!(some.projection_expression(), Some("#id, #import"));
        let names = [("#id", "id"), ("#import", "import")];
        let names = names.map(|(alias, name)| (alias.to_owned(), name.to_owned()));
        assert_eq!(some.expression_attribute_names(), Some(&names.into()));
        assert_eq!(request(&[]).projection_expression(), None);
        assert_eq!(request(&[]).expression_attribute_names(), None);
    }

    fn cancelled(codes: &[&str]) -> NotMade {
        let reason = |code: &&str| CancellationReason::builder().code(*code).build();
        let cancelled = TransactionCanceledException::builder()
            .set_cancellation_reasons(Some(codes.iter().map(reason).collect()));
        let error = TransactWriteItemsError::TransactionCanceledException(cancelled.build());
        NotMade::of(SdkError::service_error(error, ()))
    }

    #[test]
    fn the_reasons_of_a_transaction_are_told_apart() {
        use NotMade::{Condition, Conflict, Refused, Throttled};
        let condition = "ConditionalCheckFailed";
        assert!(matches!(cancelled(&["None", condition]), Condition));
        assert!(matches!(
            cancelled(&[condition, "ThrottlingError"]),
            Condition
        ));
        assert!(matches!(
            cancelled(&["None", "TransactionConflict"]),
            Conflict(_)
        ));
        let busy = ["TransactionConflict", "ProvisionedThroughputExceeded"];
        assert!(matches!(cancelled(&busy), Throttled(_)));
        assert!(matches!(cancelled(&["ThrottlingError"]), Throttled(_)));
        assert!(matches!(
            cancelled(&["None", "ItemCollectionSizeLimitExceeded"]),
            Refused(_)
        ));
        assert!(matches!(cancelled(&[]), Refused(_)));
        let unanswered: SdkError<TransactWriteItemsError, ()> = SdkError::timeout_error("late");
        assert!(matches!(NotMade::of(unanswered), NotMade::Unknown(_)));
    }
}
