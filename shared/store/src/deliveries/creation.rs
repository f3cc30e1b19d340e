//! The creation of deliveries: one for each change and webhook. Deduplication records see to that.
//!
//! The deduplication record of a change and a webhook is the item with the id of [`DeliveryId::telling`]. It is the delivery
//! itself, or a *signpost* to a delivery that also tells of a newer change. Either is written on the condition that no such
//! item exists. So the usual delivery, of one change, is its own record and needs a single write.
//!
//! The deduplication record of an analysis is a note `~told/…`, see [`Told`](domain::delivery::message::Told).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use domain::delivery::message::Message;
use domain::delivery::{Delivery, DeliveryId, DeliveryKey};
use domain::event::ChangeKey;

use super::DeliveryStore;
use super::items::{
    MESSAGE, beside, delivery_item, message_key, note_told, signpost, table_key, told_by,
    told_item_key,
};
use crate::dynamodb::{self, Changed, Item, batch_get, get_item, transact};
use crate::error::{Context as _, Error, Result};
use crate::packed::{MAX_MESSAGE, Packed};

/// The result of storing a new message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Stored,
    /// Nothing is stored: these deliveries already tell of some of the changes.
    Told(HashMap<ChangeKey, DeliveryId>),
    /// Nothing is stored: by a deduplication record, another delivery tells of the same analysis.
    Noted,
}

impl DeliveryStore {
    /// Stores a delivery together with its message and its deduplication records, unless the webhook is already told of one
    /// of the changes. Of several attempts to tell of a change, one succeeds.
    ///
    /// # Errors
    /// DynamoDB failed. The delivery may be stored all the same.
    pub async fn create(&self, delivery: &Delivery, message: &Message) -> Result<Created> {
        let context = || {
            format!(
                "store delivery {} of webhook {}",
                delivery.id, delivery.webhook
            )
        };
        let packed = Packed::of(&message.body)?;
        let mut item = delivery_item(delivery)?;
        let mut puts = Vec::new();
        if packed.fits(MAX_MESSAGE) {
            item.insert(MESSAGE.to_owned(), packed.attribute());
        } else {
            let key = message_key(delivery.id);
            let item = beside(delivery.webhook, key, MESSAGE, &packed, delivery.expires_at);
            // It is stored only together with the delivery, and an older item in its place belongs to no delivery.
            let put = Put::builder().table_name(&self.table);
            let put = put.set_item(Some(item)).build()?;
            puts.push(TransactWriteItem::builder().put(put).build());
        }
        let changes: HashMap<ChangeKey, DeliveryId> = message
            .changes
            .iter()
            .map(|it| (it.key(), DeliveryId::telling(delivery.webhook, it)))
            .collect();
        for older in changes.values().filter(|id| **id != delivery.id) {
            puts.push(self.new_item(signpost(delivery, *older))?);
        }

        if let Some(told) = &message.told {
            for key in &told.keys {
                let note = note_told(delivery, key);
                puts.push(if told.unless.as_ref() == Some(key) {
                    self.new_item(note)?
                } else {
                    let put = Put::builder().table_name(&self.table).set_item(Some(note));
                    TransactWriteItem::builder().put(put.build()?).build()
                });
            }
        }

        let stored = if puts.is_empty() {
            self.put_new(item).await
        } else {
            puts.push(self.new_item(item)?);
            transact(&self.client, puts).await
        };
        if stored.with_context(context)? == Changed::Stored {
            return Ok(Created::Stored);
        }
        let noted = message.told.as_ref().and_then(|it| it.unless.as_deref());
        self.told(delivery, changes, noted)
            .await
            .with_context(context)
    }

    /// The deliveries that already tell the webhook of the changes, or of the analysis, of a delivery that could not be
    /// stored.
    async fn told(
        &self,
        delivery: &Delivery,
        changes: HashMap<ChangeKey, DeliveryId>,
        noted: Option<&str>,
    ) -> Result<Created> {
        let webhook = delivery.webhook;
        let keys = changes.values();
        let keys = keys.map(|&id| table_key(DeliveryKey { webhook, id }));
        let mut there = HashMap::new();
        let lease = delivery.lease.map(|lease| lease.uuid().to_string());
        for item in batch_get(&self.client, &self.table, keys).await? {
            let text = |name: &str| item.get(name)?.as_s().ok();
            let id = text("id").and_then(|id| id.parse::<DeliveryId>().ok());
            let id = id.context("an item has no id")?;
            // The SDK may have sent the request twice, and the answer to the first one was lost.
            if id == delivery.id && lease.is_some() && text("lease") == lease.as_ref() {
                return Ok(Created::Stored);
            }
            there.insert(id, told_by(&item).unwrap_or(Ok(id))?);
        }
        if there.is_empty()
            && let Some(analysis) = noted
        {
            let note = told_item_key(webhook, analysis);
            let note = get_item(&self.client, &self.table, note).await?;
            if note.is_some() {
                return Ok(Created::Noted);
            }
        }
        let told = changes.into_iter();
        let told = told.filter_map(|(change, id)| Some((change, *there.get(&id)?)));
        let told: HashMap<ChangeKey, DeliveryId> = told.collect();
        if told.is_empty() {
            // Otherwise the caller would try the same again and again.
            return Err(Error::new(
                "it cannot be stored, although none of its changes is told yet",
            ));
        }
        Ok(Created::Told(told))
    }

    /// Puts an item if none has its key.
    async fn put_new(&self, item: Item) -> Result<Changed> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id)");
        dynamodb::put(put).await
    }

    fn new_item(&self, item: Item) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id)")
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
