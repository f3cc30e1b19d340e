//! Identities against a real issuer on loopback, whose answers the tests choose and count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acceptance;
mod issuer;
mod keys;
mod refusals;
mod roles;
mod signing;

use identity::{IdentityOptions, IdentityProvider, VerifyError};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::issuer::options;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

#[test]
fn an_issuer_is_https_or_on_loopback() {
    for good in [
        "https://example.org",
        "https://example.org/",
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc",
        "http://127.0.0.1:9000/development-issuer",
        "http://127.9.9.9",
        "http://localhost:8080/realms/x",
        "http://[::1]:80",
    ] {
        let result = IdentityProvider::new(options(good));
        assert!(result.is_ok(), "{good}: {result:?}");
    }
    for bad in [
        "",
        "example.org",
        "http://example.org",
        "http://10.0.0.1",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        "http://[::2]",
        "ftp://127.0.0.1",
        "https://example.org?a=b",
        "https://example.org#a",
    ] {
        assert!(IdentityProvider::new(options(bad)).is_err(), "{bad}");
    }
    let without_audience = IdentityOptions {
        audience: String::new(),
        ..options("https://example.org")
    };
    assert!(IdentityProvider::new(without_audience).is_err());
}

/// The token is refused for this reason, which shows nothing of the token.
async fn refused(provider: &IdentityProvider, token: &str, reason: &str) {
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
async fn unavailable(provider: &IdentityProvider, token: &str, now: OffsetDateTime, reason: &str) {
    let error = provider.verify(token, now).await.unwrap_err();
    let VerifyError::Unavailable(cause) = &error else {
        panic!("{error:?}");
    };
    assert!(format!("{cause:#}").contains(reason), "{cause:#}");
    assert_eq!(error.to_string(), "the issuer's keys are not known");
}
