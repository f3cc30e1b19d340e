//! The table of requests whose clients may ask again: by which key, with which body, and what the answer was.
//!
//! *Invariant:* an answer is kept in the transaction that makes what it tells of. So whoever asks again gets it, or nothing was
//! made, whatever happened to the first answer.
//!
//! An answer may hold a secret that is shown once, which nothing else keeps: the table has the key of the tables of secrets, no
//! backups, and forgets after a day.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use domain::date::timestamp;
use domain::organization::OrganizationId;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::dynamodb::{self, Item, number, single, string};
use crate::error::{Context as _, Error, Result, describe};

/// So long a key belongs to the request that came with it first.
pub const VALIDITY: Duration = Duration::hours(24);

/// So long the first request keeps others from being carried out, when nothing tells what became of it. Longer than the
/// functions work for one.
pub const LEASE: Duration = Duration::seconds(30);

/// The table with this name.
#[derive(Clone, Debug)]
pub struct IdempotencyStore {
    client: Client,
    table: String,
}

/// A request as the table knows it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is.
    pub org: OrganizationId,
    /// A digest of who makes it, of what, and of the client's key.
    pub id: String,
    /// A digest of its body.
    pub body: String,
}

/// What is stored of one.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    org: OrganizationId,
    id: String,
    body_sha256: String,
    attempt: Uuid,
    /// In the form of [`timestamp`].
    lease_until: String,
    /// In Unix seconds, as DynamoDB wants it for its time to live.
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// The right to carry a request out.
#[derive(Clone, Debug)]
pub struct Attempt {
    org: OrganizationId,
    id: String,
    attempt: Uuid,
}

/// What there is of a request.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: it is to be carried out.
    Started(Attempt),
    /// It was carried out, and this is what was kept of its answer.
    Answered(Secret),
    /// The key came with another body.
    OtherBody,
    /// It is being carried out, until this time at the latest.
    Running(OffsetDateTime),
}

/// What was kept of an answer. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl IdempotencyStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Begins a request, unless it has begun: of any number at once one may carry it out.
    pub async fn begin(&self, request: &Request, now: OffsetDateTime) -> Result<Begun> {
        let ours = Stored {
            org: request.org,
            id: request.id.clone(),
            body_sha256: request.body.clone(),
            attempt: Uuid::new_v4(),
            lease_until: timestamp(now + LEASE),
            expires_at: (now + VALIDITY).unix_timestamp(),
            answer: None,
        };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(&ours).context("make the item of a request")?))
            // DynamoDB deletes what has expired within days. A request that died goes on as the same request only.
            .condition_expression(
                "attribute_not_exists(id) OR expiresAt <= :seconds OR \
                 (attribute_not_exists(answer) AND leaseUntil <= :now AND bodySha256 = :body)",
            )
            .expression_attribute_values(":seconds", number(now.unix_timestamp()))
            .expression_attribute_values(":now", string(timestamp(now)))
            .expression_attribute_values(":body", string(&request.body))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let there = match single!(put, PutItemError) {
            Ok(_) => return Ok(Begun::Started(ours.into())),
            Err(PutItemError::ConditionalCheckFailedException(failed)) => failed.item,
            // Its transaction is under way.
            Err(PutItemError::TransactionConflictException(_)) => {
                return Ok(Begun::Running(now + Duration::SECOND));
            }
            Err(error) => return Err(describe(error)).context("begin a request"),
        };
        let there = there.context("DynamoDB does not say what there is of a request")?;
        // What serde says might repeat a part of the answer.
        let unreadable = || Error::unreadable("what is stored of a request has another form");
        let there: Stored = from_item(there).map_err(|_| unreadable())?;
        Ok(if there.attempt == ours.attempt {
            // The SDK has asked twice: the answer to the first time got lost.
            Begun::Started(ours.into())
        } else if there.body_sha256 != ours.body_sha256 {
            Begun::OtherBody
        } else if let Some(answer) = there.answer {
            Begun::Answered(Secret(answer))
        } else {
            let until = OffsetDateTime::parse(&there.lease_until, &Rfc3339);
            Begun::Running(until.map_err(|_| unreadable())?)
        })
    }

    /// The part of the transaction that makes what the answer tells of. It succeeds only while the request is ours to carry
    /// out.
    pub fn keeping(&self, attempt: &Attempt, answer: &str) -> Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(attempt.key()))
            .update_expression("SET answer = :answer")
            .condition_expression("attempt = :ours AND attribute_not_exists(answer)")
            .expression_attribute_values(":ours", string(attempt.attempt))
            .expression_attribute_values(":answer", string(answer));
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }

    /// Forgets a request that came to nothing, so that it can be made again at once. Afterwards no transaction succeeds that is
    /// still under way for it; one that was made already stays, and its answer too.
    pub async fn release(&self, attempt: &Attempt) -> Result<()> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(attempt.key()))
            .condition_expression("attempt = :ours AND attribute_not_exists(answer)")
            .expression_attribute_values(":ours", string(attempt.attempt));
        dynamodb::delete(delete)
            .await
            .context("release a request")?;
        Ok(())
    }
}

impl Attempt {
    fn key(&self) -> Item {
        Item::from([
            ("org".to_owned(), string(self.org)),
            ("id".to_owned(), string(&self.id)),
        ])
    }
}

impl From<Stored> for Attempt {
    fn from(stored: Stored) -> Self {
        Self {
            org: stored.org,
            id: stored.id,
            attempt: stored.attempt,
        }
    }
}
