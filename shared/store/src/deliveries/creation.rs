//! How a delivery comes to be: once for each change and webhook.
//!
//! A deduplication record says by which delivery a webhook is told of a change. It is written in the delivery's own
//! transaction, which fails if there is one already.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use domain::delivery::message::Message;
use domain::delivery::{Delivery, DeliveryId};
use domain::report::change::ChangeKey;
use domain::webhook::WebhookId;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::DeliveryStore;
use super::items::{Beside, MessageBody, Telling, beside_key, body_key, change_key, indexed};
use crate::dynamodb::{Changed, Item, batch_get, transact};
use crate::error::{Context as _, Result};

/// What became of storing a new message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Stored,
    /// Nothing is stored: some of the changes are told of by other deliveries already.
    Told(HashMap<ChangeKey, DeliveryId>),
}

impl DeliveryStore {
    /// Stores a delivery together with its message, unless one of the changes in it is told of by another delivery: of any
    /// number of attempts to tell of a change, one succeeds.
    ///
    /// # Errors
    /// When DynamoDB fails. Then it may be stored all the same.
    pub async fn create(&self, delivery: &Delivery, message: &Message) -> Result<Created> {
        let context = || {
            format!(
                "store delivery {} of webhook {}",
                delivery.id, delivery.webhook
            )
        };
        let mut item: Item = to_item(delivery)?;
        item.extend(indexed(delivery)?);
        let mut puts = vec![
            self.put_new(item)?,
            self.put_new(to_item(Beside {
                webhook: delivery.webhook,
                id: body_key(delivery.id),
                expires_at: delivery.expires_at,
                content: MessageBody {
                    body: message.body.clone(),
                },
            })?)?,
        ];
        for change in &message.changes {
            puts.push(self.put_new(to_item(Beside {
                webhook: delivery.webhook,
                id: change_key(&change.key()),
                expires_at: delivery.expires_at,
                content: Telling {
                    delivery: delivery.id,
                },
            })?)?);
        }
        match transact(&self.client, puts).await.with_context(context)? {
            Changed::Stored => Ok(Created::Stored),
            Changed::Lost => {
                let told = self.told(delivery.webhook, &message.keys()).await?;
                // The SDK may have sent the transaction twice, and the answer to the first one was lost.
                Ok(if told.values().any(|id| *id == delivery.id) {
                    Created::Stored
                } else {
                    Created::Told(told)
                })
            }
        }
    }

    /// Which deliveries tell of these changes.
    async fn told(
        &self,
        webhook: WebhookId,
        changes: &[ChangeKey],
    ) -> Result<HashMap<ChangeKey, DeliveryId>> {
        let keys = changes
            .iter()
            .map(|change| beside_key(webhook, change_key(change)));
        let items = batch_get(&self.client, &self.table, keys)
            .await
            .with_context(|| format!("get what webhook {webhook} was told"))?;
        let mut told = HashMap::new();
        for item in items {
            let id = item.get("id").and_then(|id| id.as_s().ok()).cloned();
            let telling: Telling = from_item(item)?;
            if let Some(change) = changes.iter().find(|change| Some(change_key(change)) == id) {
                told.insert(*change, telling.delivery);
            }
        }
        Ok(told)
    }

    fn put_new(&self, item: Item) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id)")
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
