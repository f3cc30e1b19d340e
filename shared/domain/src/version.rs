//! Versions of projects: lenient to read, ordered by the precedence of Semantic Versioning 2.0.
//!
//! Real projects call their versions `1.0`, `v1.2.3`, `2024.01.05` or `1.2.3.4`, so reading accepts what can be
//! ordered without a guess. The text is kept as it was given. For the order there is [`Version::sort_key`]: a string
//! whose byte order is the precedence, so that a range of versions is one range of keys in `DynamoDB`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease};
use serde::{Deserialize, Serialize};

/// The longest version in characters. `SonarQube` stores no longer project version either.
pub const MAX_LENGTH: usize = 100;

/// How many numbers a version may begin with. The fourth is what Windows and .NET call the revision.
const MAX_NUMBERS: usize = 4;

/// A version as it was given, and what it means.
///
/// Two versions are equal (`==`) when neither precedes the other: `v1.0` equals `1.0.0+build.7`. The texts may differ.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    numbers: [u64; MAX_NUMBERS],
    prerelease: Prerelease,
}

impl Version {
    /// The text exactly as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A string whose byte order is the precedence of versions.
    ///
    /// Equal versions have equal keys, and no key is the beginning of another one, so whatever is appended to keys orders
    /// only among equal versions. The parts, in order:
    ///
    /// - the four numbers, each as two digits that count its digits, and these: 9 is `019`, 10 is `0210`;
    /// - `3` for a release. For a pre-release instead each identifier, then `0`, so a shorter list of identifiers precedes
    ///   a longer one that begins like it. A numeric identifier is `1` and the number as above; any other is `2`, the
    ///   text, and `!`, which precedes every character of an identifier.
    pub fn sort_key(&self) -> String {
        let mut key = String::with_capacity(32);
        for number in self.numbers {
            push_number(&mut key, &number.to_string());
        }
        if self.prerelease.is_empty() {
            key.push('3');
            return key;
        }
        for identifier in self.prerelease.split('.') {
            if is_numeric(identifier) {
                key.push('1');
                push_number(&mut key, identifier);
            } else {
                key.push('2');
                key.push_str(identifier);
                key.push('!');
            }
        }
        key.push('0');
        key
    }
}

fn push_number(key: &mut String, digits: &str) {
    debug_assert!(
        digits.len() < MAX_LENGTH,
        "a version has at most {MAX_LENGTH} characters"
    );
    key.push_str(&format!("{:02}", digits.len()));
    key.push_str(digits);
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_LENGTH`] characters.
    #[error("it has more than {MAX_LENGTH} characters")]
    TooLong,
    /// Something other than digits where a number is expected.
    #[error("'{0}' is not a number")]
    NotANumber(String),
    /// A number that 64 bits do not hold.
    #[error("the number {0} is larger than {max}", max = u64::MAX)]
    NumberTooLarge(String),
    /// More than four numbers.
    #[error("it has more than {MAX_NUMBERS} numbers")]
    TooManyNumbers,
    /// What follows the first `-`.
    #[error(
        "'{0}' is not a pre-release: identifiers are letters, digits and '-', separated by dots"
    )]
    Prerelease(String),
    /// What follows the first `+`.
    #[error(
        "'{0}' is not build metadata: identifiers are letters, digits and '-', separated by dots"
    )]
    Build(String),
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        if text.is_empty() {
            return Err(InvalidVersion::Empty);
        }
        if text.chars().count() > MAX_LENGTH {
            return Err(InvalidVersion::TooLong);
        }
        let rest = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (rest, build) = split(rest, '+');
        let (core, prerelease) = split(rest, '-');
        if let Some(build) = build
            && (build.is_empty() || BuildMetadata::new(build).is_err())
        {
            return Err(InvalidVersion::Build(build.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            numbers: parse_numbers(core)?,
            prerelease: prerelease.map_or(Ok(Prerelease::EMPTY), parse_prerelease)?,
        })
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn parse_numbers(core: &str) -> Result<[u64; MAX_NUMBERS], InvalidVersion> {
    let mut numbers = [0; MAX_NUMBERS];
    for (position, part) in core.split('.').enumerate() {
        if !is_numeric(part) {
            return Err(InvalidVersion::NotANumber(part.to_owned()));
        }
        let number = numbers
            .get_mut(position)
            .ok_or(InvalidVersion::TooManyNumbers)?;
        *number = part
            .parse()
            .map_err(|_| InvalidVersion::NumberTooLarge(part.to_owned()))?;
    }
    Ok(numbers)
}

fn parse_prerelease(text: &str) -> Result<Prerelease, InvalidVersion> {
    let invalid = || InvalidVersion::Prerelease(text.to_owned());
    let identifiers: Vec<&str> = text.split('.').map(without_leading_zeros).collect();
    let prerelease = Prerelease::new(&identifiers.join(".")).map_err(|_| invalid())?;
    if prerelease.is_empty() {
        Err(invalid())
    } else {
        Ok(prerelease)
    }
}

/// SemVer forbids `rc.01`; projects write it all the same, and mean 1.
fn without_leading_zeros(identifier: &str) -> &str {
    if !is_numeric(identifier) {
        return identifier;
    }
    let trimmed = identifier.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }
}

fn is_numeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| self.prerelease.cmp(&other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

/// The versions from `lowest` to `highest`, both included. A missing bound bounds nothing.
#[derive(Clone, Debug, Default)]
pub struct VersionRange {
    lowest: Option<Version>,
    highest: Option<Version>,
}

impl VersionRange {
    /// Every version.
    pub const ALL: Self = Self {
        lowest: None,
        highest: None,
    };

    /// This range without what precedes `version`.
    #[must_use]
    pub fn at_least(self, version: Version) -> Self {
        let lowest = self.lowest.into_iter().chain([version]).max();
        Self { lowest, ..self }
    }

    /// This range without what `version` precedes.
    #[must_use]
    pub fn at_most(self, version: Version) -> Self {
        let highest = self.highest.into_iter().chain([version]).min();
        Self { highest, ..self }
    }

    /// The smallest and the largest key of the range, both included, when keys may have a further part appended that
    /// begins below `~`; `None` when no version lies in the range.
    pub fn key_bounds(&self) -> Option<(String, String)> {
        if let (Some(lowest), Some(highest)) = (&self.lowest, &self.highest)
            && lowest > highest
        {
            return None;
        }
        // Every key begins with a digit.
        let from = self
            .lowest
            .as_ref()
            .map_or_else(|| "0".to_owned(), Version::sort_key);
        let to = self
            .highest
            .as_ref()
            .map_or_else(String::new, Version::sort_key)
            + "~";
        Some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn versions_lie_in_the_order_of_precedence() {
        let ascending = [
            "0",
            "0.0.0.1",
            "0.0.1",
            "0.1",
            "1.0-0",
            "1.0-1",
            "1.0-2",
            "1.0-10",
            "1.0-18446744073709551615",
            "1.0-18446744073709551616",
            "1.0--",
            "1.0--1",
            "1.0-1a",
            "1.0-SNAPSHOT",
            "1.0-alpha",
            "1.0-alpha.0",
            "1.0-alpha.1",
            "1.0-alpha.1.0",
            "1.0-alpha.beta",
            "1.0-alpha-",
            "1.0-alphabet",
            "1.0-beta",
            "1.0-beta.2",
            "1.0-beta.11",
            "1.0-rc.1",
            "1.0",
            "1.0.0.1-rc",
            "1.0.0.1",
            "1.0.0.9",
            "1.0.0.10",
            "1.0.1-0",
            "1.0.1",
            "1.2.3",
            "1.2.3.4-1",
            "1.2.3.4",
            "1.2.4-rc",
            "1.2.4",
            "1.10",
            "2.0",
            "2024.01.05",
            "2024.11",
            "9999999999",
            "18446744073709551614",
            "18446744073709551615",
        ];
        for pair in ascending.windows(2) {
            let (smaller, larger) = (version(pair[0]), version(pair[1]));
            assert!(smaller < larger, "{smaller} < {larger}");
            assert!(
                smaller.sort_key() < larger.sort_key(),
                "keys of {smaller} and {larger}"
            );
        }
    }

    #[test]
    fn spellings_of_one_version_have_one_key() {
        for (one, other) in [
            ("1", "1.0.0.0"),
            ("v1.2", "1.2.0"),
            ("V1.2", "1.2"),
            ("2024.01.05", "2024.1.5"),
            ("1.0+a", "1.0+b.c-d"),
            ("1.0-rc.01", "1.0-rc.1"),
            ("1.0-rc.000", "1.0-rc.0"),
            ("00", "0"),
            ("1.0-a+b-c", "1.0-a"),
        ] {
            assert_eq!(version(one), version(other), "{one} {other}");
            assert_eq!(
                version(one).sort_key(),
                version(other).sort_key(),
                "{one} {other}"
            );
            assert_eq!(version(one).as_str(), one);
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("not provided", "'not provided' is not a number"),
            ("1.x", "'x' is not a number"),
            ("1..2", "'' is not a number"),
            ("v", "'' is not a number"),
            ("vv1", "'v1' is not a number"),
            (" 1", "' 1' is not a number"),
            ("1.٣", "'٣' is not a number"),
            ("1.2.3.4.5", "it has more than 4 numbers"),
            (
                "18446744073709551616",
                "the number 18446744073709551616 is larger than 18446744073709551615",
            ),
            (
                "1.0-",
                "'' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
            ),
            (
                "1.0-a..b",
                "'a..b' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
            ),
            (
                "1.0-ä",
                "'ä' is not a pre-release: identifiers are letters, digits and '-', separated by dots",
            ),
            (
                "1.0+",
                "'' is not build metadata: identifiers are letters, digits and '-', separated by dots",
            ),
            (
                "1.0+a+b",
                "'a+b' is not build metadata: identifiers are letters, digits and '-', separated by dots",
            ),
        ] {
            assert_eq!(
                text.parse::<Version>().unwrap_err().to_string(),
                reason,
                "{text}"
            );
        }
        assert!("1".repeat(MAX_LENGTH + 1).parse::<Version>().is_err());
        assert_eq!(
            format!("1-{}", "a".repeat(MAX_LENGTH))
                .parse::<Version>()
                .unwrap_err(),
            InvalidVersion::TooLong
        );
    }

    #[test]
    fn a_range_holds_its_bounds_whatever_is_appended_to_a_key() {
        let range = VersionRange::ALL
            .at_least(version("1.0-rc"))
            .at_most(version("1.2"));
        let (from, to) = range.key_bounds().unwrap();
        for (text, inside) in [
            ("1.0-beta", false),
            ("1.0-rc", true),
            ("1.0-rc.1", true),
            ("1.0", true),
            ("1.2.0+x", true),
            ("1.2-a", true),
            ("1.2.0.1", false),
            ("1.3-a", false),
        ] {
            let key = version(text).sort_key() + "/2025-01-01/id";
            assert_eq!(from <= key && key <= to, inside, "{text}");
        }
        assert!(
            VersionRange::ALL
                .at_least(version("2"))
                .at_most(version("1"))
                .key_bounds()
                .is_none()
        );
        let narrowed = VersionRange::ALL
            .at_least(version("1"))
            .at_least(version("3"))
            .at_least(version("2"));
        assert_eq!(narrowed.key_bounds().unwrap().0, version("3").sort_key());
    }

    /// Identifiers that collide often: short ones of few characters, and numbers at the borders of 64 bits.
    fn identifier() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,3}",
            "[a-bA-B0-1-]{1,3}",
            "1844674407370955161[0-9]{1,2}",
            "[0-9A-Za-z-]{1,12}"
        ]
        .prop_map(|text| without_leading_zeros(&text).to_owned())
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..3_u64,
            8..12_u64,
            98..102_u64,
            (u64::MAX - 2)..=u64::MAX,
            any::<u64>()
        ]
    }

    fn semantic_version() -> impl Strategy<Value = semver::Version> {
        let prerelease = prop::collection::vec(identifier(), 0..4);
        (number(), number(), number(), prerelease).prop_map(|(major, minor, patch, prerelease)| {
            semver::Version {
                major,
                minor,
                patch,
                pre: Prerelease::new(&prerelease.join(".")).unwrap(),
                build: BuildMetadata::EMPTY,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_order_of_keys_is_the_precedence_of_semver(one in semantic_version(), other in semantic_version()) {
            prop_assume!(one.to_string().len() <= MAX_LENGTH && other.to_string().len() <= MAX_LENGTH);
            let (ours, theirs) = (version(&one.to_string()), version(&other.to_string()));
            prop_assert_eq!(ours.sort_key().cmp(&theirs.sort_key()), one.cmp_precedence(&other));
            prop_assert_eq!(ours.cmp(&theirs), one.cmp_precedence(&other));
            prop_assert!(one == other || !ours.sort_key().starts_with(&theirs.sort_key()));
        }

        #[test]
        fn the_fourth_number_lies_between_patches(one in semantic_version(), fourth in number(), other in number()) {
            let (one, fourth) = (semver::Version::new(one.major, one.minor, one.patch.min(u64::MAX - 1)), fourth.max(1));
            let with = |fourth: u64| version(&format!("{one}.{fourth}"));
            let next = version(&semver::Version { patch: one.patch + 1, ..one.clone() }.to_string());
            prop_assert!(version(&one.to_string()).sort_key() < with(fourth).sort_key());
            prop_assert!(with(fourth).sort_key() < next.sort_key());
            prop_assert_eq!(with(fourth).sort_key().cmp(&with(other).sort_key()), fourth.cmp(&other));
        }

        #[test]
        fn any_text_is_a_version_or_an_error(text in ".{0,120}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.as_str(), &text);
                prop_assert!(version.sort_key().len() < 512);
            }
        }

        #[test]
        fn nearly_versions_are_versions_or_errors(text in "[vV]?[0-9.]{0,8}[-+a.0 ]{0,8}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.cmp(&text.parse::<Version>().unwrap()), Ordering::Equal);
            }
        }
    }
}
