//! A source's server, and what its errors say of it.

use domain::source::import::{ImportSettings, ImportState};
use outbound::sender::Refused;
use sonarqube::{Client, Connection, Error, Token};
use time::Duration;

use crate::state::Importing;

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

impl Importing {
    /// A client of a source's server, which reaches no address but those that are allowed.
    ///
    /// # Errors
    /// The outer one is our own fault.
    pub(crate) fn client(
        &self,
        settings: &ImportSettings,
    ) -> anyhow::Result<Result<Client, Failure>> {
        let builder = match self.sender.client_for(&settings.base_url) {
            Ok(builder) => builder,
            Err(error) => {
                let refused: Refused = error.downcast()?;
                return Ok(Err(Failure::Unreachable(refused.to_string(), None)));
            }
        };
        let connect = || {
            let connection = Connection {
                url: settings.base_url.without_userinfo().to_string(),
                token: Token::new(settings.token.reveal())?,
                organization: settings.organization.clone(),
                through_proxy: false,
                patience: self.patience,
            };
            Client::through(connection, builder)
        };
        Ok(connect().map_err(|error| Failure::of(&error)))
    }
}
