//! The domain: reports and their versions, webhooks and the health of their receivers, deliveries, tokens.
//!
//! It has types and rules only. It does no input or output, and does not depend on HTTP, AWS or a queue. Identifiers are
//! types of their own, made by parsing, so beyond the edge no plain string stands for an organization or a version.
//!
//! Modules depend on each other in one direction. Deliveries depend on webhooks, and webhooks on events. Events depend on
//! reports and on the calls of sources, and these on organizations.

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

/// Reads a field, and takes a malformed one for absent. A field that is not needed must not make a call fail.
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
