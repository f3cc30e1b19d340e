//! What `SonarQube` has found in one analysis, seen through a security standard.
//!
//! The crate `sonarqube` fills it, the crate `documents` prints it, and neither knows the other. All that a report says follows
//! from it, and nothing else: the same findings make the same bytes.

mod assessment;
mod severity;
mod standard;

pub use assessment::{
    Analysis, Assessment, Block, Category, Condition, Counts, Finding, Gate, Hotspot, Measures,
    Mode, Printed, Probability, Resolution, Review, Reviews, Rule, Server, Subject, Vulnerability,
};
pub use severity::Severity;
pub use standard::{Standard, StandardCategory, UnknownStandard};
