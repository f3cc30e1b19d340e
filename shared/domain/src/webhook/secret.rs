//! The secrets that sign a webhook's messages.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::date::timestamp;

/// How long a replaced secret still signs, so that the other side has time to learn the new one.
pub const ROTATION: Duration = Duration::hours(24);
/// How many secrets may sign at once. Each adds a signature to a header of every message. Whoever rotates again after a lost
/// answer has several at once.
pub const MAX_SECRETS: usize = 5;

/// The prefix of a secret of Standard Webhooks.
const PREFIX: &str = "whsec_";
/// As many bytes as the hash has. Standard Webhooks allows 24 to 64.
const RANDOM_BYTES: usize = 32;
/// The shortest secret, in characters (`SonarQube`).
pub const MIN_CHARACTERS: usize = 16;
/// The longest secret, in characters (`SonarQube`).
pub const MAX_CHARACTERS: usize = 200;
/// The limits of Standard Webhooks, in bytes.
const MIN_KEY_BYTES: usize = 24;
const MAX_KEY_BYTES: usize = 64;

/// The secret that we share with a receiver. `Debug` does not show it.
///
/// It is serialized as the text itself, for the store. Deserialization checks nothing, so that a later change of a limit does
/// not make a stored webhook unreadable.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookSecret(String);

/// Why a text is refused as a secret. The messages are for whoever chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum InvalidSecret {
    #[error("has {0} characters and must have {MIN_CHARACTERS} to {MAX_CHARACTERS}")]
    Length(usize),
    #[error("contains a control character, such as a line break")]
    ControlCharacter,
    /// Some senders show `v1,whsec_…`. Used as a text, it would make signatures that no library verifies.
    #[error("has something before '{PREFIX}': leave out 'v1,', or what else stands there")]
    BeforePrefix,
    #[error("begins with '{PREFIX}', and what follows is not base64 with its padding")]
    NotBase64,
    #[error(
        "begins with '{PREFIX}', and what follows are {0} bytes in base64 and must be {MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
    )]
    KeyLength(usize),
}

/// Why a text is refused as a token. The messages are for whoever chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum InvalidToken {
    #[error("has {0} characters and must have {1} to {MAX_CHARACTERS}")]
    Length(usize, usize),
    #[error("must have visible ASCII characters only, with spaces only between them")]
    Characters,
}

/// The secrets that are shared with the other side: the current one, and earlier ones that still sign for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    /// The current secret. Without one, messages are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<WebhookSecret>,
    /// The earlier secrets, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_secrets: Vec<PreviousSecret>,
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: WebhookSecret,
    /// Until when it still signs, in the form of [`timestamp`].
    pub until: String,
}

/// No further secret may sign now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SECRETS} secrets sign already; the next one may be replaced at {0}")]
pub struct TooManySecrets(pub String);

impl Secrets {
    /// One secret without earlier ones.
    pub fn new(secret: Option<WebhookSecret>) -> Self {
        Self {
            secret,
            previous_secrets: Vec::new(),
        }
    }

    /// Replaces the secret. The old one still signs for [`ROTATION`], and so do earlier ones that have not expired. The same
    /// secret again changes nothing, so that a repeated request does not change the end of the old one.
    ///
    /// # Errors
    /// [`MAX_SECRETS`] secrets already sign.
    pub fn rotate(
        &mut self,
        secret: WebhookSecret,
        now: OffsetDateTime,
    ) -> Result<(), TooManySecrets> {
        self.forget_expired(now);
        let Some(current) = &self.secret else {
            self.secret = Some(secret);
            return Ok(());
        };
        if *current == secret {
            return Ok(());
        }
        let others = self.previous_secrets.iter();
        let others = others.filter(|previous| previous.secret != secret);
        let mut previous: Vec<PreviousSecret> = others.cloned().collect();
        // The new secret, the one that it replaces, and these.
        if previous.len() + 2 > MAX_SECRETS {
            let free_at = previous.into_iter().map(|it| it.until).min();
            return Err(TooManySecrets(free_at.unwrap_or_default()));
        }
        previous.insert(
            0,
            PreviousSecret {
                secret: current.clone(),
                until: timestamp(now + ROTATION),
            },
        );
        self.secret = Some(secret);
        self.previous_secrets = previous;
        Ok(())
    }

    /// Removes the secrets that no longer sign.
    pub fn forget_expired(&mut self, now: OffsetDateTime) {
        let now = timestamp(now);
        self.previous_secrets
            .retain(|previous| previous.until > now);
    }

    /// The secrets that sign at `now`, the current one first.
    pub fn signing(&self, now: OffsetDateTime) -> impl Iterator<Item = &WebhookSecret> {
        let now = timestamp(now);
        let previous = self
            .previous_secrets
            .iter()
            .filter(move |previous| previous.until > now)
            .map(|previous| &previous.secret);
        self.secret.iter().chain(previous)
    }

    /// Until when a replaced secret still signs, if one does.
    pub fn previous_until(&self, now: OffsetDateTime) -> Option<&str> {
        // The secret that was replaced last has the latest end.
        let latest = self.previous_secrets.first()?;
        (latest.until > timestamp(now)).then_some(latest.until.as_str())
    }
}

impl WebhookSecret {
    /// A new random secret, in the form of Standard Webhooks.
    pub fn generate() -> anyhow::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).context("get random bytes for a webhook's secret")?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// Reads a secret that an administrator chose.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let characters = text.chars().count();
        if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&characters) {
            return Err(InvalidSecret::Length(characters));
        }
        if text.contains(char::is_control) {
            return Err(InvalidSecret::ControlCharacter);
        }
        // Some senders print it this way, or a space was copied along. Elsewhere in a text the prefix means nothing.
        let before = text.split_once(PREFIX).map(|(before, _)| before.trim_end());
        if before.is_some_and(|before| before.ends_with(',') || before.is_empty())
            && !text.starts_with(PREFIX)
        {
            return Err(InvalidSecret::BeforePrefix);
        }
        if let Some(encoded) = text.strip_prefix(PREFIX) {
            let key = STANDARD
                .decode(encoded)
                .map_err(|_| InvalidSecret::NotBase64)?;
            if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
                return Err(InvalidSecret::KeyLength(key.len()));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// A new random token: a text whose sending proves who sends it.
    pub fn generate_token() -> anyhow::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).context("get random bytes for a token")?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Reads a token that somebody chose, of `least` characters or more.
    pub fn parse_token(text: &str, least: usize) -> Result<Self, InvalidToken> {
        let characters = text.chars().count();
        if !(least..=MAX_CHARACTERS).contains(&characters) {
            return Err(InvalidToken::Length(characters, least));
        }
        // A header can have these (RFC 9110, section 5.5), and every server takes them unchanged.
        let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_visible || text.trim() != text {
            return Err(InvalidToken::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this is the token that somebody sent. The time that it takes reveals nothing of the right token.
    pub fn is(&self, given: &[u8]) -> bool {
        let mut ours = mac(b"token");
        ours.update(self.0.as_bytes());
        let mut theirs = mac(b"token");
        theirs.update(given);
        theirs.verify(&ours.finalize().into_bytes()).is_ok()
    }

    /// The secret, to show once to whoever asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key of Standard Webhooks as it is written after the prefix, if there is one. It is as secret as the whole.
    pub fn encoded_key(&self) -> Option<&str> {
        self.0.strip_prefix(PREFIX)
    }

    /// The value of `webhook-signature`: as Standard Webhooks signs, over the id, the time and the body.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = mac(&self.key());
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// The value of `X-Sonar-Webhook-HMAC-SHA256`: as SonarQube signs, over the body alone.
    ///
    /// The key is the whole text, even if it begins with `whsec_`, because SonarQube's receivers know no other key.
    pub fn sign_body(&self, body: &[u8]) -> String {
        let mut mac = mac(self.0.as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether a body has this signature of `SonarQube`'s kind, in hexadecimal digits of either case. The time that it takes
    /// reveals nothing of the right signature.
    pub fn verifies_body(&self, body: &[u8], signature: &[u8]) -> bool {
        let mut mac = mac(self.0.as_bytes());
        mac.update(body);
        hex::decode(signature).is_ok_and(|given| mac.verify_slice(&given).is_ok())
    }

    /// The key of Standard Webhooks: what is encoded after the prefix, or the text itself where nothing is encoded.
    fn key(&self) -> Vec<u8> {
        self.encoded_key()
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .unwrap_or_else(|| self.0.as_bytes().to_vec())
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;
    use standardwebhooks::{Webhook, WebhookError};
    use time::OffsetDateTime;

    #[test]
    fn a_generated_secret_is_one_of_standard_webhooks_and_not_shown() {
        let secret = WebhookSecret::generate().unwrap();
        assert_eq!(WebhookSecret::parse(secret.reveal()), Ok(secret.clone()));
        assert_eq!(secret.key().len(), 32);
        assert_eq!(format!("{secret:?}"), "WebhookSecret([redacted])");
        assert_ne!(secret, WebhookSecret::generate().unwrap());
    }

    #[test]
    fn a_token_is_of_visible_characters_and_known_by_all_of_them() {
        let generated = WebhookSecret::generate_token().unwrap();
        assert_eq!(
            WebhookSecret::parse_token(generated.reveal(), 16),
            Ok(generated.clone())
        );
        assert_ne!(generated, WebhookSecret::generate_token().unwrap());
        let parse = |text: &str, least| WebhookSecret::parse_token(text, least).map(|_| ());
        for (text, least, expected) in [
            ("", 1, Err(InvalidToken::Length(0, 1))),
            ("a", 1, Ok(())),
            (&"a".repeat(15), 16, Err(InvalidToken::Length(15, 16))),
            (&"a".repeat(200), 16, Ok(())),
            (&"a".repeat(201), 16, Err(InvalidToken::Length(201, 16))),
            ("a ~!b", 1, Ok(())),
            (" a", 1, Err(InvalidToken::Characters)),
            ("a\nb", 1, Err(InvalidToken::Characters)),
            ("ä", 1, Err(InvalidToken::Characters)),
        ] {
            assert_eq!(parse(text, least), expected, "{text:?}");
        }
        let token = WebhookSecret::parse_token("a token", 1).unwrap();
        assert!(token.is(b"a token"));
        for other in [&b""[..], b"a toke", b"a token ", b"A token", b"a tokem"] {
            assert!(!token.is(other), "{other:?}");
        }
    }

    #[test]
    fn a_secret_outside_the_limits_is_refused_with_the_reason() {
        let of_standard_webhooks = |bytes| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for (text, expected) in [
            (String::new(), Err(InvalidSecret::Length(0))),
            ("ä".repeat(15), Err(InvalidSecret::Length(15))),
            ("ä".repeat(16), Ok(())),
            ("ä".repeat(200), Ok(())),
            ("ä".repeat(201), Err(InvalidSecret::Length(201))),
            (
                "a secret\nof two lines".to_owned(),
                Err(InvalidSecret::ControlCharacter),
            ),
            (
                "whsec_this is no base64".to_owned(),
                Err(InvalidSecret::NotBase64),
            ),
            (
                // Good base64, were it padded.
                "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNA".to_owned(),
                Err(InvalidSecret::NotBase64),
            ),
            (
                format!("v1,{}", of_standard_webhooks(32)),
                Err(InvalidSecret::BeforePrefix),
            ),
            (
                format!(" {}", of_standard_webhooks(32)),
                Err(InvalidSecret::BeforePrefix),
            ),
            (of_standard_webhooks(23), Err(InvalidSecret::KeyLength(23))),
            (of_standard_webhooks(24), Ok(())),
            (of_standard_webhooks(64), Ok(())),
            (of_standard_webhooks(65), Err(InvalidSecret::KeyLength(65))),
        ] {
            assert_eq!(WebhookSecret::parse(&text).map(drop), expected, "{text:?}");
        }
        let reason = InvalidSecret::BeforePrefix.to_string();
        assert!(reason.contains("leave out 'v1,'"), "{reason}");
    }

    #[test]
    fn a_secret_is_stored_as_its_text_and_read_without_checks() {
        let secret: WebhookSecret = serde_json::from_str("\"short\"").unwrap();
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"short\"");
        let broken: WebhookSecret = serde_json::from_str("\"whsec_?\"").unwrap();
        assert_eq!(broken.key(), b"whsec_?");
    }

    const ID: &str = "msg_2b1d8f0c";
    const BODY: &str = "{\"name\":\"Prüfbericht\"}";

    /// What a receiver with this library says of a message that was signed for [`ID`], `now` and [`BODY`].
    fn verify(
        receiver: &Webhook,
        secret: &WebhookSecret,
        (id, seconds_late, body): (&str, i64, &str),
    ) -> Result<(), WebhookError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", (now + seconds_late).to_string()),
            ("webhook-signature", secret.sign(ID, now, BODY.as_bytes())),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        receiver.verify(body.as_bytes(), &headers)
    }

    #[test]
    fn a_receiver_of_standard_webhooks_takes_our_signature_and_no_tampered_message() {
        let generated = WebhookSecret::generate().unwrap();
        let chosen = WebhookSecret::parse("ein Geheimnis für Prüfungen").unwrap();
        // As the documentation says that a text is given to a library.
        let encoded = format!("{PREFIX}{}", STANDARD.encode(chosen.reveal()));
        for (receiver, secret) in [
            (Webhook::new(generated.reveal()).unwrap(), &generated),
            (Webhook::new(&encoded).unwrap(), &chosen),
            (
                Webhook::from_bytes(chosen.reveal().as_bytes().to_vec()).unwrap(),
                &chosen,
            ),
        ] {
            verify(&receiver, secret, (ID, 0, BODY)).unwrap();
            for tampered in [
                ("msg_2b1d8f0d", 0, BODY),
                (ID, 1, BODY),
                (ID, 0, "{\"name\":\"Prufbericht\"}"),
                (ID, 0, ""),
            ] {
                let result = verify(&receiver, secret, tampered);
                assert!(
                    matches!(result, Err(WebhookError::InvalidSignature)),
                    "{tampered:?}: {result:?}"
                );
            }
        }
    }

    /// Made by `printf %s "$body" | openssl dgst -sha256 -hmac "$secret"`.
    #[test]
    fn the_signature_of_the_body_is_sonarqubes() {
        for (secret, body, expected) in [
            (
                "0123456789abcdef",
                "",
                "496dc93fa2d26eae500ec0bc37a122706b88f8963cebf0899d0245fae313e241",
            ),
            (
                "0123456789abcdef",
                "{}",
                "f91e3e9f05cc2df64ac1c26f8adccdffda8d1e4a7a8c50a1a08eeadac6ddfec5",
            ),
            (
                "ein Geheimnis für Prüfungen",
                BODY,
                "1feaa6851c0daf7ba7cda3ddb634547f31e14e42e83c6cd6b4fe63d2ed891175",
            ),
            (
                "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNA==",
                "{}",
                "deb3074cf0b644d672f27112e62579aef8d7e4b177f804949162d938e24cbd44",
            ),
        ] {
            let secret = WebhookSecret::parse(secret).unwrap();
            assert_eq!(
                secret.sign_body(body.as_bytes()),
                expected,
                "{}",
                secret.reveal()
            );
        }
    }

    /// What an administrator may have copied: a key of nearly the right length, or whatever is long enough to be a secret.
    fn copied() -> impl Strategy<Value = String> {
        let key = prop::collection::vec(any::<u8>(), MIN_KEY_BYTES - 2..=MAX_KEY_BYTES + 2);
        prop_oneof![
            key.prop_map(|key| format!("{PREFIX}{}", STANDARD.encode(key))),
            "whsec_[A-Za-z0-9+/]{20,90}={0,2}",
            ".{0,220}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_taken_signs_as_its_receivers_check(text in copied(), body in ".{0,40}") {
            let Ok(secret) = WebhookSecret::parse(&text) else { return Ok(()) };
            prop_assert_eq!(secret.reveal(), &text);
            let theirs = match text.strip_prefix(PREFIX) {
                Some(_) => Webhook::new(&text).unwrap(),
                None => Webhook::from_bytes(text.clone().into_bytes()).unwrap(),
            };
            let signature = secret.sign("id", 1, body.as_bytes());
            prop_assert_eq!(signature, theirs.sign("id", 1, body.as_bytes()).unwrap());
            let of_body = secret.sign_body(body.as_bytes());
            prop_assert!(secret.verifies_body(body.as_bytes(), of_body.as_bytes()));
            prop_assert!(!secret.verifies_body(&[body.as_bytes(), b" "].concat(), of_body.as_bytes()));
        }

        #[test]
        fn a_key_is_taken_when_it_is_as_long_as_standard_webhooks_wants(
            key in prop::collection::vec(any::<u8>(), MIN_KEY_BYTES - 2..=MAX_KEY_BYTES + 2),
        ) {
            let secret = WebhookSecret::parse(&format!("{PREFIX}{}", STANDARD.encode(&key)));
            if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
                prop_assert_eq!(secret.unwrap().key(), key);
            } else {
                prop_assert_eq!(secret, Err(InvalidSecret::KeyLength(key.len())));
            }
        }
    }
}
