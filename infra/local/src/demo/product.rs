//! What is known of a product of the demo organization.

use super::standard::Standard;

/// A product.
pub(super) struct Product {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// The name's language, for screen readers.
    pub(super) language: &'static str,
    /// The name for what cannot show other than Latin letters.
    pub(super) latin_name: &'static str,
    pub(super) analyses: &'static [Analysis],
    pub(super) weaknesses: &'static [Weakness],
}

/// An analysis of a product.
pub(super) struct Analysis {
    pub(super) version: &'static str,
    pub(super) date: &'static str,
    pub(super) standards: &'static [&'static Standard],
    pub(super) quality_gate: Option<&'static str>,
    pub(super) branch: Option<&'static str>,
    pub(super) revision: Option<&'static str>,
    pub(super) build: Option<&'static str>,
    pub(super) task: Option<&'static str>,
}

/// One kind of mistake in a product's source, and in how many places each of its analyses found it.
pub(super) struct Weakness {
    pub(super) severity: Severity,
    /// Its category in each standard that knows it.
    pub(super) categories: &'static [&'static str],
    pub(super) rule: &'static str,
    pub(super) location: &'static str,
    pub(super) message: &'static str,
    pub(super) open: &'static [u32],
}

/// How bad a weakness is.
#[derive(Clone, Copy)]
pub(super) enum Severity {
    Blocker,
    Critical,
    Major,
    Minor,
}

impl Severity {
    pub(super) const ALL: [Self; 4] = [Self::Blocker, Self::Critical, Self::Major, Self::Minor];

    pub(super) fn name(self) -> &'static str {
        ["Blocker", "Critical", "Major", "Minor"][self as usize]
    }

    /// The security rating of what has this as its worst vulnerability, by SonarQube's rule.
    pub(super) fn rating(self) -> &'static str {
        ["E", "D", "C", "B"][self as usize]
    }
}
