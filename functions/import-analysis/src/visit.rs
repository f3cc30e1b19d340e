//! One pass over a source's calls: imports each call that is due, and records the health of the server.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::analysis::Analysis;
use domain::date::timestamp;
use domain::report::ReportId;
use domain::source::Source;
use domain::source::call::{Call, CallId, CallKey, Outcome};
use domain::source::import::{
    Health, Import, ImportSettings, ImportState, LONGEST_PAUSE, MAX_AHEAD, PATIENCE, Standing,
    Watched,
};
use runtime::clock::Clock;
use store::queue::MAX_DELAY;
use store::queue::imports::LookAfter;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::analysis::{Told, publish, read};
use crate::failure::Failure;
use crate::missed;
use crate::server::Server;
use crate::source::{Again, MAX_ENDED};
use crate::state::Importing;
use crate::tally::Tally;

/// How many due calls are read at a time.
const PAGE: usize = 50;
/// How far the clocks of two functions may differ.
const CLOCKS: time::Duration = time::Duration::SECOND;
/// A message on the queue waits for what falls due within this time. An hourly sweep runs before anything later is due.
const HOP: Duration = Duration::from_secs(3600);

/// A source during a visit.
pub(crate) struct Visit<'a> {
    pub(crate) importing: &'a Importing,
    pub(crate) source: &'a Source,
    pub(crate) settings: &'a ImportSettings,
    pub(crate) clock: &'a Clock,
    pub(crate) server: Server<'a>,
    tally: &'a mut Tally,
    /// How much earlier than its time a call counts as due.
    waited_for: time::Duration,
    /// The calls that were looked at.
    seen: HashSet<CallId>,
    /// What was read in this visit, since when, and the reports that were made of it.
    read: HashMap<About, (OffsetDateTime, Vec<ReportId>)>,
    /// The call that has just come.
    called: Option<CallId>,
    /// Whether the time was too short for all calls.
    is_left: bool,
    /// Whether the time was too short to ask about all branches.
    pub(crate) is_sweep_left: bool,
}

/// The analysis of a call: project, branch, and time in Unix seconds.
#[derive(PartialEq, Eq, Hash)]
struct About(String, Option<String>, i64);

impl About {
    /// `None` for a call that does not give the time.
    fn of(analysis: &Analysis) -> Option<Self> {
        let date = analysis.date()?.instant().unix_timestamp();
        let branch = analysis.branch_unless_main().map(str::to_owned);
        Some(Self(analysis.project.key.clone(), branch, date))
    }
}

impl<'a> Visit<'a> {
    /// A visit to a source whose server is at `settings`, for what `look` says.
    pub(crate) fn new(
        importing: &'a Importing,
        (source, settings): (&'a Source, &'a ImportSettings),
        look: &LookAfter,
        clock: &'a Clock,
        standing: &'a mut Standing,
        tally: &'a mut Tally,
    ) -> Self {
        // Imports that wait for another time may be possible now.
        let is_resumed = look.resumes || standing.revision != source.revision;
        let known = std::mem::take(standing).of(source.revision);
        *standing = match look.resumes {
            true => known.resumed(),
            false => known,
        };
        Self {
            importing,
            source,
            settings,
            clock,
            server: Server::new(importing, settings, clock, standing),
            tally,
            waited_for: match is_resumed {
                true => LONGEST_PAUSE,
                false => time::Duration::ZERO,
            },
            seen: HashSet::new(),
            read: HashMap::new(),
            called: look.call,
            is_left: false,
            is_sweep_left: false,
        }
    }

    /// Does all that `look` says. Gives when there is more to do.
    pub(crate) async fn all(mut self, sweeps: bool) -> anyhow::Result<Option<Again>> {
        self.due().await?;
        if sweeps {
            if self.is_left {
                self.is_sweep_left = true;
            } else if self.server.is_there().await? {
                missed::sweep(&mut self).await?;
                self.due().await?;
            }
            self.server.count(self.source.id, self.tally);
        }
        self.end().await
    }

    /// Imports what is due, and the call that the message names.
    async fn due(&mut self) -> anyhow::Result<()> {
        let source = self.source.id;
        let named = self.called.map(|id| CallKey { source, id });
        let mut next: Vec<CallKey> = named.into_iter().collect();
        while !self.server.is_waiting() {
            for key in next {
                if !self.seen.insert(key.id) {
                    continue;
                }
                if self.seen.len() > 1 && !self.clock.has_half() {
                    self.is_left = true;
                    return Ok(());
                }
                self.one(key).await?;
                if self.is_left {
                    return Ok(());
                }
                if self.server.is_waiting() {
                    return self.give_up().await;
                }
            }
            let until = self.clock.now() + self.waited_for;
            let most = PAGE + self.seen.len();
            let due = self
                .importing
                .calls
                .due_imports(self.source.id, until, most);
            let due = due.await?.into_iter().map(|it| it.key);
            next = due.filter(|key| !self.seen.contains(&key.id)).collect();
            if next.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Imports one call, if that is still to be done, and records the result. If the server cannot be asked, the call stays
    /// due.
    async fn one(&mut self, key: CallKey) -> anyhow::Result<()> {
        let Some((call, body, before)) = self.still_due(key).await? else {
            return Ok(());
        };
        let source = self.importing.sources.get(self.source.id).await?;
        if source.map(|it| it.revision) != Some(self.source.revision) {
            // An administrator has changed the source in the meantime.
            self.is_left = true;
            return Ok(());
        }
        let analysis = match Analysis::read(body.as_bytes()) {
            Ok(analysis) => analysis,
            Err(error) => {
                let failed = Import::ended(ImportState::Failed, error.to_string());
                return self.record(key, &failed).await;
            }
        };
        // The source may not include it any more.
        let now = self.clock.now();
        let plan = match self.source.includes(&analysis.project.key) {
            true => self.settings.plan(&analysis, now),
            false => {
                let reason = "the source does not want this project";
                Import::ended(ImportState::Skipped, reason.to_owned())
            }
        };
        if plan.due_at.is_none() {
            return self.record(key, &plan).await;
        }
        if !self.server.is_there().await? {
            return Ok(());
        }
        let mut made = before.reports.clone();
        let imported = self.import(&call, &before, &analysis, &mut made).await?;
        if !matches!(imported, Err(Failure::Unreachable(..))) {
            self.server.note_done();
        }
        let is_later = !matches!(imported, Ok(_) | Err(Failure::Final(..)));
        let received = self.received(&call);
        let later = |state, reason, after| {
            let failed = before.failed(state, reason, received, after, self.clock.now());
            failed.with_reports(made.clone())
        };
        let after = match imported {
            Ok(import) => import,
            Err(Failure::Final(state, reason)) => Import::ended(state, reason).with_reports(made),
            Err(Failure::Later(state, reason)) => later(state, reason, None),
            // The server has just accepted the token. So this may concern a single project whose answers take too long.
            Err(Failure::Unreachable(reason, pause)) => {
                let failed = later(ImportState::Failed, reason.clone(), pause);
                self.server.note(Failure::Unreachable(reason, pause));
                failed
            }
            Err(failure @ Failure::Unauthorized(_)) => {
                self.server.note(failure);
                return Ok(());
            }
        };
        if is_later && after.due_at.is_none() {
            self.watch_before(&analysis, received).await?;
        }
        self.record(key, &after).await
    }

    /// The current call with its body, if its import is still due. An index may lag behind.
    async fn still_due(&self, key: CallKey) -> anyhow::Result<Option<(Call, String, Import)>> {
        let call = match self.importing.calls.get(key).await {
            // It waits for somebody to repair it, and is counted.
            Err(error) if error.is_unreadable() => {
                tracing::error!(call = %key.id, "{error:#}");
                return Ok(None);
            }
            call => call?,
        };
        let until = timestamp(self.clock.now() + self.waited_for);
        Ok(call.and_then(|(mut call, body)| {
            let import = call.import.take()?;
            let is_due = import.due_at.as_ref().is_some_and(|at| *at <= until);
            is_due.then_some((call, body, import))
        }))
    }

    fn received(&self, call: &Call) -> OffsetDateTime {
        OffsetDateTime::parse(&call.received_at, &Rfc3339).unwrap_or_else(|_| self.clock.now())
    }

    /// Makes the reports of an analysis that a call has reported. What was read after the call came need not be read again: a
    /// server with many analyses reports them at once.
    async fn import(
        &mut self,
        call: &Call,
        before: &Import,
        analysis: &Analysis,
        made: &mut Vec<ReportId>,
    ) -> anyhow::Result<Result<Import, Failure>> {
        let Some(client) = self.server.client().cloned() else {
            anyhow::bail!("the server has not been asked")
        };
        let (now, received) = (self.clock.now(), self.received(call));
        let about = About::of(analysis);
        let known = about.as_ref().and_then(|it| self.read.get(it));
        if let Some((_, reports)) = known.filter(|(since, _)| received + CLOCKS <= *since) {
            return Ok(Ok(Import::published(reports.clone())));
        }
        let date = analysis.date().map(|it| it.instant());
        if date.is_some_and(|date| date > received + MAX_AHEAD) {
            let reason = "it says that the analysis was made after the call".to_owned();
            return Ok(Err(Failure::Final(ImportState::Failed, reason)));
        }
        // Boxed, because the future is deep.
        let read = Box::pin(read(self.settings, &client, analysis, self.clock));
        let read = read.await;
        // This is recorded before it is done. So later analyses are found, whatever becomes of this process.
        let later = read.as_ref().ok().and_then(|it| it.as_ref()?.later);
        let is_for_good = matches!(read, Ok(_) | Err(Failure::Final(..)));
        if let Some(known) = later.or(date).filter(|_| is_for_good) {
            self.watch(analysis, known).await?;
        }
        let found = match read {
            Ok(Some(found)) => found,
            Ok(None) => {
                let reason =
                    "the branch was analysed again, as another version, before it was read";
                let superseded = Import::ended(ImportState::Superseded, reason.to_owned());
                return Ok(Ok(superseded.with_reports(made.clone())));
            }
            Err(failure) => return Ok(Err(failure)),
        };
        let told = Told {
            key: call.key(),
            before,
            is_told_of: call.outcome != Outcome::Found,
        };
        // Publication has no deadline: what is published must be recorded.
        let published = publish(self.importing, self.source, &told, &found, made, self.clock);
        if let Err(reason) = published.await? {
            return Ok(Err(Failure::Final(ImportState::Failed, reason)));
        }
        if let Some(about) = about {
            self.read.insert(about, (now, made.clone()));
        }
        Ok(Ok(Import::published(made.clone())))
    }

    async fn record(&mut self, key: CallKey, import: &Import) -> anyhow::Result<()> {
        let state = import.state;
        match state {
            ImportState::Published => self.tally.published += 1,
            ImportState::Pending | ImportState::Superseded | ImportState::Skipped => {}
            ImportState::NotFound | ImportState::Unauthorized | ImportState::Failed => {
                self.tally.given_up += usize::from(import.due_at.is_none());
            }
        }
        let reason = import.reason.as_deref();
        tracing::info!(
            source = %key.source, call = %key.id, state = ?state, failures = import.failures, reason,
            "reports of call {} of source {}: {state:?}", key.id, key.source
        );
        Ok(self.importing.calls.set_import(key, import).await?)
    }

    /// Stores the branch, so that the server can be asked for analyses after `since` that it has not reported.
    async fn watch(&self, analysis: &Analysis, since: OffsetDateTime) -> anyhow::Result<()> {
        let watched = Watched::of(self.source.id, analysis, since, self.clock.now());
        Ok(self.importing.imports.watch(&watched).await?)
    }

    /// Stores the branch as if the analysis that is given up had not been reported. The next sweep finds the analysis, if it
    /// is still the newest, and tries it once more.
    async fn watch_before(
        &self,
        analysis: &Analysis,
        received: OffsetDateTime,
    ) -> anyhow::Result<()> {
        let date = analysis.date().map(|it| it.instant());
        match date.filter(|date| *date <= received + MAX_AHEAD) {
            // `SonarQube`'s dates have no fractions.
            Some(date) => self.watch(analysis, date - time::Duration::SECOND).await,
            None => Ok(()),
        }
    }

    /// Gives up what has waited for the server for too long. Calls that only wait for an administrator to enter another token
    /// continue to wait.
    async fn give_up(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let since = self.server.standing.since.as_deref();
        let since = since.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        let is_for_long = since.is_some_and(|since| now - since >= PATIENCE);
        if self.server.standing.health == Health::Unauthorized || !is_for_long {
            return Ok(());
        }
        let due = self
            .importing
            .calls
            .due_imports(self.source.id, now - PATIENCE, MAX_ENDED);
        for due in due.await? {
            let Some((call, body, before)) = self.still_due(due.key).await? else {
                continue;
            };
            let reason = self.server.standing.reason.clone().unwrap_or_default();
            let received = self.received(&call);
            let failed = before.failed(ImportState::Failed, reason, received, None, now);
            if failed.due_at.is_none() {
                if let Ok(analysis) = Analysis::read(body.as_bytes()) {
                    self.watch_before(&analysis, received).await?;
                }
                self.record(due.key, &failed).await?;
            }
        }
        Ok(())
    }

    /// Records the server's health. Gives when to visit again for what remains, or falls due before the next sweep.
    async fn end(mut self) -> anyhow::Result<Option<Again>> {
        let now = self.clock.now();
        let is_waiting = self.server.is_waiting();
        self.server.end();
        if is_waiting && self.server.standing.health == Health::Unauthorized {
            // Each sweep asks whether the server is repaired.
            return Ok(None);
        }
        if self.is_left || self.is_sweep_left {
            return Ok(Some(Again {
                sweeps: self.is_sweep_left,
                ..Again::AT_ONCE
            }));
        }
        let seen = std::mem::take(&mut self.seen);
        let most = PAGE + seen.len();
        let due = self
            .importing
            .calls
            .due_imports(self.source.id, now + HOP, most);
        // A call that was looked at and still seems due is done while the index lags behind, or it cannot be read.
        let is_past = |at: &str| *at <= *timestamp(now);
        let first = due
            .await?
            .into_iter()
            .find(|it| is_waiting || !seen.contains(&it.key.id) || !is_past(&it.due_at));
        let at = match first {
            Some(first) => OffsetDateTime::parse(&first.due_at, &Rfc3339).unwrap_or(now),
            // The index may not have it yet.
            None if is_waiting && self.called.is_some() => now,
            None => return Ok(None),
        };
        let at = at.max(self.server.standing.pause(now).unwrap_or(now));
        let after = Duration::try_from(at - now).unwrap_or_default();
        Ok((after <= HOP).then(|| Again {
            after: after.min(MAX_DELAY),
            sweeps: false,
        }))
    }
}
