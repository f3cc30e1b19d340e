//! Analyses whose calls never came. `SonarQube` makes each call once, and a restart loses the calls that wait.

use std::collections::HashSet;

use domain::source::call::{Call, Missed};
use domain::source::import::{ImportState, Watched};
use sonarqube::{Listed, history};
use store::calls::Stored;
use store::imports::position;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::visit::Visit;

/// The call about a younger analysis may still be on its way.
const GRACE: Duration = Duration::minutes(10);
/// How many branches are read at a time.
const PAGE: usize = 100;
/// How many calls with open imports are taken into account.
const MAX_PENDING: usize = 1000;

/// Asks the server for the newest analysis of each branch that the source has reported. It continues where it stopped the
/// last time. An analysis that the server never reported is stored as a call with the outcome `found`, whose import is due at
/// once.
///
/// # Errors
/// Our own fault.
pub(crate) async fn sweep(visit: &mut Visit<'_>) -> anyhow::Result<()> {
    let (importing, source) = (visit.importing, visit.source.id);
    let pending = importing.calls.pending_imports(source, MAX_PENDING).await?;
    // The imports of these are under way.
    let pending: HashSet<(Option<String>, Option<String>)> = pending
        .into_iter()
        .map(|it| (it.project, it.branch))
        .collect();
    let mut after = visit.server.standing.asked_to.take();
    loop {
        let page = importing.imports.watched(source, after.as_deref(), PAGE);
        let (branches, next) = page.await?;
        for watched in branches {
            if !visit.clock.has_half() {
                visit.server.standing.asked_to = after;
                visit.is_sweep_left = true;
                return Ok(());
            }
            let is_pending = |(project, branch): &(Option<String>, Option<String>)| {
                project.as_deref() == Some(&watched.project)
                    && (watched.branch.is_none() || *branch == watched.branch)
            };
            if !pending.iter().any(is_pending) && is_wanted(visit, &watched) {
                ask(visit, &watched).await?;
            }
            after = Some(position(&watched));
            if visit.server.client().is_none() {
                // The next sweep begins after the branch at which the server failed.
                visit.server.standing.asked_to = after;
                return Ok(());
            }
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Whether the source still includes the branch.
fn is_wanted(visit: &Visit<'_>, watched: &Watched) -> bool {
    let is_over = watched.expires_at <= visit.clock.now().unix_timestamp();
    !is_over
        && visit.source.includes(&watched.project)
        && visit.settings.wants(watched.named().as_ref())
}

/// Asks for the newest analysis of a branch, and stores it if nobody has reported it.
async fn ask(visit: &mut Visit<'_>, watched: &Watched) -> anyhow::Result<()> {
    let Some(client) = visit.server.client() else {
        return Ok(());
    };
    let known = OffsetDateTime::from_unix_timestamp(watched.analysed)?;
    let from = spelled(known)?;
    let branch = watched.branch.as_deref();
    let listed = history(client, &watched.project, branch, Some(&from), 1);
    let listed = match timeout(visit.clock.left(), listed).await {
        Ok(listed) => listed.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::slow()),
    };
    let newest = match listed {
        Ok(listed) => {
            visit.server.note_done();
            listed.into_iter().next()
        }
        Err(failure) => {
            match failure {
                // The branch was deleted. If it is analysed again, there is a call.
                Failure::Final(ImportState::NotFound, _) => {
                    visit.importing.imports.forget(watched).await?;
                }
                failure => visit.server.note(failure),
            }
            return Ok(());
        }
    };
    let now = visit.clock.now();
    let is_missed = |listed: &Listed| {
        let date = listed.date.instant();
        date > known && date <= now - GRACE
    };
    let Some(newest) = newest.filter(is_missed) else {
        return Ok(());
    };
    let missed = Missed {
        of: watched,
        analysis: &newest.key,
        date: &newest.date,
    };
    let (call, body) = Call::found(visit.source, &missed, now);
    let stored = visit.importing.calls.store(&call, &body, now).await?;
    // A known call was found before, and was given up.
    if stored == Stored::New {
        tracing::info!(
            source = %visit.source.id, call = %call.id,
            "source {} was never told of an analysis of {}", visit.source.id, newest.date
        );
    }
    Ok(())
}

/// A time as `SonarQube` spells it.
fn spelled(time: OffsetDateTime) -> anyhow::Result<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    Ok(time.format(format)?)
}
