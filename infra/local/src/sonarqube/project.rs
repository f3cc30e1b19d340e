//! What a server knows of a project.

use findings::{Probability, Review, Severity};

/// A project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Whether the token's user may browse it.
    pub is_visible: bool,
    /// Its branches; the first is the main one.
    pub branches: Vec<Branch>,
    /// The rules of the server.
    pub rules: Vec<KnownRule>,
}

/// A branch, as its newest analysis has left it.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its analyses, the newest first.
    pub analyses: Vec<Analysis>,
    /// `OK` or `ERROR`, if it has a gate.
    pub gate: Option<&'static str>,
    /// Its issues, in all states.
    pub issues: Vec<FoundIssue>,
    /// Its hotspots.
    pub hotspots: Vec<FoundHotspot>,
}

/// An analysis.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Its key.
    pub key: String,
    /// When it was made.
    pub date: String,
    /// What it calls its version.
    pub version: String,
    /// The commit.
    pub revision: Option<String>,
    /// What the build called itself.
    pub build: Option<String>,
}

/// An issue.
#[derive(Clone, Debug)]
pub struct FoundIssue {
    /// Its key.
    pub key: String,
    /// The key of its rule, which says in which categories it is.
    pub rule: String,
    /// The file.
    pub path: String,
    /// The line.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// How bad it is where servers rate by type; `None` if it is of another type than vulnerability.
    pub severity: Option<Severity>,
    /// How bad its impact on security is; `None` if it has none.
    pub impact: Option<Severity>,
    /// What became of it.
    pub status: Status,
    /// When it was found first.
    pub created: String,
    /// What was said of it.
    pub comment: Option<String>,
}

/// What became of an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "SonarQube's own names")]
pub enum Status {
    Open,
    Confirmed,
    Accepted,
    FalsePositive,
    Fixed,
    InSandbox,
}

impl Status {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Confirmed => "CONFIRMED",
            Self::Accepted => "ACCEPTED",
            Self::FalsePositive => "FALSE_POSITIVE",
            Self::Fixed => "FIXED",
            Self::InSandbox => "IN_SANDBOX",
        }
    }

    pub(super) const fn resolution(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Confirmed | Self::InSandbox => None,
            Self::Accepted => Some("WONTFIX"),
            Self::FalsePositive => Some("FALSE-POSITIVE"),
            Self::Fixed => Some("FIXED"),
        }
    }
}

/// A hotspot.
#[derive(Clone, Debug)]
pub struct FoundHotspot {
    /// Its key.
    pub key: String,
    /// The key of its rule.
    pub rule: String,
    /// The file.
    pub path: String,
    /// The line.
    pub line: u32,
    /// What to look at.
    pub message: String,
    /// How likely it is a vulnerability.
    pub probability: Probability,
    /// What became of it.
    pub review: Review,
    /// When it was found first.
    pub created: String,
    /// What a reviewer said.
    pub comment: Option<String>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct KnownRule {
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its description, as HTML.
    pub html: String,
    /// Whether it finds hotspots rather than vulnerabilities.
    pub finds_hotspots: bool,
    /// Whether it is no vulnerability by its type, but has an impact on security.
    pub is_smell: bool,
    /// Whether the profile of its language has it.
    pub is_active: bool,
    /// Its language. The project has `java` only.
    pub language: &'static str,
    /// Its CWEs.
    pub cwe: Vec<String>,
    /// Its categories of the OWASP Top 10 2021, `a1` to `a10`.
    pub owasp: Vec<String>,
}

impl Project {
    pub(super) fn rule(&self, key: &str) -> Option<&KnownRule> {
        self.rules.iter().find(|rule| rule.key == key)
    }
}
