//! What a server's error is about: the whole server, or one analysis.

use domain::source::import::ImportState;
use sonarqube::Error;
use time::Duration;

/// Why there are no reports, and what follows from that.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not accept the token, and so every further request would fail.
    Unauthorized(String),
    /// The server cannot be reached or is too busy. It may ask to be left alone for some time.
    Unreachable(String, Option<Duration>),
    /// The failure is about this analysis only. Another attempt may succeed.
    Later(ImportState, String),
    /// The failure is about this analysis only, and is final.
    Final(ImportState, String),
}

impl Failure {
    /// The server did not answer in the given time.
    pub(crate) fn slow() -> Self {
        let reason = "the server took too long for all that was asked";
        Self::Unreachable(reason.to_owned(), None)
    }

    /// The meaning of a server's error.
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
            // This is not an error of `SonarQube`'s: a proxy in front of it does not find the path.
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
