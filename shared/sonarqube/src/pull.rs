//! Reads all that a server found in the newest analysis of a branch, seen through several standards.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use domain::report::Rating;
use findings::{
    Analysis, Assessment, Category, Condition, Gate, Measures, Mode, Printed, Review, Standard,
    Subject,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::Client;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::issues::{Found, FoundHotspots, Search, Which};
use crate::version::{VersionFallback, version};
use crate::{issues, rules, wire};

/// How often everything is read again when the project is analysed in between, or its issues change.
const READINGS: usize = 3;
/// How many searches are made at once. The client sends fewer requests at once.
const AT_ONCE: usize = 4;

/// What to read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The project's key.
    pub project: String,
    /// The branch; `None` for the main one.
    pub branch: Option<String>,
    /// The standards.
    pub standards: Vec<&'static Standard>,
    /// The version to use when the analysis has none.
    pub fallback: VersionFallback,
    /// Properties of the analysis. The Web API does not give them.
    pub properties: BTreeMap<String, String>,
    /// The key of the analysis, if only this one will do.
    pub analysis: Option<String>,
    /// How much is listed.
    pub printed: Printed,
}

/// The findings.
#[derive(Clone, Debug)]
pub struct Analysed {
    /// For each standard, in the order of the request.
    pub assessments: Vec<Assessment>,
}

/// A step of the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The project, its branch and its analysis.
    Project,
    /// The categories of a standard.
    Standard(&'static str),
    /// The descriptions of rules.
    Rules,
}

/// The progress of a step: how many parts are done, and of how many.
pub type Progress<'a> = &'a (dyn Fn(Step, usize, usize) + Sync);

/// Reads everything. It gives a result only if that is complete, and of a single analysis.
pub async fn pull(
    client: &Client,
    request: &Request,
    progress: Progress<'_>,
) -> Result<Analysed, Error> {
    progress(Step::Project, 0, 1);
    let dialect = Dialect::of(client).await?;
    let branch = branch(client, request).await?;
    let search = Search {
        client,
        dialect: &dialect,
        project: &request.project,
        branch: &branch.name,
        names_branch: !branch.is_main,
        printed: request.printed,
    };
    for _ in 0..READINGS {
        let newest = newest(&search).await?;
        let key = newest.key.clone();
        if let Some(expected) = request.analysis.as_ref().filter(|it| **it != key) {
            return Err(Error::Overtaken {
                branch: client.said(&branch.name),
                newest: client.said(&key),
                expected: expected.clone(),
            });
        }
        let (subject, profiles) = subject(&search, request, newest).await?;
        let (subject, profiles) = (Arc::new(subject), profiles.as_deref());
        progress(Step::Project, 1, 1);
        let mut assessments = Vec::new();
        for standard in &request.standards {
            assessments.push(assessment(&search, standard, &subject, profiles, progress).await?);
        }
        // SonarQube shows issues as they are now, not as an analysis found them.
        if self::newest(&search).await?.key == key {
            return Ok(Analysed {
                assessments: told(client, assessments, progress).await?,
            });
        }
    }
    Err(Error::Superseded(READINGS))
}

async fn branch(client: &Client, request: &Request) -> Result<wire::Branch, Error> {
    let parameters = [("project", request.project.as_str())];
    let wire::Branches { branches } = client.get("api/project_branches/list", &parameters).await?;
    let is_asked_for = |branch: &wire::Branch| match &request.branch {
        None => branch.is_main,
        Some(name) => branch.name == *name,
    };
    let names: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
    let known = client.said(&names.join(", "));
    let mut branches = branches.into_iter();
    branches.find(is_asked_for).ok_or_else(|| {
        let asked = request
            .branch
            .clone()
            .unwrap_or_else(|| "(main)".to_owned());
        Error::NoBranch(asked, known)
    })
}

async fn newest(search: &Search<'_>) -> Result<wire::Analysis, Error> {
    let mut parameters = search.of_branch("project");
    parameters.push(("ps", "1"));
    let found: wire::Analyses = search
        .client
        .get("api/project_analyses/search", &parameters)
        .await?;
    let newest = found.analyses.into_iter().next();
    newest.ok_or_else(|| Error::NeverAnalysed(search.client.said(search.branch)))
}

async fn subject(
    search: &Search<'_>,
    request: &Request,
    newest: wire::Analysis,
) -> Result<(Subject, Profiles), Error> {
    let analysis = Analysis {
        key: newest.key,
        date: newest.date,
        revision: newest.revision,
        build: newest.build_string,
    };
    let given = newest.project_version;
    let version = version(
        given.as_deref(),
        &analysis,
        &request.properties,
        &request.fallback,
    );
    let (version, unusable_version) =
        version.ok_or_else(|| Error::NoVersion(search.client.said(&given.unwrap_or_default())))?;
    let (name, measures, profiles) = measures(search).await?;
    let subject = Subject {
        project_key: search.project.to_owned(),
        project_name: name,
        project_url: search.link("dashboard", &[]),
        branch: search.branch.to_owned(),
        is_main_branch: !search.names_branch,
        version,
        unusable_version,
        gate: gate(search, &analysis.key).await?,
        analysis,
        server: search.dialect.server.clone(),
        mode: search.dialect.mode,
        measures,
    };
    Ok((subject, profiles))
}

/// The quality profiles that analysed the branch, for its own languages; `None` when the server does not tell. A project has
/// a profile for each language that the server knows.
type Profiles = Option<Vec<wire::Profile>>;

/// The project's name and figures, and its profiles. A metric that this version lacks is left out.
async fn measures(search: &Search<'_>) -> Result<(String, Measures, Profiles), Error> {
    let mut metrics = vec![
        "security_rating",
        "vulnerabilities",
        "security_hotspots",
        "security_hotspots_reviewed",
        "security_review_rating",
        "ncloc",
        "quality_profiles",
    ];
    if search.dialect.is_from(10, 7) {
        metrics.push("software_quality_security_rating");
    }
    if search.dialect.is_from(10, 8) {
        metrics.push("software_quality_security_issues");
    }
    let measured: wire::Measured = loop {
        let keys = metrics.join(",");
        let mut parameters: Vec<(&str, &str)> = search.of_branch("component");
        parameters.push(("metricKeys", keys.as_str()));
        match search
            .client
            .get("api/measures/component", &parameters)
            .await
        {
            // "The following metric keys are not found: a, b"
            Err(Error::NotFound { what, message }) if message.contains("metric keys") => {
                let before = metrics.len();
                metrics.retain(|metric| {
                    !message
                        .split([' ', ',', ':', '.'])
                        .any(|word| word == *metric)
                });
                if metrics.len() == before || metrics.is_empty() {
                    return Err(Error::NotFound { what, message });
                }
            }
            other => break other?,
        }
    };
    let value = |metric: &str| {
        let found = measured
            .component
            .measures
            .iter()
            .find(|it| it.metric == metric);
        found.and_then(|it| it.value.as_deref())
    };
    // "3.0" is a C.
    let rating = |metric: &str| {
        let letters = [Rating::A, Rating::B, Rating::C, Rating::D, Rating::E];
        let number: f64 = value(metric)?.parse().ok()?;
        (1..=5_u8)
            .zip(letters)
            .find(|(place, _)| f64::from(*place) == number)
            .map(|(_, letter)| letter)
    };
    let number = |metric: &str| value(metric)?.parse().ok();
    let (open, security) = match search.dialect.mode {
        Mode::Standard => ("vulnerabilities", "security_rating"),
        Mode::Mqr => (
            "software_quality_security_issues",
            "software_quality_security_rating",
        ),
    };
    let measures = Measures {
        open: number(open),
        security_rating: rating(security),
        hotspots_to_review: number("security_hotspots"),
        hotspots_reviewed: value("security_hotspots_reviewed").and_then(|it| it.parse().ok()),
        review_rating: rating("security_review_rating"),
        lines: number("ncloc"),
    };
    let profiles = value("quality_profiles").and_then(|it| serde_json::from_str(it).ok());
    Ok((measured.component.name, measures, profiles))
}

async fn gate(search: &Search<'_>, analysis: &str) -> Result<Option<Gate>, Error> {
    let parameters = [("analysisId", analysis)];
    let gate = search
        .client
        .get::<wire::Gate>("api/qualitygates/project_status", &parameters);
    let status = match gate.await {
        Ok(gate) => gate.project_status,
        Err(Error::NotFound { .. } | Error::Forbidden { .. } | Error::UnknownUrl(_)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let failed = status
        .conditions
        .into_iter()
        .filter(|it| it.status == "ERROR");
    let failed = failed.map(|condition| Condition {
        metric: condition.metric_key,
        comparator: condition.comparator,
        threshold: condition.error_threshold,
        actual: condition.actual_value,
    });
    Ok(Some(Gate {
        status: status.status,
        failed: failed.collect(),
    }))
}

/// The findings by one standard, without the descriptions of rules.
async fn assessment(
    search: &Search<'_>,
    standard: &'static Standard,
    subject: &Arc<Subject>,
    profiles: Option<&[wire::Profile]>,
    progress: Progress<'_>,
) -> Result<Assessment, Error> {
    let steps = standard.categories.len();
    let step = || Step::Standard(standard.id.as_str());
    progress(step(), 0, steps);
    let active = rules::active(search, profiles, standard).await?;
    let values = standard.values();
    let all = values.join(",");
    let parameter = standard.parameter.as_str();
    for _ in 0..READINGS {
        let all = (parameter, all.as_str());
        // A search over all categories counts each issue once.
        let open = search.issues(Which::Open, all).await?;
        let dismissed = search.issues(Which::Dismissed, all).await?;
        let hotspots = search.hotspots(all).await?;
        let sandboxed = search.sandboxed(all).await?;
        let any = Any {
            open: open.counts.total() > 0,
            dismissed: dismissed.accepted + dismissed.false_positives > 0,
            hotspots: hotspots.reviews.total() > 0,
        };
        // These are loops, here and elsewhere, since a closure over references makes a future that the compiler does not
        // accept as `Send`.
        let mut of_category = Vec::with_capacity(values.len());
        for value in &values {
            of_category.push(category(search, (parameter, value), any));
        }
        let mut found = Vec::new();
        let mut read = std::pin::pin!(stream::iter(of_category).buffered(AT_ONCE));
        while let Some(category) = read.try_next().await? {
            found.push(category);
            progress(step(), found.len(), steps);
        }
        // The categories together must have exactly what the search over all of them has. Otherwise the issues have changed
        // in between.
        let is_steady = is_whole(
            open.keys.as_ref(),
            found.iter().map(|it| it.open.keys.as_ref()),
        ) && is_whole(
            dismissed.keys.as_ref(),
            found.iter().map(|it| it.dismissed.keys.as_ref()),
        ) && is_whole(
            hotspots.keys.as_ref(),
            found.iter().map(|it| it.hotspots.keys.as_ref()),
        );
        if !is_steady {
            continue;
        }
        let mut categories: Vec<Category> = found.into_iter().map(InCategory::into).collect();
        for (index, category) in categories.iter_mut().enumerate() {
            category.active_rules = active.as_ref().map(|counts| counts[index]);
        }
        let assessment = Assessment {
            standard,
            subject: Arc::clone(subject),
            open: open.counts,
            hotspots: hotspots.reviews,
            accepted: dismissed.accepted,
            false_positives: dismissed.false_positives,
            sandboxed,
            rules: BTreeMap::new(),
            categories,
        };
        // Too many issues to compare their keys, but the counts must fit.
        let most = assessment.categories.iter().map(|it| it.open.total()).max();
        let total = assessment.open.total();
        if assessment.occurrences() >= total && most.unwrap_or_default() <= total {
            return Ok(assessment.limited_to(&search.printed));
        }
    }
    Err(Error::Unsteady(standard.name()))
}

/// Whether any category has an entry.
#[derive(Clone, Copy)]
struct Any {
    open: bool,
    dismissed: bool,
    hotspots: bool,
}

/// The findings of a category.
#[derive(Default)]
struct InCategory {
    open: Found,
    dismissed: Found,
    hotspots: FoundHotspots,
}

impl From<InCategory> for Category {
    fn from(found: InCategory) -> Self {
        Self {
            open: found.open.counts,
            hotspots: found.hotspots.reviews,
            accepted: found.dismissed.accepted,
            false_positives: found.dismissed.false_positives,
            active_rules: None,
            vulnerabilities: found.open.issues,
            listed_hotspots: found.hotspots.hotspots,
            dismissed: found.dismissed.issues,
        }
    }
}

/// Whether the categories together have exactly what the search over all of them has. It is unknown for more than a search
/// shows.
fn is_whole<'a, T: Eq + std::hash::Hash + 'a>(
    all: Option<&HashSet<T>>,
    of_categories: impl Iterator<Item = Option<&'a HashSet<T>>>,
) -> bool {
    let Some(all) = all else {
        return true;
    };
    let together: HashSet<&T> = of_categories.flatten().flatten().collect();
    together.len() == all.len() && together.iter().all(|it| all.contains(*it))
}

async fn category(
    search: &Search<'_>,
    selected: (&str, &str),
    any: Any,
) -> Result<InCategory, Error> {
    let mut found = InCategory::default();
    if any.open {
        found.open = search.issues(Which::Open, selected).await?;
    }
    if any.dismissed {
        found.dismissed = search.issues(Which::Dismissed, selected).await?;
    }
    if any.hotspots {
        found.hotspots = search.hotspots(selected).await?;
    }
    Ok(found)
}

/// Adds the descriptions of rules and the comments of reviewers to what is listed.
async fn told(
    client: &Client,
    mut assessments: Vec<Assessment>,
    progress: Progress<'_>,
) -> Result<Vec<Assessment>, Error> {
    let mut keys: Vec<&str> = assessments
        .iter()
        .flat_map(Assessment::listed)
        .map(|it| it.rule.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let count = keys.len();
    progress(Step::Rules, 0, count);
    let rules = rules::rules(client, keys, |done| progress(Step::Rules, done, count)).await?;
    let mut reviewed: Vec<String> = listed_hotspots(&assessments)
        .filter(|hotspot| hotspot.review != Review::ToReview)
        .map(|hotspot| hotspot.finding.key.clone())
        .collect();
    reviewed.sort_unstable();
    reviewed.dedup();
    let said = reviewed.into_iter().map(async |key| {
        let comment = issues::comment(client, &key).await?;
        Ok::<_, Error>((key, comment))
    });
    let said = stream::iter(said).buffer_unordered(AT_ONCE);
    let comments: BTreeMap<String, Option<String>> = said.try_collect().await?;
    for assessment in &mut assessments {
        let listed: Vec<String> = assessment.listed().map(|it| it.rule.clone()).collect();
        for key in listed {
            if let Some(rule) = rules.get(&key) {
                assessment.rules.insert(key, rule.clone());
            }
        }
        for category in &mut assessment.categories {
            for hotspot in &mut category.listed_hotspots {
                let comment = comments.get(&hotspot.finding.key);
                hotspot.finding.comment = comment.cloned().flatten();
            }
        }
    }
    Ok(assessments)
}

fn listed_hotspots(assessments: &[Assessment]) -> impl Iterator<Item = &findings::Hotspot> {
    let categories = assessments.iter().flat_map(|it| &it.categories);
    categories.flat_map(|it| &it.listed_hotspots)
}
