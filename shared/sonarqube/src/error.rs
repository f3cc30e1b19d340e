//! What goes wrong with a server, and what whoever asks it can do.

use std::time::Duration;

/// Why a server did not give what it was asked for. The messages are for whoever runs the program.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it means")]
pub enum Error {
    #[error("'{0}' is no address of a server; give one such as https://sonarqube.example.com")]
    InvalidUrl(String),
    #[error("the token has characters that no token has; is it whole, and alone?")]
    InvalidToken,
    #[error(
        "SonarQube does not accept the token (401): it is wrong, expired or revoked; make another one in SonarQube under My Account, Security"
    )]
    Unauthorized,
    #[error(
        "SonarQube refuses {what} (403): {message}; the token's user needs the permission 'Browse' on the project"
    )]
    Forbidden { what: String, message: String },
    #[error(
        "SonarQube has no {what} (404): {message}; check the key, and that the token's user may browse it"
    )]
    NotFound { what: String, message: String },
    #[error("SonarQube does not know {0}: another edition or version")]
    UnknownUrl(String),
    #[error("SonarQube refuses {what} (400): {message}")]
    BadRequest { what: String, message: String },
    #[error(
        "the address leads elsewhere, to {0}: give that one, since a token follows no redirect"
    )]
    Redirected(String),
    #[error("SonarQube is busy with {what} ({status}) since {waited:?}; try again later")]
    Busy {
        what: String,
        status: u16,
        waited: Duration,
    },
    #[error("SonarQube cannot be reached for {what}: {source}")]
    Unreachable {
        what: String,
        source: reqwest::Error,
    },
    #[error(
        "no trusted connection to SonarQube: {0}; is its certificate of an authority that this machine trusts (SSL_CERT_FILE)?"
    )]
    Tls(String),
    #[error("SonarQube fails at {what} ({status}): {message}")]
    Failed {
        what: String,
        status: u16,
        message: String,
    },
    #[error(
        "what SonarQube answers to {what} is not understood: {why}; is a proxy or a login page in between?"
    )]
    Malformed { what: String, why: String },
    #[error("the project has no branch '{0}'; there are {1}")]
    NoBranch(String, String),
    #[error("branch '{0}' was never analysed")]
    NeverAnalysed(String),
    #[error(
        "the analysis calls its version '{0}', which is no version; set sonar.projectVersion, or choose a fallback: date, build or property:<name>"
    )]
    NoVersion(String),
    #[error(
        "the project was analysed again while it was read, {0} times; try again when the build is quiet"
    )]
    Superseded(usize),
    #[error("the issues of {0} went on changing while they were read; try again")]
    Unsteady(String),
}

/// The innermost reasons of an error that concern TLS.
pub(crate) fn tls_reason(error: &reqwest::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        if text.contains("certificate") || text.contains("TLS") || text.contains("tls handshake") {
            return Some(text);
        }
        source = error.source();
    }
    None
}
