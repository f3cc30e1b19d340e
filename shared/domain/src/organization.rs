//! Organizations, which own reports.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

crate::uuid_id! {
    /// The id of an organization. Whoever knows it may list and download the organization's reports.
    ///
    /// So it is a secret, and must not appear in logs. `Debug` and the logs show [`OrganizationId::digest`] instead.
    OrganizationId
}

impl OrganizationId {
    /// The first eight hexadecimal digits of the id's SHA-256. Logs use them to distinguish organizations. They give no
    /// access: 90 of the 122 random bits of an id remain to be guessed.
    pub fn digest(self) -> String {
        const BYTES: usize = 4;
        hex::encode(&Sha256::digest(self.to_string())[..BYTES])
    }
}

impl fmt::Debug for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrganizationId({})", self.digest())
    }
}

/// The prefix of the keys of reports' objects. The organization's id follows it.
pub const REPORTS_PREFIX: &str = "reports/";

/// The prefixes after which a key of an object, or of a counter's item, has an organization's id.
const BEFORE_IDS: [&str; 4] = [REPORTS_PREFIX, "~day/", "~count/", "~tests/"];

/// The text for a log: the digest replaces each organization's id in a key. Errors of S3 contain keys too.
pub fn loggable(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    for prefix in BEFORE_IDS {
        let mut from = 0;
        while let Some(at) = shown[from..].find(prefix) {
            from += at + prefix.len();
            let id = from..from + uuid::fmt::Hyphenated::LENGTH;
            let org = shown.get(id.clone()).and_then(|id| id.parse().ok());
            if let Some(org) = org {
                shown
                    .to_mut()
                    .replace_range(id, &OrganizationId::digest(org));
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_log_shows_a_digest_of_an_organization() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        // printf 00000000-0000-0000-0000-000000000001 | sha256sum
        assert_eq!(org.digest(), "7ac1b8d7");
        assert_eq!(format!("{org:?}"), "OrganizationId(7ac1b8d7)");
        let key = format!("reports/{org}/b/c/0");
        assert_eq!(loggable(&key), "reports/7ac1b8d7/b/c/0");
        let two = format!("no {key} and no arn:aws:s3:::bucket/{key}");
        assert_eq!(
            loggable(&two),
            "no reports/7ac1b8d7/b/c/0 and no arn:aws:s3:::bucket/reports/7ac1b8d7/b/c/0"
        );
        for other in [
            "",
            "reports/",
            "reports/é…",
            "uploads/a/0",
            "the reports/day",
        ] {
            assert_eq!(loggable(other), other);
        }
    }
}
