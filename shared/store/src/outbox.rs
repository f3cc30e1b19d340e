//! The outbox (transactional outbox): it turns each stored change into at least one message on the queue. A change is the
//! latest revision of a report, or a call of a source.
//!
//! *Invariant:* a revision or a call is stored together with its `unannounced` mark, in one write. The mark is removed only
//! after the queue has taken the message. The sweep finds what a crash left behind. So a message may come twice, but none is
//! lost.
//!
//! Several revisions that are not announced yet are announced as one change, the newest, with the report as of that revision.

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

/// How long a publication may take from its write to its announcement before the sweep announces it. The sweep skips younger
/// marks: their publishers are still at work, and the message would only come twice.
pub const GRACE: Duration = Duration::minutes(1);

/// Puts the latest revision of the report on the queue, and then removes the mark. This also announces earlier revisions that
/// are not announced.
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

/// The result of a sweep of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many reports and calls it found in the outbox.
    pub found: usize,
    /// How many of them are on the queue now.
    pub announced: usize,
    /// How many of them could not be put there, and how many shards could not be read. The marks remain for the next sweep.
    pub failed: usize,
    /// Whether the time was too short for all of them.
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

/// A table that is an outbox: its things are stored with the mark.
pub trait Outbox {
    /// What the index has of a marked thing.
    type Marked: Send + Sync;

    /// The things of a shard that were marked before `before`, the oldest mark first.
    fn marked(
        &self,
        shard: u8,
        before: OffsetDateTime,
    ) -> impl Future<Output = Result<Vec<Self::Marked>>> + Send;

    /// Announces a thing, unless that is no longer needed. Gives whether it did.
    fn announce(
        &self,
        queue: &EventsQueue,
        marked: &Self::Marked,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The name of a thing in the log.
    fn name(marked: &Self::Marked) -> String;
}

impl Outbox for ReportStore {
    type Marked = ReportKey;

    async fn marked(&self, shard: u8, before: OffsetDateTime) -> Result<Vec<ReportKey>> {
        self.unannounced(shard, before).await
    }

    /// The index is eventually consistent, so the report itself decides.
    async fn announce(&self, queue: &EventsQueue, key: &ReportKey) -> Result<bool> {
        let report = match self.latest(*key).await {
            // It waits for somebody to repair it. It is counted each hour.
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

/// Sweeps the outbox: announces what was marked longer than [`GRACE`] ago. Two sweeps may run at once without harm.
///
/// It begins with another shard each hour. It ends early when `is_over` says so, and leaves the rest to the next sweep. A
/// failure is logged and counted, and does not keep the rest from being announced.
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

/// The shards, in an order that begins with another one each hour. So a round that is cut short does not skip the same shards
/// each time.
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
