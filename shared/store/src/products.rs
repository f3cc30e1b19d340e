//! The table of products.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::organization::OrganizationId;
use domain::product::Product;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use uuid::Uuid;

use crate::dynamodb::{Item, Unreadable, get_item, string};
use crate::error::{Context as _, Result};
use crate::pages::query_page;

/// The table of products.
#[derive(Clone, Debug)]
pub struct ProductStore {
    client: Client,
    table: String,
    /// Products that could not be read.
    pub unreadable: Unreadable,
}

/// What the place of a product holds. A change of the product is made from it.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Nothing.
    Empty,
    /// A product.
    Of(Box<Product>),
    /// Something that cannot be read.
    Unreadable,
}

impl ProductStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// An organization's products in the order of their keys, from behind the key `after`, at most `limit`, and whether there
    /// are more. Reads `limit` + 1 items at the most, and then twice as many each time that some of them cannot be read.
    pub async fn page(
        &self,
        org: OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Product>, bool)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .expression_attribute_values(":org", string(org));
        let query = match after {
            None => query.key_condition_expression("org = :org"),
            Some(after) => query
                .key_condition_expression("org = :org AND #key > :after")
                .expression_attribute_names("#key", "key")
                .expression_attribute_values(":after", string(after)),
        };
        query_page(query, limit, &self.unreadable, "product")
            .await
            .with_context(|| format!("query the products of organization {}", org.digest()))
    }

    /// What the place of a product holds now.
    pub async fn get(&self, org: OrganizationId, key: &str) -> Result<Place> {
        let item = get_item(&self.client, &self.table, table_key(org, key));
        let item = item
            .await
            .with_context(|| format!("get a product of organization {}", org.digest()))?;
        let Some(item) = item else {
            return Ok(Place::Empty);
        };
        Ok(match self.unreadable.read::<Product>(item) {
            Ok(product) => Place::Of(Box::new(product)),
            Err(error) => {
                tracing::error!("a product cannot be read, and is made anew: {error}");
                Place::Unreadable
            }
        })
    }

    /// The part of a transaction that puts a product in its place, if the place has not changed since it was read.
    pub fn put(&self, product: Product, place: &Place) -> Result<TransactWriteItem> {
        let product = Product {
            state: Uuid::new_v4(),
            ..product
        };
        let item: Item = to_item(&product).context("make the item of a product")?;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(place.condition())
            .set_expression_attribute_names(place.names())
            .set_expression_attribute_values(place.values());
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    /// The part of a transaction that empties the place of a product, if the place has not changed since it was read.
    pub fn delete(
        &self,
        org: OrganizationId,
        key: &str,
        place: &Place,
    ) -> Result<TransactWriteItem> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(org, key)))
            .condition_expression(place.condition())
            .set_expression_attribute_names(place.names())
            .set_expression_attribute_values(place.values());
        Ok(TransactWriteItem::builder().delete(delete.build()?).build())
    }
}

impl Place {
    fn condition(&self) -> &'static str {
        match self {
            Self::Empty => "attribute_not_exists(org)",
            Self::Of(_) => "#state = :state",
            Self::Unreadable => "attribute_exists(org)",
        }
    }

    fn names(&self) -> Option<std::collections::HashMap<String, String>> {
        match self {
            Self::Of(_) => Some([("#state".to_owned(), "state".to_owned())].into()),
            Self::Empty | Self::Unreadable => None,
        }
    }

    fn values(&self) -> Option<Item> {
        match self {
            Self::Of(product) => Some([(":state".to_owned(), string(product.state))].into()),
            Self::Empty | Self::Unreadable => None,
        }
    }
}

fn table_key(org: OrganizationId, key: &str) -> Item {
    Item::from([
        ("org".to_owned(), string(org)),
        ("key".to_owned(), string(key)),
    ])
}
