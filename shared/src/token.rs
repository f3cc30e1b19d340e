//! Our own access tokens: random, bound to one organization, known to us by their hash only.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::api::{ApiError, ErrorCode};
use crate::aws::describe;
use crate::date::timestamp;
use crate::organization::OrganizationId;

/// By this a token is recognized, by people and by secret scanners.
const PREFIX: &str = "srt_";
/// 256 bits, as many as the hash has: nothing shorter to guess than the hash itself.
const RANDOM_BYTES: usize = 32;

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

    /// The secret, to be shown once to who asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of the secret: its SHA-256 in hexadecimal digits.
    ///
    /// A fast hash without salt is right here: 256 random bits cannot be guessed, unlike a password.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }

    /// Reads what [`TokenSecret::reveal`] gave, `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned()))
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
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 1] = [Self::Publish];

    /// The right's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
        }
    }
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// See [`TokenSecret::sha256`].
    pub sha256: String,
    /// The organization that the token is for.
    pub org: OrganizationId,
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub rights: BTreeSet<Right>,
    /// When it was made, in the form of [`timestamp`].
    pub created_at: String,
    /// From when on it is refused, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was revoked, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// The table of tokens.
#[derive(Clone, Debug)]
pub struct TokenStore {
    client: Client,
    table: String,
}

impl TokenStore {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Stores a token.
    pub async fn put(&self, token: &Token) -> anyhow::Result<()> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(token).context("make the item of a token")?))
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("put token '{}' of organization {}", token.name, token.org))?;
        Ok(())
    }

    /// The token of a request's `Authorization: Bearer`, when it is good and has the right.
    ///
    /// # Errors
    /// `missing_token`, `invalid_token`, `revoked_token` or `expired_token` (401), `insufficient_right` (403).
    pub async fn authorize(
        &self,
        headers: &HeaderMap,
        right: Right,
        now: OffsetDateTime,
    ) -> Result<Token, ApiError> {
        let unknown = || {
            unauthorized(
                ErrorCode::InvalidToken,
                "the bearer token is not one of ours",
            )
        };
        let secret = TokenSecret::parse(bearer(headers)?).ok_or_else(unknown)?;
        let token = self.get(&secret).await?.ok_or_else(unknown)?;
        if let Some(at) = &token.revoked_at {
            return Err(unauthorized(
                ErrorCode::RevokedToken,
                format!("the bearer token was revoked at {at}"),
            ));
        }
        if let Some(at) = token
            .expires_at
            .as_ref()
            .filter(|at| **at <= timestamp(now))
        {
            return Err(unauthorized(
                ErrorCode::ExpiredToken,
                format!("the bearer token expired at {at}"),
            ));
        }
        if !token.rights.contains(&right) {
            let message = format!(
                "the bearer token does not have the right '{}'",
                right.as_str()
            );
            return Err(ApiError::new(ErrorCode::InsufficientRight, message));
        }
        Ok(token)
    }

    async fn get(&self, secret: &TokenSecret) -> anyhow::Result<Option<Token>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("sha256", AttributeValue::S(secret.sha256()))
            // A revoked token must not live on in a replica.
            .consistent_read(true)
            .send()
            .await
            .map_err(describe)
            .context("get a token")?;
        output
            .item
            .map(from_item)
            .transpose()
            .context("read the item of a token")
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || {
        unauthorized(
            ErrorCode::MissingToken,
            "send the header 'Authorization: Bearer <token>'",
        )
    };
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(missing)?
        .to_str()
        .map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

fn unauthorized(code: ErrorCode, message: impl Into<String>) -> ApiError {
    // RFC 6750, section 3.1: without a token the challenge names no error.
    let challenge = if code == ErrorCode::MissingToken {
        "Bearer"
    } else {
        "Bearer error=\"invalid_token\""
    };
    ApiError::new(code, message).header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_authorization_is_a_token_or_an_error(value in "(Bearer|bearer|Basic)? ?(srt_)?[!-~]{0,50}") {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())]);
            if let Ok(token) = bearer(&headers) {
                prop_assert!(value.ends_with(token));
                let _ = TokenSecret::parse(token);
            }
        }
    }
}
