//! The table of sessions.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use domain::session::{REFRESHING, Session, SessionSecret};
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::dynamodb::{Changed, Item, Unreadable, changed, get, number, put, string};
use crate::error::{Context as _, Result, describe};

/// The table of sessions.
#[derive(Clone, Debug)]
pub struct SessionStore {
    client: Client,
    table: String,
    /// Sessions that could not be read.
    pub unreadable: Unreadable,
}

impl SessionStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// Adds a session.
    pub async fn add(&self, session: &Session) -> Result<()> {
        let item = to_item(session).context("make the item of a session")?;
        let session = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(sha256)");
        match put(session).await.context("add a session")? {
            Changed::Stored => Ok(()),
            // Its key is new and random, so the SDK sent the request twice.
            Changed::Lost => Ok(()),
        }
    }

    /// The current session. An unreadable session counts as none.
    pub async fn get(&self, secret: &SessionSecret) -> Result<Option<Session>> {
        let session = get(
            &self.client,
            &self.table,
            key(&secret.sha256()),
            &self.unreadable,
        );
        match session.await {
            Err(error) if error.is_unreadable() => Ok(None),
            read => read.context("get a session"),
        }
    }

    /// Records that the session was used.
    pub async fn note_use(&self, session: &Session, now: OffsetDateTime) -> Result<Changed> {
        let update = self
            .update(session)
            .update_expression("SET usedAt = :now")
            .condition_expression("attribute_exists(sha256)")
            .expression_attribute_values(":now", number(now.unix_timestamp()));
        changed(update).await.context("note the use of a session")
    }

    /// Claims the lease on asking the issuer for new tokens, if nobody else holds it and the tokens are still those of
    /// `session`. The caller makes `claim`, since the SDK may send the request twice.
    pub async fn claim_refresh(
        &self,
        session: &Session,
        claim: Uuid,
        now: OffsetDateTime,
    ) -> Result<Changed> {
        let update = self
            .update(session)
            .update_expression("SET refreshingUntil = :until, refreshingBy = :claim")
            .condition_expression(
                "idToken = :old AND (attribute_not_exists(refreshingUntil) OR refreshingUntil <= :now \
                 OR refreshingBy = :claim)",
            )
            .expression_attribute_values(":old", string(&session.id_token))
            .expression_attribute_values(":claim", string(claim))
            .expression_attribute_values(":now", number(now.unix_timestamp()))
            .expression_attribute_values(":until", number((now + REFRESHING).unix_timestamp()));
        changed(update).await.context("claim a session's refresh")
    }

    /// Replaces the tokens of a session, if they are still those of `before`. It is also `Lost` when the SDK sent the request
    /// twice. Then they are those of `after`.
    pub async fn refreshed(&self, before: &Session, after: &Session) -> Result<Changed> {
        let update = self
            .update(before)
            .condition_expression("idToken = :old")
            .expression_attribute_values(":old", string(&before.id_token))
            .expression_attribute_values(":id", string(&after.id_token));
        let update = match &after.refresh_token {
            None => {
                update.update_expression("SET idToken = :id REMOVE refreshToken, refreshingUntil, refreshingBy")
            }
            Some(refresh) => update
                .update_expression(
                    "SET idToken = :id, refreshToken = :refresh REMOVE refreshingUntil, refreshingBy",
                )
                .expression_attribute_values(":refresh", string(refresh)),
        };
        changed(update).await.context("refresh a session")
    }

    /// Gives the lease back.
    pub async fn release_refresh(&self, session: &Session) -> Result<Changed> {
        let update = self
            .update(session)
            .update_expression("REMOVE refreshingUntil, refreshingBy")
            .condition_expression("idToken = :old")
            .expression_attribute_values(":old", string(&session.id_token));
        changed(update).await.context("release a session's refresh")
    }

    /// Ends a session. It does nothing if the session is gone.
    pub async fn delete(&self, secret: &SessionSecret) -> Result<()> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(&secret.sha256())));
        delete
            .send()
            .await
            .map_err(describe)
            .context("delete a session")?;
        Ok(())
    }

    fn update(&self, session: &Session) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&session.sha256)))
    }
}

fn key(sha256: &str) -> Item {
    Item::from([("sha256".to_owned(), string(sha256))])
}
