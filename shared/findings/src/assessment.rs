//! An analysis, seen through one standard.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::date::GivenDate;
use domain::report::{QualityGateStatus, Rating};
use domain::version::Version;

use crate::{Severity, Standard};

/// What an analysis found, by the categories of one standard.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// The standard.
    pub standard: &'static Standard,
    /// What was analysed, the same for every standard.
    pub subject: Arc<Subject>,
    /// Every category of the standard, in its order.
    pub categories: Vec<Category>,
    /// Open issues, each counted once, however many categories it is in.
    pub open: Counts,
    /// Hotspots, counted in the same way.
    pub hotspots: Reviews,
    /// Issues that somebody accepted, counted the same way.
    pub accepted: u64,
    /// Issues that somebody marked as false positives, counted the same way.
    pub false_positives: u64,
    /// Issues in a sandbox, which wait for somebody to look at them; `None` if the server has no sandbox or does not tell.
    pub sandboxed: Option<u64>,
    /// The rules of everything that is listed, by their keys.
    pub rules: BTreeMap<String, Rule>,
}

/// What was analysed, and by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// `SonarQube`'s key of the project.
    pub project_key: String,
    /// The project's name.
    pub project_name: String,
    /// Where a reader finds the project, on the server that was asked.
    pub project_url: String,
    /// The branch, by its name.
    pub branch: String,
    /// Whether that is the main branch.
    pub is_main_branch: bool,
    /// The version that the report is about.
    pub version: Version,
    /// The analysis' own version, if the report could not use it.
    pub unusable_version: Option<String>,
    /// The analysis.
    pub analysis: Analysis,
    /// The server.
    pub server: Server,
    /// How the server rates issues.
    pub mode: Mode,
    /// The quality gate, if the server tells it.
    pub gate: Option<Gate>,
    /// The project's own figures.
    pub measures: Measures,
}

/// An analysis of a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Its key on the server.
    pub key: String,
    /// When it was made.
    pub date: GivenDate,
    /// The revision of the source code, usually a commit.
    pub revision: Option<String>,
    /// The build that made it, as the build called itself (`sonar.buildString`).
    pub build: Option<String>,
}

/// A server of `SonarQube`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Its version; `None` for the cloud, which has none.
    pub version: Option<String>,
}

/// How `SonarQube` rates issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By type and severity ("Standard Experience"): what counts is of type vulnerability.
    Standard,
    /// By impacts on software qualities ("Multi-Quality Rule"): what counts has an impact on security.
    Mqr,
}

/// A quality gate, and its failed conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Its status.
    pub status: QualityGateStatus,
    /// The conditions that failed.
    pub failed: Vec<Condition>,
}

/// A condition of a quality gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The metric's key.
    pub metric: String,
    /// `LT` or `GT`: the condition fails when the metric's value is less or greater.
    pub comparator: String,
    /// The threshold.
    pub threshold: Option<String>,
    /// The metric's value.
    pub actual: Option<String>,
}

/// The project's figures, independent of any standard. `None` is a figure that this server does not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Open issues of all kinds that count, whether or not a category has them.
    pub open: Option<u64>,
    /// The rating by these issues.
    pub security_rating: Option<Rating>,
    /// Hotspots to review.
    pub hotspots_to_review: Option<u64>,
    /// The share of reviewed hotspots, in percent.
    pub hotspots_reviewed: Option<f64>,
    /// The rating by that share.
    pub review_rating: Option<Rating>,
    /// Lines of code.
    pub lines: Option<u64>,
}

/// A category of the standard, and its findings. An issue may be in several categories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Category {
    /// Open issues.
    pub open: Counts,
    /// Hotspots.
    pub hotspots: Reviews,
    /// Issues that somebody accepted.
    pub accepted: u64,
    /// Issues that somebody marked as false positives.
    pub false_positives: u64,
    /// How many rules of the project's quality profiles look for it; `None` when that is not known.
    pub active_rules: Option<u64>,
    /// Open issues, the worst first. There may be fewer than are counted.
    pub vulnerabilities: Vec<Vulnerability>,
    /// Hotspots, those to review first. There may be fewer than are counted.
    pub listed_hotspots: Vec<Hotspot>,
    /// Issues that were accepted or marked as false positives. There may be fewer than are counted.
    pub dismissed: Vec<Vulnerability>,
}

/// How many open issues there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 5]);

/// How many hotspots there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the states")]
pub struct Reviews {
    pub to_review: u64,
    pub acknowledged: u64,
    pub fixed: u64,
    pub safe: u64,
}

/// Something that a rule found at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The rule's key.
    pub rule: String,
    /// The file, in the project.
    pub path: String,
    /// The line in it.
    pub line: Option<u32>,
    /// What is wrong, or to look at.
    pub message: String,
    /// Its key on the server.
    pub key: String,
    /// The day on which it was first found, such as `2026-01-31`.
    pub found: String,
    /// Where a reader finds it.
    pub url: String,
    /// The latest comment on it.
    pub comment: Option<String>,
}

/// An issue that counts, or that counted until somebody accepted or dismissed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vulnerability {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, and where.
    pub finding: Finding,
    /// Why it is not open any more.
    pub resolution: Option<Resolution>,
}

/// Why an issue does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// It is a problem, and will stay.
    Accepted,
    /// It is not a problem.
    FalsePositive,
}

/// Code that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hotspot {
    /// The result of its review.
    pub review: Review,
    /// How likely it is a vulnerability.
    pub probability: Probability,
    /// What it is, and where.
    pub finding: Finding,
}

/// The result of the review of a hotspot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Review {
    /// Nobody has decided yet.
    ToReview,
    /// It is a risk, and stays for now.
    Acknowledged,
    /// It was a risk, and is fixed.
    Fixed,
    /// It is not a risk.
    Safe,
}

/// How likely a hotspot is a vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Probability {
    High,
    Medium,
    Low,
}

/// The description of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Why there is a problem, and how to solve it. Empty if the server does not tell.
    pub text: Vec<Block>,
}

/// A piece of a rule's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Paragraph(String),
    /// An item of a list.
    Item(String),
    /// Lines of code.
    Code(String),
}

/// How many findings a report lists; the others are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Open issues of each category, at least, if there is room for all categories.
    pub of_each_category: usize,
    /// Open issues of all categories together.
    pub open: usize,
    /// Hotspots, and issues that do not count, each of all categories together.
    pub others: usize,
}

impl Printed {
    /// So many that the rest is of no use to a reader, and that the time and memory to print them are bounded.
    pub const DEFAULT: Self = Self {
        of_each_category: 50,
        open: 2000,
        others: 500,
    };
}

impl Assessment {
    /// The rating of the open issues; A if there are none.
    pub fn rating(&self) -> Rating {
        self.open.rating()
    }

    /// Open issues, summed over the categories. An issue in several categories counts several times.
    pub fn occurrences(&self) -> u64 {
        self.categories.iter().map(|it| it.open.total()).sum()
    }

    /// The categories, with the standard's description of each.
    pub fn by_category(
        &self,
    ) -> impl Iterator<Item = (&'static crate::StandardCategory, &Category)> {
        self.standard.categories.iter().zip(&self.categories)
    }

    /// Keeps only as many findings as a report lists: first the worst ones of each category, then the worst of all. The
    /// counts do not change.
    #[must_use]
    pub fn limited_to(mut self, printed: &Printed) -> Self {
        for category in &mut self.categories {
            category.vulnerabilities.sort();
            category.listed_hotspots.sort();
            category.dismissed.sort();
        }
        let each = printed.of_each_category;
        keep(
            &mut self.categories,
            each,
            printed.open,
            |it| &mut it.vulnerabilities,
            |it| it.severity as usize,
        );
        keep(
            &mut self.categories,
            each,
            printed.others,
            |it| &mut it.listed_hotspots,
            |it| it.review as usize,
        );
        keep(
            &mut self.categories,
            each,
            printed.others,
            |it| &mut it.dismissed,
            |it| it.severity as usize,
        );
        self
    }

    /// All listed findings of every kind. A finding in several categories appears several times.
    pub fn listed(&self) -> impl Iterator<Item = &Finding> {
        self.categories.iter().flat_map(|category| {
            let issues = category.vulnerabilities.iter().chain(&category.dismissed);
            let hotspots = category.listed_hotspots.iter().map(|it| &it.finding);
            issues.map(|it| &it.finding).chain(hotspots)
        })
    }

    /// The same, mutable.
    pub fn listed_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        self.categories.iter_mut().flat_map(|category| {
            let issues = category.vulnerabilities.iter_mut();
            let issues = issues.chain(&mut category.dismissed);
            let hotspots = category.listed_hotspots.iter_mut();
            issues
                .map(|it| &mut it.finding)
                .chain(hotspots.map(|it| &mut it.finding))
        })
    }
}

/// Keeps the worst of each category's list: `of_each`, and then the worst of all, until there are `most` in total.
fn keep<T>(
    categories: &mut [Category],
    of_each: usize,
    most: usize,
    list: impl Fn(&mut Category) -> &mut Vec<T>,
    rank: impl Fn(&T) -> usize,
) {
    let ranks: Vec<Vec<usize>> = categories
        .iter_mut()
        .map(|it| list(it).iter().map(&rank).collect())
        .collect();
    for (category, kept) in categories.iter_mut().zip(shares(&ranks, of_each, most)) {
        list(category).truncate(kept);
    }
}

/// How many of each list are kept. Each list has its worst first, given by their ranks.
fn shares(ranks: &[Vec<usize>], of_each: usize, most: usize) -> Vec<usize> {
    let mut left = most;
    let mut kept: Vec<usize> = ranks
        .iter()
        .map(|list| {
            let kept = list.len().min(of_each).min(left);
            left -= kept;
            kept
        })
        .collect();
    let worst = ranks.iter().flatten().copied().max().unwrap_or_default();
    for rank in 0..=worst {
        for (list, kept) in ranks.iter().zip(&mut kept) {
            while left > 0 && list.get(*kept).is_some_and(|it| *it <= rank) {
                *kept += 1;
                left -= 1;
            }
        }
    }
    kept
}

impl Category {
    /// The rating of the open issues; `None` when there are none and no rule looks for them, since then they may exist.
    pub fn rating(&self) -> Option<Rating> {
        let is_unchecked = self.active_rules == Some(0) && self.open.total() == 0;
        (!is_unchecked).then(|| self.open.rating())
    }
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, severity: Severity, count: u64) {
        self.0[severity as usize] += count;
    }

    /// The count of this severity.
    pub fn of(&self, severity: Severity) -> u64 {
        self.0[severity as usize]
    }

    /// The count of all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The worst open severity.
    pub fn worst(&self) -> Option<Severity> {
        Severity::ALL.into_iter().find(|it| self.of(*it) > 0)
    }

    /// The rating of the worst one: how many there are does not matter.
    pub fn rating(&self) -> Rating {
        self.worst().map_or(Rating::A, Severity::rating)
    }
}

impl Reviews {
    /// Counts one more.
    pub fn add(&mut self, review: Review, count: u64) {
        match review {
            Review::ToReview => self.to_review += count,
            Review::Acknowledged => self.acknowledged += count,
            Review::Fixed => self.fixed += count,
            Review::Safe => self.safe += count,
        }
    }

    /// In all states.
    pub fn total(&self) -> u64 {
        self.to_review + self.acknowledged + self.fixed + self.safe
    }

    /// The rating, as `SonarSource`'s own security reports compute it (`SecurityReviewRating` in its source). Of the hotspots
    /// that are fixed or to be reviewed, it takes the share of fixed ones. The limits are 80, 70, 50 and 30 percent, and the
    /// rating is A when there are none. The project's own measure counts whatever was reviewed.
    pub fn rating(&self) -> Rating {
        let all = self.to_review + self.fixed;
        if all == 0 {
            return Rating::A;
        }
        let reaches = |percent: u64| self.fixed * 100 >= percent * all;
        [
            (80, Rating::A),
            (70, Rating::B),
            (50, Rating::C),
            (30, Rating::D),
        ]
        .into_iter()
        .find(|(percent, _)| reaches(*percent))
        .map_or(Rating::E, |(_, rating)| rating)
    }
}

#[cfg(test)]
mod tests;
