//! Telling of changes: every stored revision of a report becomes at least one message on the queue.
//!
//! *Invariant:* a revision is stored together with its `unannounced` mark, in one write. The mark is removed only after
//! the queue took the message; what a crash left behind, the sweep finds. So a message may come twice, and none is lost.

use time::{Duration, OffsetDateTime};

use crate::queue::{EventsQueue, ReportChange, ReportEvent, Work};
use crate::report::Report;
use crate::report_store::{ReportKey, ReportStore, UNANNOUNCED_SHARDS};

/// How long a publication may take from its write to its announcement before the sweep announces it. Younger marks are
/// left alone: their publishers are at work, and the message would only come twice.
pub const GRACE: Duration = Duration::minutes(1);

/// Puts every revision of the report that is not known to be on the queue there, and then removes the mark.
///
/// An error leaves the mark, and the sweep to do it.
pub async fn announce(
    reports: &ReportStore,
    queue: &EventsQueue,
    report: &Report,
) -> anyhow::Result<()> {
    let changes: Vec<Work> = (report.announced_revision + 1..=report.revision)
        .map(|revision| {
            Work::Change(ReportChange {
                event: ReportEvent::of_revision(revision),
                org: report.org,
                report: report.id,
                revision,
            })
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
    /// Reports with changes that were left over.
    pub found: usize,
    /// Reports whose changes are now on the queue.
    pub announced: usize,
    /// Reports whose changes could not be put there, and shards that could not be read. The marks remain for the next
    /// sweep.
    pub failed: usize,
}

/// Announces what has been marked for longer than [`GRACE`]. Safe to run twice at the same moment.
///
/// What fails does not keep the other reports from being announced: it is logged and counted.
pub async fn sweep(reports: &ReportStore, queue: &EventsQueue, now: OffsetDateTime) -> Swept {
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
                Ok(false) => {}
                Ok(true) => {
                    swept.found += 1;
                    swept.announced += 1;
                }
                Err(error) => {
                    swept.found += 1;
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
    queue: &EventsQueue,
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
