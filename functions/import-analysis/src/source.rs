//! A source is looked after: its lease is taken, what is due is imported, and the lease is given back with how the source stands.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::analysis::Analysis;
use domain::date::timestamp;
use domain::report::ReportId;
use domain::source::call::{Call, CallKey};
use domain::source::import::{Health, Import, ImportSettings, ImportState, Standing, Watched};
use domain::source::{Source, SourceId};
use runtime::clock::Clock;
use runtime::metrics::Metric;
use sonarqube::Client;
use store::imports::{Claim, Released};
use store::queue::MAX_DELAY;
use store::queue::imports::LookAfter;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::analysis::{Imported, import};
use crate::missed;
use crate::server::Failure;
use crate::state::Importing;

/// How many due calls are read at a time.
const PAGE: usize = 50;
/// How many calls are marked at once that have to wait for their server.
const MAX_HELD: usize = 500;
/// By so much two functions' clocks may differ.
const CLOCKS: time::Duration = time::Duration::SECOND;
/// What falls due within so much time is waited for on the queue; the hourly round has looked by then.
const HOP: Duration = Duration::from_secs(3600);

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
    let standing = match claim.await? {
        Claim::Claimed(standing) => *standing,
        // Whoever looks after it sees what is due, but asks nobody what else there is.
        Claim::Noted if look.sweeps => {
            return Ok(importing.queue.send_later(look, MAX_DELAY).await?);
        }
        Claim::Noted => return Ok(()),
    };
    // After the lease was taken: whatever an administrator has changed before counts.
    let source = match importing.sources.get(look.source).await {
        Ok(source) => source,
        Err(error) => {
            give_back(importing, look.source, holder, &standing).await;
            return Err(error.into());
        }
    };
    let settings = source.as_ref().and_then(|it| Some((it, it.importing()?)));
    let Some((source, settings)) = settings else {
        give_back(importing, look.source, holder, &standing).await;
        return Ok(());
    };
    let mut visit = Visit {
        importing,
        source,
        settings,
        clock,
        standing: match look.resumes {
            true => standing.resumed(),
            false => standing,
        }
        .of(source.revision),
        client: None,
        tally: Tally::default(),
        read: HashMap::new(),
        is_left: false,
    };
    let result = visit.all(look, holder).await;
    if result.is_err() {
        give_back(importing, source.id, holder, &visit.standing).await;
    }
    visit.tally.record(importing, clock.now());
    result
}

/// Gives the lease back where nothing more is done. Otherwise the others wait until it is over.
async fn give_back(importing: &Importing, source: SourceId, holder: Uuid, standing: &Standing) {
    let released = importing.imports.release(source, holder, standing);
    if let Err(error) = released.await {
        tracing::warn!(%source, "the lease of source {source} is not given back: {error:#}");
    }
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
    pub(crate) standing: Standing,
    /// The server, once it has answered.
    client: Option<Client>,
    tally: Tally,
    /// What was read in this visit, since when, and the reports that came of it.
    read: HashMap<About, (OffsetDateTime, Vec<ReportId>)>,
    /// Whether there was no time for all of it.
    pub(crate) is_left: bool,
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
    async fn all(&mut self, look: &LookAfter, holder: Uuid) -> anyhow::Result<()> {
        let mut named = look.call;
        let mut sweeps = look.sweeps;
        loop {
            let named = named.take().map(|id| CallKey {
                source: self.source.id,
                id,
            });
            self.due(named).await?;
            if std::mem::take(&mut sweeps) {
                if self.is_there().await? {
                    missed::sweep(self, look.after.as_deref()).await?;
                    self.due(None).await?;
                }
                self.count_standing();
            }
            self.see_to_the_rest().await?;
            let imports = &self.importing.imports;
            match imports
                .release(self.source.id, holder, &self.standing)
                .await?
            {
                Released::Done | Released::Lost => return Ok(()),
                // What the note is about may not be in the index yet.
                Released::Noted => tokio::time::sleep(self.importing.index_lag).await,
            }
        }
    }

    /// Imports what is due, and the call that the message names.
    async fn due(&mut self, named: Option<CallKey>) -> anyhow::Result<()> {
        if self.is_waiting() {
            // The others were marked when it began to wait.
            return match named {
                Some(key) => self.one(key).await,
                None => Ok(()),
            };
        }
        let mut seen = HashSet::new();
        let mut next: Vec<CallKey> = named.into_iter().collect();
        loop {
            for key in next {
                if !seen.insert(key.id) {
                    continue;
                }
                if seen.len() > 1 && !self.clock.has_half() {
                    self.is_left = true;
                    return Ok(());
                }
                self.one(key).await?;
                if self.is_waiting() {
                    return self.hold().await;
                }
            }
            let due = self.importing.calls.due_imports(
                self.source.id,
                self.clock.now(),
                PAGE + seen.len(),
            );
            let due = due.await?.into_iter().map(|it| it.key);
            next = due.filter(|key| !seen.contains(&key.id)).collect();
            if next.is_empty() {
                return Ok(());
            }
        }
    }

    /// Makes the reports of one call, if they are still to be made, and records what came of it.
    async fn one(&mut self, key: CallKey) -> anyhow::Result<()> {
        let Some((call, body, before)) = self.still_due(key).await? else {
            return Ok(());
        };
        if !self.is_there().await? {
            return self.hold_one(&call, &before).await;
        }
        let now = self.clock.now();
        let received = OffsetDateTime::parse(&call.received_at, &Rfc3339).unwrap_or(now);
        let imported = match Analysis::read(body.as_bytes()) {
            Ok(analysis) => {
                self.import((key, &before), &analysis, received, now)
                    .await?
            }
            Err(error) => Err(Failure::Final(ImportState::Failed, error.to_string())),
        };
        let after = match imported {
            Ok(Imported::Published { reports, .. }) => {
                self.tally.published += 1;
                Import::published(reports)
            }
            Ok(Imported::Superseded) => {
                let reason =
                    "the branch was analysed again, as another version, before it was read";
                Import::ended(ImportState::Superseded, reason.to_owned())
                    .with_reports(before.reports.clone())
            }
            Err(Failure::Final(state, reason)) => Import::ended(state, reason),
            Err(Failure::Later(state, reason)) => {
                before.failed(state, reason, received, None, self.clock.now())
            }
            Err(failure @ (Failure::Unauthorized(_) | Failure::Unreachable(..))) => {
                self.note(failure);
                return self.hold_one(&call, &before).await;
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
        let now = timestamp(self.clock.now());
        Ok(call.and_then(|(mut call, body)| {
            let import = call.import.take()?;
            let is_due = import.due_at.as_ref().is_some_and(|at| *at <= now);
            is_due.then_some((call, body, import))
        }))
    }

    /// Makes the reports of an analysis of which a call has told. What was read since that came need not be read again: a server that
    /// analyses much tells of it at once.
    async fn import(
        &mut self,
        call: (CallKey, &Import),
        analysis: &Analysis,
        received: OffsetDateTime,
        now: OffsetDateTime,
    ) -> anyhow::Result<Result<Imported, Failure>> {
        let Some(client) = self.client.clone() else {
            anyhow::bail!("the server has not been asked")
        };
        let about = About::of(analysis);
        let read = about.as_ref().and_then(|it| self.read.get(it));
        if let Some((_, reports)) = read.filter(|(since, _)| received + CLOCKS <= *since) {
            return Ok(Ok(Imported::Published {
                reports: reports.clone(),
                later: None,
            }));
        }
        // First of all: whatever comes after it may be found then.
        if let Some(date) = analysis.date() {
            self.watch(analysis, date.instant()).await?;
        }
        let (importing, source, settings) = (self.importing, self.source, self.settings);
        let imported = import(importing, source, settings, &client, call, analysis, now);
        // In a box: it is deep.
        let Ok(imported) = tokio::time::timeout(self.clock.left(), Box::pin(imported)).await else {
            let reason = "the server took too long for all that was asked".to_owned();
            return Ok(Err(Failure::Later(ImportState::Failed, reason)));
        };
        let imported = imported?;
        if let Ok(Imported::Published { reports, later }) = &imported {
            let answered = self.clock.now();
            self.standing
                .note_answer(client.token_expires_at(), answered);
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
            && !matches!(state, ImportState::Published | ImportState::Superseded)
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
        let watched = Watched::new(self.source.id, project, branch, analysed);
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
            Ok(client) => match sonarqube::greet(&client).await {
                Ok(()) => Ok(client),
                Err(error) => Err(Failure::of(&error, self.settings)),
            },
            Err(failure) => Err(failure),
        };
        let now = self.clock.now();
        match greeted {
            Ok(client) => {
                self.standing.note_answer(client.token_expires_at(), now);
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

    /// Takes note of what has gone wrong with the server, if it has.
    pub(crate) fn note(&mut self, failure: Failure) {
        let now = self.clock.now();
        match failure {
            Failure::Unauthorized(reason) => self.standing.note_unauthorized(reason, now),
            Failure::Unreachable(reason, pause) => {
                self.standing.note_unreachable(reason, pause, now);
            }
            Failure::Later(..) | Failure::Final(..) => {}
        }
    }

    /// Marks what is due and has to wait for the server.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let (source, now) = (self.source.id, self.clock.now());
        let due = self.importing.calls.due_imports(source, now, MAX_HELD);
        for due in due.await? {
            if let Some((call, _, before)) = self.still_due(due.key).await? {
                self.hold_one(&call, &before).await?;
            }
        }
        Ok(())
    }

    /// Marks a call that has to wait for the server, once; it stays due until then. One that has waited for too long is given up, unless
    /// an administrator only has to enter another token.
    async fn hold_one(&mut self, call: &Call, before: &Import) -> anyhow::Result<()> {
        let now = self.clock.now();
        let reason = self.standing.reason.clone().unwrap_or_default();
        let received = OffsetDateTime::parse(&call.received_at, &Rfc3339).unwrap_or(now);
        let state = match self.standing.health {
            Health::Unauthorized => ImportState::Unauthorized,
            Health::Unknown | Health::Working | Health::Unreachable => ImportState::Failed,
        };
        let mut held = before.failed(state, reason, received, None, now);
        let is_over = held.due_at.is_none() && state == ImportState::Failed;
        if !is_over && before.state == state {
            return Ok(());
        }
        if !is_over {
            held.due_at = self.standing.paused_until.clone();
        }
        self.record(call.key(), &held).await
    }

    fn count_standing(&mut self) {
        match self.standing.health {
            Health::Unauthorized => self.tally.unauthorized += 1,
            Health::Unreachable => self.tally.unreachable += 1,
            Health::Unknown | Health::Working => {}
        }
        self.tally.expiring += usize::from(self.standing.is_token_expiring(self.clock.now()));
    }

    /// Has somebody look after what is left, or falls due before the next round.
    async fn see_to_the_rest(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let source = self.source.id;
        let queue = &self.importing.queue;
        if self.is_left {
            return Ok(queue.send(&[LookAfter::source(source)]).await?);
        }
        let at = match self.standing.pause(now) {
            // Each round asks whether it is mended.
            Some(_) if self.standing.health == Health::Unauthorized => None,
            Some(until) => Some(until),
            None => {
                let due = self
                    .importing
                    .calls
                    .due_imports(source, now + HOP, 1)
                    .await?;
                due.first()
                    .and_then(|it| OffsetDateTime::parse(&it.due_at, &Rfc3339).ok())
            }
        };
        let Some(at) = at.filter(|at| *at <= now + HOP) else {
            return Ok(());
        };
        // What is due and was left is something that nobody can read: that is not looked at again at once.
        let wait = Duration::try_from(at - now).ok().filter(|it| !it.is_zero());
        let wait = wait.unwrap_or(MAX_DELAY).min(MAX_DELAY);
        let wake_at = timestamp(now + wait);
        let began = timestamp(now);
        let is_seen_to = |at: &String| *at > began && *at <= wake_at;
        if self.standing.wake_at.as_ref().is_some_and(is_seen_to) {
            return Ok(());
        }
        queue.send_later(&LookAfter::source(source), wait).await?;
        self.standing.wake_at = Some(wake_at);
        Ok(())
    }
}
