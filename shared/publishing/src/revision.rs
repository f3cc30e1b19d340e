//! The next revision of a report.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TransactWriteItem;
use domain::date::timestamp;
use domain::product::Product;
use domain::report::change::ReportEvent;
use domain::report::{Metadata, Report, ReportKey, StoredFile};
use store::contention::Retries;
use store::outbox::announce;
use store::products::{Place, ProductStore};
use store::queue::EventsQueue;
use store::reports::{Commit, ReportStore};
use time::OffsetDateTime;

use crate::files::SupersededObject;

/// Stores and announces revisions of reports.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// The reports.
    pub reports: ReportStore,
    /// Their products.
    pub products: ProductStore,
    /// The queue on which their changes are announced.
    pub queue: EventsQueue,
}

/// What becomes the next revision of a report.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// The report.
    pub report: ReportKey,
    /// Its metadata.
    pub metadata: Metadata,
    /// Its files, all of them verified and written.
    pub files: Vec<StoredFile>,
}

/// A revision as it is about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// 1 for the first one.
    pub number: u64,
    /// Whether there was no such report before, or a deleted one.
    pub is_new: bool,
    /// When it was made, in the form of [`timestamp`].
    pub upload_date: String,
    /// The objects of the revision that it replaces. Afterwards nothing refers to them.
    pub superseded: Vec<SupersededObject>,
}

/// The result of storing a revision.
#[derive(Debug)]
pub enum Outcome {
    /// It is stored. If it could not be announced, the sweep announces it within the hour.
    Stored(Revision),
    /// Nothing is stored: another publication was faster, another part of the transaction could not be written, or DynamoDB
    /// throttles. Another attempt may succeed.
    Lost,
    /// There was no answer, or none that says. The revision may be stored, so its objects must remain.
    Unknown(store::Error),
}

/// The result of deleting a report.
#[derive(Debug)]
pub enum Deleted {
    /// The report is deleted, and this is its tombstone. Nothing refers to its files any more. If the deletion could not be
    /// announced, the sweep announces it within the hour.
    Done(Box<Report>),
    /// There is no such report.
    Missing,
    /// The report is not deleted: other publications were faster each time.
    Lost,
}

impl Publisher {
    /// One that works with these. `required` gives the value of a variable of the function.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn new(
        dynamodb: &Client,
        queue: EventsQueue,
        required: impl Fn(&'static str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            reports: ReportStore::new(dynamodb.clone(), required("REPORTS_TABLE")?),
            products: ProductStore::new(dynamodb.clone(), required("PRODUCTS_TABLE")?),
            queue,
        })
    }

    /// Deletes a report and announces that. One that is deleted already stays as it is, so whoever had no answer may ask again.
    ///
    /// # Errors
    /// The report may be deleted or not.
    pub async fn delete(&self, report: ReportKey, now: OffsetDateTime) -> anyhow::Result<Deleted> {
        let mut before: Option<Report> = None;
        let mut retries = Retries::default();
        while retries.next().await {
            let Some(current) = self.reports.latest(report).await? else {
                return Ok(Deleted::Missing);
            };
            if let Some(before) = before.filter(|before| before.was_deleted_before(&current)) {
                // The SDK sent the request twice. A publication in between must not be deleted too.
                return Ok(Deleted::Done(Box::new(before.deleted(now))));
            }
            let tombstone = if current.is_deleted() {
                current
            } else {
                let tombstone = current.deleted(now);
                let product = self.product_without(&tombstone).await?;
                match self.reports.delete(&tombstone, product, now).await? {
                    Commit::Stored => {}
                    Commit::Lost => {
                        // This also covers a repeated request: then the tombstone is found.
                        before = Some(current);
                        continue;
                    }
                    Commit::Unknown(error) => return Err(error.into()),
                }
                tombstone
            };
            if !tombstone.is_announced() {
                self.announce(&tombstone).await;
            }
            return Ok(Deleted::Done(Box::new(tombstone)));
        }
        Ok(Deleted::Lost)
    }

    /// Announces a revision. If the queue does not take it, the sweep announces it.
    async fn announce(&self, report: &Report) {
        if let Err(error) = announce(&self.reports, &self.queue, report).await {
            tracing::error!(report = %report.id, "report {} is not announced yet: {error}", report.id);
        }
    }

    /// Stores the next revision of a report and announces it. `alongside` adds to the same transaction, for example that an
    /// upload is completed.
    ///
    /// # Errors
    /// Nothing is stored, and another attempt does not help.
    pub async fn store(
        &self,
        new: &NewRevision,
        alongside: impl FnOnce(&Revision) -> anyhow::Result<Vec<TransactWriteItem>>,
        now: OffsetDateTime,
    ) -> anyhow::Result<Outcome> {
        let current = self.reports.latest(new.report).await?;
        let report = next(new, current.as_ref(), now);
        let revision = Revision {
            number: report.revision,
            is_new: current.as_ref().is_none_or(Report::is_deleted),
            upload_date: report.upload_date.clone(),
            // The transaction succeeds only if this is what it replaces.
            superseded: current
                .as_ref()
                .map_or_else(Vec::new, SupersededObject::all_of),
        };
        let mut alongside = alongside(&revision)?;
        alongside.push(self.product_with(&report).await?);
        match self.reports.store(&report, alongside, now).await? {
            Commit::Stored => {}
            Commit::Lost => return Ok(Outcome::Lost),
            Commit::Unknown(error) => return Ok(Outcome::Unknown(error)),
        }
        tracing::debug!(
            report = %report.id, revision = report.revision,
            "stored revision {} of report {}", report.revision, report.id,
        );
        self.announce(&report).await;
        Ok(Outcome::Stored(revision))
    }
}

/// The change of a report's product, in the transaction that stores or deletes the report.
impl Publisher {
    async fn product_with(&self, report: &Report) -> anyhow::Result<TransactWriteItem> {
        let key = &report.metadata.project_key;
        let place = self.products.get(report.org, key).await?;
        let product = match self.product_in(&place, report).await? {
            Some(product) => product.with(report),
            None => Product::of(report),
        };
        Ok(self.products.put(product, &place)?)
    }

    /// The product without the report. Without its last report, the product is deleted.
    async fn product_without(&self, report: &Report) -> anyhow::Result<Vec<TransactWriteItem>> {
        let key = &report.metadata.project_key;
        let place = self.products.get(report.org, key).await?;
        let recent = match &place {
            Place::Of(product) => product.recent.as_slice(),
            Place::Empty | Place::Unreadable => &[],
        };
        let rest = self.reports.rest_without(report, recent).await?;
        let change = match (&place, rest) {
            (Place::Empty, None) => return Ok(Vec::new()),
            (_, None) => self.products.delete(report.org, key, &place)?,
            (Place::Of(product), Some(rest)) => {
                let product = product.as_ref().clone().without(report, &rest);
                self.products.put(product, &place)?
            }
            (_, Some(rest)) => self.products.put(Product::of(&rest.latest), &place)?,
        };
        Ok(vec![change])
    }

    /// The product before `report` is stored. A product that is unreadable or missing is made from its reports.
    async fn product_in(&self, place: &Place, report: &Report) -> anyhow::Result<Option<Product>> {
        if let Place::Of(product) = place {
            return Ok(Some(product.as_ref().clone()));
        }
        let latest = self.reports.latest_without(report, &[]).await?;
        Ok(latest.map(|latest| Product::of(&latest)))
    }
}

fn next(new: &NewRevision, current: Option<&Report>, now: OffsetDateTime) -> Report {
    let upload_date = current.map_or_else(|| timestamp(now), |it| it.next_stored_at(now));
    let first_upload_date = current.map_or_else(
        || upload_date.clone(),
        |report| report.first_upload_date.clone(),
    );
    Report {
        org: new.report.org,
        id: new.report.id,
        metadata: new.metadata.clone(),
        revision: current.map_or(0, |report| report.revision) + 1,
        event: Some(current.map_or(ReportEvent::Published, Report::event_of_next)),
        announced_revision: current.map_or(0, |report| report.announced_revision),
        deleted_at: None,
        upload_date,
        first_upload_date,
        files: new.files.clone(),
    }
}
