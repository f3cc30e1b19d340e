//! Sessions: people who have signed in with a browser. We know a session by a hash.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// As many bytes as the hash has.
const RANDOM_BYTES: usize = 32;

/// The longest life of a session, a working day: as long as the refresh token of the stack's own user pool.
pub const LONGEST: Duration = Duration::hours(10);
/// A session ends after this time without a request. The person has gone, and has left the browser open.
pub const IDLE: Duration = Duration::hours(1);
/// A further use within this time is not recorded, so that not every page costs a write.
pub const USE_PRECISION: Duration = Duration::minutes(1);
/// How long the lease on asking the issuer for new tokens lasts. The issuer has 5 seconds to give the tokens, and twice 5
/// seconds to give the keys that verify them.
pub const REFRESHING: Duration = Duration::seconds(30);

/// What the browser holds: the value of the session's cookie. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

impl SessionSecret {
    /// A new random secret.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn generate() -> anyhow::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).context("get random bytes for a session")?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads what [`SessionSecret::reveal`] gives; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned()))
    }

    /// The secret, for the cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The stored form of the secret: its SHA-256 in hexadecimal digits. 256 random bits cannot be guessed, so a fast hash
    /// without salt is enough.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret([redacted])")
    }
}

/// A session as it is stored. `Debug` does not show its tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The hash by which the session is stored ([`SessionSecret::sha256`]).
    pub sha256: String,
    /// The issuer's JWT. It decides every request anew: the session itself grants no rights.
    pub id_token: String,
    /// The refresh token, if the issuer gives one. It gets a new JWT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The issuer's subject, which identifies the person. New tokens must have the same.
    pub subject: String,
    /// The issuer's client that began the session. Tokens of another client are useless.
    pub client: String,
    /// When it began, in Unix seconds, as are the other times.
    pub created_at: i64,
    /// When it was last used, to within [`USE_PRECISION`].
    pub used_at: i64,
    /// The end of the lease on asking the issuer for new tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshing_until: Option<i64>,
    /// When it expires, for DynamoDB's time to live.
    pub expires_at: i64,
}

impl Session {
    /// A new session.
    pub fn new(
        secret: &SessionSecret,
        (id_token, refresh_token): (String, Option<String>),
        subject: String,
        client: String,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            sha256: secret.sha256(),
            id_token,
            refresh_token,
            subject,
            client,
            created_at: now.unix_timestamp(),
            used_at: now.unix_timestamp(),
            refreshing_until: None,
            expires_at: (now + LONGEST).unix_timestamp(),
        }
    }

    /// Whether it has ended, because of its age or because nobody uses it.
    pub fn has_ended(&self, now: OffsetDateTime) -> bool {
        let now = now.unix_timestamp();
        now >= self.ends_at() || now >= self.used_at + IDLE.whole_seconds()
    }

    /// When it ends at the latest, in Unix seconds.
    pub fn ends_at(&self) -> i64 {
        self.created_at + LONGEST.whole_seconds()
    }

    /// Whether a use now is recorded.
    pub fn is_use_noted(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() < self.used_at + USE_PRECISION.whole_seconds()
    }

    /// Whether somebody is asking the issuer for new tokens.
    pub fn is_refreshing(&self, now: OffsetDateTime) -> bool {
        let now = now.unix_timestamp();
        self.refreshing_until.is_some_and(|until| now < until)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("created_at", &self.created_at)
            .field("used_at", &self.used_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-26 09:00 UTC);

    fn session() -> (SessionSecret, Session) {
        let secret = SessionSecret::generate().unwrap();
        let session = Session::new(
            &secret,
            ("jwt".into(), Some("r".into())),
            "s".into(),
            "c".into(),
            NOW,
        );
        (secret, session)
    }

    #[test]
    fn a_session_ends_after_a_working_day_or_an_hour_without_a_request() {
        let (_, mut session) = session();
        assert!(!session.has_ended(NOW + IDLE - Duration::SECOND));
        assert!(session.has_ended(NOW + IDLE));
        session.used_at = (NOW + LONGEST - Duration::MINUTE).unix_timestamp();
        assert!(!session.has_ended(NOW + LONGEST - Duration::SECOND));
        assert!(session.has_ended(NOW + LONGEST));
    }

    #[test]
    fn a_secret_is_read_as_it_was_given_and_shown_nowhere() {
        let (secret, session) = session();
        assert_eq!(SessionSecret::parse(secret.reveal()), Some(secret.clone()));
        assert_eq!(session.sha256, secret.sha256());
        for text in ["", "x", &secret.reveal()[1..], "é"] {
            assert_eq!(SessionSecret::parse(text), None);
        }
        let shown = format!("{secret:?} {session:?}");
        assert!(
            !shown.contains(secret.reveal()) && !shown.contains("jwt"),
            "{shown}"
        );
    }
}
