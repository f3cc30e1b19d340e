//! Why a token gives no identity.

/// Why a token gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is not valid. The reason may be shown to whoever sent the token: it says what was expected, and nothing of
    /// the token.
    #[error("{0}")]
    Invalid(String),
    /// The token was valid, but has expired.
    #[error("the JWT has expired")]
    Expired,
    /// The issuer could not be asked for its keys. That is not the caller's fault.
    #[error("the issuer's keys are not known")]
    Unavailable(#[source] anyhow::Error),
}

pub(crate) fn invalid(reason: impl Into<String>) -> VerifyError {
    VerifyError::Invalid(reason.into())
}

pub(crate) fn not_a_jwt() -> VerifyError {
    invalid("the bearer token is not a JWT that is signed by RS256 or ES256")
}
