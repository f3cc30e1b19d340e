//! Telling of changes: every stored revision of a report becomes at least one message on the queue.
//!
//! *Invariant:* a revision is stored together with its `unannounced` mark, in one write. The mark is removed only after
//! the queue took the message; what a crash left behind, the sweep finds. So a message may come twice, and none is lost.

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::aws::describe;
use crate::organization::OrganizationId;
use crate::report::{Report, ReportId};
use crate::report_store::{ReportKey, ReportStore, UNANNOUNCED_SHARDS};

/// How long a publication may take from its write to its announcement before the sweep announces it. Younger marks are
/// left alone: their publishers are at work, and the message would only come twice.
pub const GRACE: Duration = Duration::minutes(1);

/// The most entries of one `SendMessageBatch` (SQS API reference).
const MAX_BATCH: usize = 10;

/// A message on the queue: one revision of one report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportChange {
    /// What happened.
    pub event: ReportEvent,
    /// Whose report it is.
    pub org: OrganizationId,
    /// Which report.
    pub report: ReportId,
    /// Which revision of it.
    pub revision: u64,
}

/// What can happen to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportEvent {
    /// Its first revision was stored.
    #[serde(rename = "report.published")]
    Published,
    /// A further revision was stored.
    #[serde(rename = "report.updated")]
    Updated,
}

impl ReportEvent {
    /// The event that a revision is.
    pub fn of_revision(revision: u64) -> Self {
        if revision == 1 {
            Self::Published
        } else {
            Self::Updated
        }
    }
}

/// The queue of report changes.
#[derive(Clone, Debug)]
pub struct ChangeQueue {
    client: Client,
    url: String,
}

impl ChangeQueue {
    /// The queue with this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Puts the changes on the queue; an error when the queue did not take each of them.
    ///
    /// The organization is the message group: of a fair queue (SQS, standard queues) that keeps one organization's many
    /// messages from delaying the others'.
    async fn send(&self, changes: &[ReportChange]) -> anyhow::Result<()> {
        for batch in changes.chunks(MAX_BATCH) {
            let entry = |(position, change): (usize, &ReportChange)| -> anyhow::Result<_> {
                Ok(SendMessageBatchRequestEntry::builder()
                    .id(position.to_string())
                    .message_group_id(change.org.to_string())
                    .message_body(serde_json::to_string(change)?)
                    .build()?)
            };
            let entries = batch
                .iter()
                .enumerate()
                .map(entry)
                .collect::<anyhow::Result<_>>()?;
            let output = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(describe)
                .context("send report changes to the queue")?;
            if let Some(failed) = output.failed.first() {
                anyhow::bail!(
                    "the queue refused {} of {} report changes: {failed:?}",
                    output.failed.len(),
                    batch.len()
                );
            }
        }
        Ok(())
    }
}

/// Puts every revision of the report that is not known to be on the queue there, and then removes the mark.
///
/// An error leaves the mark, and the sweep to do it.
pub async fn announce(
    reports: &ReportStore,
    queue: &ChangeQueue,
    report: &Report,
) -> anyhow::Result<()> {
    let changes: Vec<ReportChange> = (report.announced_revision + 1..=report.revision)
        .map(|revision| ReportChange {
            event: ReportEvent::of_revision(revision),
            org: report.org,
            report: report.id,
            revision,
        })
        .collect();
    queue.send(&changes).await?;
    reports
        .set_announced(
            ReportKey {
                org: report.org,
                id: report.id,
            },
            report.revision,
        )
        .await
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Reports whose changes are now on the queue.
    pub announced: usize,
    /// Reports whose changes could not be put there, and shards that could not be read. The marks remain for the next
    /// sweep.
    pub failed: usize,
}

/// Announces what has been marked for longer than [`GRACE`]. Safe to run twice at the same moment.
///
/// What fails does not keep the other reports from being announced: it is logged and counted.
pub async fn sweep(reports: &ReportStore, queue: &ChangeQueue, now: OffsetDateTime) -> Swept {
    let mut swept = Swept::default();
    for shard in 0..UNANNOUNCED_SHARDS {
        let keys = match reports.unannounced(shard, now - GRACE).await {
            Ok(keys) => keys,
            Err(error) => {
                swept.failed += 1;
                tracing::error!(
                    shard,
                    "shard {shard} of the unannounced reports could not be read: {error:#}"
                );
                continue;
            }
        };
        for key in keys {
            match announce_stored(reports, queue, key).await {
                Ok(was_waiting) => swept.announced += usize::from(was_waiting),
                Err(error) => {
                    swept.failed += 1;
                    tracing::error!(report = %key.id, "report {} could not be announced: {error:#}", key.id);
                }
            }
        }
    }
    swept
}

/// Announces a report, unless it needs none: the index is eventually consistent, and the report itself tells.
async fn announce_stored(
    reports: &ReportStore,
    queue: &ChangeQueue,
    key: ReportKey,
) -> anyhow::Result<bool> {
    match reports.get(key).await? {
        Some(report) if report.announced_revision < report.revision => {
            announce(reports, queue, &report).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
