//! The table of reports.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem};
use domain::date::GivenDate;
use domain::organization::OrganizationId;
use domain::report::summary::Summary;
use domain::report::{Report, ReportId, ReportKey};
use domain::version::{Version, VersionRange};
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;

use crate::dynamodb::{
    Changed, Item, NotMade, Unreadable, batch_get, changed, get, query_all, string,
};
use crate::error::{Context as _, Error, Result, describe};
use crate::mark;

/// The index in which an organization's reports lie in the order of their versions.
pub const BY_VERSION: &str = "by-version";

/// The longest sort key in bytes (DynamoDB, "Quotas").
const MAX_SORT_KEY: usize = 1024;

/// The table of reports.
#[derive(Clone, Debug)]
pub struct ReportStore {
    client: Client,
    table: String,
    /// Reports that could not be read.
    pub unreadable: Unreadable,
}

/// Where a report lies among its organization's: by version, then by the date of its first upload, then by id.
///
/// The first upload and not the latest: so a report keeps its place when it is updated, and who pages through the list
/// meanwhile neither misses it nor sees it twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(String);

impl Position {
    /// The position of a report with this version, first upload ([`timestamp`](domain::date::timestamp)) and id.
    pub fn new(version: &Version, first_upload_date: &str, id: ReportId) -> Self {
        Self(format!("{}/{first_upload_date}/{id}", version.sort_key()))
    }

    /// The position as it stands in the attribute `versionOrder`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what [`Position::as_str`] gave, `None` for any text that has not its form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (version, date, id) = (parts.next()?, parts.next()?, parts.next()?);
        if text.len() > MAX_SORT_KEY {
            return None;
        }
        let of_key = version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'!');
        (of_key && date.parse::<GivenDate>().is_ok() && id.parse::<ReportId>().is_ok())
            .then(|| Self(text.to_owned()))
    }

    fn id(&self) -> Option<ReportId> {
        self.0.rsplit('/').next()?.parse().ok()
    }
}

/// The direction of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest version first.
    Ascending,
    /// Newest version first.
    Descending,
}

/// A report of a list, and where in it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedReport {
    version_order: String,
    #[serde(flatten)]
    summary: Summary,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// The reports, in the order asked for.
    pub reports: Vec<Summary>,
    /// The position of the last report, when more follow.
    pub next: Option<Position>,
    /// What reading the page cost, in DynamoDB's read capacity units.
    pub read_units: f64,
}

/// What became of storing a revision.
#[derive(Debug)]
pub enum Commit {
    /// It is stored.
    Stored,
    /// It is not: the report has changed, something else in the transaction could not be written, or DynamoDB is too busy.
    /// It may succeed with the report as it is now.
    Lost,
    /// There was no answer, or none that tells: it may be stored.
    Unknown(Error),
}

/// A report as it lies in the table. One that is not deleted has a place in the index [`BY_VERSION`].
pub fn item_of(report: &Report) -> Result<Item> {
    let mut item: Item = to_item(report).context("make the item of a report")?;
    if !report.is_deleted() {
        let position = Position::new(
            &report.metadata.project_version,
            &report.first_upload_date,
            report.id,
        );
        item.insert("versionOrder".to_owned(), string(position.as_str()));
    }
    Ok(item)
}

impl ReportStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
            unreadable: Unreadable::default(),
        }
    }

    /// The organization's reports whose versions lie in `range`, from behind `after`, at most `limit`.
    ///
    /// Reads `limit` + 1 items at the most, however many the organization has, and as many again for each time that some of them
    /// cannot be read. The index is eventually consistent: a
    /// report can be missing for a moment after its publication.
    pub async fn page(
        &self,
        org: OrganizationId,
        range: &VersionRange,
        order: Order,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page> {
        let mut page = Page {
            reports: Vec::new(),
            next: None,
            read_units: 0.0,
        };
        let Some((from, to)) = range.key_bounds() else {
            return Ok(page);
        };
        let mut start = after.map(|position| index_key(org, position)).transpose()?;
        let mut listed: Vec<ListedReport> = Vec::new();
        while listed.len() <= limit {
            // One more than asked for tells whether more follow.
            let wanted = limit + 1;
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_VERSION)
                .key_condition_expression("org = :org AND versionOrder BETWEEN :from AND :to")
                .expression_attribute_values(":org", string(org))
                .expression_attribute_values(":from", string(&from))
                .expression_attribute_values(":to", string(&to))
                .scan_index_forward(order == Order::Ascending)
                .set_exclusive_start_key(start)
                .limit(i32::try_from(wanted)?)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the reports of organization {}", org.digest()))?;
            page.read_units += output
                .consumed_capacity
                .and_then(|it| it.capacity_units)
                .unwrap_or_default();
            listed.extend(self.unreadable.rest(output.items, "report"));
            start = output.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        if listed.len() > limit {
            listed.truncate(limit);
            page.next = listed
                .last()
                .map(|last| Position(last.version_order.clone()));
        }
        page.reports = listed.into_iter().map(|it| it.summary).collect();
        Ok(page)
    }

    /// The latest revision of the report, which may be a tombstone.
    pub async fn latest(&self, key: ReportKey) -> Result<Option<Report>> {
        get(&self.client, &self.table, table_key(key), &self.unreadable)
            .await
            .with_context(|| format!("get report {}", key.id))
    }

    /// Those of the reports that exist and are not deleted, as they are now, in no particular order. The ids must differ from
    /// each other.
    ///
    /// Consistent reads: whoever is told of a report and fetches it at once must get it.
    pub async fn get_all(&self, org: OrganizationId, ids: &[ReportId]) -> Result<Vec<Report>> {
        let keys = ids.iter().map(|&id| table_key(ReportKey { org, id }));
        let items = batch_get(&self.client, &self.table, keys)
            .await
            .with_context(|| {
                format!("get {} reports of organization {}", ids.len(), org.digest())
            })?;
        let reports = self.unreadable.rest(Some(items), "report");
        Ok(reports
            .filter(|report: &Report| !report.is_deleted())
            .collect())
    }

    /// Stores the next revision of a report, with the mark that it is to be announced, and writes `alongside` in the same
    /// transaction. It succeeds only when the stored report is the one that `report` was made from.
    ///
    /// # Errors
    /// Nothing is stored, and trying again does not help.
    pub async fn store(
        &self,
        report: &Report,
        alongside: Vec<TransactWriteItem>,
        now: OffsetDateTime,
    ) -> Result<Commit> {
        let put = self.put(report, now)?;
        let mut items = alongside;
        items.push(TransactWriteItem::builder().put(put).build());
        // The SDK sends an idempotency token along, so a transaction that it sends twice is made once.
        let transaction = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items));
        let operation = || format!("store revision {} of report {}", report.revision, report.id);
        match transaction.send().await {
            Ok(_) => Ok(Commit::Stored),
            Err(error) => match NotMade::of(error) {
                NotMade::Condition | NotMade::Conflict(_) | NotMade::Throttled(_) => {
                    Ok(Commit::Lost)
                }
                NotMade::Refused(error) => Err(error.during(operation())),
                NotMade::Unknown(error) => Ok(Commit::Unknown(error.during(operation()))),
            },
        }
    }

    fn put(&self, report: &Report, now: OffsetDateTime) -> Result<Put> {
        let mut item = item_of(report)?;
        item.extend(mark::of(report.id.uuid(), now));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = if report.revision == 1 {
            put.condition_expression("attribute_not_exists(id)")
        } else {
            // What is known to be announced must not be forgotten, or it would be announced as new again.
            put.condition_expression("revision = :previous AND announcedRevision = :announced")
                .expression_attribute_values(":previous", number(report.revision - 1))
                .expression_attribute_values(":announced", number(report.announced_revision))
        };
        Ok(put.build()?)
    }

    /// Stores the tombstone of a report, with the mark that it is to be announced. It is `Lost` unless the stored revision is the
    /// one before. Neither what is said of the report nor its files can change by it.
    pub async fn delete(&self, tombstone: &Report, now: OffsetDateTime) -> Result<Changed> {
        let mark = mark::of(tombstone.id.uuid(), now);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(tombstone.key())))
            .update_expression(
                "SET revision = :revision, #event = :event, deletedAt = :at, \
                 unannouncedShard = :shard, unannouncedSince = :since REMOVE versionOrder",
            )
            .condition_expression("revision = :previous")
            .expression_attribute_names("#event", "event")
            .expression_attribute_values(":revision", number(tombstone.revision))
            .expression_attribute_values(":previous", number(tombstone.revision - 1))
            .expression_attribute_values(":event", string(tombstone.event().as_str()))
            .expression_attribute_values(":at", string(tombstone.stored_at()))
            .expression_attribute_values(":shard", mark[mark::SHARD].clone())
            .expression_attribute_values(":since", mark[mark::SINCE].clone());
        changed(update)
            .await
            .with_context(|| format!("delete report {}", tombstone.id))
    }

    /// Records that the revision, and every one before it, is on the queue. A report that has a newer revision keeps its
    /// mark: who wrote that revision announces it, or the sweep.
    pub async fn set_announced(&self, key: ReportKey, revision: u64) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(table_key(key)))
            .update_expression(format!(
                "SET announcedRevision = :revision REMOVE {}",
                mark::ATTRIBUTES
            ))
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", number(revision));
        changed(update)
            .await
            .with_context(|| format!("mark report {} as announced", key.id))?;
        Ok(())
    }

    /// The reports of a shard that have waited for their announcement since before `before`, longest first.
    pub async fn unannounced(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<ReportKey>> {
        let query = mark::query(&self.client, &self.table, shard, before);
        query_all(query, &self.unreadable, "the key of report")
            .await
            .with_context(|| format!("query the unannounced reports of shard {shard}"))
    }
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn table_key(key: ReportKey) -> Item {
    Item::from([
        ("org".to_owned(), string(key.org)),
        ("id".to_owned(), string(key.id)),
    ])
}

fn index_key(org: OrganizationId, position: &Position) -> Result<Item> {
    let id = position
        .id()
        .context("a position ends with a report's id")?;
    let mut key = table_key(ReportKey { org, id });
    key.insert("versionOrder".to_owned(), string(position.as_str()));
    Ok(key)
}
