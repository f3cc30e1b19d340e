//! What `SonarQube` found in one analysis, seen through a security standard.
//!
//! The crate `sonarqube` makes it, and the crate `documents` prints it. Neither depends on the other. A report follows from
//! it and from nothing else: the same findings make the same bytes.

mod assessment;
mod severity;
mod standard;

pub use assessment::{
    Analysis, Assessment, Block, Category, Condition, Counts, Finding, Gate, Hotspot, Measures,
    Mode, Printed, Probability, Resolution, Review, Reviews, Rule, Server, Subject, Vulnerability,
};
pub use severity::Severity;
pub use standard::{Standard, StandardCategory, UnknownStandard};
