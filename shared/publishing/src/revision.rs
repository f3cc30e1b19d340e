//! The next revision of a report.

use aws_sdk_dynamodb::types::TransactWriteItem;
use domain::date::timestamp;
use domain::report::{Metadata, Report, ReportKey, StoredFile};
use store::outbox::announce;
use store::queue::EventsQueue;
use store::reports::{Commit, Position, ReportStore};
use time::OffsetDateTime;

use crate::files::SupersededObject;

/// Stores and announces revisions of reports.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Where reports are described.
    pub reports: ReportStore,
    /// Where their changes are announced.
    pub queue: EventsQueue,
}

/// What is to become the next revision of a report.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// Which report.
    pub report: ReportKey,
    /// What is said of it.
    pub metadata: Metadata,
    /// Its files, all of them verified and written.
    pub files: Vec<StoredFile>,
}

/// A revision as it is about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// 1 for the first one.
    pub number: u64,
    /// When it was made, in the form of [`timestamp`].
    pub upload_date: String,
    /// The objects of the revision that it replaces. Nothing refers to them afterwards.
    pub superseded: Vec<SupersededObject>,
}

/// What became of storing a revision.
#[derive(Debug)]
pub enum Outcome {
    /// It is stored. If it could not be announced, the sweep does it within the hour.
    Stored(Revision),
    /// It is not: another publication was faster, what was to be written with it could not be, or DynamoDB is too busy. It
    /// may succeed when it is tried again.
    Lost,
    /// There was no answer, or none that tells. It may be stored, so its objects have to stay.
    Unknown(store::Error),
}

impl Publisher {
    /// Stores the next revision of a report and announces it. In the same transaction goes what `alongside` makes of it, for
    /// example that an upload is completed.
    ///
    /// # Errors
    /// Nothing is stored, and trying again does not help.
    pub async fn store(
        &self,
        new: &NewRevision,
        alongside: impl FnOnce(&Revision) -> anyhow::Result<Vec<TransactWriteItem>>,
        now: OffsetDateTime,
    ) -> anyhow::Result<Outcome> {
        let current = self.reports.get(new.report).await?;
        let report = next(new, current.as_ref(), now);
        let revision = Revision {
            number: report.revision,
            upload_date: report.upload_date.clone(),
            // The transaction succeeds only if this is what it replaces.
            superseded: current
                .as_ref()
                .map_or_else(Vec::new, SupersededObject::all_of),
        };
        match self
            .reports
            .store(&report, alongside(&revision)?, now)
            .await?
        {
            Commit::Stored => {}
            Commit::Lost => return Ok(Outcome::Lost),
            Commit::Unknown(error) => return Ok(Outcome::Unknown(error)),
        }
        tracing::debug!(
            report = %report.id, revision = report.revision,
            "stored revision {} of report {}", report.revision, report.id,
        );
        if let Err(error) = announce(&self.reports, &self.queue, &report).await {
            tracing::error!(report = %report.id, "report {} is not announced yet: {error}", report.id);
        }
        Ok(Outcome::Stored(revision))
    }
}

fn next(new: &NewRevision, current: Option<&Report>, now: OffsetDateTime) -> Report {
    // Clocks differ. A later revision must not look older to who asks for what is new.
    let upload_date = current
        .map_or("", |report| &report.upload_date)
        .max(&timestamp(now))
        .to_owned();
    let first_upload_date = current.map_or_else(
        || upload_date.clone(),
        |report| report.first_upload_date.clone(),
    );
    let position = Position::new(
        &new.metadata.project_version,
        &first_upload_date,
        new.report.id,
    );
    Report {
        org: new.report.org,
        id: new.report.id,
        version_order: position.as_str().to_owned(),
        metadata: new.metadata.clone(),
        revision: current.map_or(0, |report| report.revision) + 1,
        announced_revision: current.map_or(0, |report| report.announced_revision),
        upload_date,
        first_upload_date,
        files: new.files.clone(),
    }
}
