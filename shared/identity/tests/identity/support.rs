//! What the tests have in common: an issuer, what it signs, and what becomes of that.

pub(crate) mod issuer;
pub(crate) mod signing;

use identity::{IdentityProvider, VerifyError};
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// The token is refused for this reason, which shows nothing of the token.
pub(crate) async fn refused(provider: &IdentityProvider, token: &str, reason: &str) {
    let error = provider.verify(token, NOW).await.unwrap_err();
    let VerifyError::Invalid(message) = &error else {
        panic!("{error:?}");
    };
    assert!(message.contains(reason), "{message} instead of {reason}");
    for part in token.split('.').filter(|part| part.len() > 3) {
        assert!(!format!("{error:?} {error}").contains(part), "{message}");
    }
}

/// The token can be neither accepted nor refused, for this reason.
pub(crate) async fn unavailable(
    provider: &IdentityProvider,
    token: &str,
    now: OffsetDateTime,
    reason: &str,
) {
    let error = provider.verify(token, now).await.unwrap_err();
    let VerifyError::Unavailable(cause) = &error else {
        panic!("{error:?}");
    };
    assert!(format!("{cause:#}").contains(reason), "{cause:#}");
    assert_eq!(error.to_string(), "the issuer's keys are not known");
}
