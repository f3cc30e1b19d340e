//! The outbox: every report whose latest revision is not announced, and every call of a source that is not, becomes at least one
//! message on the queue.
//!
//! *Invariant:* a revision, or a call, is stored together with its `unannounced` mark, in one write. The mark is removed only after
//! the queue took the message; what a crash left behind, the sweep finds. So a message may come twice, and none is lost.
//!
//! Revisions that were not announced yet are announced as one change, the newest, with what the report is then.

use std::ops::AddAssign;

use domain::report::change::ReportChange;
use domain::report::{Report, ReportKey};
use time::{Duration, OffsetDateTime};

use crate::calls::{CallStore, Unannounced};
use crate::error::Result;
use crate::mark;
use crate::queue::EventsQueue;
use crate::queue::work::{Called, Work};
use crate::reports::ReportStore;

/// How long a publication may take from its write to its announcement before the sweep announces it. Younger marks are
/// left alone: their publishers are at work, and the message would only come twice.
pub const GRACE: Duration = Duration::minutes(1);

/// Puts the latest revision of the report on the queue, and then removes the mark. Earlier revisions that were not announced
/// are announced with it.
///
/// # Errors
/// The mark remains, and the sweep announces the report.
pub async fn announce(reports: &ReportStore, queue: &EventsQueue, report: &Report) -> Result<()> {
    let change = ReportChange::announcing(report);
    queue.send(&[Work::change(change)]).await?;
    reports.set_announced(report.key(), report.revision).await
}

/// Puts a call on the queue, and then removes the mark.
///
/// # Errors
/// The mark remains, and the sweep announces the call.
pub async fn announce_call(
    calls: &CallStore,
    queue: &EventsQueue,
    call: &Unannounced,
) -> Result<()> {
    let called = Called {
        org: call.org,
        source: call.source,
        call: call.id,
    };
    queue.send(&[Work::Call(called)]).await?;
    calls.set_announced(call.key()).await
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Reports with changes that were left over, and calls.
    pub found: usize,
    /// Those that are now on the queue.
    pub announced: usize,
    /// Those that could not be put there, and shards that could not be read. The marks remain for the next sweep.
    pub failed: usize,
    /// Whether there was no time for all of it.
    pub is_cut_short: bool,
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.announced += other.announced;
        self.failed += other.failed;
        self.is_cut_short |= other.is_cut_short;
    }
}

/// A table whose things are stored with the mark.
pub trait Outbox {
    /// What the index has of a marked thing.
    type Marked: Send + Sync;

    /// What has been marked in a shard since before `before`, longest first.
    fn marked(
        &self,
        shard: u8,
        before: OffsetDateTime,
    ) -> impl Future<Output = Result<Vec<Self::Marked>>> + Send;

    /// Announces a thing, unless it needs that no more. Gives whether it did.
    fn announce(
        &self,
        queue: &EventsQueue,
        marked: &Self::Marked,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// What the log calls a thing.
    fn name(marked: &Self::Marked) -> String;
}

impl Outbox for ReportStore {
    type Marked = ReportKey;

    async fn marked(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<ReportKey>> {
        self.unannounced(shard, before).await
    }

    /// The index is eventually consistent, and the report itself tells.
    async fn announce(&self, queue: &EventsQueue, key: &ReportKey) -> Result<bool> {
        let report = match self.latest(*key).await {
            // It waits for somebody to mend it, and is counted each hour.
            Err(error) if error.is_unreadable() => {
                tracing::error!(report = %key.id, "report {} cannot be read: {error}", key.id);
                return Ok(false);
            }
            report => report?,
        };
        match report {
            Some(report) if !report.is_announced() => {
                announce(self, queue, &report).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn name(key: &ReportKey) -> String {
        format!("report {}", key.id)
    }
}

impl Outbox for CallStore {
    type Marked = Unannounced;

    async fn marked(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<Unannounced>> {
        self.unannounced(shard, before).await
    }

    async fn announce(&self, queue: &EventsQueue, call: &Unannounced) -> Result<bool> {
        announce_call(self, queue, call).await?;
        Ok(true)
    }

    fn name(call: &Unannounced) -> String {
        format!("call {} of source {}", call.id, call.source)
    }
}

/// Announces what has been marked for longer than [`GRACE`]. Safe to run twice at the same moment.
///
/// It begins with another shard each hour, and ends early when `is_over` says that the time is: what is left is for the next
/// one. What fails does not keep the rest from being announced: it is logged and counted.
pub async fn sweep<O: Outbox>(
    outbox: &O,
    queue: &EventsQueue,
    now: OffsetDateTime,
    is_over: impl Fn() -> bool,
) -> Swept {
    let mut swept = Swept::default();
    for shard in rotated(mark::SHARDS, now) {
        if is_over() {
            swept.is_cut_short = true;
            break;
        }
        let marked = match outbox.marked(shard, now - GRACE).await {
            Ok(marked) => marked,
            Err(error) => {
                swept.failed += 1;
                tracing::error!(
                    shard,
                    "shard {shard} of an outbox could not be read: {error:#}"
                );
                continue;
            }
        };
        for marked in marked {
            if is_over() {
                swept.is_cut_short = true;
                break;
            }
            match outbox.announce(queue, &marked).await {
                Ok(false) => {}
                Ok(true) => {
                    swept.found += 1;
                    swept.announced += 1;
                }
                Err(error) => {
                    swept.found += 1;
                    swept.failed += 1;
                    tracing::error!("{} could not be announced: {error:#}", O::name(&marked));
                }
            }
        }
    }
    swept
}

/// The shards, from another one on each hour: a round that has no time for all of them does not leave the same ones each time.
pub fn rotated(shards: u8, now: OffsetDateTime) -> impl Iterator<Item = u8> {
    let hour = now.unix_timestamp().div_euclid(3600);
    let first = u8::try_from(hour.rem_euclid(i64::from(shards))).unwrap_or_default();
    (0..shards).map(move |position| (first + position) % shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hour_begins_with_another_shard_and_none_is_left_out() {
        let hour = |hour| OffsetDateTime::UNIX_EPOCH + Duration::hours(hour);
        let order = |at| rotated(8, at).collect::<Vec<u8>>();
        assert_eq!(order(hour(0)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(order(hour(3)), [3, 4, 5, 6, 7, 0, 1, 2]);
        assert_eq!(order(hour(3) + Duration::minutes(59)), order(hour(3)));
        for from in 100..108 {
            let mut shards = order(hour(from));
            assert_ne!(shards[0], order(hour(from + 1))[0]);
            shards.sort_unstable();
            assert_eq!(shards, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }
}
