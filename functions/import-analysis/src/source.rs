//! A source is looked after: its lease is taken, what is due is imported, and the lease is given back with how the source stands.

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
use runtime::metrics::Metric;
use sonarqube::Client;
use store::imports::{Claim, Released};
use store::queue::MAX_DELAY;
use store::queue::imports::LookAfter;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use uuid::Uuid;

use crate::analysis::{Imported, Told, import};
use crate::missed;
use crate::server::Failure;
use crate::state::Importing;

/// How many due calls are read at a time.
const PAGE: usize = 50;
/// How many calls are ended at once of which no reports are made any more.
const MAX_ENDED: usize = 500;
/// After so many failures in a row that need not be about one project only, the server is left alone, though it accepts the token.
const MAX_TROUBLES: u32 = 2;
/// By so much two functions' clocks may differ.
const CLOCKS: time::Duration = time::Duration::SECOND;
/// What falls due within so much time is waited for on the queue; the hourly round has looked by then.
const HOP: Duration = Duration::from_secs(3600);

/// When a source is to be looked after again, before the next round.
struct Again {
    after: Duration,
    /// Whether its server is to be asked on what it has not told of.
    sweeps: bool,
}

impl Again {
    const AT_ONCE: Self = Self {
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
        if let Some(Again { after, .. }) = again.as_ref().filter(|it| !it.after.is_zero()) {
            let wake_at = timestamp(now + *after);
            let is_seen_to = |at: &String| *at > timestamp(now) && *at <= wake_at;
            match before.as_ref().is_some_and(is_seen_to) {
                true => again = None,
                false => standing.wake_at = Some(wake_at),
            }
        }
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
        return end_all(importing, source, clock).await;
    };
    if source.importing().is_none() {
        return Ok(None);
    }
    // What waits for another time may be possible now.
    let is_resumed = look.resumes || standing.revision != source.revision;
    let known = std::mem::take(standing).of(source.revision);
    *standing = match look.resumes {
        true => known.resumed(),
        false => known,
    };
    let mut visit = Visit {
        importing,
        source,
        settings,
        clock,
        standing,
        tally,
        waited_for: match is_resumed {
            true => LONGEST_PAUSE,
            false => time::Duration::ZERO,
        },
        client: None,
        troubles: 0,
        seen: HashSet::new(),
        read: HashMap::new(),
        is_called: look.call.is_some(),
        is_left: false,
        is_sweep_left: false,
    };
    let named = look.call.map(|id| CallKey {
        source: source.id,
        id,
    });
    visit.due(named).await?;
    if look.sweeps {
        if visit.is_left {
            visit.is_sweep_left = true;
        } else if visit.is_there().await? {
            missed::sweep(&mut visit).await?;
            visit.due(None).await?;
        }
        visit.count_standing();
    }
    visit.end().await
}

/// Ends what was still to be imported of a source that has no server any more.
async fn end_all(
    importing: &Importing,
    source: &Source,
    clock: &Clock,
) -> anyhow::Result<Option<Again>> {
    let until = clock.now() + time::Duration::days(365);
    let due = importing.calls.due_imports(source.id, until, MAX_ENDED);
    let due = due.await?;
    let reason = "the source has no server any more";
    let skipped = Import::ended(ImportState::Skipped, reason.to_owned());
    for due in &due {
        importing.calls.set_import(due.key, &skipped).await?;
    }
    // No round comes to it.
    Ok((due.len() == MAX_ENDED).then_some(Again::AT_ONCE))
}

/// What is counted of imports.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    published: usize,
    given_up: usize,
    unauthorized: usize,
    unreachable: usize,
    expiring: usize,
}

impl Tally {
    fn record(&self, importing: &Importing, now: OffsetDateTime) {
        let counts = [
            (
                self.published,
                Metric::count("ImportsPublished", self.published),
            ),
            (self.given_up, Metric::count("ImportsFailed", self.given_up)),
            (
                self.unauthorized,
                Metric::count("SourcesUnauthorized", self.unauthorized),
            ),
            (
                self.unreachable,
                Metric::count("SourcesUnreachable", self.unreachable),
            ),
            (
                self.expiring,
                Metric::count("SourceTokensExpiring", self.expiring),
            ),
        ];
        let counted = counts.into_iter().filter(|(count, _)| *count > 0);
        let metrics: Vec<Metric> = counted.map(|(_, metric)| metric).collect();
        if !metrics.is_empty() {
            importing.metrics.record(now, &metrics);
        }
    }
}

/// A source while it is looked after.
pub(crate) struct Visit<'a> {
    pub(crate) importing: &'a Importing,
    pub(crate) source: &'a Source,
    pub(crate) settings: &'a ImportSettings,
    pub(crate) clock: &'a Clock,
    pub(crate) standing: &'a mut Standing,
    tally: &'a mut Tally,
    /// By so much what is due later is due already.
    waited_for: time::Duration,
    /// The server, once it has accepted the token.
    client: Option<Client>,
    /// How often it has failed in a row since.
    troubles: u32,
    /// The calls that were looked at.
    seen: HashSet<CallId>,
    /// What was read in this visit, since when, and the reports that came of it.
    read: HashMap<About, (OffsetDateTime, Vec<ReportId>)>,
    /// Whether a call has just come.
    is_called: bool,
    /// Whether there was no time for all of it.
    is_left: bool,
    /// Whether there was no time to ask about all branches.
    pub(crate) is_sweep_left: bool,
}

/// What a call is about: project, branch, and when that was analysed, in Unix seconds.
#[derive(PartialEq, Eq, Hash)]
struct About(String, Option<String>, i64);

impl About {
    /// `None` of a call that does not say when.
    fn of(analysis: &Analysis) -> Option<Self> {
        let date = analysis.date()?.instant().unix_timestamp();
        let branch = analysis.branch_unless_main().map(str::to_owned);
        Some(Self(analysis.project.key.clone(), branch, date))
    }
}

impl Visit<'_> {
    /// Imports what is due, and the call that the message names.
    async fn due(&mut self, named: Option<CallKey>) -> anyhow::Result<()> {
        let mut next: Vec<CallKey> = named.into_iter().collect();
        while !self.is_waiting() {
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
                if self.is_waiting() {
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

    /// Makes the reports of one call, if they are still to be made, and records what came of it. One whose server cannot be asked stays
    /// due.
    async fn one(&mut self, key: CallKey) -> anyhow::Result<()> {
        let Some((call, body, before)) = self.still_due(key).await? else {
            return Ok(());
        };
        let source = self.importing.sources.get(self.source.id).await?;
        if source.map(|it| it.revision) != Some(self.source.revision) {
            // An administrator has changed it meanwhile.
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
        // It may not be wanted any more.
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
        if !self.is_there().await? {
            return Ok(());
        }
        let mut made = before.reports.clone();
        let imported = self.import(&call, &before, &analysis, &mut made).await?;
        if !matches!(imported, Err(Failure::Unreachable(..))) {
            self.note_done();
        }
        let received = self.received(&call);
        let later = |state, reason, after| {
            let failed = before.failed(state, reason, received, after, self.clock.now());
            failed.with_reports(made.clone())
        };
        let after = match imported {
            Ok(Imported::Published { reports, .. }) => {
                self.tally.published += 1;
                Import::published(reports)
            }
            Ok(Imported::Superseded) => {
                let reason =
                    "the branch was analysed again, as another version, before it was read";
                Import::ended(ImportState::Superseded, reason.to_owned()).with_reports(made)
            }
            Err(Failure::Final(state, reason)) => Import::ended(state, reason).with_reports(made),
            Err(Failure::Later(state, reason)) => later(state, reason, None),
            // It has just accepted the token: this may be about one project only, whose answers take too long.
            Err(Failure::Unreachable(reason, pause)) => {
                let failed = later(ImportState::Failed, reason.clone(), pause);
                // Another like this would take the whole of the next visit.
                if !self.clock.has_half() {
                    self.troubles = MAX_TROUBLES;
                }
                self.note(Failure::Unreachable(reason, pause));
                failed
            }
            Err(failure @ Failure::Unauthorized(_)) => {
                self.note(failure);
                return Ok(());
            }
        };
        self.record(key, &after).await
    }

    /// A call as it is now, with its body, if reports are to be made of it by now. An index may be behind.
    async fn still_due(&self, key: CallKey) -> anyhow::Result<Option<(Call, String, Import)>> {
        let call = match self.importing.calls.get(key).await {
            // It waits for somebody to mend it, and is counted.
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

    /// Makes the reports of an analysis of which a call has told. What was read since that came need not be read again: a server that
    /// analyses much tells of it at once.
    async fn import(
        &mut self,
        call: &Call,
        before: &Import,
        analysis: &Analysis,
        made: &mut Vec<ReportId>,
    ) -> anyhow::Result<Result<Imported, Failure>> {
        let Some(client) = self.client.clone() else {
            anyhow::bail!("the server has not been asked")
        };
        let (now, received) = (self.clock.now(), self.received(call));
        let about = About::of(analysis);
        let read = about.as_ref().and_then(|it| self.read.get(it));
        if let Some((_, reports)) = read.filter(|(since, _)| received + CLOCKS <= *since) {
            return Ok(Ok(Imported::Published {
                reports: reports.clone(),
                later: None,
            }));
        }
        if let Some(date) = analysis.date() {
            if date.instant() > received + MAX_AHEAD {
                let reason = "it says that the analysis was made after the call".to_owned();
                return Ok(Err(Failure::Final(ImportState::Failed, reason)));
            }
            // First of all: whatever comes after it may be found then.
            self.watch(analysis, date.instant()).await?;
        }
        let told = Told {
            key: call.key(),
            before,
            analysis,
            is_found: call.outcome == Outcome::Found,
        };
        let (importing, source, settings) = (self.importing, self.source, self.settings);
        let imported = import(
            importing, source, settings, &client, &told, made, self.clock,
        );
        // In a box: it is deep.
        let imported = Box::pin(imported).await?;
        if let Ok(Imported::Published { reports, later }) = &imported {
            if let Some(later) = later {
                self.watch(analysis, *later).await?;
            }
            if let Some(about) = about {
                self.read.insert(about, (now, reports.clone()));
            }
        }
        Ok(imported)
    }

    async fn record(&mut self, key: CallKey, import: &Import) -> anyhow::Result<()> {
        let state = import.state;
        if import.due_at.is_none()
            && !matches!(
                state,
                ImportState::Published | ImportState::Superseded | ImportState::Skipped
            )
        {
            self.tally.given_up += 1;
        }
        tracing::info!(
            source = %key.source, call = %key.id, state = ?state, failures = import.failures,
            "reports of call {} of source {}: {state:?}", key.id, key.source
        );
        Ok(self.importing.calls.set_import(key, import).await?)
    }

    /// Remembers the branch, so that the server can be asked what it has not told of.
    async fn watch(&self, analysis: &Analysis, analysed: OffsetDateTime) -> anyhow::Result<()> {
        let project = &analysis.project.key;
        let branch = analysis.branch_unless_main();
        let now = self.clock.now();
        let watched = Watched::new(self.source.id, project, branch, analysed, now);
        Ok(self.importing.imports.watch(&watched).await?)
    }

    /// Whether the server is left alone.
    fn is_waiting(&self) -> bool {
        self.standing.pause(self.clock.now()).is_some()
    }

    /// Whether the server can be asked: it accepts the token, or did so a moment ago.
    async fn is_there(&mut self) -> anyhow::Result<bool> {
        if self.is_waiting() {
            return Ok(false);
        }
        if self.client.is_some() {
            return Ok(true);
        }
        let greeted = match self.importing.client(self.settings)? {
            Ok(client) => match timeout(self.clock.left(), sonarqube::greet(&client)).await {
                Ok(Ok(())) => Ok(client),
                Ok(Err(error)) => Err(Failure::of(&error)),
                Err(_) => Err(Failure::slow()),
            },
            Err(failure) => Err(failure),
        };
        let now = self.clock.now();
        match greeted {
            Ok(client) => {
                self.standing.note_greeting(client.token_expires_at(), now);
                self.client = Some(client);
                return Ok(true);
            }
            Err(Failure::Unauthorized(reason)) => self.standing.note_unauthorized(reason, now),
            Err(Failure::Unreachable(reason, pause)) => {
                self.standing.note_unreachable(reason, pause, now);
            }
            Err(Failure::Later(_, reason) | Failure::Final(_, reason)) => {
                self.standing.note_unreachable(reason, None, now);
            }
        }
        Ok(false)
    }

    /// The server, which has answered.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref().filter(|_| !self.is_waiting())
    }

    /// Takes note of what has gone wrong with the server since it has accepted the token, if it has.
    pub(crate) fn note(&mut self, failure: Failure) {
        let now = self.clock.now();
        match failure {
            Failure::Unauthorized(reason) => self.standing.note_unauthorized(reason, now),
            Failure::Unreachable(reason, pause) => {
                self.troubles += 1;
                if self.troubles >= MAX_TROUBLES {
                    self.standing.note_unreachable(reason, pause, now);
                }
            }
            Failure::Later(..) | Failure::Final(..) => self.troubles = 0,
        }
    }

    /// The server has done what was asked of it.
    pub(crate) fn note_done(&mut self) {
        self.troubles = 0;
    }

    /// Gives up what has waited for the server for too long. Where an administrator only has to enter another token, it waits on.
    async fn give_up(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let since = self.standing.since.as_deref();
        let since = since.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        let is_for_long = since.is_some_and(|since| now - since >= PATIENCE);
        if self.standing.health == Health::Unauthorized || !is_for_long {
            return Ok(());
        }
        let due = self
            .importing
            .calls
            .due_imports(self.source.id, now - PATIENCE, MAX_ENDED);
        for due in due.await? {
            let Some((call, _, before)) = self.still_due(due.key).await? else {
                continue;
            };
            let reason = self.standing.reason.clone().unwrap_or_default();
            let received = self.received(&call);
            let failed = before.failed(ImportState::Failed, reason, received, None, now);
            if failed.due_at.is_none() {
                self.record(due.key, &failed).await?;
            }
        }
        Ok(())
    }

    fn count_standing(&mut self) {
        let source = self.source.id;
        let reason = self.standing.reason.as_deref().unwrap_or_default();
        match self.standing.health {
            Health::Unauthorized => {
                self.tally.unauthorized += 1;
                tracing::warn!(%source, health = "unauthorized", "the server of source {source} does not accept the token: {reason}");
            }
            Health::Unreachable => {
                self.tally.unreachable += 1;
                tracing::warn!(%source, health = "unreachable", "the server of source {source} cannot be asked: {reason}");
            }
            Health::Unknown | Health::Working => {}
        }
        if self.standing.is_token_expiring(self.clock.now()) {
            self.tally.expiring += 1;
            tracing::warn!(%source, health = "expiring", "the token of source {source} expires soon, or has");
        }
    }

    /// Says how the server does, after all, and when somebody is to look after what is left, or falls due before the next round.
    async fn end(mut self) -> anyhow::Result<Option<Again>> {
        let now = self.clock.now();
        let is_waiting = self.is_waiting();
        if let Some(client) = self.client.as_ref().filter(|_| !is_waiting) {
            match self.troubles {
                0 => self.standing.note_answer(client.token_expires_at(), now),
                _ => self.standing.token_expires_at = client.token_expires_at(),
            }
        }
        if is_waiting && self.standing.health == Health::Unauthorized {
            // Each round asks whether it is mended.
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
        // What is said to be due and was looked at is done, and the index is behind; or nobody can read it.
        let is_past = |at: &str| *at <= *timestamp(now);
        let first = due
            .await?
            .into_iter()
            .find(|it| is_waiting || !seen.contains(&it.key.id) || !is_past(&it.due_at));
        let at = match first {
            Some(first) => OffsetDateTime::parse(&first.due_at, &Rfc3339).unwrap_or(now),
            // The index may not have it yet.
            None if is_waiting && self.is_called => now,
            None => return Ok(None),
        };
        let at = at.max(self.standing.pause(now).unwrap_or(now));
        let after = Duration::try_from(at - now).unwrap_or_default();
        Ok((after <= HOP).then(|| Again {
            after: after.min(MAX_DELAY),
            sweeps: false,
        }))
    }
}
