//! Reads and publishes the findings of one analysis.

use std::collections::BTreeMap;

use domain::analysis::Analysis;
use domain::date::GivenDate;
use domain::report::ReportId;
use domain::source::Source;
use domain::source::call::CallKey;
use domain::source::import::{Import, ImportSettings, ImportState};
use domain::version::Version;
use findings::{Printed, Standard};
use runtime::clock::Clock;
use sonarqube::{Analysed, Client, Error, Listed, Request, VersionFallback, history, pull};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::report::{self, NewReport};
use crate::state::Importing;

/// How often the reading begins again when the branch is analysed in between.
const MAX_TRIES: usize = 3;
/// How many later analyses of a branch are listed besides the one that is looked for.
const MAX_LISTED: u16 = 100;

/// The findings of an analysis, or of a later one with the same version.
pub(crate) struct Found {
    analysed: Box<Analysed>,
    /// The time of the analysis, if it is a later one.
    pub(crate) later: Option<OffsetDateTime>,
    read_at: OffsetDateTime,
}

/// The result of asking a server.
enum Read {
    All(Found),
    /// No findings, because of this newest analysis.
    None(Newest),
}

/// Reads what a server found in an analysis; `None` if the branch was analysed again as another version.
pub(crate) async fn read(
    settings: &ImportSettings,
    client: &Client,
    analysis: &Analysis,
    clock: &Clock,
) -> Result<Option<Found>, Failure> {
    let failed = |reason| Failure::Final(ImportState::Failed, reason);
    let date = analysis
        .date()
        .ok_or_else(|| failed("it does not say when the analysis was made".to_owned()))?;
    let wanted = Wanted::of(settings, analysis, date).map_err(failed)?;
    for _ in 0..MAX_TRIES {
        match timeout(clock.left(), wanted.read(client, clock)).await {
            Ok(Ok(Read::All(found))) => return Ok(Some(found)),
            Ok(Ok(Read::None(Newest::Superseded))) => return Ok(None),
            Ok(Ok(Read::None(Newest::Its(_) | Newest::Missing))) => {
                let reason = "the server does not show that analysis, or not yet".to_owned();
                return Err(Failure::Later(ImportState::NotFound, reason));
            }
            // Perhaps the newer analysis still has the same version.
            Ok(Err(Error::Overtaken { .. })) => {}
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => return Err(Failure::slow()),
        }
    }
    let reason = format!("the branch was analysed again while it was read, {MAX_TRIES} times");
    Err(Failure::Later(ImportState::Failed, reason))
}

/// A call about an analysis.
pub(crate) struct Told<'a> {
    /// The call.
    pub(crate) key: CallKey,
    /// The import so far.
    pub(crate) before: &'a Import,
    /// Whether the server itself has reported the analysis.
    pub(crate) is_told_of: bool,
}

/// Publishes the reports of the findings, and adds them to those that were `made`. The transactions that publish them also
/// record the state of the import. Gives the reason, for a reader, why a report cannot be published.
///
/// # Errors
/// Our own fault.
pub(crate) async fn publish(
    importing: &Importing,
    source: &Source,
    told: &Told<'_>,
    found: &Found,
    made: &mut Vec<ReportId>,
    clock: &Clock,
) -> anyhow::Result<Result<(), String>> {
    let assessments = &found.analysed.assessments;
    for (position, assessment) in assessments.iter().enumerate() {
        let with = |report| {
            let mut with: Vec<ReportId> = made.clone();
            with.extend((!made.contains(&report)).then_some(report));
            with
        };
        let record = |report| {
            let import = match position + 1 == assessments.len() {
                true => Import::published(with(report)),
                false => told.before.with_reports(with(report)),
            };
            Ok(importing.calls.with_import(told.key, &import)?)
        };
        let new = NewReport {
            org: source.org,
            assessment,
            is_told_of: told.is_told_of,
            read_at: found.read_at,
        };
        match report::publish(importing, &new, record, clock).await? {
            Ok(report) => *made = with(report),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(()))
}

/// What to read from a server.
struct Wanted<'a> {
    project: &'a str,
    /// `None` for the main branch, whatever its name.
    branch: Option<&'a str>,
    date: GivenDate,
    standards: Vec<&'static Standard>,
    fallback: VersionFallback,
    /// The properties in the call about the analysis.
    properties: BTreeMap<String, String>,
}

/// The newest analysis of the branch.
enum Newest {
    /// The wanted one, or a later one with the same version, so that the findings are of that version.
    Its(Listed),
    /// One with another version.
    Superseded,
    /// There is no analysis of that date, nor a later one.
    Missing,
}

impl<'a> Wanted<'a> {
    /// # Errors
    /// The source names something that this version of the product does not know. The text is for a reader.
    fn of(
        settings: &ImportSettings,
        analysis: &'a Analysis,
        date: GivenDate,
    ) -> Result<Self, String> {
        let standards: Result<Vec<&'static Standard>, _> =
            settings.standards.iter().map(|id| id.parse()).collect();
        let standards = standards.map_err(|error: findings::UnknownStandard| error.to_string())?;
        Ok(Self {
            project: &analysis.project.key,
            branch: analysis.branch_unless_main(),
            date,
            standards: match standards.is_empty() {
                true => Standard::newest(),
                false => standards,
            },
            fallback: settings
                .version_fallback
                .parse()
                .map_err(|error: sonarqube::InvalidFallback| error.to_string())?,
            properties: analysis.properties.clone().unwrap_or_default(),
        })
    }

    async fn read(&self, client: &Client, clock: &Clock) -> Result<Read, Error> {
        let read_at = clock.now();
        let newest = match self.newest(client).await? {
            Newest::Its(newest) => newest,
            other => return Ok(Read::None(other)),
        };
        let analysed = pull(client, &self.request(&newest), &|_, _, _| {}).await?;
        let date = newest.date.instant();
        Ok(Read::All(Found {
            analysed: Box::new(analysed),
            later: (date != self.date.instant()).then_some(date),
            read_at,
        }))
    }

    async fn newest(&self, client: &Client) -> Result<Newest, Error> {
        let from = Some(self.date.as_str());
        let listed = history(client, self.project, self.branch, from, MAX_LISTED).await?;
        let is_it = |listed: &&Listed| listed.date.instant() == self.date.instant();
        let version = listed.iter().find(is_it).map(|it| it.version.clone());
        let Some(newest) = listed.into_iter().next() else {
            return Ok(Newest::Missing);
        };
        Ok(match version {
            Some(version) if self.is_same_version(version.as_deref(), &newest) => {
                Newest::Its(newest)
            }
            _ if newest.date.instant() < self.date.instant() => Newest::Missing,
            _ => Newest::Superseded,
        })
    }

    /// Whether the newest analysis has the version of this one, which distinguishes reports. An unusable version is replaced,
    /// and then only the dates can be compared.
    fn is_same_version(&self, version: Option<&str>, newest: &Listed) -> bool {
        let (own, other) = (self.date.instant(), newest.date.instant());
        if own == other {
            return true;
        }
        let is_version = version.is_some_and(|it| it.parse::<Version>().is_ok());
        let is_same_day = self.fallback == VersionFallback::Date && own.date() == other.date();
        version == newest.version.as_deref() && (is_version || is_same_day)
    }

    fn request(&self, newest: &Listed) -> Request {
        let is_its_own = newest.date.instant() == self.date.instant();
        Request {
            project: self.project.to_owned(),
            branch: self.branch.map(str::to_owned),
            standards: self.standards.clone(),
            fallback: self.fallback.clone(),
            // The properties of another analysis are unknown.
            properties: match is_its_own {
                true => self.properties.clone(),
                false => BTreeMap::new(),
            },
            analysis: Some(newest.key.clone()),
            printed: Printed::DEFAULT,
        }
    }
}
