//! Why there is no identity.

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is not good. The reason may be shown to whoever sent it: it says what was expected, and nothing of the
    /// token.
    #[error("{0}")]
    Invalid(String),
    /// The token was good, and is over.
    #[error("the JWT has expired")]
    Expired,
    /// The issuer could not be asked for its keys. That is no fault of the caller.
    #[error("the issuer's keys are not known")]
    Unavailable(#[source] anyhow::Error),
}

pub(crate) fn invalid(reason: impl Into<String>) -> VerifyError {
    VerifyError::Invalid(reason.into())
}

pub(crate) fn not_a_jwt() -> VerifyError {
    invalid("the bearer token is not a JWT that is signed by RS256 or ES256")
}
