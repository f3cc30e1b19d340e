//! The items of the table of deliveries, and their keys.

use domain::delivery::attempt::KEPT_ATTEMPTS;
use domain::delivery::{Delivery, DeliveryId, DeliveryKey, DeliveryState};
use domain::webhook::WebhookId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::dynamodb::{Item, number, string};
use crate::error::{Context as _, Error, Result};
use crate::packed::Packed;

/// Over how many keys the index `due` spreads its writes. DynamoDB allows 1,000 writes a second to one key. A first attempt
/// that succeeds takes two of them, and a retry that fails takes four.
pub const DUE_SHARDS: u8 = 4;

/// The message of a delivery, in the delivery's item or in an item of its own.
pub(super) const MESSAGE: &str = "message";
/// The latest attempts, if they are small together, in the delivery's item.
pub(super) const LATEST: &str = "latest";
/// An attempt in an item of its own.
pub(super) const ATTEMPT: &str = "attempt";
/// The attribute that makes an item a signpost: the delivery that tells the webhook of the change with this item's id.
const TOLD_BY: &str = "toldBy";

/// A delivery and the packed texts in its item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) delivery: Delivery,
    pub(super) message: Option<Packed>,
    pub(super) latest: Option<Packed>,
}

impl Stored {
    pub(super) fn of(mut item: Item) -> Result<Self> {
        let mut packed = |name| item.remove(name).map(Packed::read).transpose();
        Ok(Self {
            message: packed(MESSAGE)?,
            latest: packed(LATEST)?,
            delivery: from_item(item).map_err(Error::unreadable)?,
        })
    }
}

/// The delivery that a signpost leads to.
pub(super) fn told_by(item: &Item) -> Option<Result<DeliveryId>> {
    let text = item.get(TOLD_BY)?;
    let id = text.as_s().ok().and_then(|text| text.parse().ok());
    // A broken signpost must not make the change count as told.
    Some(id.context("a signpost leads nowhere"))
}

/// The item of a new delivery, without its message. It is in the index of due deliveries. It is in the index by state only if
/// nobody tries it at once: most deliveries succeed at once, and would leave the index a moment later.
pub(super) fn delivery_item(delivery: &Delivery) -> Result<Item> {
    let mut item: Item = to_item(delivery).context("make the item of a delivery")?;
    if delivery.due_at.is_some() {
        item.insert("dueShard".to_owned(), string(shard_of(delivery.webhook)));
        if delivery.lease.is_none() {
            let order = state_order(delivery.state, delivery.id);
            item.insert("stateOrder".to_owned(), string(order));
        }
    }
    Ok(item)
}

/// A signpost, the deduplication record of a change that the webhook is told of by another change's delivery.
pub(super) fn signpost(delivery: &Delivery, change: DeliveryId) -> Item {
    let mut item = table_key(DeliveryKey {
        webhook: delivery.webhook,
        id: change,
    });
    item.insert(TOLD_BY.to_owned(), string(delivery.id));
    item.insert("expiresAt".to_owned(), number(delivery.expires_at));
    item
}

/// A deduplication record: the note that this delivery tells the webhook of an analysis
/// ([`Told`](domain::delivery::message::Told)).
pub(super) fn note_told(delivery: &Delivery, analysis: &str) -> Item {
    let mut item = told_item_key(delivery.webhook, analysis);
    item.insert(TOLD_BY.to_owned(), string(delivery.id));
    item.insert("expiresAt".to_owned(), number(delivery.expires_at));
    item
}

/// The key of such a note.
pub(super) fn told_item_key(webhook: WebhookId, analysis: &str) -> Item {
    beside_key(webhook, format!("~told/{analysis}"))
}

/// An item beside a delivery with a packed text.
pub(super) fn beside(
    webhook: WebhookId,
    id: String,
    name: &str,
    packed: &Packed,
    expires_at: i64,
) -> Item {
    let mut item = beside_key(webhook, id);
    item.insert(name.to_owned(), packed.attribute());
    item.insert("expiresAt".to_owned(), number(expires_at));
    item
}

/// Packs one attempt, or several.
pub(super) fn pack<T: Serialize>(attempts: &T) -> Result<Packed> {
    Packed::of(&serde_json::to_string(attempts).map_err(Error::new)?)
}

/// Reads what [`pack`] gives.
pub(super) fn unpack<T: DeserializeOwned>(packed: &Packed) -> Result<T> {
    serde_json::from_str(&packed.text()?).map_err(|_| Error::unreadable("it is no attempt"))
}

/// By webhook, so that a webhook's deliveries are found together.
pub(super) fn shard_of(webhook: WebhookId) -> u8 {
    // The first byte of a version 4 UUID is random.
    webhook.uuid().as_bytes()[0] % DUE_SHARDS
}

pub(super) fn state_order(state: DeliveryState, id: DeliveryId) -> String {
    format!("{}/{id}", state.as_str())
}

// `~` follows every character of an id.

pub(super) fn message_key(id: DeliveryId) -> String {
    format!("~message/{id}")
}

pub(super) fn attempt_prefix(id: DeliveryId) -> String {
    format!("~attempt/{id}/")
}

/// The 26th attempt has the key of the first one, and so replaces it.
pub(super) fn attempt_key(id: DeliveryId, number: u32) -> String {
    format!("{}{:02}", attempt_prefix(id), number % KEPT_ATTEMPTS)
}

pub(super) fn beside_key(webhook: WebhookId, id: String) -> Item {
    Item::from([
        ("webhook".to_owned(), string(webhook)),
        ("id".to_owned(), string(id)),
    ])
}

pub(super) fn table_key(key: DeliveryKey) -> Item {
    beside_key(key.webhook, key.id.to_string())
}
