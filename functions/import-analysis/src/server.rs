//! A source's server during a visit: whether it may be asked, and its health.

use domain::source::SourceId;
use domain::source::import::{Health, ImportSettings, Standing};
use outbound::sender::Refused;
use runtime::clock::Clock;
use sonarqube::{Client, Connection, Token};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::state::Importing;
use crate::tally::Tally;

/// After this many failures in a row that may concern more than one project, the server is left alone, although it accepts
/// the token.
const MAX_TROUBLES: u32 = 2;

/// A source's server.
pub(crate) struct Server<'a> {
    importing: &'a Importing,
    settings: &'a ImportSettings,
    clock: &'a Clock,
    pub(crate) standing: &'a mut Standing,
    /// Its client, once it has accepted the token.
    client: Option<Client>,
    /// How often it has failed in a row since then.
    troubles: u32,
}

impl<'a> Server<'a> {
    /// The server at `settings`, with what is known of it.
    pub(crate) fn new(
        importing: &'a Importing,
        settings: &'a ImportSettings,
        clock: &'a Clock,
        standing: &'a mut Standing,
    ) -> Self {
        Self {
            importing,
            settings,
            clock,
            standing,
            client: None,
            troubles: 0,
        }
    }

    /// Whether the server is left alone.
    pub(crate) fn is_waiting(&self) -> bool {
        self.standing.pause(self.clock.now()).is_some()
    }

    /// Whether the server can be asked: it accepts the token now, or did so a moment ago.
    pub(crate) async fn is_there(&mut self) -> anyhow::Result<bool> {
        if self.is_waiting() {
            return Ok(false);
        }
        if self.client.is_some() {
            return Ok(true);
        }
        let greeted = match self.connect()? {
            Ok(client) => match timeout(self.clock.left(), sonarqube::greet(&client)).await {
                Ok(Ok(())) => Ok(client),
                Ok(Err(error)) => Err(Failure::of(&error)),
                Err(_) => Err(Failure::slow()),
            },
            Err(failure) => Err(failure),
        };
        let now = self.clock.now();
        let (reason, pause) = match greeted {
            Ok(client) => {
                self.standing.note_greeting(client.token_expires_at(), now);
                self.client = Some(client);
                return Ok(true);
            }
            Err(Failure::Unauthorized(reason)) => {
                self.standing.note_unauthorized(reason, now);
                return Ok(false);
            }
            Err(Failure::Unreachable(reason, pause)) => (reason, pause),
            Err(Failure::Later(_, reason) | Failure::Final(_, reason)) => (reason, None),
        };
        self.standing.note_unreachable(reason, pause, now);
        Ok(false)
    }

    /// The client of the server, if the server has answered.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref().filter(|_| !self.is_waiting())
    }

    /// Records a failure of the server after it has accepted the token.
    pub(crate) fn note(&mut self, failure: Failure) {
        let now = self.clock.now();
        match failure {
            Failure::Unauthorized(reason) => self.standing.note_unauthorized(reason, now),
            Failure::Unreachable(reason, pause) => {
                self.troubles += 1;
                // Another slow request would take the whole of the next visit.
                if self.troubles >= MAX_TROUBLES || !self.clock.has_half() {
                    self.standing.note_unreachable(reason, pause, now);
                }
            }
            Failure::Later(..) | Failure::Final(..) => self.troubles = 0,
        }
    }

    /// Records that the server did what was asked of it.
    pub(crate) fn note_done(&mut self) {
        self.troubles = 0;
    }

    /// Records the server's health after all requests.
    pub(crate) fn end(&mut self) {
        let now = self.clock.now();
        let Some(expires_at) = self.client().map(Client::token_expires_at) else {
            return;
        };
        match self.troubles {
            0 => self.standing.note_answer(expires_at, now),
            _ => self.standing.token_expires_at = expires_at,
        }
    }

    /// Counts and logs the server's health, for the operator.
    pub(crate) fn count(&self, source: SourceId, tally: &mut Tally) {
        let reason = self.standing.reason.as_deref().unwrap_or_default();
        match self.standing.health {
            Health::Unauthorized => {
                tally.unauthorized += 1;
                tracing::warn!(%source, health = "unauthorized", "the server of source {source} does not accept the token: {reason}");
            }
            Health::Unreachable => {
                tally.unreachable += 1;
                tracing::warn!(%source, health = "unreachable", "the server of source {source} cannot be asked: {reason}");
            }
            Health::Unknown | Health::Working => {}
        }
        if self.standing.is_token_expiring(self.clock.now()) {
            tally.expiring += 1;
            tracing::warn!(%source, health = "expiring", "the token of source {source} expires soon, or has");
        }
    }

    /// A client of the server that reaches allowed addresses only.
    ///
    /// # Errors
    /// The outer error is our own fault.
    fn connect(&self) -> anyhow::Result<Result<Client, Failure>> {
        let settings = self.settings;
        let builder = match self.importing.sender.client_for(&settings.base_url) {
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
                patience: self.importing.patience,
            };
            Client::through(connection, builder)
        };
        Ok(connect().map_err(|error| Failure::of(&error)))
    }
}
