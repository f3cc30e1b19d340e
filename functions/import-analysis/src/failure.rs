//! What an error of a server's says: of the server and all that it has, or of one analysis.

use domain::source::import::ImportState;
use sonarqube::Error;
use time::Duration;

/// Why there are no reports, and what follows from that.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not accept the token: whatever is asked next comes to the same.
    Unauthorized(String),
    /// The server cannot be reached or is too busy, and perhaps wants to be left alone for some time.
    Unreachable(String, Option<Duration>),
    /// It is about this analysis only, and may be another time.
    Later(ImportState, String),
    /// It is about this analysis only, and stays so.
    Final(ImportState, String),
}

impl Failure {
    /// It does not answer in the time that there is.
    pub(crate) fn slow() -> Self {
        let reason = "the server took too long for all that was asked";
        Self::Unreachable(reason.to_owned(), None)
    }

    /// What an error of the server's means.
    pub(crate) fn of(error: &Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Unauthorized | Error::InvalidToken => Self::Unauthorized(reason),
            Error::Busy { after, .. } => {
                Self::Unreachable(reason, after.and_then(|it| it.try_into().ok()))
            }
            Error::Unreachable { .. }
            | Error::Tls(_)
            | Error::Redirected(_)
            | Error::InvalidUrl
            | Error::NoOrganization
            | Error::NoMode => Self::Unreachable(reason, None),
            Error::Forbidden { .. } => Self::Later(ImportState::Unauthorized, reason),
            // It is no error of `SonarQube`'s: what is before it does not find it.
            Error::NotFound { message, .. } if message.is_empty() => {
                Self::Later(ImportState::NotFound, reason)
            }
            Error::NotFound { .. } | Error::NoBranch(..) | Error::NeverAnalysed(_) => {
                Self::Final(ImportState::NotFound, reason)
            }
            Error::NoVersion(_) => Self::Final(ImportState::Failed, reason),
            Error::BadRequest { .. }
            | Error::UnknownUrl(_)
            | Error::Failed { .. }
            | Error::Malformed { .. }
            | Error::Superseded(_)
            | Error::Overtaken { .. }
            | Error::Unsteady(_) => Self::Later(ImportState::Failed, reason),
        }
    }
}
