//! What the issuer has granted and not yet seen the end of: codes and refresh tokens. It is in memory.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::issuer::person::Person;

/// How long a code is good.
const CODE_VALIDITY: Duration = Duration::seconds(60);
/// How long refresh tokens go on after a sign-in, however often they are exchanged.
const SESSION_VALIDITY: Duration = Duration::hours(10);

/// Somebody who signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignIn {
    pub(super) person: Person,
    pub(super) at: OffsetDateTime,
}

/// What stands behind a code. The client is always the panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) sign_in: SignIn,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) nonce: String,
}

impl Code {
    /// Whether who brings the code is who asked for it.
    pub(super) fn fits(&self, redirect_uri: &str, verifier: &str) -> bool {
        let is_verifier = (43..=128).contains(&verifier.len())
            && verifier
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        is_verifier
            && redirect_uri == self.redirect_uri
            && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == self.challenge
    }
}

/// Everything that is granted, and what tests want to know and change.
#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, Code>,
    refresh_tokens: HashMap<String, SignIn>,
    /// How many requests the token endpoint got.
    pub(super) token_requests: usize,
    /// Whether every refresh is refused.
    pub(super) refuses_refreshes: bool,
}

impl Grants {
    pub(super) fn add_code(&mut self, code: String, granted: Code) {
        let now = granted.sign_in.at;
        self.codes.retain(|_, code| is_good(code, now));
        self.codes.insert(code, granted);
    }

    /// What was granted by a code, which is used up by that.
    pub(super) fn take_code(&mut self, code: &str, now: OffsetDateTime) -> Option<Code> {
        self.codes.remove(code).filter(|code| is_good(code, now))
    }

    pub(super) fn add_refresh_token(
        &mut self,
        token: String,
        sign_in: SignIn,
        now: OffsetDateTime,
    ) {
        self.refresh_tokens.retain(|_, of| goes_on(of, now));
        self.refresh_tokens.insert(token, sign_in);
    }

    /// Whose a refresh token is, which ends by that.
    pub(super) fn take_refresh_token(
        &mut self,
        token: &str,
        now: OffsetDateTime,
    ) -> Option<SignIn> {
        let sign_in = self.refresh_tokens.remove(token)?;
        (goes_on(&sign_in, now) && !self.refuses_refreshes).then_some(sign_in)
    }
}

fn is_good(code: &Code, now: OffsetDateTime) -> bool {
    now < code.sign_in.at + CODE_VALIDITY
}

fn goes_on(sign_in: &SignIn, now: OffsetDateTime) -> bool {
    now < sign_in.at + SESSION_VALIDITY
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    /// The example of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn code() -> Code {
        Code {
            sign_in: SignIn {
                person: Person::ALL[0],
                at: NOW,
            },
            redirect_uri: "http://here".to_owned(),
            challenge: CHALLENGE.to_owned(),
            nonce: "n".to_owned(),
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let mut grants = Grants::default();
        for (seconds, expected) in [(0, true), (59, true), (60, false), (3600, false)] {
            grants.add_code("c".to_owned(), code());
            let later = NOW + Duration::seconds(seconds);
            assert_eq!(
                grants.take_code("c", later).is_some(),
                expected,
                "{seconds}"
            );
            assert_eq!(grants.take_code("c", NOW), None, "{seconds}");
        }
    }

    #[test]
    fn a_refresh_token_is_good_once_and_for_ten_hours() {
        let mut grants = Grants::default();
        let sign_in = code().sign_in;
        for (hours, expected) in [(0, true), (9, true), (10, false)] {
            grants.add_refresh_token("r".to_owned(), sign_in, NOW);
            let later = NOW + Duration::hours(hours);
            let taken = grants.take_refresh_token("r", later);
            assert_eq!(taken.is_some(), expected, "{hours}");
            assert_eq!(grants.take_refresh_token("r", NOW), None, "{hours}");
        }
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut grants = Grants::default();
        grants.add_code("c".to_owned(), code());
        grants.add_refresh_token("r".to_owned(), code().sign_in, NOW);
        let mut late = code();
        late.sign_in.at = NOW + Duration::days(1);
        grants.add_refresh_token("s".to_owned(), late.sign_in, late.sign_in.at);
        grants.add_code("d".to_owned(), late);
        assert_eq!(grants.codes.keys().collect::<Vec<_>>(), ["d"]);
        assert_eq!(grants.refresh_tokens.keys().collect::<Vec<_>>(), ["s"]);
    }

    #[test]
    fn a_code_fits_who_asked_for_it() {
        assert!(code().fits("http://here", VERIFIER));
        assert!(!code().fits("http://there", VERIFIER));
        assert!(!code().fits("http://here", &VERIFIER.replace('d', "e")));
        // Shorter than the RFC allows, although it has the right digest.
        let short = Code {
            challenge: URL_SAFE_NO_PAD.encode(Sha256::digest("short")),
            ..code()
        };
        assert!(!short.fits("http://here", "short"));
    }
}
