//! The opaque text by which a client continues a list.
//!
//! A cursor holds the position of the last item shown, and a digest over the position and the query. The digest keeps a
//! cursor from being used with another query, and from accidental changes. It is not a secret, and need not be one: the
//! request, not the cursor, decides what may be read. So a forged cursor reaches only what the same request reaches anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::api::{ApiError, ErrorCode};

/// How many bytes of the digest are kept. 128 bits do not collide by accident.
const DIGEST_BYTES: usize = 16;

/// What a cursor is valid for: a query without `limit`, which may change from page to page.
#[derive(Clone, Debug)]
pub struct Scope(Sha256);

impl Scope {
    /// The scope of the query. `query` must distinguish it from every other query.
    pub fn new(query: &serde_json::Value) -> Self {
        Self(Sha256::new_with_prefix(query.to_string()))
    }

    /// The cursor for the items after `position`.
    pub fn seal(&self, position: &str) -> String {
        let mut bytes = self.digest(position).to_vec();
        bytes.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a cursor holds, if `parse` accepts it.
    ///
    /// # Errors
    /// `invalid_cursor` (400) when this query did not give the cursor.
    pub fn open<T>(
        &self,
        cursor: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ApiError> {
        self.position(cursor)
            .and_then(|position| parse(&position))
            .ok_or_else(|| {
                let message = "cursor: was not given by this query; begin again without it";
                ApiError::new(ErrorCode::InvalidCursor, message).parameter("cursor")
            })
    }

    fn position(&self, cursor: &str) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        if bytes.len() < DIGEST_BYTES {
            return None;
        }
        let position = String::from_utf8(bytes.split_off(DIGEST_BYTES)).ok()?;
        (bytes == self.digest(&position)).then_some(position)
    }

    fn digest(&self, position: &str) -> [u8; DIGEST_BYTES] {
        let digest = self.0.clone().chain_update(position).finalize();
        std::array::from_fn(|at| digest[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(scope: &Scope, cursor: &str) -> Result<String, ApiError> {
        scope.open(cursor, |position| Some(position.to_owned()))
    }

    #[test]
    fn a_cursor_opens_in_its_own_scope_only() {
        let scope = Scope::new(&serde_json::json!([1, "a"]));
        let cursor = scope.seal("position");
        assert_eq!(open(&scope, &cursor).unwrap(), "position");
        let other = Scope::new(&serde_json::json!([1, "b"]));
        assert_eq!(
            open(&other, &cursor).unwrap_err().code(),
            ErrorCode::InvalidCursor
        );
        assert!(scope.open(&cursor, |_| None::<()>).is_err());
    }

    #[test]
    fn a_cursor_with_any_character_changed_does_not_open() {
        let scope = Scope::new(&serde_json::json!([1, "a"]));
        let cursor = scope.seal("position");
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = str::from_utf8(&changed).unwrap();
            assert!(open(&scope, changed).is_err(), "character {at}");
            assert!(open(&scope, &cursor[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused(cursor in "[A-Za-z0-9_=-]{0,80}|.{0,20}") {
            prop_assert!(open(&Scope::new(&serde_json::Value::Null), &cursor).is_err());
        }
    }
}
