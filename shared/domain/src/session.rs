//! Sessions: somebody who has signed in with a browser, known to us by a hash.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// As many bytes as the hash has.
const RANDOM_BYTES: usize = 32;

/// How long a session lasts at the most: as long as the refresh token of the stack's own user pool, a working day.
pub const LONGEST: Duration = Duration::hours(10);
/// After so much time without a request it has ended: somebody has gone, and left the browser open.
pub const IDLE: Duration = Duration::hours(1);
/// A further request within this time is not noted: not every page should cost a write.
pub const USE_PRECISION: Duration = Duration::minutes(1);
/// For how long whoever asks the issuer for new tokens has the right to, alone: an issuer is waited for 5 seconds for the tokens, and as
/// long for the keys to verify them, twice.
pub const REFRESHING: Duration = Duration::seconds(30);

/// What the browser holds: the session's cookie. `Debug` does not show it.
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

    /// Reads what [`SessionSecret::reveal`] gave, `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned()))
    }

    /// The secret, for the cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it: its SHA-256 in hexadecimal digits. 256 random bits cannot be guessed, so a fast hash without salt
    /// is right here.
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
    /// See [`SessionSecret::sha256`].
    pub sha256: String,
    /// The issuer's JWT. By it everything is decided, at each request anew: a session is worth no more.
    pub id_token: String,
    /// By which there is a new one, if the issuer gives any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who it is, as the issuer calls the person. New tokens are of the same.
    pub subject: String,
    /// The issuer's client as which it was begun. Tokens of another one are of no use.
    pub client: String,
    /// When it began, in seconds since 1970, as the others are.
    pub created_at: i64,
    /// When it was used last, to within [`USE_PRECISION`].
    pub used_at: i64,
    /// Until when somebody asks the issuer for new tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshing_until: Option<i64>,
    /// When `DynamoDB` may forget it.
    pub expires_at: i64,
}

impl Session {
    /// A session that begins.
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

    /// Whether it has ended, by its age or since nobody has used it.
    pub fn has_ended(&self, now: OffsetDateTime) -> bool {
        let now = now.unix_timestamp();
        now >= self.ends_at() || now >= self.used_at + IDLE.whole_seconds()
    }

    /// When it ends at the latest, in seconds since 1970.
    pub fn ends_at(&self) -> i64 {
        self.created_at + LONGEST.whole_seconds()
    }

    /// Whether a request now is worth to be noted.
    pub fn is_use_noted(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() < self.used_at + USE_PRECISION.whole_seconds()
    }

    /// Whether somebody asks for new tokens.
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
