//! The table of tokens.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::token::{Token, TokenId, TokenRefused, TokenSecret};
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;

use crate::counted::Counted;
use crate::dynamodb::{Changed, Item, Unreadable, get, string, transact};
use crate::error::{Context as _, Result, describe};
use crate::pages::query_page;

/// The index of an organization's tokens by id.
pub const BY_ORG: &str = "by-org";

/// The tokens that are not revoked. Expired ones count too, so that the count changes only together with the tokens' items.
const COUNTED: Counted = Counted {
    key: "sha256",
    count: "notRevoked",
};

/// The result of looking for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is valid.
    Good(Token),
    /// It is not valid.
    Refused(TokenRefused),
}

/// The table of tokens.
#[derive(Clone, Debug)]
pub struct TokenStore {
    client: Client,
    table: String,
    /// Tokens that could not be read.
    pub unreadable: Unreadable,
}

impl TokenStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Adds a token if the organization has fewer than `most` that are not revoked, and writes `alongside` in the same
    /// transaction. Otherwise it is `Lost`, as it is when `alongside` cannot be written.
    pub async fn add(
        &self,
        token: &Token,
        most: u64,
        alongside: Option<TransactWriteItem>,
    ) -> Result<Changed> {
        let item = to_item(token).context("make the item of a token")?;
        let added = COUNTED.add(
            &self.client,
            &self.table,
            (token.org, item),
            most,
            alongside,
        );
        added
            .await
            .with_context(|| format!("add token {}", token.id))
    }

    /// The token with this secret, if it is valid at `now`. Records its use.
    pub async fn find(&self, secret: &str, now: OffsetDateTime) -> Result<Found> {
        let found = self.look_up(secret, now).await?;
        if let Found::Good(token) = &found
            && token.is_use_to_be_noted(now)
            && let Err(error) = self.note_use(token, now).await
        {
            // That is no reason to refuse a valid token.
            tracing::warn!(token = %token.id, "the use of token {} was not noted: {error}", token.id);
        }
        Ok(found)
    }

    /// The same without recording the use: it only reads.
    pub async fn look_up(&self, secret: &str, now: OffsetDateTime) -> Result<Found> {
        let Some(secret) = TokenSecret::parse(secret) else {
            return Ok(Found::Refused(TokenRefused::Unknown));
        };
        let Some(token) = self.get(&secret).await? else {
            return Ok(Found::Refused(TokenRefused::Unknown));
        };
        Ok(match token.check(now) {
            Ok(()) => Found::Good(token),
            Err(refused) => Found::Refused(refused),
        })
    }

    async fn note_use(&self, token: &Token, now: OffsetDateTime) -> Result<()> {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("sha256", string(&token.sha256))
            .update_expression("SET lastUsedAt = :now")
            .condition_expression("attribute_exists(sha256)")
            .expression_attribute_values(":now", string(timestamp(now)))
            .send()
            .await
            .map_err(describe)?;
        Ok(())
    }

    /// An organization's tokens after the id `after`, the newest first, at most `limit`, and whether more follow. The index
    /// is eventually consistent: a new token can be missing for a moment.
    pub async fn page(
        &self,
        org: OrganizationId,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<(Vec<Token>, bool)> {
        let last = after.map_or(uuid::Uuid::max(), TokenId::uuid);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_ORG)
            .key_condition_expression("org = :org AND id < :last")
            .expression_attribute_values(":org", string(org))
            .expression_attribute_values(":last", string(last))
            .scan_index_forward(false);
        query_page(query, limit, &self.unreadable, "token")
            .await
            .with_context(|| format!("query the tokens of organization {}", org.digest()))
    }

    /// Revokes a token of an organization; `false` when it has none with this id.
    pub async fn revoke(
        &self,
        org: OrganizationId,
        id: TokenId,
        now: OffsetDateTime,
    ) -> Result<bool> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_ORG)
            .key_condition_expression("org = :org AND id = :id")
            .expression_attribute_values(":org", string(org))
            .expression_attribute_values(":id", string(id))
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("query token {id}"))?;
        let Some(item) = output.items.unwrap_or_default().pop() else {
            return Ok(false);
        };
        // The token itself is not read, so one that cannot be read can be revoked.
        let sha256 = item.get("sha256").cloned();
        let sha256 = sha256.context("an item of the index of tokens has no key")?;
        let revoke = Update::builder()
            .table_name(&self.table)
            .key("sha256", sha256)
            .update_expression("SET revokedAt = :now")
            // A revoked token keeps the time of its revocation, and is no longer counted.
            .condition_expression("attribute_exists(sha256) AND attribute_not_exists(revokedAt)")
            .expression_attribute_values(":now", string(timestamp(now)));
        let items = vec![
            TransactWriteItem::builder().update(revoke.build()?).build(),
            COUNTED.one_less(&self.table, org)?,
        ];
        transact(&self.client, items)
            .await
            .with_context(|| format!("revoke token {id}"))?;
        Ok(true)
    }

    async fn get(&self, secret: &TokenSecret) -> Result<Option<Token>> {
        let key = Item::from([("sha256".to_owned(), string(secret.sha256()))]);
        // A consistent read: a revoked token must not live on in a replica.
        get(&self.client, &self.table, key, &self.unreadable)
            .await
            .context("get a token")
    }
}
