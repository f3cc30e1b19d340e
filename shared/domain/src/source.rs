//! Sources: the servers that may tell us of events.

pub mod call;
pub mod import;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::organization::OrganizationId;
use crate::source::import::ImportSettings;
use crate::webhook::secret::Secrets;
use crate::webhook::url::WebhookUrl;

/// How many sources an organization may have. One `SonarQube` server needs one.
pub const MAX_SOURCES: u64 = 100;
/// How many project patterns a source may have.
pub const MAX_PATTERNS: usize = 100;
/// The precision of the time of the last call. Each recorded time costs a write.
const LAST_CALL_PRECISION: Duration = Duration::MINUTE;

crate::uuid_id! {
    /// The id of a source: 122 random bits. It is part of the address that is called, and grants nothing without the secret.
    #[derive(Debug)]
    SourceId
}

/// What kind of server calls a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// `SonarQube`, Server or Cloud, by its webhooks.
    #[default]
    Sonarqube,
    /// `CodeScoring`, by its webhooks.
    Codescoring,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Sonarqube, Self::Codescoring];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sonarqube => "sonarqube",
            Self::Codescoring => "codescoring",
        }
    }
}

/// A source as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// The organization that it belongs to.
    pub org: OrganizationId,
    /// Counts the changes by administrators.
    pub revision: u64,
    /// The kind of server that calls it.
    pub kind: SourceKind,
    /// What administrators set.
    #[serde(flatten)]
    pub settings: SourceSettings,
    /// When it was created, in the form of [`timestamp`].
    pub created_at: String,
    /// When its revision was made, in the same form.
    pub updated_at: String,
    /// When it was last called, in the same form, to within a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_call_at: Option<String>,
}

/// What administrators set of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSettings {
    /// Its name for a reader.
    pub name: String,
    /// The projects whose calls are accepted, by their keys or by `CodeScoring`'s names. A pattern that ends with `*` stands
    /// for all projects that begin with it. An empty list accepts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Whether calls are accepted.
    pub enabled: bool,
    /// The secrets that sign its calls, or the tokens that `CodeScoring` sends.
    #[serde(flatten)]
    pub secrets: Secrets,
    /// The server from which reports are imported, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportSettings>,
}

impl SourceSettings {
    /// The address of the server from which reports are imported.
    pub fn server(&self) -> Option<&WebhookUrl> {
        self.import.as_ref().map(|it| &it.base_url)
    }
}

impl Source {
    /// The server from which reports are imported now; `None` for a disabled source.
    pub fn importing(&self) -> Option<&ImportSettings> {
        let import = self.settings.import.as_ref();
        import.filter(|_| self.settings.enabled)
    }

    /// Whether a call about this project is accepted.
    pub fn includes(&self, project: &str) -> bool {
        self.includes_any([project])
    }

    /// Whether a call about a project with these names is accepted. A call without a project is accepted if all projects are.
    pub fn includes_any<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let projects = &self.settings.projects;
        let is_included = |name| projects.iter().any(|pattern| matches(pattern, name));
        projects.is_empty() || names.into_iter().any(is_included)
    }

    /// Whether the time of a call at `now` is recorded.
    pub fn is_call_to_be_noted(&self, now: OffsetDateTime) -> bool {
        let noted = timestamp(now - LAST_CALL_PRECISION);
        self.last_call_at.as_ref().is_none_or(|at| *at < noted)
    }
}

fn matches(pattern: &str, project: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => project.starts_with(beginning),
        None => pattern == project,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_what_begins_like_it() {
        for (pattern, project, expected) in [
            ("acme:shop", "acme:shop", true),
            ("acme:shop", "acme:shop-2", false),
            ("acme:*", "acme:shop", true),
            ("acme:*", "acme:", true),
            ("acme:*", "acm", false),
            ("*", "anything", true),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
        ] {
            assert_eq!(matches(pattern, project), expected, "{pattern} {project}");
        }
    }
}
