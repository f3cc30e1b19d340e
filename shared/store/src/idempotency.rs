//! The table of requests with an idempotency key: the key, a digest of the body, and the answer.
//!
//! *Invariant:* an answer is stored in the transaction that makes what it tells of. So either a repeated request gets the
//! answer, or nothing was made, whatever happened to the first answer.
//!
//! An answer may hold a secret that is shown once and is stored nowhere else. So the table is encrypted with the key of the
//! tables of secrets, has no backups, and deletes its items after a day.

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

/// How long an idempotency key belongs to the first request that had it.
pub const VALIDITY: Duration = Duration::hours(24);

/// The lease of a request: how long it keeps others with the same key from being carried out when nothing says what became of
/// it. That is longer than the functions work on a request.
pub const LEASE: Duration = Duration::seconds(30);

/// The table of requests with an idempotency key.
#[derive(Clone, Debug)]
pub struct IdempotencyStore {
    client: Client,
    table: String,
}

/// A request with an idempotency key, as the table knows it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The organization.
    pub org: OrganizationId,
    /// A digest of the caller, the path and the client's idempotency key.
    pub id: String,
    /// A digest of the request's body.
    pub body: String,
}

/// The stored form of a request.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    org: OrganizationId,
    id: String,
    body_sha256: String,
    attempt: Uuid,
    /// The end of the lease, in the form of [`timestamp`].
    lease_until: String,
    /// In Unix seconds, for DynamoDB's time to live.
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// The lease of a request: the exclusive right to carry it out.
#[derive(Clone, Debug)]
pub struct Attempt {
    org: OrganizationId,
    id: String,
    attempt: Uuid,
}

/// The result of beginning a request.
#[derive(Debug)]
pub enum Begun {
    /// The request is new: the caller carries it out.
    Started(Attempt),
    /// It was carried out before, and this is the stored part of its answer.
    Answered(Secret),
    /// The key was used with another body.
    OtherBody,
    /// Another call is carrying it out, until this time at the latest.
    Running(OffsetDateTime),
}

/// The stored part of an answer. `Debug` does not show it.
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

    /// Begins a request, unless it has begun. Of several at once, one may carry it out.
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
            // DynamoDB deletes expired items within days. A request that died may only be continued by the same request.
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
            // The request's transaction is under way.
            Err(PutItemError::TransactionConflictException(_)) => {
                return Ok(Begun::Running(now + Duration::SECOND));
            }
            Err(error) => return Err(describe(error)).context("begin a request"),
        };
        let there = there.context("DynamoDB does not say what there is of a request")?;
        // The message of serde might repeat a part of the answer.
        let unreadable = || Error::unreadable("what is stored of a request has another form");
        let there: Stored = from_item(there).map_err(|_| unreadable())?;
        Ok(if there.attempt == ours.attempt {
            // The SDK sent the request twice, and the answer to the first one was lost.
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

    /// The part of the transaction that makes what the answer tells of. It succeeds only while the caller holds the lease.
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

    /// Deletes a request that made nothing, so that it can be made again at once. After that, a transaction for it that is
    /// still under way fails. If the transaction was made already, it stays, and so does its answer.
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
