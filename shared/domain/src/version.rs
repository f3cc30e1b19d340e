//! Versions of projects: read leniently, and ordered by the precedence of Semantic Versioning 2.0.
//!
//! Real projects call their versions `1.0`, `v1.2.3`, `2024-01-05`, `1.2.3.4`, `24.7.0rc1` or `5.3.1.RELEASE`. So reading
//! accepts whatever can be ordered without a guess. `docs/versions.md` explains the order to a reader. The text is kept as it
//! was given. [`Version::sort_key`] gives the order: a string whose byte order is the precedence, so that a range of versions
//! is one range of keys in DynamoDB. These keys are stored with reports: a change of the keys loses the reports that are
//! stored under the old ones.

mod qualifier;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease};
use serde::{Deserialize, Serialize};
use time::Date;
use time::macros::format_description;

/// The longest version in characters. `SonarQube` stores no longer project version either.
pub const MAX_LENGTH: usize = 100;

/// How many numbers a version may begin with. Windows and .NET call the fourth number the revision.
const MAX_NUMBERS: usize = 4;

/// What follows the numbers in the key of a release. Versions before the release continue with a smaller character, and
/// versions after it with a larger one.
const RELEASE: &str = "3";

/// A version as it was given, and its place in the order.
///
/// Two versions are equal (`==`) when neither precedes the other: `v1.0` equals `1.0.0+build.7` and `1.0.Final`. The texts
/// may differ.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    sort_key: String,
}

impl Version {
    /// The text exactly as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A string whose byte order is the precedence of versions.
    ///
    /// Equal versions have equal keys, and no key is the beginning of another one. So whatever is appended to keys orders
    /// only among equal versions. The parts, in order:
    ///
    /// - the four numbers, each as two digits that count its digits, and these: 9 is `019`, 10 is `0210`;
    /// - the four numbers, each as two digits that count its digits, and these: 9 is `019`, 10 is `0210`;
    /// - `3` for a release. For a pre-release of SemVer instead each identifier, then `0`, so a shorter list of identifiers
    ///   precedes a longer one that begins like it. A numeric identifier is `1` and the number as above; any other is `2`,
    ///   the text, and `!`, which precedes every character of an identifier. What the qualifiers of Python and Maven are
    ///   instead stands in their module.
    pub fn sort_key(&self) -> &str {
        &self.sort_key
    }
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// It has more than [`MAX_LENGTH`] characters.
    #[error("it has more than {MAX_LENGTH} characters")]
    TooLong,
    /// It begins with something other than a number.
    #[error(
        "it does not begin with a number: give the version that was analysed, such as 1.4.0, 24.7.0rc1 or 2024.01.05"
    )]
    NoNumber,
    /// It has what Python calls an epoch, which would have to precede the numbers of all versions.
    #[error("its epoch '{0}!' has no place among versions without one: leave it out")]
    Epoch(String),
    /// It has something other than digits where a number is expected.
    #[error("'{0}' is not a number")]
    NotANumber(String),
    /// It has a number that does not fit into 64 bits.
    #[error("the number {0} is larger than {max}", max = u64::MAX)]
    NumberTooLarge(String),
    /// It has more than four numbers.
    #[error("it has more than {MAX_NUMBERS} numbers")]
    TooManyNumbers,
    /// The text after the numbers, which follows neither Python's nor Maven's ways.
    #[error(
        "'{0}' is no ending whose place is known, such as rc1, .dev1, .Final and .post1: write it behind a '-' as a pre-release, or behind a '+' as build metadata"
    )]
    Qualifier(String),
    /// The text after the first `-`.
    #[error(
        "'{0}' is not a pre-release: identifiers are letters, digits and '-', separated by dots"
    )]
    Prerelease(String),
    /// The text after the first `+`.
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
        if let Some(build) = build
            && (build.is_empty() || BuildMetadata::new(build).is_err())
        {
            return Err(InvalidVersion::Build(build.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            sort_key: sort_key(rest)?,
        })
    }
}

/// The key of the part between `v` and the build metadata.
fn sort_key(version: &str) -> Result<String, InvalidVersion> {
    if is_date(version) {
        return sort_key(&version.replace('-', "."));
    }
    let end = version.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (numbers, suffix) = version.split_at(end.unwrap_or(version.len()));
    if numbers.is_empty() {
        return Err(InvalidVersion::NoNumber);
    }
    if suffix.is_empty() {
        return Ok(key_of_numbers(numbers)? + RELEASE);
    }
    // A '-' after the numbers is SemVer's, whatever follows.
    if let Some(prerelease) = suffix.strip_prefix('-') {
        return Ok(key_of_numbers(numbers)? + &key_of_prerelease(prerelease)?);
    }
    if suffix.starts_with('!') {
        return Err(InvalidVersion::Epoch(numbers.to_owned()));
    }
    let (numbers, suffix) = match numbers.strip_suffix('.') {
        Some(numbers) => (numbers, suffix),
        None => (numbers, suffix.strip_prefix('_').unwrap_or(suffix)),
    };
    let qualifiers = qualifier::sort_key(suffix);
    let qualifiers = qualifiers.ok_or_else(|| InvalidVersion::Qualifier(suffix.to_owned()))?;
    Ok(key_of_numbers(numbers)? + &qualifiers)
}

/// Whether this is a day as ISO 8601 writes it. SemVer would read it as a pre-release of the year.
fn is_date(text: &str) -> bool {
    let is_shape =
        text.len() == "YYYY-MM-DD".len() && text.starts_with(|char: char| char.is_ascii_digit());
    is_shape && Date::parse(text, format_description!("[year]-[month]-[day]")).is_ok()
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn key_of_numbers(text: &str) -> Result<String, InvalidVersion> {
    let mut numbers = [0; MAX_NUMBERS];
    for (position, part) in text.split('.').enumerate() {
        if !is_numeric(part) {
            return Err(InvalidVersion::NotANumber(part.to_owned()));
        }
        let number = numbers
            .get_mut(position)
            .ok_or(InvalidVersion::TooManyNumbers)?;
        *number = part
            .parse::<u64>()
            .map_err(|_| InvalidVersion::NumberTooLarge(part.to_owned()))?;
    }
    let mut key = String::with_capacity(32);
    for number in numbers {
        push_number(&mut key, &number.to_string());
    }
    Ok(key)
}

fn key_of_prerelease(text: &str) -> Result<String, InvalidVersion> {
    let identifiers: Vec<&str> = text.split('.').map(without_leading_zeros).collect();
    if text.is_empty() || Prerelease::new(&identifiers.join(".")).is_err() {
        return Err(InvalidVersion::Prerelease(text.to_owned()));
    }
    let mut key = String::new();
    for identifier in identifiers {
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
    Ok(key)
}

/// Appends a number without leading zeros: two digits that count its digits, then the digits.
fn push_number(key: &mut String, digits: &str) {
    debug_assert!(
        digits.len() < MAX_LENGTH,
        "a version has at most {MAX_LENGTH} characters"
    );
    key.push_str(&format!("{:02}", digits.len()));
    key.push_str(digits);
}

/// SemVer forbids `rc.01`. Projects write it all the same, and mean 1.
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
        self.sort_key.cmp(&other.sort_key)
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

/// The versions from `lowest` to `highest`, both included. A missing bound is no limit.
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

    /// This range without the versions that precede `version`.
    #[must_use]
    pub fn at_least(self, version: Version) -> Self {
        let lowest = self.lowest.into_iter().chain([version]).max();
        Self { lowest, ..self }
    }

    /// This range without the versions that `version` precedes.
    #[must_use]
    pub fn at_most(self, version: Version) -> Self {
        let highest = self.highest.into_iter().chain([version]).min();
        Self { highest, ..self }
    }

    /// The smallest and the largest key of the range, both included; `None` when the range has no version. A key may have a
    /// further part appended that begins below `~`.
    pub fn key_bounds(&self) -> Option<(String, String)> {
        if let (Some(lowest), Some(highest)) = (&self.lowest, &self.highest)
            && lowest > highest
        {
            return None;
        }
        // Every key begins with a digit.
        let from = self.lowest.as_ref().map_or("0", Version::sort_key);
        let to = self.highest.as_ref().map_or("", Version::sort_key);
        Some((from.to_owned(), format!("{to}~")))
    }
}

#[cfg(test)]
mod tests;
