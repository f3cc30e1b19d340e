//! Identities against a real issuer on loopback, whose answers the tests choose and count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acceptance;
mod keys;
mod refusals;
mod roles;
mod support;

use identity::{IdentityOptions, IdentityProvider};

use crate::support::issuer::options;

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
