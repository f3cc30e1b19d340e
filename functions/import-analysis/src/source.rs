//! A source is looked after: its lease is taken, what is due is imported, and the lease is given back with how the source stands.

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

/// How many calls are ended at once of which no reports are made any more.
pub(crate) const MAX_ENDED: usize = 500;

/// When a source is to be looked after again, before the next round.
pub(crate) struct Again {
    pub(crate) after: Duration,
    /// Whether its server is to be asked on what it has not told of.
    pub(crate) sweeps: bool,
}

impl Again {
    /// When nobody has to wait.
    pub(crate) const AT_ONCE: Self = Self {
        after: Duration::ZERO,
        sweeps: false,
    };
}

/// Looks after a source.
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
        // Whoever looks after it sees what is due, but asks nobody what else there is.
        Claim::Noted if look.sweeps => {
            return Ok(importing.queue.send_later(look, MAX_DELAY).await?);
        }
        Claim::Noted => return Ok(()),
    };
    let mut tally = Tally::default();
    let stayed = stay(importing, look, clock, holder, &mut standing, &mut tally).await;
    if stayed.is_err() {
        // Otherwise the others wait until the lease is over.
        let left = importing
            .imports
            .leave(look.source, holder, &standing, clock.now());
        match left.await {
            Ok(Released::Noted) => {
                let looks = [LookAfter::source(look.org, look.source)];
                if let Err(error) = importing.queue.send(&looks).await {
                    tracing::warn!(source = %look.source, "source {} waits for the round: {error:#}", look.source);
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

/// Looks after a source whose lease is held, until nobody has left a note or there is no time for what that is about. Then the lease is
/// given back, and whatever is left is put on the queue: not before, since whoever takes that up would find the lease taken.
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
        // Whatever an administrator has changed meanwhile counts.
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
                // What the note is about may not be in the index yet.
                tokio::time::sleep(importing.index_lag).await;
                continue;
            }
            // Where the server is left alone, there is nothing to do before it is asked again.
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

/// Notes that the queue has somebody look after a source, unless it does so before that.
fn note_wake(standing: &mut Standing, now: OffsetDateTime, after: Duration) -> bool {
    let (now, wake_at) = (timestamp(now), timestamp(now + after));
    let is_seen_to = |at: &String| *at > now && *at <= wake_at;
    if standing.wake_at.as_ref().is_some_and(is_seen_to) {
        return false;
    }
    standing.wake_at = Some(wake_at);
    true
}

/// Imports what is due of a source, as it is now, and asks its server on what it has not told of if `look` says so.
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

/// Ends what was still to be imported of a source that has no server any more.
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
    // No round comes to it.
    Ok((due.len() == MAX_ENDED).then_some(Again::AT_ONCE))
}
