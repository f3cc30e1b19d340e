//! One analysis: what its server has found is read, and published.

use std::collections::BTreeMap;

use domain::analysis::Analysis;
use domain::date::GivenDate;
use domain::report::ReportId;
use domain::source::Source;
use domain::source::call::CallKey;
use domain::source::import::{Import, ImportSettings, ImportState};
use domain::version::Version;
use findings::{Printed, Standard};
use sonarqube::{Client, Error, Listed, Request, VersionFallback, history, pull};
use time::OffsetDateTime;

use crate::report;
use crate::server::Failure;
use crate::state::Importing;

/// How often it is begun anew when the branch is analysed meanwhile.
const MAX_TRIES: usize = 3;
/// How many analyses of a branch, beside the one that is looked for, may have been made since.
const MAX_LISTED: u16 = 100;

/// What came of an analysis.
#[derive(Debug)]
pub(crate) enum Imported {
    /// Its reports are there.
    Published {
        /// Which.
        reports: Vec<ReportId>,
        /// When the analysis was made that they are of, if that is a later one of the same version.
        later: Option<OffsetDateTime>,
    },
    /// The branch was analysed again, as another version.
    Superseded,
}

/// Makes the reports of an analysis that a call tells of. What has become of `before` is recorded in the transactions that publish them.
///
/// # Errors
/// The outer one is our own fault.
pub(crate) async fn import(
    importing: &Importing,
    source: &Source,
    settings: &ImportSettings,
    client: &Client,
    (key, before): (CallKey, &Import),
    analysis: &Analysis,
    now: OffsetDateTime,
) -> anyhow::Result<Result<Imported, Failure>> {
    let Some(date) = analysis.date() else {
        let reason = "it does not say when the analysis was made".to_owned();
        return Ok(Err(Failure::Final(ImportState::Failed, reason)));
    };
    let wanted = match Wanted::of(settings, analysis, date) {
        Ok(wanted) => wanted,
        Err(reason) => return Ok(Err(Failure::Final(ImportState::Failed, reason))),
    };
    for _ in 0..MAX_TRIES {
        let newest = match wanted.newest(client).await {
            Ok(Newest::Its(newest)) => newest,
            Ok(Newest::Superseded) => return Ok(Ok(Imported::Superseded)),
            Ok(Newest::Missing) => {
                let reason = "the server does not show that analysis, or not yet".to_owned();
                return Ok(Err(Failure::Later(ImportState::NotFound, reason)));
            }
            Err(error) => return Ok(Err(Failure::of(&error, settings))),
        };
        let pulled = pull(client, &wanted.request(&newest), &|_, _, _| {}).await;
        let analysed = match pulled {
            Ok(analysed) => analysed,
            // Perhaps it still has the version.
            Err(Error::Overtaken { .. }) => continue,
            Err(error) => return Ok(Err(Failure::of(&error, settings))),
        };
        let mut reports = Vec::new();
        let count = analysed.assessments.len();
        for assessment in &analysed.assessments {
            let record = |report| {
                let made: Vec<ReportId> = reports.iter().copied().chain([report]).collect();
                let import = match made.len() == count {
                    true => Import::published(made),
                    false => before.with_reports(made),
                };
                Ok(importing.calls.with_import(key, &import)?)
            };
            match report::publish(importing, source.org, assessment, record, now).await? {
                Ok(report) => reports.push(report),
                Err(reason) => return Ok(Err(Failure::Final(ImportState::Failed, reason))),
            }
        }
        return Ok(Ok(Imported::Published {
            reports,
            later: (newest.date.instant() != wanted.date.instant()).then(|| newest.date.instant()),
        }));
    }
    let reason = format!("the branch was analysed again while it was read, {MAX_TRIES} times");
    Ok(Err(Failure::Later(ImportState::Failed, reason)))
}

/// What is wanted of a server.
struct Wanted<'a> {
    project: &'a str,
    /// `None` for the main one, whatever it is called.
    branch: Option<&'a str>,
    date: GivenDate,
    standards: Vec<&'static Standard>,
    fallback: VersionFallback,
    /// What stands in the call of the analysis.
    properties: BTreeMap<String, String>,
}

/// The newest analysis of the branch.
enum Newest {
    /// It is the one, or a later one of the same version: what is found now is of that version.
    Its(Listed),
    /// It is one of another version.
    Superseded,
    /// There is none of that date, nor a later one.
    Missing,
}

impl<'a> Wanted<'a> {
    /// # Errors
    /// The source names something that this version of the product does not know, for a reader.
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

    /// Whether the newest analysis has the version of this one, by which reports are told apart. What is no version is replaced, and
    /// only a date is known of both.
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
            // Of another analysis nobody knows the properties.
            properties: match is_its_own {
                true => self.properties.clone(),
                false => BTreeMap::new(),
            },
            analysis: Some(newest.key.clone()),
            printed: Printed::DEFAULT,
        }
    }
}
