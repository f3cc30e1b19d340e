//! The table of reports.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem, Update,
};
use domain::date::GivenDate;
use domain::organization::OrganizationId;
use domain::product::Rest;
use domain::report::summary::{ProductReport, Summary};
use domain::report::{Report, ReportId, ReportKey};
use domain::version::{Version, VersionRange};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use time::OffsetDateTime;

use crate::dynamodb::{
    Item, NotMade, Unreadable, batch_get, changed, get, number, string, transact_once,
};
use crate::error::{Context as _, Error, Result};
use crate::mark;
use crate::pages::{Bounds, query_all, query_within};

/// The index of an organization's reports in the order of their versions.
pub const BY_VERSION: &str = "by-version";

/// The index of a product's reports in the order of their versions.
pub const BY_PRODUCT: &str = "by-product";

/// How many reports of a product a page reads at most, to find those of a branch or a catalogue.
pub const MAX_LOOKED_AT: usize = 1000;

/// How many reports are read at once to find one that exists.
const CANDIDATES: usize = 25;

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

/// The position of a report among those of its organization: by version, then by the time of its first upload, then by id.
///
/// The time is that of the first upload and not of the latest, so that an update does not move the report. A client that
/// pages through the list during an update neither misses the report nor sees it twice.
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

    /// Reads what [`Position::as_str`] gives; `None` for a text of another form.
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

/// The part of a list that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The versions that are listed.
    pub range: &'a VersionRange,
    /// The direction.
    pub order: Order,
    /// The position after which the part begins.
    pub after: Option<&'a Position>,
    /// The most reports.
    pub limit: usize,
}

/// Which reports of a product are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Only reports of this branch.
    pub branch: Option<&'a str>,
    /// Only reports about this catalogue, with or without its edition ([`Summary::is_about`]).
    pub catalogue: Option<&'a str>,
}

impl Filter<'_> {
    fn is_none(&self) -> bool {
        self.branch.is_none() && self.catalogue.is_none()
    }

    fn takes(&self, report: &ProductReport) -> bool {
        let of_branch = |branch| report.branch.as_deref() == Some(branch);
        let about = |catalogue| report.summary.is_about(catalogue);
        self.branch.is_none_or(of_branch) && self.catalogue.is_none_or(about)
    }
}

/// A report of a list, and its position.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<T> {
    version_order: String,
    #[serde(flatten)]
    report: T,
}

/// A partition of an index, and the reports in it that are asked for. The reports are sorted by version.
struct Partition<'a, T> {
    index: &'static str,
    key: (&'static str, AttributeValue),
    org: OrganizationId,
    takes: &'a (dyn Fn(&T) -> bool + Sync),
    /// How many items are read at most.
    most: usize,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The reports, in the order asked for.
    pub reports: Vec<T>,
    /// The position after which more may follow; `None` at the end.
    pub next: Option<Position>,
    /// What the read cost, in DynamoDB's read capacity units.
    pub read_units: f64,
}

/// The result of storing a revision.
#[derive(Debug)]
pub enum Commit {
    /// It is stored.
    Stored,
    /// Nothing is stored: the report has changed, another part of the transaction could not be written, or DynamoDB
    /// throttles. It may succeed with the current report.
    Lost,
    /// There was no answer, or none that says. The revision may be stored.
    Unknown(Error),
}

/// A report's item in the table. A report that is not deleted has a place in the indexes [`BY_VERSION`] and [`BY_PRODUCT`].
pub fn item_of(report: &Report) -> Result<Item> {
    let mut item: Item = to_item(report).context("make the item of a report")?;
    if !report.is_deleted() {
        let position = position_of(report);
        item.insert("versionOrder".to_owned(), string(position.as_str()));
        let product = product_key(report.org, &report.metadata.project_key);
        item.insert("orgProduct".to_owned(), product);
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

    /// A part of the list of the organization's reports.
    ///
    /// Reads `limit` + 1 items at the most, however many the organization has, and then twice as many each time that some of them
    /// cannot be read. The index is eventually consistent: a report can be missing for a moment after its publication.
    pub async fn page(&self, org: OrganizationId, part: Part<'_>) -> Result<Page<Summary>> {
        let partition = Partition {
            index: BY_VERSION,
            key: ("org", string(org)),
            org,
            takes: &|_: &Summary| true,
            most: Bounds::ALL.most,
        };
        self.read(&partition, part).await
    }

    /// A part of the list of a product's reports, like [`Self::page`]. With a filter it reads at most [`MAX_LOOKED_AT`]
    /// items, and may have fewer reports than `limit`.
    pub async fn page_of_product(
        &self,
        org: OrganizationId,
        project_key: &str,
        filter: Filter<'_>,
        part: Part<'_>,
    ) -> Result<Page<ProductReport>> {
        let partition = Partition {
            index: BY_PRODUCT,
            key: ("orgProduct", product_key(org, project_key)),
            org,
            takes: &|report: &ProductReport| filter.takes(report),
            most: if filter.is_none() {
                Bounds::ALL.most
            } else {
                MAX_LOOKED_AT
            },
        };
        self.read(&partition, part).await
    }

    async fn read<T: DeserializeOwned + Send>(
        &self,
        partition: &Partition<'_, T>,
        part: Part<'_>,
    ) -> Result<Page<T>> {
        let Some((from, to)) = part.range.key_bounds() else {
            return Ok(Page {
                reports: Vec::new(),
                next: None,
                read_units: 0.0,
            });
        };
        let (name, value) = &partition.key;
        let key_of = |position: &Position| index_key(partition, position);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(partition.index)
            .key_condition_expression(format!(
                "{name} = :partition AND versionOrder BETWEEN :from AND :to"
            ))
            .expression_attribute_values(":partition", value.clone())
            .expression_attribute_values(":from", string(&from))
            .expression_attribute_values(":to", string(&to))
            .scan_index_forward(part.order == Order::Ascending)
            .set_exclusive_start_key(part.after.map(key_of).transpose()?)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let bounds = Bounds {
            limit: part.limit,
            most: partition.most,
        };
        let read = |items| {
            let read = self.unreadable.rest(Some(items), "report");
            read.filter(|it: &Listed<T>| (partition.takes)(&it.report))
        };
        let found = query_within(query, bounds, read).await.with_context(|| {
            let org = partition.org.digest();
            format!("query the reports of organization {org}")
        })?;
        let next = found.next(
            |last| Position(last.version_order.clone()),
            |key| key.get("versionOrder")?.as_s().ok().cloned().map(Position),
        );
        Ok(Page {
            reports: found.things.into_iter().map(|it| it.report).collect(),
            next,
            read_units: found.read_units,
        })
    }

    /// What remains of the product of `report` without it, if anything. `recent` are reports that may belong to the product
    /// and that the index may not have yet. At most [`MAX_LOOKED_AT`] reports are searched for another one of the same
    /// branch. If there are more, the branch is assumed to have one.
    pub async fn rest_without(&self, report: &Report, recent: &[ReportId]) -> Result<Option<Rest>> {
        let Some(latest) = self.latest_without(report, recent).await? else {
            return Ok(None);
        };
        let has_branch = match report.metadata.branch.as_deref() {
            None => false,
            branch if latest.metadata.branch.as_deref() == branch => true,
            branch => {
                let filter = Filter {
                    branch,
                    ..Filter::default()
                };
                let (others, next) = self.others(report, recent, filter, None).await?;
                let of_branch = |it: &Report| it.metadata.branch.as_deref() == branch;
                next.is_some() || others.iter().any(of_branch)
            }
        };
        Ok(Some(Rest { latest, has_branch }))
    }

    /// The latest report of the product of `report` without it, if there is any.
    pub async fn latest_without(
        &self,
        report: &Report,
        recent: &[ReportId],
    ) -> Result<Option<Report>> {
        let mut recent = recent;
        let mut after: Option<Position> = None;
        loop {
            let filter = Filter::default();
            let (others, next) = self.others(report, recent, filter, after.as_ref()).await?;
            if !others.is_empty() || next.is_none() {
                return Ok(others.into_iter().max_by_key(position_of));
            }
            // Every report that the index showed has been deleted in the meantime.
            (recent, after) = (&[], next);
        }
    }

    /// The existing reports among `recent` and a page of the product's index, from the highest version on, and the position
    /// where the index continues. `report` itself is left out.
    async fn others(
        &self,
        report: &Report,
        recent: &[ReportId],
        filter: Filter<'_>,
        after: Option<&Position>,
    ) -> Result<(Vec<Report>, Option<Position>)> {
        let (org, project_key) = (report.org, &report.metadata.project_key);
        let part = Part {
            range: &VersionRange::ALL,
            order: Order::Descending,
            after,
            limit: CANDIDATES,
        };
        let page = self.page_of_product(org, project_key, filter, part).await?;
        let listed = page.reports.iter().map(|it| it.summary.id);
        let mut ids: Vec<ReportId> = recent.iter().copied().chain(listed).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id != report.id);
        // The index may show reports that have been deleted, so the table is asked.
        let mut others = self.get_all(org, &ids).await?;
        others.retain(|it| it.metadata.project_key == *project_key);
        Ok((others, page.next))
    }

    /// The latest revision of the report, which may be a tombstone.
    pub async fn latest(&self, key: ReportKey) -> Result<Option<Report>> {
        get(&self.client, &self.table, table_key(key), &self.unreadable)
            .await
            .with_context(|| format!("get report {}", key.id))
    }

    /// The current reports with these ids that exist and are not deleted, in no particular order. The ids must differ from
    /// each other.
    ///
    /// The reads are consistent: whoever is told of a report and fetches it at once must get it.
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

    /// Stores the next revision of a report with the outbox's mark, and writes `alongside` in the same transaction. It
    /// succeeds only when the stored report is the one that `report` was made from.
    ///
    /// # Errors
    /// Nothing is stored, and another attempt does not help.
    pub async fn store(
        &self,
        report: &Report,
        alongside: Vec<TransactWriteItem>,
        now: OffsetDateTime,
    ) -> Result<Commit> {
        let put = self.put(report, now)?;
        let mut items = alongside;
        items.push(TransactWriteItem::builder().put(put).build());
        let operation = || format!("store revision {} of report {}", report.revision, report.id);
        self.commit(items, operation).await
    }

    fn put(&self, report: &Report, now: OffsetDateTime) -> Result<Put> {
        let mut item = item_of(report)?;
        item.extend(mark::of(report.id.uuid(), now));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = if report.revision == 1 {
            put.condition_expression("attribute_not_exists(id)")
        } else {
            // The announced revision must not be overwritten, or the report would be announced as new again.
            put.condition_expression("revision = :previous AND announcedRevision = :announced")
                .expression_attribute_values(":previous", number(report.revision - 1))
                .expression_attribute_values(":announced", number(report.announced_revision))
        };
        Ok(put.build()?)
    }

    /// Stores the tombstone of a report with the outbox's mark, and writes `alongside` in the same transaction. It is `Lost`
    /// unless the stored revision is the one before. It changes neither the report's metadata nor its files.
    ///
    /// # Errors
    /// Nothing is stored, and another attempt does not help.
    pub async fn delete(
        &self,
        tombstone: &Report,
        alongside: Vec<TransactWriteItem>,
        now: OffsetDateTime,
    ) -> Result<Commit> {
        let mark = mark::of(tombstone.id.uuid(), now);
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(table_key(tombstone.key())))
            .update_expression(
                "SET revision = :revision, #event = :event, deletedAt = :at, \
                 unannouncedShard = :shard, unannouncedSince = :since REMOVE versionOrder, orgProduct",
            )
            .condition_expression("revision = :previous")
            .expression_attribute_names("#event", "event")
            .expression_attribute_values(":revision", number(tombstone.revision))
            .expression_attribute_values(":previous", number(tombstone.revision - 1))
            .expression_attribute_values(":event", string(tombstone.event().as_str()))
            .expression_attribute_values(":at", string(tombstone.stored_at()))
            .expression_attribute_values(":shard", mark[mark::SHARD].clone())
            .expression_attribute_values(":since", mark[mark::SINCE].clone());
        let mut items = alongside;
        items.push(TransactWriteItem::builder().update(update.build()?).build());
        let operation = || format!("delete report {}", tombstone.id);
        self.commit(items, operation).await
    }

    async fn commit(
        &self,
        items: Vec<TransactWriteItem>,
        operation: impl Fn() -> String,
    ) -> Result<Commit> {
        match transact_once(&self.client, items).await {
            Ok(()) => Ok(Commit::Stored),
            Err(NotMade::Condition | NotMade::Conflict(_) | NotMade::Throttled(_)) => {
                Ok(Commit::Lost)
            }
            Err(NotMade::Refused(error)) => Err(error.during(operation())),
            Err(NotMade::Unknown(error)) => Ok(Commit::Unknown(error.during(operation()))),
        }
    }

    /// Records that the revision, and every one before it, is on the queue. A report with a newer revision keeps its mark.
    /// The function that wrote the newer revision announces it, or the sweep does.
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

    /// The reports of a shard in the outbox that were marked before `before`, the oldest mark first.
    pub async fn unannounced(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<ReportKey>> {
        let query = mark::query(&self.client, &self.table, shard, before);
        query_all(query, &self.unreadable, "the key of report")
            .await
            .with_context(|| format!("query the unannounced reports of shard {shard}"))
    }
}

fn position_of(report: &Report) -> Position {
    Position::new(
        &report.metadata.project_version,
        &report.first_upload_date,
        report.id,
    )
}

/// A product's key in the index [`BY_PRODUCT`].
fn product_key(org: OrganizationId, project_key: &str) -> AttributeValue {
    string(format!("{org}/{project_key}"))
}

fn table_key(key: ReportKey) -> Item {
    Item::from([
        ("org".to_owned(), string(key.org)),
        ("id".to_owned(), string(key.id)),
    ])
}

fn index_key<T>(partition: &Partition<'_, T>, position: &Position) -> Result<Item> {
    let id = position
        .id()
        .context("a position ends with a report's id")?;
    let (name, value) = &partition.key;
    let mut key = table_key(ReportKey {
        org: partition.org,
        id,
    });
    key.insert("versionOrder".to_owned(), string(position.as_str()));
    key.insert((*name).to_owned(), value.clone());
    Ok(key)
}
