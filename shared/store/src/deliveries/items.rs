//! The items of the table of deliveries, and their keys.

use domain::delivery::attempt::KEPT_ATTEMPTS;
use domain::delivery::{Delivery, DeliveryId, DeliveryKey, DeliveryState};
use domain::report::change::ChangeKey;
use domain::webhook::WebhookId;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use crate::dynamodb::{Item, string};
use crate::error::Result;

/// Over how many keys the index `due` spreads its writes. DynamoDB gives one key 1,000 writes a second.
pub const DUE_SHARDS: u8 = 8;

/// The attributes that put a delivery into the indexes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Indexed {
    state_order: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
}

/// An item beside a delivery.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Beside<T> {
    pub(super) webhook: WebhookId,
    pub(super) id: String,
    pub(super) expires_at: i64,
    #[serde(flatten)]
    pub(super) content: T,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MessageBody {
    pub(super) body: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Telling {
    pub(super) delivery: DeliveryId,
}

pub(super) fn indexed(delivery: &Delivery) -> Result<Item> {
    let indexed = Indexed {
        state_order: state_order(delivery.state, delivery.id),
        due_shard: delivery
            .due_at
            .as_ref()
            .map(|_| shard_of(delivery.webhook).to_string()),
    };
    Ok(to_item(indexed)?)
}

/// By webhook, so that a webhook's deliveries are found together.
pub(super) fn shard_of(webhook: WebhookId) -> u8 {
    // The first byte of a version 4 UUID is random.
    webhook.uuid().as_bytes()[0] % DUE_SHARDS
}

pub(super) fn state_order(state: DeliveryState, id: DeliveryId) -> String {
    format!("{}/{id}", state.as_str())
}

// `~` lies behind every character of an id.

pub(super) fn body_key(id: DeliveryId) -> String {
    format!("~body/{id}")
}

pub(super) fn attempt_prefix(id: DeliveryId) -> String {
    format!("~attempt/{id}/")
}

/// The 26th attempt has the key of the first one, and so replaces it.
pub(super) fn attempt_key(id: DeliveryId, number: u32) -> String {
    format!("{}{:02}", attempt_prefix(id), number % KEPT_ATTEMPTS)
}

pub(super) fn change_key(change: &ChangeKey) -> String {
    format!("~change/{}/{}", change.report, change.revision)
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
