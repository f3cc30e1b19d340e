//! Uploads: what was declared, and, after completion, the result.

use std::collections::HashMap;

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use domain::organization::OrganizationId;
use domain::report::{Metadata, ReportId, ReportKey};
use publishing::{Attempt, SupersededObject};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};
use store::describe;
use store::dynamodb::{Changed, transact};
use store::quota::{Wanted, take};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long an upload can be completed. After that, the table and the bucket delete it.
pub(crate) const UPLOAD_VALIDITY: Duration = Duration::days(1);

domain::uuid_id! {
    /// The id of an upload.
    #[derive(Debug)]
    UploadId
}

/// An upload as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) org: OrganizationId,
    pub(crate) report_id: ReportId,
    pub(crate) metadata: Metadata,
    pub(crate) files: Vec<DeclaredFile>,
    /// In Unix seconds, for DynamoDB's time to live. DynamoDB deletes within some days, not at once.
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) completed: Option<Completed>,
}

/// A file as its publisher declared it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeclaredFile {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// 64 lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

/// The result of a completed upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Completed {
    /// The attempt that completed it.
    pub(crate) attempt: Attempt,
    /// The revision of the report that it made.
    pub(crate) revision: u64,
    /// Whether there was no such report before, or a deleted one.
    #[serde(default)]
    pub(crate) is_new: bool,
    pub(crate) upload_date: String,
    /// The objects of the revision before. Nothing refers to them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) superseded: Vec<SupersededObject>,
}

impl Upload {
    pub(crate) fn new(
        org: OrganizationId,
        metadata: Metadata,
        files: Vec<DeclaredFile>,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            id: UploadId(Uuid::new_v4()),
            org,
            report_id: ReportId::of(org, &metadata),
            metadata,
            files,
            expires_at: (now + UPLOAD_VALIDITY).unix_timestamp(),
            completed: None,
        }
    }

    /// The report that the upload is for.
    pub(crate) fn report(&self) -> ReportKey {
        ReportKey {
            org: self.org,
            id: self.report_id,
        }
    }

    /// Until when it can be completed.
    pub(crate) fn expires_at(&self) -> anyhow::Result<OffsetDateTime> {
        Ok(OffsetDateTime::from_unix_timestamp(self.expires_at)?)
    }

    pub(crate) fn is_expired(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() >= self.expires_at
    }
}

/// How much an organization may begin to upload within a day (UTC), whether or not it completes it.
#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    /// How many uploads.
    pub uploads_per_day: u64,
    /// How many bytes all their files have together, as declared.
    pub bytes_per_day: u64,
}

/// The table of uploads.
#[derive(Clone, Debug)]
pub struct UploadStore {
    client: Client,
    table: String,
}

impl UploadStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Counts an upload of this many bytes that begins at `now`, if the organization's quota for the day allows it. Otherwise
    /// it is `Lost`.
    pub async fn count(
        &self,
        org: OrganizationId,
        bytes: u64,
        now: OffsetDateTime,
        limits: UploadLimits,
    ) -> anyhow::Result<Changed> {
        // No upload has such an id.
        let day = AttributeValue::S(format!("~day/{org}/{}", now.date()));
        let window = HashMap::from([("id".to_owned(), day)]);
        let wanted = [
            Wanted {
                name: "uploads",
                amount: 1,
                most: limits.uploads_per_day,
            },
            Wanted {
                name: "uploadBytes",
                amount: bytes,
                most: limits.bytes_per_day,
            },
        ];
        let end = now + Duration::days(2);
        take(&self.client, &self.table, window, &wanted, end)
            .await
            .with_context(|| format!("count an upload of organization {}", org.digest()))
    }

    /// Stores an upload, and writes `alongside` in the same transaction. It is `Lost` if `alongside` cannot be written.
    pub(crate) async fn put(
        &self,
        upload: &Upload,
        alongside: Option<TransactWriteItem>,
    ) -> anyhow::Result<Changed> {
        let item = to_item(upload).context("make the item of an upload")?;
        let stored = match alongside {
            None => {
                let put = self.client.put_item().table_name(&self.table);
                let put = put.set_item(Some(item)).send().await;
                put.map(|_| Changed::Stored).map_err(describe)
            }
            Some(alongside) => {
                let put = Put::builder().table_name(&self.table);
                let put = put.set_item(Some(item)).build()?;
                let put = TransactWriteItem::builder().put(put).build();
                transact(&self.client, vec![put, alongside]).await
            }
        };
        stored.with_context(|| format!("put upload {}", upload.id))
    }

    pub(crate) async fn get(&self, id: UploadId) -> anyhow::Result<Option<Upload>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("get upload {id}"))?;
        output
            .item
            .map(from_item)
            .transpose()
            .with_context(|| format!("read the item of upload {id}"))
    }

    /// The part of the publication's transaction that records the completion of the upload. It succeeds only once.
    pub(crate) fn completion(
        &self,
        id: UploadId,
        completed: &Completed,
    ) -> anyhow::Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_string()))
            .update_expression("SET completed = :completed")
            .condition_expression("attribute_exists(id) AND attribute_not_exists(completed)")
            .expression_attribute_values(":completed", to_attribute_value(completed)?)
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
