//! What is known of a product of the demo organization.

use findings::{Probability, Review, Severity};

use crate::sonarqube::Status;

/// A product.
pub(super) struct Product {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) analyses: &'static [Analysis],
    pub(super) weaknesses: &'static [Weakness],
    pub(super) hotspots: &'static [Hotspot],
    pub(super) dismissed: &'static [Dismissed],
    /// Whether its server rates by impact.
    pub(super) is_mqr: bool,
}

/// An analysis of a product.
pub(super) struct Analysis {
    pub(super) version: &'static str,
    pub(super) date: &'static str,
    /// The standards that reports are made of, by their ids.
    pub(super) standards: &'static [&'static str],
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

/// Code to look at, the same in every analysis.
pub(super) struct Hotspot {
    pub(super) probability: Probability,
    pub(super) review: Review,
    pub(super) categories: &'static [&'static str],
    pub(super) rule: &'static str,
    pub(super) location: &'static str,
    pub(super) message: &'static str,
    pub(super) comment: Option<&'static str>,
}

/// A place of a weakness of which somebody has said that it does not count.
pub(super) struct Dismissed {
    /// The weakness, by its rule.
    pub(super) rule: &'static str,
    pub(super) location: &'static str,
    pub(super) status: Status,
    pub(super) comment: &'static str,
}
