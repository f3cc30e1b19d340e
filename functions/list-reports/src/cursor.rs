//! The opaque text by which a list goes on.
//!
//! A cursor holds the position of the last report that was shown, and a digest over it and the query that it belongs to.
//! The digest keeps a cursor from being used with another query, or altered by accident. It is not a secret, and need not
//! be one: organization and range are not taken from the cursor but from the request, so whoever forges a cursor only
//! reaches what the same request reaches anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use shared::api::{ApiError, ErrorCode};
use shared::organization::OrganizationId;
use shared::report_store::{Order, Position};
use shared::version::VersionRange;

/// Of the digest so many bytes are kept: 128 bits do not collide by accident.
const DIGEST_BYTES: usize = 16;

/// What a cursor is valid for: a query without `limit`, which may change from page to page.
pub(crate) struct Scope {
    query: Sha256,
    bounds: Option<(String, String)>,
}

impl Scope {
    pub(crate) fn new(org: OrganizationId, versions: &VersionRange, order: Order) -> Self {
        let bounds = versions.key_bounds();
        let query = serde_json::json!([org, bounds, order == Order::Ascending]);
        Self {
            query: Sha256::new_with_prefix(query.to_string()),
            bounds,
        }
    }

    /// The cursor behind `position`.
    pub(crate) fn seal(&self, position: &Position) -> String {
        let mut bytes = self.digest(position.as_str()).to_vec();
        bytes.extend_from_slice(position.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a cursor holds.
    pub(crate) fn open(&self, cursor: &str) -> Result<Position, ApiError> {
        self.position(cursor).ok_or_else(|| {
            let message = "cursor: was not given by this query; begin again without it";
            ApiError::new(ErrorCode::InvalidCursor, message).parameter("cursor")
        })
    }

    fn position(&self, cursor: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (digest, text) = bytes.split_at_checked(DIGEST_BYTES)?;
        let text = str::from_utf8(text).ok()?;
        if self.digest(text) != digest {
            return None;
        }
        // DynamoDB refuses to begin outside of the range that is asked for.
        let (from, to) = self.bounds.as_ref()?;
        Position::parse(text).filter(|_| (from.as_str()..=to.as_str()).contains(&text))
    }

    fn digest(&self, position: &str) -> [u8; DIGEST_BYTES] {
        let digest = self.query.clone().chain_update(position).finalize();
        std::array::from_fn(|at| digest[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::report::ReportId;
    use shared::version::Version;

    fn scope(org: u128, lowest: &str, order: Order) -> Scope {
        let versions = VersionRange::ALL.at_least(lowest.parse().unwrap());
        Scope::new(
            OrganizationId::new(uuid::Uuid::from_u128(org)),
            &versions,
            order,
        )
    }

    fn position() -> Position {
        let version: Version = "1.2.3-rc.1".parse().unwrap();
        Position::new(
            &version,
            "2025-12-17T09:05:48.5946432+00:00",
            ReportId::new(uuid::Uuid::from_u128(7)),
        )
    }

    #[test]
    fn a_cursor_opens_in_its_own_scope_only() {
        let cursor = scope(1, "1", Order::Ascending).seal(&position());
        assert_eq!(
            scope(1, "1.0.0", Order::Ascending).open(&cursor).unwrap(),
            position()
        );
        for other in [
            scope(2, "1", Order::Ascending),
            scope(1, "2", Order::Ascending),
            scope(1, "1", Order::Descending),
        ] {
            assert_eq!(
                other.open(&cursor).unwrap_err().code(),
                ErrorCode::InvalidCursor
            );
        }
    }

    #[test]
    fn a_cursor_with_any_character_changed_does_not_open() {
        let scope = scope(1, "1", Order::Ascending);
        let cursor = scope.seal(&position());
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(
                scope.open(str::from_utf8(&changed).unwrap()).is_err(),
                "character {at}"
            );
            assert!(scope.open(&cursor[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_forged_cursor_does_not_leave_the_range() {
        let scope = scope(1, "2", Order::Ascending);
        let forged = scope.seal(&position());
        let error = scope.open(&forged).unwrap_err();
        assert_eq!(
            error.code(),
            ErrorCode::InvalidCursor,
            "1.2.3-rc.1 lies before 2"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused(cursor in "[A-Za-z0-9_=-]{0,80}|.{0,20}") {
            prop_assert!(scope(1, "1", Order::Ascending).open(&cursor).is_err());
        }
    }
}
