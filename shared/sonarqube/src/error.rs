//! The errors of a server, and what the user can do about them.

use std::time::Duration;

/// Why a server did not give what it was asked for. The messages are for whoever runs the program.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum Error {
    #[error(
        "that is no address of a server; give one such as https://sonarqube.example.com, without user, password and query: the token is given by itself"
    )]
    InvalidUrl,
    #[error("on SonarQube Cloud the organization is needed too")]
    NoOrganization,
    #[error(
        "whether this server rates by type or by impact is not known: it answers neither api/v2/clean-code-policy/mode nor api/settings/values"
    )]
    NoMode,
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
        "the address leads elsewhere, to {0}, and a token follows no redirect: give that one, or, if that is a login page, another token"
    )]
    Redirected(String),
    #[error("SonarQube is busy with {what} ({status}) since {waited:?}; try again later")]
    Busy {
        what: String,
        status: u16,
        waited: Duration,
        /// How long the server asks to be left alone, if it says so.
        after: Option<Duration>,
    },
    #[error("SonarQube cannot be reached for {what}: {why}")]
    Unreachable {
        what: String,
        why: String,
        is_connect: bool,
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
    #[error(
        "the newest analysis of branch '{branch}' is {newest} and not {expected}, which nobody can read any more"
    )]
    Overtaken {
        branch: String,
        newest: String,
        expected: String,
    },
    #[error("what was found of {0} went on changing while it was read; try again")]
    Unsteady(String),
}

/// A text of the server's for a message: on one line, and shortened. Whatever it contains, it neither begins a line in a log
/// nor controls a terminal.
pub(crate) fn said(text: &str) -> String {
    let shown: String = text.chars().take(500).collect();
    shown.replace(|it: char| it.is_control(), " ")
}

/// The innermost cause of an error.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The innermost causes of an error that concern TLS.
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
