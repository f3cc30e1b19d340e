//! Searches for issues and hotspots of a category.
//!
//! A search shows its first 10,000 results, and says how many there are in total (`SearchOptions` in `SonarQube`'s source).
//! So counts come from the results if all of them can be read. Otherwise they come from the totals of one search for each
//! severity.

use std::collections::HashSet;

use findings::{
    Counts, Finding, Hotspot, Mode, Printed, Probability, Resolution, Review, Reviews, Severity,
    Vulnerability,
};
use url::Url;

use crate::client::Client;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::wire;

/// How many results a search shows.
const SHOWN: u64 = 10_000;
/// How many results a page has at most.
const PAGE: u64 = 500;
/// How often a search is read again when its results change in between.
const READINGS: usize = 3;
/// The longest message, in characters. A longer one is cut: a message is a sentence, but some analyzers write a file into it.
const MESSAGE: usize = 2000;

/// Searches in one branch of a project.
pub(crate) struct Search<'a> {
    pub(crate) client: &'a Client,
    pub(crate) dialect: &'a Dialect,
    pub(crate) project: &'a str,
    /// The branch's name, and whether a search has to name it. The main branch need not be named, and some editions know no
    /// branches.
    pub(crate) branch: &'a str,
    pub(crate) names_branch: bool,
    pub(crate) printed: Printed,
}

/// The issues to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Issues that count.
    Open,
    /// Issues that somebody accepted or dismissed.
    Dismissed,
    /// Issues that new rules found, and that wait in a sandbox for somebody to look at them.
    Sandboxed,
}

/// The result of a search for issues.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) counts: Counts,
    pub(crate) accepted: u64,
    pub(crate) false_positives: u64,
    /// The keys of all issues; `None` when there are more than a search shows.
    pub(crate) keys: Option<HashSet<String>>,
    /// The issues that may be printed.
    pub(crate) issues: Vec<Vulnerability>,
}

/// The result of a search for hotspots.
#[derive(Debug, Default)]
pub(crate) struct FoundHotspots {
    pub(crate) reviews: Reviews,
    /// The keys of all hotspots, with the results of their reviews; `None` when there are more than a search shows.
    pub(crate) keys: Option<HashSet<(String, Review)>>,
    pub(crate) hotspots: Vec<Hotspot>,
}

/// The parameter that selects categories, and their values, separated by commas.
pub(crate) type Categories<'a> = (&'a str, &'a str);

type Filter = Vec<(&'static str, String)>;

impl Search<'_> {
    /// The parameters that select the branch. `project` is the name of the parameter for the project.
    pub(crate) fn of_branch(&self, project: &'static str) -> Vec<(&'static str, &str)> {
        let mut parameters = vec![(project, self.project)];
        if self.names_branch {
            parameters.push(("branch", self.branch));
        }
        parameters
    }

    /// The issues of one or several categories.
    pub(crate) async fn issues(
        &self,
        which: Which,
        categories: Categories<'_>,
    ) -> Result<Found, Error> {
        for _ in 0..READINGS {
            let first = self.page(which, categories, &Filter::new(), 1).await?;
            let total = first.paging.total;
            if total > SHOWN {
                match self.many(which, categories).await? {
                    Some(found) => return Ok(found),
                    None => continue,
                }
            }
            let mut issues = first.issues;
            for page in 2..=total.div_ceil(PAGE) {
                let next = self.page(which, categories, &Filter::new(), page).await?;
                issues.extend(next.issues);
            }
            let keys: HashSet<String> = issues.iter().map(|issue| issue.key.clone()).collect();
            // Issues that came or went while pages were read have moved others from one page to the next.
            if keys.len() as u64 == total {
                let mut found = Found {
                    keys: Some(keys),
                    ..Found::default()
                };
                self.take(issues, &mut found);
                return Ok(found);
            }
        }
        Err(Error::Unsteady(categories.1.to_owned()))
    }

    /// More than a search shows: counted by severity, and the worst of them listed. `None` when the issues change in between.
    async fn many(&self, which: Which, categories: Categories<'_>) -> Result<Option<Found>, Error> {
        let mut found = Found::default();
        if which == Which::Dismissed {
            for (resolution, count) in [
                (Resolution::Accepted, &mut found.accepted),
                (Resolution::FalsePositive, &mut found.false_positives),
            ] {
                let filter = vec![self.dismissed(&[resolution])];
                *count = self.total(which, categories, filter).await?;
            }
            let first = self.page(which, categories, &Filter::new(), 1).await?;
            self.list(first.issues, &mut found);
            return Ok(Some(found));
        }
        let mut sum = 0;
        for severity in Severity::ALL {
            let key = severity.key(self.dialect.mode).to_owned();
            let filter = match self.dialect.mode {
                Mode::Standard => vec![("severities", key)],
                Mode::Mqr => vec![("impactSeverities", key)],
            };
            let first = self.page(which, categories, &filter, 1).await?;
            let total = first.paging.total;
            found.counts.add(severity, total);
            sum += total;
            let mut issues = first.issues;
            let wanted = self.printed.open.saturating_sub(found.issues.len()) as u64;
            for page in 2..=wanted.min(total).min(SHOWN).div_ceil(PAGE) {
                issues.extend(self.page(which, categories, &filter, page).await?.issues);
            }
            self.list(issues, &mut found);
        }
        // Otherwise the issues have changed, or the searches by severity cover other severities than those that count.
        let is_steady = sum == self.total(which, categories, Filter::new()).await?;
        Ok(is_steady.then_some(found))
    }

    /// How many issues are in a sandbox; `None` if the server does not know that state, or is too old to have it.
    pub(crate) async fn sandboxed(&self, categories: Categories<'_>) -> Result<Option<u64>, Error> {
        if !self.dialect.is_from(2025, 1) {
            return Ok(None);
        }
        match self
            .total(Which::Sandboxed, categories, Filter::new())
            .await
        {
            Ok(total) => Ok(Some(total)),
            Err(Error::BadRequest { message, .. }) if message.contains("issueStatuses") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn total(
        &self,
        which: Which,
        categories: Categories<'_>,
        mut filter: Filter,
    ) -> Result<u64, Error> {
        filter.push(("ps", "1".to_owned()));
        Ok(self.page(which, categories, &filter, 1).await?.paging.total)
    }

    /// A page of a search. A later filter replaces an earlier one with the same name.
    async fn page(
        &self,
        which: Which,
        categories: Categories<'_>,
        filter: &Filter,
        page: u64,
    ) -> Result<wire::Issues, Error> {
        loop {
            let mut all: Filter = vec![
                ("s", "FILE_LINE".to_owned()),
                ("ps", PAGE.to_string()),
                ("p", page.to_string()),
                match self.dialect.mode {
                    Mode::Standard => ("types", "VULNERABILITY".to_owned()),
                    Mode::Mqr => ("impactSoftwareQualities", "SECURITY".to_owned()),
                },
            ];
            match which {
                Which::Open => all.push(self.open()),
                Which::Sandboxed => all.push(("issueStatuses", "IN_SANDBOX".to_owned())),
                Which::Dismissed => {
                    all.push(self.dismissed(&[Resolution::Accepted, Resolution::FalsePositive]));
                    all.push(("additionalFields", "comments".to_owned()));
                }
            }
            all.retain(|(name, _)| !filter.iter().any(|(other, _)| other == name));
            all.extend(filter.iter().cloned());
            let mut parameters: Vec<(&str, &str)> = self.of_branch(self.dialect.issues_project());
            parameters.extend(all.iter().map(|(name, value)| (*name, value.as_str())));
            parameters.push(categories);
            let found = self
                .client
                .get::<wire::Issues>("api/issues/search", &parameters);
            match found.await {
                Err(Error::BadRequest { message, .. })
                    if message.contains("components") && self.dialect.rename_issues_project() => {}
                // A server that does not know the parameter ignores it, and shows every project.
                Ok(found) if found.issues.iter().any(|it| it.project != self.project) => {
                    if !self.dialect.rename_issues_project() {
                        return Err(ignored("api/issues/search"));
                    }
                }
                Ok(found)
                    if found
                        .issues
                        .iter()
                        .any(|it| resolution(it).is_some() != (which == Which::Dismissed)) =>
                {
                    return Err(ignored("api/issues/search"));
                }
                other => return other,
            }
        }
    }

    fn open(&self) -> (&'static str, String) {
        // From 2025 on there may also be issues in a sandbox. They are not resolved, but do not count.
        match self.dialect.is_from(10, 4) {
            true => ("issueStatuses", "OPEN,CONFIRMED".to_owned()),
            false => ("resolved", "false".to_owned()),
        }
    }

    fn dismissed(&self, resolutions: &[Resolution]) -> (&'static str, String) {
        let (name, keys) = match self.dialect.is_from(10, 4) {
            true => ("issueStatuses", ["ACCEPTED", "FALSE_POSITIVE"]),
            false => ("resolutions", ["WONTFIX", "FALSE-POSITIVE"]),
        };
        let keys: Vec<&str> = resolutions.iter().map(|it| keys[*it as usize]).collect();
        (name, keys.join(","))
    }

    /// Counts issues, and lists them.
    fn take(&self, issues: Vec<wire::Issue>, found: &mut Found) {
        let before = found.issues.len();
        self.list(issues, found);
        for issue in &found.issues[before..] {
            match issue.resolution {
                None => found.counts.add(issue.severity, 1),
                Some(Resolution::Accepted) => found.accepted += 1,
                Some(Resolution::FalsePositive) => found.false_positives += 1,
            }
        }
        // Issues that are not printed need not be kept.
        found.issues.sort_unstable();
        found
            .issues
            .truncate(self.printed.open.max(self.printed.others));
    }

    fn list(&self, issues: Vec<wire::Issue>, found: &mut Found) {
        found
            .issues
            .extend(issues.into_iter().map(|issue| self.vulnerability(issue)));
    }

    fn vulnerability(&self, issue: wire::Issue) -> Vulnerability {
        let severity = match self.dialect.mode {
            Mode::Standard => issue.severity.as_deref(),
            Mode::Mqr => {
                let mut impacts = issue.impacts.iter();
                let security = impacts.find(|impact| impact.software_quality == "SECURITY");
                security.map(|impact| impact.severity.as_str())
            }
        };
        let why = resolution(&issue);
        Vulnerability {
            // An unknown severity is overrated rather than overlooked.
            severity: severity
                .and_then(Severity::of_key)
                .unwrap_or(Severity::Blocker),
            finding: Finding {
                url: self.link(
                    "project/issues",
                    &[("issues", &issue.key), ("open", &issue.key)],
                ),
                path: self.path(&issue.component),
                rule: issue.rule,
                line: issue.line,
                message: shortened(&issue.message),
                key: issue.key,
                found: day(&issue.creation_date),
                comment: last(issue.comments),
            },
            resolution: why,
        }
    }

    /// The hotspots of one or several categories, in all states.
    pub(crate) async fn hotspots(
        &self,
        categories: Categories<'_>,
    ) -> Result<FoundHotspots, Error> {
        for _ in 0..READINGS {
            let first = self.hotspot_page(categories, &[], 1).await?;
            let total = first.paging.total;
            let mut hotspots = first.hotspots;
            if total > SHOWN {
                // Hotspots that nobody has reviewed come first.
                let to_review = [("status", "TO_REVIEW")];
                let first = self.hotspot_page(categories, &to_review, 1).await?;
                let mut found = FoundHotspots {
                    reviews: self.many_hotspots(categories).await?,
                    ..FoundHotspots::default()
                };
                if found.reviews.total() != total {
                    continue;
                }
                let shown: HashSet<String> =
                    first.hotspots.iter().map(|it| it.key.clone()).collect();
                hotspots.retain(|it| !shown.contains(&it.key));
                let all = first.hotspots.into_iter().chain(hotspots);
                found.hotspots = all.map(|it| self.hotspot(it)).collect();
                return Ok(found);
            }
            for page in 2..=total.div_ceil(PAGE) {
                hotspots.extend(self.hotspot_page(categories, &[], page).await?.hotspots);
            }
            let hotspots: Vec<Hotspot> = hotspots.into_iter().map(|it| self.hotspot(it)).collect();
            let keys: HashSet<(String, Review)> = hotspots
                .iter()
                .map(|it| (it.finding.key.clone(), it.review))
                .collect();
            if keys.len() as u64 != total {
                continue;
            }
            let mut reviews = Reviews::default();
            for hotspot in &hotspots {
                reviews.add(hotspot.review, 1);
            }
            return Ok(FoundHotspots {
                reviews,
                keys: Some(keys),
                hotspots,
            });
        }
        Err(Error::Unsteady(categories.1.to_owned()))
    }

    async fn many_hotspots(&self, categories: Categories<'_>) -> Result<Reviews, Error> {
        let mut reviews = Reviews::default();
        for (review, filter) in [
            (Review::ToReview, &[("status", "TO_REVIEW")][..]),
            (
                Review::Acknowledged,
                &[("status", "REVIEWED"), ("resolution", "ACKNOWLEDGED")],
            ),
            (
                Review::Fixed,
                &[("status", "REVIEWED"), ("resolution", "FIXED")],
            ),
            (
                Review::Safe,
                &[("status", "REVIEWED"), ("resolution", "SAFE")],
            ),
        ] {
            let page = self.hotspot_page(categories, filter, 1).await?;
            reviews.add(review, page.paging.total);
        }
        Ok(reviews)
    }

    async fn hotspot_page(
        &self,
        categories: Categories<'_>,
        filter: &[(&str, &str)],
        page: u64,
    ) -> Result<wire::Hotspots, Error> {
        let (size, page) = (PAGE.to_string(), page.to_string());
        loop {
            let mut parameters: Vec<(&str, &str)> = self.of_branch(self.dialect.hotspots_project());
            parameters.extend([("ps", size.as_str()), ("p", page.as_str()), categories]);
            parameters.extend(filter);
            let found = self
                .client
                .get::<wire::Hotspots>("api/hotspots/search", &parameters);
            match found.await {
                Err(Error::BadRequest { message, .. })
                    if message.contains("'project'") && self.dialect.rename_hotspots_project() => {}
                Ok(found) if found.hotspots.iter().any(|it| it.project != self.project) => {
                    return Err(ignored("api/hotspots/search"));
                }
                other => return other,
            }
        }
    }

    fn hotspot(&self, hotspot: wire::Hotspot) -> Hotspot {
        let review = match (hotspot.status.as_str(), hotspot.resolution.as_deref()) {
            ("REVIEWED", Some("FIXED")) => Review::Fixed,
            ("REVIEWED", Some("ACKNOWLEDGED")) => Review::Acknowledged,
            ("REVIEWED", Some("SAFE")) => Review::Safe,
            _ => Review::ToReview,
        };
        Hotspot {
            review,
            probability: match hotspot.vulnerability_probability.as_str() {
                "LOW" => Probability::Low,
                "MEDIUM" => Probability::Medium,
                _ => Probability::High,
            },
            finding: Finding {
                url: self.link("security_hotspots", &[("hotspots", &hotspot.key)]),
                path: self.path(&hotspot.component),
                rule: hotspot.rule_key,
                line: hotspot.line,
                message: shortened(&hotspot.message),
                key: hotspot.key,
                found: day(&hotspot.creation_date),
                comment: None,
            },
        }
    }

    /// A component's path in the project.
    fn path(&self, component: &str) -> String {
        let inside = component.strip_prefix(self.project);
        let path = inside
            .and_then(|it| it.strip_prefix(':'))
            .unwrap_or(component);
        shortened(path)
    }

    /// The address of a page of the server, about this project and branch.
    pub(crate) fn link(&self, page: &str, more: &[(&str, &str)]) -> String {
        let address = format!("{}/{page}", self.dialect.server.url);
        let Ok(mut url) = Url::parse(&address) else {
            return address;
        };
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("id", self.project);
            if self.names_branch {
                query.append_pair("branch", self.branch);
            }
            query.extend_pairs(more);
        }
        url.into()
    }
}

/// The latest comment on a hotspot.
pub(crate) async fn comment(client: &Client, hotspot: &str) -> Result<Option<String>, Error> {
    let parameters = [("hotspot", hotspot)];
    match client
        .get::<wire::ShownHotspot>("api/hotspots/show", &parameters)
        .await
    {
        Ok(shown) => Ok(last(shown.comment)),
        // It has just been removed.
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server ignored a parameter: the results are of other projects, or in another state than requested.
fn ignored(what: &str) -> Error {
    Error::Malformed {
        what: what.to_owned(),
        why: "it is about other projects or other issues than were asked for".to_owned(),
    }
}

fn resolution(issue: &wire::Issue) -> Option<Resolution> {
    let status = issue
        .issue_status
        .as_deref()
        .or(issue.resolution.as_deref());
    match status {
        Some("ACCEPTED" | "WONTFIX") => Some(Resolution::Accepted),
        Some("FALSE_POSITIVE" | "FALSE-POSITIVE") => Some(Resolution::FalsePositive),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} …", &text[..end]),
    }
}

/// The day of a time such as `2013-05-13T17:55:39+0200`, in the server's time zone.
fn day(time: &str) -> String {
    time.chars().take(10).collect()
}

fn last(comments: Vec<wire::Comment>) -> Option<String> {
    let last = comments
        .into_iter()
        .max_by(|one, other| one.created_at.cmp(&other.created_at));
    let text = last?.markdown.trim().to_owned();
    (!text.is_empty()).then(|| shortened(&text))
}
