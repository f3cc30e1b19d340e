//! Our own access tokens: random, bound to one organization, known to us by their hash only.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::api::{ApiError, ErrorCode};
use crate::aws::{describe, string};
use crate::date::timestamp;
use crate::id::time_ordered;
use crate::organization::OrganizationId;

/// By this a token is recognized, by people and by secret scanners.
const PREFIX: &str = "srt_";
/// 256 bits, as many as the hash has: nothing shorter to guess than the hash itself.
const RANDOM_BYTES: usize = 32;

/// The index of an organization's tokens by id.
pub const BY_ORG: &str = "by-org";
/// A further use of a token within this time is not noted: not every request should cost a write.
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

impl TokenSecret {
    /// Whether a text means to be one of ours.
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
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::Publish, Self::ManageWebhooks, Self::ReadDeliveries];

    /// The right's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::ManageWebhooks => "manage-webhooks",
            Self::ReadDeliveries => "read-deliveries",
        }
    }
}

crate::uuid_id! {
    /// The id of a token, by which it is managed. It is no secret.
    TokenId
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// See [`TokenSecret::sha256`].
    pub sha256: String,
    /// Its id; ids are in the order of time.
    pub id: TokenId,
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
    /// When it was used last, in the same form, to within [`LAST_USE_PRECISION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

impl Token {
    /// A new token, and its secret.
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
        let token = self.find(bearer(headers)?, now).await?;
        if !token.rights.contains(&right) {
            let message = format!(
                "the bearer token does not have the right '{}'",
                right.as_str()
            );
            return Err(ApiError::new(ErrorCode::InsufficientRight, message));
        }
        Ok(token)
    }

    /// The token with this secret, when it is good. That it was used is noted.
    ///
    /// # Errors
    /// `invalid_token`, `revoked_token` or `expired_token` (401).
    pub async fn find(&self, secret: &str, now: OffsetDateTime) -> Result<Token, ApiError> {
        let unknown = || {
            unauthorized(
                ErrorCode::InvalidToken,
                "the bearer token is not one of ours",
            )
        };
        let secret = TokenSecret::parse(secret).ok_or_else(unknown)?;
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
        let noted = timestamp(now - LAST_USE_PRECISION);
        if token.last_used_at.as_ref().is_none_or(|at| *at < noted)
            && let Err(error) = self.note_use(&token, now).await
        {
            // That is no reason to refuse a good token.
            tracing::warn!(token = %token.id, "the use of token {} was not noted: {error:#}", token.id);
        }
        Ok(token)
    }

    async fn note_use(&self, token: &Token, now: OffsetDateTime) -> anyhow::Result<()> {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("sha256", string(&token.sha256))
            .update_expression("SET lastUsedAt = :now")
            .condition_expression("attribute_exists(sha256)")
            .expression_attribute_values(":now", string(timestamp(now)))
            .send()
            .await
            .map_err(describe)?;
        Ok(())
    }

    /// An organization's tokens from behind `after`, the newest first, at most `limit`, and whether more follow. The index
    /// is eventually consistent: a new token can be missing for a moment.
    pub async fn page(
        &self,
        org: OrganizationId,
        after: Option<TokenId>,
        limit: usize,
    ) -> anyhow::Result<(Vec<Token>, bool)> {
        let mut tokens = Vec::new();
        let mut start = None;
        loop {
            let wanted = limit + 1 - tokens.len();
            let last = after.map_or(uuid::Uuid::max(), TokenId::uuid);
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_ORG)
                .key_condition_expression("org = :org AND id < :last")
                .expression_attribute_values(":org", string(org))
                .expression_attribute_values(":last", string(last))
                .scan_index_forward(false)
                .limit(i32::try_from(wanted)?)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(describe)
                .with_context(|| format!("query the tokens of organization {org}"))?;
            for item in output.items.unwrap_or_default() {
                tokens.push(from_item(item).context("read the item of a token")?);
            }
            start = output.last_evaluated_key;
            if tokens.len() > limit || start.is_none() {
                let has_more = tokens.len() > limit;
                tokens.truncate(limit);
                return Ok((tokens, has_more));
            }
        }
    }

    /// Revokes a token of an organization; `false` when it has none with this id.
    pub async fn revoke(
        &self,
        org: OrganizationId,
        id: TokenId,
        now: OffsetDateTime,
    ) -> anyhow::Result<bool> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_ORG)
            .key_condition_expression("org = :org AND id = :id")
            .expression_attribute_values(":org", string(org))
            .expression_attribute_values(":id", string(id))
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("query token {id}"))?;
        let Some(item) = output.items.unwrap_or_default().pop() else {
            return Ok(false);
        };
        let token: Token = from_item(item).context("read the item of a token")?;
        self.client
            .update_item()
            .table_name(&self.table)
            .key("sha256", string(&token.sha256))
            // Once it is revoked it stays revoked at that time.
            .update_expression("SET revokedAt = if_not_exists(revokedAt, :now)")
            .condition_expression("attribute_exists(sha256)")
            .expression_attribute_values(":now", string(timestamp(now)))
            .send()
            .await
            .map_err(describe)
            .with_context(|| format!("revoke token {id}"))?;
        Ok(true)
    }

    async fn get(&self, secret: &TokenSecret) -> anyhow::Result<Option<Token>> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("sha256", string(secret.sha256()))
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
///
/// # Errors
/// `missing_token` (401).
pub fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
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

/// An error with the challenge that its status 401 requires (RFC 6750, section 3).
pub fn unauthorized(code: ErrorCode, message: impl Into<String>) -> ApiError {
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
