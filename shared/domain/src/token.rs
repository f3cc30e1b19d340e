//! Our own access tokens. They are random, belong to one organization, and are known to us by their hash. The answer that
//! shows a token is kept for a day if the client sends an idempotency key.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;
use crate::id::time_ordered;
use crate::organization::OrganizationId;

/// The prefix by which people and secret scanners recognize a token.
const PREFIX: &str = "srt_";
/// 256 bits, as many as the hash has, so that the token is no easier to guess than the hash.
const RANDOM_BYTES: usize = 32;

/// A further use of a token within this time is not recorded, so that not every request costs a write.
pub const LAST_USE_PRECISION: Duration = Duration::minutes(10);

/// The secret itself, as its owner holds it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// A new random secret.
    pub fn generate() -> anyhow::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).context("get random bytes for a token")?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The secret, to show once to whoever asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The stored form of the secret: its SHA-256 in hexadecimal digits.
    ///
    /// A fast hash without salt is enough here. Unlike a password, 256 random bits cannot be guessed.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }

    /// Reads what [`TokenSecret::reveal`] gives; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned()))
    }

    /// Whether a text is meant to be one of our tokens.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret([redacted])")
    }
}

/// What a token allows in its organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// To publish reports.
    Publish,
    /// To manage webhooks, and to read their deliveries.
    ManageWebhooks,
    /// To read deliveries, without what was sent and answered.
    ReadDeliveries,
    /// To list and download reports, where a token is required.
    ReadReports,
    /// To delete reports.
    DeleteReports,
    /// To manage sources, and to read their calls.
    ManageSources,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 6] = [
        Self::Publish,
        Self::ManageWebhooks,
        Self::ReadDeliveries,
        Self::ReadReports,
        Self::DeleteReports,
        Self::ManageSources,
    ];

    /// The right's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::ManageWebhooks => "manage-webhooks",
            Self::ReadDeliveries => "read-deliveries",
            Self::ReadReports => "read-reports",
            Self::DeleteReports => "delete-reports",
            Self::ManageSources => "manage-sources",
        }
    }
}

crate::uuid_id! {
    /// The id by which a token is managed. It is not a secret.
    #[derive(Debug)]
    TokenId
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The hash by which the token is stored ([`TokenSecret::sha256`]).
    pub sha256: String,
    /// Its id. Ids sort by time.
    pub id: TokenId,
    /// The organization that the token is for.
    pub org: OrganizationId,
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub rights: BTreeSet<Right>,
    /// When it was made, in the form of [`timestamp`].
    pub created_at: String,
    /// When it expires, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was revoked, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// When it was last used, in the same form, to within [`LAST_USE_PRECISION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

impl Token {
    /// A new token and its secret.
    pub fn new(
        org: OrganizationId,
        name: impl Into<String>,
        rights: impl IntoIterator<Item = Right>,
        expires_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> anyhow::Result<(Self, TokenSecret)> {
        let secret = TokenSecret::generate()?;
        let token = Self {
            sha256: secret.sha256(),
            id: TokenId::new(time_ordered(now)),
            org,
            name: name.into(),
            rights: rights.into_iter().collect(),
            created_at: timestamp(now),
            expires_at: expires_at.map(timestamp),
            revoked_at: None,
            last_used_at: None,
        };
        Ok((token, secret))
    }

    /// Checks that the token is valid at `now`.
    pub fn check(&self, now: OffsetDateTime) -> Result<(), TokenRefused> {
        if let Some(at) = &self.revoked_at {
            return Err(TokenRefused::Revoked(at.clone()));
        }
        match &self.expires_at {
            Some(at) if *at <= timestamp(now) => Err(TokenRefused::Expired(at.clone())),
            _ => Ok(()),
        }
    }

    /// Checks that the token has a right.
    pub fn check_right(&self, right: Right) -> Result<(), TokenRefused> {
        if self.rights.contains(&right) {
            Ok(())
        } else {
            Err(TokenRefused::Right(right))
        }
    }

    /// Whether a use at `now` is recorded.
    pub fn is_use_to_be_noted(&self, now: OffsetDateTime) -> bool {
        let noted = timestamp(now - LAST_USE_PRECISION);
        self.last_used_at.as_ref().is_none_or(|at| *at < noted)
    }
}

/// Why a token is refused. The messages are for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// No token has this secret.
    #[error("the bearer token is not one of ours")]
    Unknown,
    /// It was revoked at this time, in the form of [`timestamp`].
    #[error("the bearer token was revoked at {0}")]
    Revoked(String),
    /// It expired at this time, in the same form.
    #[error("the bearer token expired at {0}")]
    Expired(String),
    /// It is valid, but does not allow the call.
    #[error("the bearer token does not have the right '{}'", .0.as_str())]
    Right(Right),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognized_and_not_shown() {
        let secret = TokenSecret::generate().unwrap();
        assert!(
            secret.reveal().starts_with("srt_") && secret.reveal().len() == 47,
            "{}",
            secret.reveal()
        );
        assert_eq!(TokenSecret::parse(secret.reveal()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "TokenSecret([redacted])");
        assert_ne!(secret, TokenSecret::generate().unwrap());
    }
}
