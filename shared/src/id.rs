//! Identifiers that are UUIDs.

use uuid::Uuid;

/// A text that is not a UUID of the usual form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UUID looks like 00000000-0000-0000-0000-000000000001")]
pub struct InvalidUuid;

/// Parses the form with hyphens only: the `uuid` crate also reads three others, and one id should have one spelling.
pub fn parse_uuid(text: &str) -> Result<Uuid, InvalidUuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(InvalidUuid);
    }
    Uuid::try_parse(text).map_err(|_| InvalidUuid)
}
