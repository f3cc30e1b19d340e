//! Security standards: the categories of a report, and how `SonarQube` is asked for each.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::Deserialize;

/// Every file of the folder `standards`.
const FILES: &[&str] = include!(concat!(env!("OUT_DIR"), "/standards.rs"));

/// A standard in one of its editions.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standard {
    /// Its name on the command line, such as `cwe-top-25-2024`.
    pub id: String,
    /// The `reportType` of its reports.
    pub report_type: String,
    /// Their `reportVersion`, the edition.
    pub report_version: u32,
    /// Its own title.
    pub title: String,
    /// Where it is published.
    pub url: String,
    /// The parameter of `SonarQube`'s searches that selects categories by their values.
    pub parameter: String,
    /// The categories, in its own order.
    pub categories: Vec<StandardCategory>,
}

/// A category of a standard.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandardCategory {
    /// Its public id, such as `CWE-79`.
    pub id: String,
    /// The value of the parameter that selects it.
    pub value: String,
    /// Its name.
    pub name: String,
    /// Where it is described.
    pub url: String,
}

/// There is no standard of this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStandard(String);

impl Standard {
    /// All standards, by type and edition.
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Standard>> = LazyLock::new(|| {
            let read = |text: &&str| serde_json::from_str(text).expect("a test reads all of them");
            let mut all: Vec<Standard> = FILES.iter().map(read).collect();
            all.sort_by(|one, other| {
                let key = |it: &Standard| (it.report_type.clone(), it.report_version);
                key(one).cmp(&key(other))
            });
            all
        });
        &ALL
    }

    /// The newest edition of each standard.
    pub fn newest() -> Vec<&'static Self> {
        let all = Self::all();
        let is_newest = |index: &usize| {
            all.get(index + 1)
                .is_none_or(|next| next.report_type != all[*index].report_type)
        };
        (0..all.len())
            .filter(is_newest)
            .map(|index| &all[index])
            .collect()
    }

    /// Type and edition.
    pub fn name(&self) -> String {
        format!("{} {}", self.report_type, self.report_version)
    }

    /// The values that select its categories, in its own order.
    pub fn values(&self) -> Vec<&str> {
        let values = self.categories.iter().map(|it| it.value.as_str());
        values.collect()
    }
}

impl FromStr for &'static Standard {
    type Err = UnknownStandard;

    fn from_str(id: &str) -> Result<Self, UnknownStandard> {
        let mut all = Standard::all().iter();
        all.find(|standard| standard.id == id)
            .ok_or_else(|| UnknownStandard(id.to_owned()))
    }
}

impl fmt::Display for UnknownStandard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = Standard::all().iter().map(|it| it.id.as_str()).collect();
        write!(
            formatter,
            "there is no standard '{}'; there are {}",
            self.0,
            known.join(", ")
        )
    }
}

impl std::error::Error for UnknownStandard {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_file_is_a_standard_whose_categories_differ() {
        let ids: Vec<&str> = Standard::all().iter().map(|it| it.id.as_str()).collect();
        assert_eq!(
            ids,
            ["cwe-top-25-2024", "cwe-top-25-2025", "owasp-top-10-2021"]
        );
        for standard in Standard::all() {
            let values: HashSet<&str> = standard
                .categories
                .iter()
                .map(|it| it.value.as_str())
                .collect();
            let ids: HashSet<&str> = standard
                .categories
                .iter()
                .map(|it| it.id.as_str())
                .collect();
            assert_eq!(values.len(), standard.categories.len(), "{}", standard.id);
            assert_eq!(ids.len(), standard.categories.len(), "{}", standard.id);
            for category in &standard.categories {
                assert!(category.url.starts_with("https://"), "{category:?}");
            }
        }
        let of = |id: &str| id.parse::<&Standard>().unwrap();
        assert_eq!(of("cwe-top-25-2024").categories.len(), 25);
        assert_eq!(of("cwe-top-25-2025").categories[0].id, "CWE-79");
        assert_eq!(of("owasp-top-10-2021").categories[9].value, "a10");
    }

    #[test]
    fn of_each_the_newest_edition_is_known() {
        let newest: Vec<String> = Standard::newest().iter().map(|it| it.name()).collect();
        assert_eq!(newest, ["CWE Top 25 2025", "OWASP Top 10 2021"]);
    }

    #[test]
    fn an_unknown_one_is_told_what_there_is() {
        let error = "cwe-top-25".parse::<&Standard>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no standard 'cwe-top-25'; there are cwe-top-25-2024, cwe-top-25-2025, owasp-top-10-2021"
        );
    }
}
