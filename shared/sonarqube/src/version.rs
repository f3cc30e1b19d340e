//! The version that a report is about.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use domain::version::Version;
use findings::Analysis;

/// The version of a report when that of its analysis cannot be compared. The scanner's default is `not provided`, and most
/// projects leave it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum VersionFallback {
    /// No report is made.
    Refuse,
    /// The day of the analysis, such as `2026.11.25`.
    #[default]
    Date,
    /// The build's own name (`sonar.buildString`).
    Build,
    /// A property of the analysis.
    Property(String),
}

/// The text names no fallback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFallback;

impl fmt::Display for InvalidFallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there are refuse, date, build and property:<name>")
    }
}

impl std::error::Error for InvalidFallback {}

impl FromStr for VersionFallback {
    type Err = InvalidFallback;

    fn from_str(text: &str) -> Result<Self, InvalidFallback> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "date" => Ok(Self::Date),
            "build" => Ok(Self::Build),
            _ => match text.strip_prefix("property:") {
                Some(name) if !name.is_empty() => Ok(Self::Property(name.to_owned())),
                _ => Err(InvalidFallback),
            },
        }
    }
}

/// The version of a report, and the analysis' own version if that differs. `None` when the analysis has no usable version,
/// and the fallback does not help.
pub(crate) fn version(
    given: Option<&str>,
    analysis: &Analysis,
    properties: &BTreeMap<String, String>,
    fallback: &VersionFallback,
) -> Option<(Version, Option<String>)> {
    let given = given.unwrap_or_default();
    if let Ok(version) = given.parse() {
        return Some((version, None));
    }
    let date = analysis.date.instant().date();
    let other = match fallback {
        VersionFallback::Refuse => None,
        VersionFallback::Date => Some(format!(
            "{}.{}.{}",
            date.year(),
            u8::from(date.month()),
            date.day()
        )),
        VersionFallback::Build => analysis.build.clone(),
        VersionFallback::Property(name) => properties.get(name).cloned(),
    };
    Some((other?.parse().ok()?, Some(given.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_replaced_as_it_was_asked_for() {
        let analysis = Analysis {
            key: "A".to_owned(),
            date: serde_json::from_str("\"2026-03-05T23:30:00+0100\"").unwrap(),
            revision: None,
            build: Some("1.2.1.423".to_owned()),
        };
        let properties = BTreeMap::from([("sonar.analysis.v".to_owned(), "7.1".to_owned())]);
        let of = |given, fallback: &str| {
            let fallback = fallback.parse().unwrap();
            let version = version(given, &analysis, &properties, &fallback);
            version.map(|(version, unusable)| (version.as_str().to_owned(), unusable))
        };
        let replaced =
            |version: &str, given: &str| Some((version.to_owned(), Some(given.to_owned())));
        assert_eq!(
            of(Some("1.2.1"), "refuse"),
            Some(("1.2.1".to_owned(), None))
        );
        assert_eq!(of(Some("not provided"), "refuse"), None);
        assert_eq!(
            of(Some("not provided"), "date"),
            replaced("2026.3.5", "not provided")
        );
        assert_eq!(of(None, "date"), replaced("2026.3.5", ""));
        assert_eq!(of(Some("latest"), "build"), replaced("1.2.1.423", "latest"));
        assert_eq!(
            of(Some("latest"), "property:sonar.analysis.v"),
            replaced("7.1", "latest")
        );
        assert_eq!(of(Some("latest"), "property:other"), None);
        for wrong in ["", "Date", "property:", "property"] {
            assert_eq!(wrong.parse::<VersionFallback>(), Err(InvalidFallback));
        }
    }
}
