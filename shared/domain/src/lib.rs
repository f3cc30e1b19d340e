//! The domain: reports and their versions, webhooks and the health of their receivers, deliveries, tokens.
//!
//! Types and rules only. Nothing here does input or output, and nothing depends on HTTP, AWS or a queue. Identifiers are types
//! of their own, made by parsing, so past the edge no plain string is an organization or a version.
//!
//! Modules know each other in one direction: deliveries know webhooks, webhooks know events, and these reports and the calls of
//! sources, which know organizations.

pub mod analysis;
pub mod codescoring;
pub mod date;
pub mod delivery;
pub mod event;
pub mod id;
pub mod line;
pub mod name;
pub mod organization;
pub mod product;
pub mod report;
pub mod session;
pub mod source;
pub mod token;
pub mod version;
pub mod webhook;

/// A field that is as it should be, or is taken for absent: what is not looked at any further must not lose a call.
pub(crate) fn lenient<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
pub(crate) fn is_zero(count: &u32) -> bool {
    *count == 0
}
