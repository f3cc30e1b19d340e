//! Handles: what replaces an organization's id in the panel's addresses.

use std::fmt;

use domain::organization::OrganizationId;
use sha2::{Digest as _, Sha256};

/// Separates the digest from digests for other purposes.
const LABEL: &[u8] = b"sonarqube-reports panel handle\n";
/// The base32 of RFC 4648, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const CHARACTERS: usize = 12;

/// An organization's handle: twelve characters of a digest of its id. The id gives access to reports, but addresses are
/// shared, shown to viewers, and kept by browsers.
///
/// Sixty bits distinguish the organizations of one person. They do not let anybody find a random id of 122 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(String);

impl Handle {
    /// The handle of an organization.
    pub fn of(org: OrganizationId) -> Self {
        let digest = Sha256::new_with_prefix(LABEL)
            .chain_update(org.to_string())
            .finalize();
        let bits = u64::from_be_bytes(digest[..8].try_into().unwrap_or_default());
        let characters = (0..CHARACTERS).map(|nth| {
            let index = (bits >> (59 - 5 * nth)) & 31;
            char::from(ALPHABET[usize::try_from(index).unwrap_or_default()])
        });
        Self(characters.collect())
    }

    /// The handle in an address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_stays_what_it_is_and_does_not_show_the_id() {
        let of = |id| Handle::of(OrganizationId::new(Uuid::from_u128(id)));
        assert_eq!(of(1).as_str(), "5e7t5te4p7rv");
        assert_ne!(of(1), of(2));
        let characters = of(3).as_str().bytes().all(|it| ALPHABET.contains(&it));
        assert!(characters && of(3).as_str().len() == CHARACTERS);
    }
}
