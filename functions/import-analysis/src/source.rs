//! A visit to a source: claims its lease, imports what is due, and gives the lease back with the new standing.

use std::time::Duration;

use domain::date::timestamp;
use domain::source::Source;
use domain::source::import::{Import, ImportState, Standing};
use runtime::clock::Clock;
use store::imports::{Claim, Released};
use store::queue::MAX_DELAY;
use store::queue::imports::LookAfter;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::state::Importing;
use crate::tally::Tally;
use crate::visit::Visit;

/// How many imports are ended at once when the source has no server any more.
pub(crate) const MAX_ENDED: usize = 500;

/// When a source is to be visited again before the next sweep.
pub(crate) struct Again {
    pub(crate) after: Duration,
    /// Whether to ask its server for unreported analyses.
    pub(crate) sweeps: bool,
}

impl Again {
    /// Without a delay.
    pub(crate) const AT_ONCE: Self = Self {
        after: Duration::ZERO,
        sweeps: false,
    };
}

/// Visits a source.
///
/// # Errors
/// Our own fault. The message has to come again.
pub(crate) async fn look_after(
    importing: &Importing,
    look: &LookAfter,
    clock: &Clock,
) -> anyhow::Result<()> {
    let holder = Uuid::new_v4();
    let claim = importing.imports.claim(look.source, holder, clock.now());
    let mut standing = match claim.await? {
        Claim::Claimed(standing) => *standing,
        // The holder of the lease sees what is due, but does not look for unreported analyses.
        Claim::Noted if look.sweeps => {
            return Ok(importing.queue.send_later(look, MAX_DELAY).await?);
        }
        Claim::Noted => return Ok(()),
    };
    let mut tally = Tally::default();
    let stayed = stay(importing, look, clock, holder, &mut standing, &mut tally).await;
    if stayed.is_err() {
        // Otherwise the others would wait until the lease ends.
        let left = importing
            .imports
            .leave(look.source, holder, &standing, clock.now());
        match left.await {
            Ok(Released::Noted) => {
                let looks = [LookAfter::source(look.org, look.source)];
                if let Err(error) = importing.queue.send(&looks).await {
                    tracing::warn!(source = %look.source, "source {} waits for the sweep: {error:#}", look.source);
                }
            }
            Ok(Released::Done | Released::Lost) => {}
            Err(error) => {
                tracing::warn!(source = %look.source, "the lease of source {} is not given back: {error:#}", look.source);
            }
        }
    }
    tally.record(importing, clock.now());
    stayed
}

/// Visits a source whose lease is held, until there is no note, or no time for what the note is about. Then it gives the
/// lease back, and after that puts the remaining work on the queue. In the other order, whoever takes that message would find
/// the lease taken.
async fn stay(
    importing: &Importing,
    look: &LookAfter,
    clock: &Clock,
    holder: Uuid,
    standing: &mut Standing,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (org, id) = (look.org, look.source);
    let mut look = look.clone();
    loop {
        // Changes by an administrator in the meantime take effect.
        let source = importing.sources.get(id).await?;
        let mut again = match &source {
            Some(source) => pass(importing, source, &look, clock, standing, tally).await?,
            None => None,
        };
        let now = clock.now();
        let is_waiting = standing.pause(now).is_some();
        let before = standing.wake_at.clone();
        again = again.filter(|it| it.after.is_zero() || note_wake(standing, now, it.after));
        let is_left = again.as_ref().is_some_and(|it| it.after.is_zero());
        let stays = !is_left && !is_waiting && clock.has_half();
        let imports = &importing.imports;
        let released = match stays {
            true => imports.release(id, holder, standing, now).await,
            false => imports.leave(id, holder, standing, now).await,
        };
        if released.is_err() {
            // Nothing is on the queue.
            standing.wake_at.clone_from(&before);
        }
        match released? {
            Released::Noted if stays => {
                standing.wake_at = before;
                look = LookAfter::source(org, id);
                // The index may not have the call of the note yet.
                tokio::time::sleep(importing.index_lag).await;
                continue;
            }
            // While the server is left alone, there is nothing to do before it is asked again.
            Released::Noted if !is_left && !is_waiting => {
                importing.queue.send(&[LookAfter::source(org, id)]).await?;
            }
            Released::Noted | Released::Done | Released::Lost => {}
        }
        if let Some(Again { after, sweeps }) = again {
            let look = LookAfter {
                sweeps,
                ..LookAfter::source(org, id)
            };
            importing.queue.send_later(&look, after).await?;
        }
        return Ok(());
    }
}

/// Records that a message on the queue starts a visit, unless another one does so before.
fn note_wake(standing: &mut Standing, now: OffsetDateTime, after: Duration) -> bool {
    let (now, wake_at) = (timestamp(now), timestamp(now + after));
    let is_seen_to = |at: &String| *at > now && *at <= wake_at;
    if standing.wake_at.as_ref().is_some_and(is_seen_to) {
        return false;
    }
    standing.wake_at = Some(wake_at);
    true
}

/// Imports what is due for a source, and asks its server for unreported analyses if `look` says so.
async fn pass(
    importing: &Importing,
    source: &Source,
    look: &LookAfter,
    clock: &Clock,
    standing: &mut Standing,
    tally: &mut Tally,
) -> anyhow::Result<Option<Again>> {
    let Some(settings) = &source.settings.import else {
        return end_all(importing, source).await;
    };
    if source.importing().is_none() {
        return Ok(None);
    }
    let of = (source, settings);
    let visit = Visit::new(importing, of, look, clock, standing, tally);
    visit.all(look.sweeps).await
}

/// Ends the open imports of a source that has no server any more.
async fn end_all(importing: &Importing, source: &Source) -> anyhow::Result<Option<Again>> {
    let due = importing
        .calls
        .pending_imports(source.id, MAX_ENDED)
        .await?;
    let reason = "the source has no server any more";
    let skipped = Import::ended(ImportState::Skipped, reason.to_owned());
    for due in &due {
        importing.calls.set_import(due.key, &skipped).await?;
    }
    // No sweep visits it.
    Ok((due.len() == MAX_ENDED).then_some(Again::AT_ONCE))
}
