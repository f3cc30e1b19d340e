//! Requests to a server: with which token, how often, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::date::GivenDate;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::Semaphore;
use url::Url;

use crate::error::{Error, reason, said, tls_reason};
use crate::wire;

/// How many requests are sent to a server at once. Cloud limits requests, but does not document how (SonarQube Cloud, "Web
/// API").
const AT_ONCE: usize = 2;
/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent. A search over a large project takes seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a connection is tried.
const CONNECTIONS: u32 = 3;
/// The hosts of `SonarQube` Cloud.
const CLOUDS: [&str; 2] = ["sonarcloud.io", "sonarqube.us"];
/// The header by which a server says when the token expires (`SonarQube`'s Web API, "Authentication"). It is present only for
/// a token that does.
const TOKEN_EXPIRATION: &str = "sonarqube-authentication-token-expiration";
/// The shortest token that is masked, in bytes. A token of one character would mask every text, and no server gives so short
/// a token.
const SHORTEST_HIDDEN: usize = 8;
/// The largest answer, in bytes. 500 issues with all their flows have some 2 MB.
const MOST: usize = 64 << 20;

/// A server's address, and the credentials for it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The server's address, such as `https://sonarqube.example.com` or `https://example.com/sonar`.
    pub url: String,
    /// The token of a user who may browse the project.
    pub token: Token,
    /// The organization, on Cloud.
    pub organization: Option<String>,
    /// Whether a proxy that the environment names (`HTTPS_PROXY` and similar) is used.
    pub through_proxy: bool,
    /// How patient the client is with a busy server.
    pub patience: Patience,
}

impl Connection {
    /// Checks whether a client can be made of it, as far as that is possible without asking the server.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`]; on Cloud [`Error::NoOrganization`].
    pub fn check(&self) -> Result<(), Error> {
        base(self).map(drop)
    }
}

/// A token of `SonarQube`. It is never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token, as `SonarQube` shows it.
    ///
    /// # Errors
    /// It has characters that a header must not have.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_token
            .then(|| Self(text.to_owned()))
            .ok_or(Error::InvalidToken)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// How often a server is asked again that is busy, builds its index, or cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The pause before the second request. It doubles with each further request. A longer pause that the server sets
    /// (`Retry-After`) is respected, up to [`Patience::longest`].
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How many requests there are at most.
    pub requests: u32,
    /// How long one answer may take as a whole. An answer that trickles in is given up.
    pub answer: Duration,
}

impl Default for Patience {
    /// Some four minutes. An index that is rebuilt after an upgrade takes longer; any other load is over sooner.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            requests: 9,
            answer: Duration::from_secs(180),
        }
    }
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    connection: Connection,
    at_once: Arc<Semaphore>,
    basic: Arc<AtomicBool>,
    token_expires_at: Arc<Mutex<Option<GivenDate>>>,
}

/// The parameters of a request.
pub(crate) type Parameters<'a> = &'a [(&'a str, &'a str)];

impl Client {
    /// A client of this server. It follows no redirect: the token goes to the given address, and nowhere else.
    ///
    /// # Errors
    /// The address is not valid.
    pub fn new(connection: Connection) -> Result<Self, Error> {
        let tls = tls::client_config().map_err(|error| Error::Tls(error.to_string()))?;
        let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
        let builder = match connection.through_proxy {
            true => builder,
            false => builder.no_proxy(),
        };
        Self::through(connection, builder)
    }

    /// The same with a given `builder`, which can limit the addresses that the client reaches.
    ///
    /// # Errors
    /// The address is not valid.
    pub fn through(connection: Connection, builder: ClientBuilder) -> Result<Self, Error> {
        let base = base(&connection)?;
        let http = builder
            .redirect(redirect::Policy::none())
            .user_agent(concat!("SonarQube-Reports/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(connection.patience.answer)
            .build()
            .map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self {
            http,
            base,
            connection,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            basic: Arc::default(),
            token_expires_at: Arc::default(),
        })
    }

    /// When the token expires, as the server's latest answer says; `None` if it does not.
    pub fn token_expires_at(&self) -> Option<GivenDate> {
        self.expiry().clone()
    }

    fn expiry(&self) -> MutexGuard<'_, Option<GivenDate>> {
        self.token_expires_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's address, without a slash at the end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether this is `SonarQube` Cloud. Its version says nothing, but only Cloud has organizations.
    pub(crate) fn is_cloud(&self) -> bool {
        self.connection.organization.is_some()
    }

    pub(crate) fn organization(&self) -> Option<&str> {
        self.connection.organization.as_deref()
    }

    /// Switches to Basic authentication. Servers before 10.0 take a token only as a user without a password.
    pub(crate) fn use_basic(&self) {
        self.basic.store(true, Ordering::Relaxed);
    }

    /// Requests JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<T, Error> {
        let bytes = self.ask(path, parameters).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
            what: path.to_owned(),
            why: self.said(&error.to_string()),
        })
    }

    /// Requests a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Error> {
        let bytes = self.ask(path, &[]).await?;
        Ok(self.hide(String::from_utf8_lossy(&bytes).trim()))
    }

    /// A text of the server's for a message, without the token: a server may repeat what it receives.
    pub(crate) fn said(&self, text: &str) -> String {
        // In the other order, the beginning of a token that is cut would remain.
        said(&self.hide(text))
    }

    /// The same without shortening.
    fn hide(&self, text: &str) -> String {
        let Token(token) = &self.connection.token;
        if token.len() < SHORTEST_HIDDEN {
            return text.to_owned();
        }
        let basic = STANDARD_NO_PAD.encode(format!("{token}:"));
        text.replace(token, "***").replace(&basic, "***")
    }

    /// Repeats a request until there is an answer, an error that a repetition does not change, or no patience left.
    async fn ask(&self, path: &str, parameters: Parameters<'_>) -> Result<Vec<u8>, Error> {
        let patience = self.connection.patience;
        let (mut pause, mut waited) = (patience.first, Duration::ZERO);
        let mut request = 0;
        loop {
            request += 1;
            let is_last = request >= patience.requests;
            let asked = {
                let _slot = self.at_once.acquire().await;
                self.ask_once(path, parameters).await
            };
            let wanted = match asked {
                Ok(Answer::Given(bytes)) => return Ok(bytes),
                Ok(Answer::Later { status, after }) if is_last => {
                    return Err(Error::Busy {
                        what: path.to_owned(),
                        status,
                        waited,
                        after,
                    });
                }
                Ok(Answer::Later { after, .. }) => after,
                // A server that does not exist is more likely a wrong address than a busy server.
                Err(error @ Error::Unreachable { is_connect, .. })
                    if is_last || (is_connect && request >= CONNECTIONS) =>
                {
                    return Err(error);
                }
                Err(Error::Unreachable { why, .. }) => {
                    tracing::info!("{path} was not answered, asking again: {why}");
                    None
                }
                Err(error) => return Err(error),
            };
            let wait = wanted.unwrap_or(pause).max(pause).min(patience.longest);
            tokio::time::sleep(wait).await;
            waited += wait;
            pause = (pause * 2).min(patience.longest);
        }
    }

    async fn ask_once(&self, path: &str, parameters: Parameters<'_>) -> Result<Answer, Error> {
        let unreachable = |source: reqwest::Error| match tls_reason(&source) {
            Some(reason) => Error::Tls(self.said(&reason)),
            None => Error::Unreachable {
                what: path.to_owned(),
                is_connect: source.is_connect(),
                why: self.said(&reason(&source.without_url())),
            },
        };
        let mut response = self.send(path, parameters).await.map_err(unreachable)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && !self.basic.swap(true, Ordering::Relaxed)
        {
            response = self.send(path, parameters).await.map_err(unreachable)?;
        }
        self.answer(path, response, unreachable).await
    }

    async fn send(
        &self,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<Response, reqwest::Error> {
        // This cannot fail: paths are constants of this crate.
        let url = self.base.join(path).unwrap_or_else(|_| self.base.clone());
        let request = self.http.get(url).query(parameters);
        let Token(token) = &self.connection.token;
        let request = match self.basic.load(Ordering::Relaxed) {
            true => request.basic_auth(token, Some("")),
            false => request.bearer_auth(token),
        };
        request.send().await
    }

    async fn answer(
        &self,
        path: &str,
        response: Response,
        unreachable: impl Fn(reqwest::Error) -> Error,
    ) -> Result<Answer, Error> {
        let status = response.status();
        let headers = response.headers().clone();
        let expiry = headers
            .get(TOKEN_EXPIRATION)
            .and_then(|it| it.to_str().ok());
        if let Some(expiry) = expiry.and_then(date) {
            *self.expiry() = Some(expiry);
        }
        let bytes = body(path, response).await?.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer::Given(bytes));
        }
        let what = path.to_owned();
        let message = self.said(&wire::message(&bytes));
        Err(match status.as_u16() {
            429 | 502..=504 => {
                return Ok(Answer::Later {
                    status: status.as_u16(),
                    after: retry_after(&headers),
                });
            }
            300..=399 => {
                let to = headers.get(LOCATION).and_then(|it| it.to_str().ok());
                let to = self.hide(to.unwrap_or("somewhere"));
                // A query may have something in it that opens a session.
                let to = to.split(['?', '#']).next().unwrap_or_default();
                Error::Redirected(said(to))
            }
            401 => Error::Unauthorized,
            403 => Error::Forbidden { what, message },
            404 if message.to_lowercase().starts_with("unknown url") => Error::UnknownUrl(what),
            404 => Error::NotFound { what, message },
            400 => Error::BadRequest { what, message },
            status => Error::Failed {
                what,
                status,
                message,
            },
        })
    }
}

/// The base address of a server's paths.
fn base(connection: &Connection) -> Result<Url, Error> {
    let mut base = Url::parse(&connection.url).map_err(|_| Error::InvalidUrl)?;
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
        return Err(Error::InvalidUrl);
    }
    if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
        return Err(Error::InvalidUrl);
    }
    base.set_fragment(None);
    let path = format!("{}/", base.path().trim_end_matches('/'));
    base.set_path(&path);
    let host = base.host_str().unwrap_or_default();
    let is_at = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    if CLOUDS.into_iter().any(is_at) && connection.organization.is_none() {
        return Err(Error::NoOrganization);
    }
    Ok(base)
}

/// Reads a date with a time, or a day.
fn date(text: &str) -> Option<GivenDate> {
    let of_day = || format!("{text}T00:00:00Z").parse().ok();
    text.parse().ok().or_else(of_day)
}

enum Answer {
    Given(Vec<u8>),
    Later {
        status: u16,
        after: Option<Duration>,
    },
}

async fn body(
    path: &str,
    mut response: Response,
) -> Result<Result<Vec<u8>, reqwest::Error>, Error> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(Ok(bytes)),
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= MOST => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(Error::Malformed {
                    what: path.to_owned(),
                    why: format!("it is larger than {MOST} bytes"),
                });
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The pause that the server asks for: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    (at - OffsetDateTime::now_utc()).try_into().ok()
}

#[cfg(test)]
mod tests {
    use crate::canned::client_of;
    use crate::check::check;

    const TOKEN: &str = "squ_0123456789abcdef";
    /// How the token is sent to servers before 10.0.
    const BASIC: &str = "c3F1XzAxMjM0NTY3ODlhYmNkZWY6";

    /// What is said of a server that answers all with this.
    async fn problem(status: u16, header: &str, body: String) -> String {
        let answer = (status, format!("X: y\r\n{header}"), body);
        let client = client_of(TOKEN, move |path| match path {
            "api/server/version" => (200, "X: y".to_owned(), "2025.1.0.1".to_owned()),
            _ => answer.clone(),
        });
        check(&client.await).await.problem.unwrap().to_string()
    }

    #[tokio::test]
    async fn the_token_is_never_said_not_even_its_beginning() {
        // Behind so much text it is cut in each kind of message.
        for before in [0, 470, 490] {
            for secret in [TOKEN, BASIC] {
                let text = format!("{}{secret}", "x".repeat(before));
                let error = format!(r#"{{"errors":[{{"msg":"{text}"}}]}}"#);
                let location = format!("Location: /{text}");
                let mut problems = Vec::new();
                for status in [400, 403, 404, 500] {
                    problems.push(problem(status, "Y: z", error.clone()).await);
                }
                problems.push(problem(302, &location, String::new()).await);
                let malformed = format!(r#"{{"valid":"{text}"}}"#);
                problems.push(problem(200, "Y: z", malformed).await);
                for problem in problems {
                    assert!(before > 0 || problem.contains("***"), "{problem}");
                    assert!(!problem.contains(&secret[..6]), "{problem}");
                    assert!(problem.len() < 800, "{problem}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_token_is_in_nothing_that_a_server_says_of_itself() {
        let client = client_of(TOKEN, |path| {
            let body = match path {
                "api/server/version" => "10.1.0",
                "api/authentication/validate" => r#"{"valid":true}"#,
                "api/navigation/global" => r#"{"edition":"squ_0123456789abcdef"}"#,
                _ => "{}",
            };
            (200, "X: y".to_owned(), body.to_owned())
        });
        let checked = check(&client.await).await;
        assert_eq!(checked.edition.as_deref(), Some("***"));
        let client = client_of("0123456789abcdef", |_| {
            let version = "10.1.0-0123456789abcdef";
            (200, "X: y".to_owned(), version.to_owned())
        });
        assert_eq!(check(&client.await).await.version, None);
    }

    #[tokio::test]
    async fn a_token_of_one_character_is_not_looked_for() {
        let client = client_of("a", |_| (200, "X: y".to_owned(), "a".to_owned())).await;
        assert_eq!(client.said("a banana"), "a banana");
    }
}
