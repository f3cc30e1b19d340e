//! What stands for an organization in the panel's addresses.

use std::fmt;

use domain::organization::OrganizationId;
use sha2::{Digest as _, Sha256};

/// So that the digest is of nothing else.
const LABEL: &[u8] = b"sonarqube-reports panel handle\n";
/// RFC 4648's base32, in small letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const CHARACTERS: usize = 12;

/// An organization's handle: twelve characters of a digest of its id. The id itself is the key to read, and addresses are shared,
/// shown to viewers, and kept by browsers.
///
/// Sixty bits tell the organizations of one person apart, and do not let anybody find a random id of 122.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(String);

impl Handle {
    /// That of an organization.
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

    /// It, as it stands in an address.
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
