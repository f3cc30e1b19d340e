//! The one client by which anything leaves for an address that an administrator chose.
//!
//! *Invariant:* what is not allowed by the [`AddressPolicy`] is never connected to. A name is checked inside the
//! client's resolver, where the addresses that it connects to come from. An address in the URL never reaches a resolver,
//! so it is checked before every request. Nothing else can lead elsewhere: no redirect is followed and no proxy is asked.
//!
//! *Invariant:* one deadline covers resolving, connecting, headers and body, and no more of a body is read than is kept.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::dns::{Name, Resolve};
use reqwest::{Client, Method, Request, Response};
use rustls::pki_types::InvalidDnsNameError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout, timeout_at};
use url::Host;

use super::address::{AddressPolicy, AddressRefused, GuardedResolver, NotResolved, SystemResolver};
use super::url::WebhookUrl;

/// SonarQube's: a receiver of its webhooks has as long.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// So much of a response is kept: enough for the message of an error.
pub const MAX_RESPONSE_BYTES: usize = 4096;

/// A connection that is idle for longer is not used again. A Lambda function is frozen between two invocations and does
/// not see that the other side closed a connection meanwhile; a message sent on such a connection would fail for nothing.
const IDLE: Duration = Duration::from_secs(5);
/// So long [`Sender::check`] waits for a name: a person waits for its answer.
const CHECK: Duration = Duration::from_secs(3);

/// Sends messages to receivers.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    resolver: Arc<GuardedResolver>,
    options: SenderOptions,
}

/// What a [`Sender`] may do.
#[derive(Clone, Copy, Debug)]
pub struct SenderOptions {
    /// Where it may send to.
    pub addresses: AddressPolicy,
    /// Whether it may send without TLS.
    pub plain_http: bool,
    /// How long one exchange may take, all in all. [`DEADLINE`] outside of tests.
    pub deadline: Duration,
}

/// Why a URL is never sent to. The messages are for who wrote the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// See the message.
    #[error("plain http is refused: anyone on the way can read and change the message; use https")]
    PlainHttp,
    /// Said of an address as of a name, and not what the name resolves to: that may be nobody's business outside.
    #[error("{host} is not a public address, and nothing is sent to any other")]
    Address {
        /// The name or the address.
        host: String,
    },
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The response's status, `None` when there was no response.
    pub status: Option<u16>,
    /// How long all of it took.
    pub duration: Duration,
    /// The beginning of the response's body, at most [`MAX_RESPONSE_BYTES`] long; `None` when there was no response.
    pub response: Option<String>,
    /// When the receiver wants to be asked again, if it said so.
    pub retry_after: Option<RetryAfter>,
    /// Why the message does not count as received; `None` is success.
    pub failure: Option<Failure>,
}

/// The response's `Retry-After` (RFC 9110, section 10.2.3), as the receiver wrote it: in bounds is the caller's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    In(Duration),
    /// From this moment on.
    At(OffsetDateTime),
}

/// Why a message does not count as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For a person. Has nothing of the URL but the host, and nothing of the headers.
    pub message: String,
}

/// The kinds of [`Failure`]. All of them are the receiver's; our own fault is an error of [`Sender::post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// The URL is one that is never sent to: see [`Refused`].
    AddressRefused,
    /// No connection, or one that ended before there was a response.
    Connect,
    /// No secure connection: no TLS at all, or a certificate that is not trusted.
    Tls,
    /// The deadline passed.
    Timeout,
    /// A response other than 2xx.
    Status,
    /// A response 2xx whose body broke off.
    Body,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Dns,
        Self::AddressRefused,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Status,
        Self::Body,
    ];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
        }
    }
}

impl Sender {
    /// A sender that asks the operating system for names.
    pub fn new(options: SenderOptions) -> anyhow::Result<Self> {
        Self::with_resolver(options, Arc::new(SystemResolver))
    }

    /// A sender that asks `resolver` for names, for tests. What it answers is checked as any other answer is.
    pub fn with_resolver(
        options: SenderOptions,
        resolver: Arc<dyn Resolve>,
    ) -> anyhow::Result<Self> {
        let resolver = Arc::new(GuardedResolver::new(resolver, options.addresses));
        let client = Client::builder()
            .dns_resolver(Arc::clone(&resolver))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            // When to try again is not the client's decision.
            .retry(reqwest::retry::never())
            // HTTP/2 gains nothing for single messages, and an answer that is not read to its end would have to be
            // reset within a connection that others use.
            .http1_only()
            .tcp_nodelay(true)
            // Shared out among the addresses of a name: one that does not answer leaves time for the next.
            .connect_timeout(options.deadline)
            .pool_idle_timeout(IDLE)
            .build()
            .context("make the HTTP client for webhooks")?;
        Ok(Self {
            client,
            resolver,
            options,
        })
    }

    /// Whether a request to this URL would be let out: its scheme, its address, and for a name what it resolves to now.
    ///
    /// A name that does not resolve, or not within 3 s, is fine here: the receiver may not exist yet, and every request
    /// asks again.
    pub async fn check(&self, url: &WebhookUrl) -> Result<(), Refused> {
        self.check_without_resolving(url)?;
        match timeout(CHECK, self.resolve(url)).await {
            Ok(Err(error)) if error.is::<AddressRefused>() => Err(Refused::Address {
                host: url.host().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Sends one message, once.
    ///
    /// # Errors
    /// Our own fault, for which no receiver may be blamed: a request that cannot be built, or a machine that is out of
    /// file descriptors, ports or memory. Everything else is the receiver's and is in the [`Exchange`].
    pub async fn post(
        &self,
        url: &WebhookUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Exchange> {
        let started = Instant::now();
        let deadline = started + self.options.deadline;
        let failed = |failure| Exchange {
            status: None,
            duration: started.elapsed(),
            response: None,
            retry_after: None,
            failure: Some(failure),
        };

        if let Err(refused) = self.check_without_resolving(url) {
            let message = refused.to_string();
            return Ok(failed(Failure::new(FailureKind::AddressRefused, message)));
        }
        let request = request(url, headers, body)?;
        let secrets = secrets(&request, url);
        let response = match timeout_at(deadline, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // The path of a URL may be as secret as its password.
                let error = error.without_url();
                if error.is_builder() || self.is_ours(&error, url, deadline).await {
                    let operation = format!("send a message to {}", url.host());
                    return Err(anyhow::Error::new(error).context(operation));
                }
                return Ok(failed(self.failure(&error)));
            }
            Err(_) => return Ok(failed(self.no_answer_in_time())),
        };

        let status = response.status();
        let retry_after = retry_after(response.headers());
        let (beginning, end) = read(response, deadline).await;
        Ok(Exchange {
            status: Some(status.as_u16()),
            duration: started.elapsed(),
            response: Some(text(&beginning, &secrets)),
            retry_after,
            failure: self.failure_of_response(status, end),
        })
    }

    fn check_without_resolving(&self, url: &WebhookUrl) -> Result<(), Refused> {
        if url.is_plain_http() && !self.options.plain_http {
            return Err(Refused::PlainHttp);
        }
        match address(url) {
            Some(address) if !self.options.addresses.allows(address) => Err(Refused::Address {
                host: url.host().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The addresses that a request would go to.
    async fn resolve(&self, url: &WebhookUrl) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        match url.host() {
            Host::Ipv4(address) => Ok(vec![address.into()]),
            Host::Ipv6(address) => Ok(vec![address.into()]),
            Host::Domain(name) => {
                let name: Name = name.parse()?;
                Ok(self
                    .resolver
                    .resolve(name)
                    .await?
                    .map(|address| address.ip())
                    .collect())
            }
        }
    }

    /// Whether this machine lacks what every connection needs, whoever is called.
    async fn is_ours(&self, error: &reqwest::Error, url: &WebhookUrl, deadline: Instant) -> bool {
        match shortage(error) {
            // No port is left, or a machine without IPv6 was to call an IPv6 address. The latter is said of receivers with
            // both kinds of addresses too, when the IPv4 ones fail, and would be said again at every retry.
            Some(libc::EADDRNOTAVAIL) => match timeout_at(deadline, self.resolve(url)).await {
                Ok(Ok(addresses)) => addresses.iter().all(IpAddr::is_ipv4),
                _ => true,
            },
            Some(_) => true,
            None => false,
        }
    }

    /// Why there is no response.
    fn failure(&self, error: &reqwest::Error) -> Failure {
        if let Some(refused) = find::<AddressRefused>(error) {
            let host = refused.host.clone();
            return Failure::new(
                FailureKind::AddressRefused,
                Refused::Address { host }.to_string(),
            );
        }
        if let Some(not_resolved) = find::<NotResolved>(error) {
            return Failure::new(FailureKind::Dns, not_resolved.to_string());
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return Failure::new(FailureKind::Tls, format!("TLS failed: {tls}"));
        }
        if let Some(name) = find::<InvalidDnsNameError>(error) {
            let message = format!("TLS failed: no certificate can be for this host: {name}");
            return Failure::new(FailureKind::Tls, message);
        }
        // The operating system may give up before we do.
        let timed_out = causes(error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::TimedOut);
        if timed_out || error.is_timeout() {
            return self.no_answer_in_time();
        }
        let message = match find::<hyper::Error>(error) {
            Some(http) if http.is_parse() => format!("did not answer in HTTP: {http}"),
            Some(_) => "closed the connection before it answered".to_owned(),
            None => format!("could not connect: {}", innermost(error)),
        };
        Failure::new(FailureKind::Connect, message)
    }

    /// Why a response does not count as success.
    fn failure_of_response(&self, status: StatusCode, end: End) -> Option<Failure> {
        let code = status.as_u16();
        // An answer that refuses is refusing however its body ends.
        if status.is_redirection() {
            let message = format!("answered {code}, and redirects are not followed");
            return Some(Failure::new(FailureKind::Status, message));
        }
        if !status.is_success() {
            return Some(Failure::new(
                FailureKind::Status,
                format!("answered {code}"),
            ));
        }
        match end {
            End::Complete | End::Cut => None,
            End::Broken(error) => {
                let message = format!("answered {code} and then broke off: {}", innermost(&error));
                Some(Failure::new(FailureKind::Body, message))
            }
            End::Late => {
                let message = format!(
                    "answered {code} and did not finish its answer within {:?}",
                    self.options.deadline
                );
                Some(Failure::new(FailureKind::Timeout, message))
            }
        }
    }

    fn no_answer_in_time(&self) -> Failure {
        let message = format!("did not answer within {:?}", self.options.deadline);
        Failure::new(FailureKind::Timeout, message)
    }
}

impl Failure {
    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

fn address(url: &WebhookUrl) -> Option<IpAddr> {
    match url.host() {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

fn request(url: &WebhookUrl, headers: HeaderMap, body: Bytes) -> anyhow::Result<Request> {
    let mut request = Request::new(Method::POST, url.without_userinfo());
    *request.headers_mut() = headers;
    if let Some((user, password)) = url.basic_auth() {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
            .context("make the header of Basic authentication")?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    *request.body_mut() = Some(body.into());
    Ok(request)
}

/// How the reading of a body ended.
#[derive(Debug)]
enum End {
    Complete,
    /// It goes on, and we do not.
    Cut,
    Broken(reqwest::Error),
    Late,
}

/// The beginning of the body, and one byte more where there is more: [`text`] needs it to see where a character ends.
///
/// Whatever is left is dropped with the response, and the connection with it: an endless answer costs nothing.
async fn read(mut response: Response, deadline: Instant) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_RESPONSE_BYTES {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = MAX_RESPONSE_BYTES + 1 - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(Ok(None)) => return (bytes, End::Complete),
            Ok(Err(error)) => return (bytes, End::Broken(error.without_url())),
            Err(_) => return (bytes, End::Late),
        }
    }
    (bytes, End::Cut)
}

/// What of a request is secret. A receiver may well repeat it in its answer, which others may read.
fn secrets(request: &Request, url: &WebhookUrl) -> Vec<String> {
    let values = request.headers().values();
    let of_headers = values.filter(|value| value.is_sensitive());
    let of_headers = of_headers.filter_map(|value| value.to_str().ok());
    // The scheme of an Authorization is none.
    let of_headers = of_headers.map(|value| value.strip_prefix("Basic ").unwrap_or(value));
    let mut secrets: Vec<String> = of_headers.map(str::to_owned).collect();
    secrets.extend(url.basic_auth().map(|(_, password)| password));
    secrets
}

/// The bytes as a text of at most [`MAX_RESPONSE_BYTES`] bytes, without secrets. It is cut last, because a byte that is no
/// UTF-8 becomes three.
fn text(bytes: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for secret in secrets {
        text = masked(text, secret);
    }
    text.truncate(text.floor_char_boundary(MAX_RESPONSE_BYTES));
    text
}

/// The text with `***` in place of the secret, and of the beginning of it where the text was cut in its midst.
fn masked(text: String, secret: &str) -> String {
    /// What is shorter occurs in texts that have nothing to do with it.
    const SHORTEST: usize = 6;
    const MASK: &str = "***";
    if secret.len() < SHORTEST {
        return text;
    }
    let mut text = text.replace(secret, MASK);
    let beginnings = (SHORTEST..secret.len()).rev();
    let beginning = beginnings
        .filter(|&length| secret.is_char_boundary(length))
        .map(|length| &secret[..length])
        .find(|beginning| text.ends_with(beginning));
    if let Some(beginning) = beginning {
        text.truncate(text.len() - beginning.len());
        text.push_str(MASK);
    }
    text
}

fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    /// More than a century, and small enough to be added to any date.
    const MAX_SECONDS: u64 = u32::MAX as u64;
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS);
        return Some(RetryAfter::In(Duration::from_secs(seconds)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(RetryAfter::At(date.into()))
}

/// The error of the operating system that says that this machine ran out of something.
fn shortage(error: &(dyn Error + 'static)) -> Option<i32> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
        .find(|code| {
            matches!(
                *code,
                libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL
            )
        })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// The error and its causes. An [`io::Error`] does not name the error that it was made of as its source, but that one's
/// source; what TLS says would be missed.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::dns::{Addrs, Resolving};
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use time::macros::datetime;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    const OPTIONS: SenderOptions = SenderOptions {
        addresses: AddressPolicy::PublicAndLoopback,
        plain_http: true,
        deadline: DEADLINE,
    };
    /// For tests in which the deadline passes.
    const SHORT: SenderOptions = SenderOptions {
        deadline: Duration::from_millis(200),
        ..OPTIONS
    };

    fn url(text: impl AsRef<str>) -> WebhookUrl {
        text.as_ref().parse().unwrap()
    }

    async fn post(options: SenderOptions, to: impl AsRef<str>) -> Exchange {
        let sender = Sender::new(options).unwrap();
        send(&sender, to).await
    }

    async fn send(sender: &Sender, to: impl AsRef<str>) -> Exchange {
        let body = Bytes::from_static(b"{\"a\":1}");
        sender.post(&url(to), HeaderMap::new(), body).await.unwrap()
    }

    fn kind(exchange: &Exchange) -> Option<FailureKind> {
        exchange.failure.as_ref().map(|failure| failure.kind)
    }

    fn message(exchange: &Exchange) -> &str {
        &exchange.failure.as_ref().unwrap().message
    }

    /// What a receiver does with a connection after its answer.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Then {
        Close,
        Wait,
        ReadOn,
    }

    struct Receiver {
        address: SocketAddr,
        /// The number of the connection, and the request that came on it.
        requests: mpsc::UnboundedReceiver<(usize, String)>,
    }

    /// A server on loopback that gives the same answer to every request.
    async fn receiver(answer: impl Into<Vec<u8>>, then: Then) -> Receiver {
        let answer: Arc<[u8]> = answer.into().into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let _ = sender.send((number, request));
                        stream.write_all(&answer).await.unwrap();
                        match then {
                            Then::Close => return,
                            Then::Wait => std::future::pending().await,
                            Then::ReadOn => {}
                        }
                    }
                });
            }
        });
        Receiver { address, requests }
    }

    /// Reads up to the end of the body.
    async fn read_request(stream: &mut TcpStream) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() == length {
                    return Some(text.into_owned());
                }
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Answers with one address or error after the other, and then with the last for ever.
    struct Answers(Mutex<Vec<Result<IpAddr, i32>>>);

    impl Answers {
        fn new(answers: impl IntoIterator<Item = Result<&'static str, i32>>) -> Arc<Self> {
            let answers = answers.into_iter();
            let answers = answers.map(|answer| answer.map(|ip| ip.parse().unwrap()));
            Arc::new(Self(Mutex::new(answers.collect())))
        }
    }

    impl Resolve for Answers {
        fn resolve(&self, _: Name) -> Resolving {
            let mut answers = self.0.lock().unwrap();
            let answer = match answers.len() {
                1 => answers[0],
                _ => answers.remove(0),
            };
            Box::pin(async move {
                let ip = answer.map_err(io::Error::from_raw_os_error)?;
                Ok(Box::new(std::iter::once(SocketAddr::new(ip, 0))) as Addrs)
            })
        }
    }

    #[tokio::test]
    async fn a_message_arrives_as_it_was_given_and_its_answer_is_told() {
        let mut receiver = receiver(
            "HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nthere",
            Then::Close,
        )
        .await;
        let sender = Sender::new(OPTIONS).unwrap();
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        )]);
        let to = url(format!("http://{}/hook?a=b%20c", receiver.address));
        let exchange = sender
            .post(&to, headers, Bytes::from_static(b"{\"a\":1}"))
            .await
            .unwrap();
        assert_eq!(
            (exchange.status, exchange.response.as_deref()),
            (Some(202), Some("there"))
        );
        assert_eq!((exchange.failure, exchange.retry_after), (None, None));
        assert!(exchange.duration > Duration::ZERO && exchange.duration < DEADLINE);
        let (_, request) = receiver.requests.recv().await.unwrap();
        assert!(
            request.starts_with("POST /hook?a=b%20c HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
        assert!(
            request.contains("content-type: application/json; charset=utf-8\r\n"),
            "{request}"
        );
        assert!(
            !request.contains("accept-encoding") && !request.contains("authorization"),
            "{request}"
        );
    }

    #[test]
    fn a_secret_that_an_answer_repeats_is_masked() {
        let url = url("https://user:pass%20word@example.com/");
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_static("Bearer abcdef.ghijkl");
        value.set_sensitive(true);
        headers.insert("x-token", value);
        headers.insert("x-public", HeaderValue::from_static("everybody"));
        let request = request(&url, headers, Bytes::new()).unwrap();
        let secrets = secrets(&request, &url);
        for (answer, shown) in [
            ("x-token: Bearer abcdef.ghijkl;", "x-token: ***;"),
            ("Basic dXNlcjpwYXNzIHdvcmQ=", "Basic ***"),
            ("pass word, pass word", "***, ***"),
            ("cut at Bearer abc", "cut at ***"),
            ("everybody may pass", "everybody may pass"),
        ] {
            assert_eq!(text(answer.as_bytes(), &secrets), shown);
        }
    }

    #[tokio::test]
    async fn the_userinfo_arrives_as_basic_authentication_and_not_in_the_url() {
        let mut receiver = receiver("HTTP/1.1 204 No Content\r\n\r\n", Then::Close).await;
        let sender = Sender::new(OPTIONS).unwrap();
        // Of two authorizations the one in the URL wins.
        let headers = HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_static("Bearer other"),
        )]);
        let to = url(format!("http://us%20er:p%40ss@{}/hook", receiver.address));
        let exchange = sender.post(&to, headers, Bytes::new()).await.unwrap();
        assert_eq!((exchange.status, exchange.failure), (Some(204), None));
        assert_eq!(exchange.response.as_deref(), Some(""));
        let (_, request) = receiver.requests.recv().await.unwrap();
        assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
        // printf %s 'us er:p@ss' | base64
        assert!(
            request.contains("authorization: Basic dXMgZXI6cEBzcw==\r\n"),
            "{request}"
        );
        assert!(
            !request.contains("p%40ss") && !request.contains("Bearer"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn an_answer_other_than_2xx_is_a_failure_whatever_its_body_does() {
        for (answer, status, expected) in [
            (
                "400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
                400,
                "answered 400",
            ),
            (
                "410 Gone\r\ncontent-length: 9\r\n\r\nno",
                410,
                "answered 410",
            ),
            (
                "503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\nzz",
                503,
                "answered 503",
            ),
        ] {
            let receiver = receiver(format!("HTTP/1.1 {answer}"), Then::Close).await;
            let exchange = post(OPTIONS, format!("http://{}/", receiver.address)).await;
            assert_eq!(exchange.status, Some(status));
            assert_eq!(kind(&exchange), Some(FailureKind::Status));
            assert_eq!(message(&exchange), expected);
            assert_eq!(exchange.response.as_deref(), Some("no"));
        }
        let receiver = receiver("HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nno", Then::Wait).await;
        let exchange = post(SHORT, format!("http://{}/", receiver.address)).await;
        assert_eq!(message(&exchange), "answered 500");
        assert_eq!(exchange.response.as_deref(), Some("no"));
    }

    #[tokio::test]
    async fn a_redirect_is_a_failure_and_is_not_followed() {
        let mut target =
            receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
        for status in [301, 302, 303, 307, 308] {
            let answer = format!(
                "HTTP/1.1 {status} Elsewhere\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
                target.address
            );
            let receiver = receiver(answer, Then::Close).await;
            let exchange = post(OPTIONS, format!("http://{}/", receiver.address)).await;
            assert_eq!(exchange.status, Some(status));
            assert_eq!(kind(&exchange), Some(FailureKind::Status));
            assert_eq!(
                message(&exchange),
                format!("answered {status}, and redirects are not followed")
            );
        }
        assert!(target.requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn without_an_answer_it_is_a_failure_to_connect() {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let silent = receiver("", Then::Close).await;
        let cut = receiver("HTTP/1.1 200 OK\r\ncontent-le", Then::Close).await;
        let other = receiver("220 mail.example ESMTP\r\n\r\n", Then::Close).await;
        for (address, expected) in [
            (closed, "could not connect: "),
            (silent.address, "closed the connection before it answered"),
            (cut.address, "closed the connection before it answered"),
            (other.address, "did not answer in HTTP: "),
        ] {
            let exchange = post(OPTIONS, format!("http://user:secret@{address}/path")).await;
            assert_eq!((exchange.status, &exchange.response), (None, &None));
            assert_eq!(kind(&exchange), Some(FailureKind::Connect), "{exchange:?}");
            assert!(message(&exchange).starts_with(expected), "{exchange:?}");
            let shown = format!("{exchange:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("path"),
                "{shown}"
            );
        }
    }

    #[tokio::test]
    async fn a_receiver_without_tls_at_an_https_url_is_a_failure_of_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The whole greeting, so that closing does not reset what was answered.
            let mut greeting = [0; 16_384];
            let _ = stream.read(&mut greeting).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            std::future::pending::<()>().await;
        });
        let exchange = post(OPTIONS, format!("https://{address}/")).await;
        assert_eq!(kind(&exchange), Some(FailureKind::Tls), "{exchange:?}");
        assert!(
            message(&exchange).starts_with("TLS failed: "),
            "{exchange:?}"
        );
        assert_eq!(exchange.status, None);
    }

    #[tokio::test]
    async fn a_2xx_whose_body_breaks_off_is_a_failure() {
        for answer in [
            "content-length: 9\r\n\r\nfine",
            "transfer-encoding: chunked\r\n\r\n4\r\nfine\r\n",
            "transfer-encoding: chunked\r\n\r\n4\r\nfine\r\nzz",
        ] {
            let receiver = receiver(format!("HTTP/1.1 200 OK\r\n{answer}"), Then::Close).await;
            let exchange = post(OPTIONS, format!("http://{}/", receiver.address)).await;
            assert_eq!(kind(&exchange), Some(FailureKind::Body), "{exchange:?}");
            assert_eq!(
                (exchange.status, exchange.response.as_deref()),
                (Some(200), Some("fine"))
            );
        }
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_and_counts_as_received() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closed = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'a'; 1000]).await.is_ok() {}
        });
        let exchange = post(OPTIONS, format!("http://{address}/")).await;
        assert_eq!((exchange.status, exchange.failure), (Some(200), None));
        assert_eq!(exchange.response.unwrap(), "a".repeat(4096));
        // The connection is dropped, or this would never end.
        closed.await.unwrap();
    }

    #[tokio::test]
    async fn the_deadline_covers_connecting_head_and_body() {
        for (answer, status, expected) in [
            ("", None, "did not answer within 200ms"),
            (
                "HTTP/1.1 200 OK\r\nx-trickl",
                None,
                "did not answer within 200ms",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine",
                Some(200),
                "answered 200 and did not finish its answer within 200ms",
            ),
        ] {
            let receiver = receiver(answer, Then::Wait).await;
            let exchange = post(SHORT, format!("http://{}/", receiver.address)).await;
            assert_eq!(kind(&exchange), Some(FailureKind::Timeout));
            assert_eq!(exchange.status, status);
            assert_eq!(message(&exchange), expected);
            assert!(exchange.duration >= SHORT.deadline, "{exchange:?}");
        }
        // A listener that accepts nothing: TLS waits for its first answer.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exchange = post(SHORT, format!("https://{address}/")).await;
        assert_eq!(kind(&exchange), Some(FailureKind::Timeout));
    }

    /// Every byte comes in time for the next one, and all of them too late.
    #[tokio::test]
    async fn a_trickle_does_not_move_the_deadline() {
        for answer in [
            "HTTP/1.1 200 OK\r\nx: ",
            "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                let mut tick = tokio::time::interval(SHORT.deadline / 20);
                while stream.write_all(b"a").await.is_ok() {
                    tick.tick().await;
                }
            });
            let exchange = post(SHORT, format!("http://{address}/")).await;
            assert_eq!(kind(&exchange), Some(FailureKind::Timeout), "{exchange:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_answered_in_time_is_a_timeout() {
        struct Never;
        impl Resolve for Never {
            fn resolve(&self, _: Name) -> Resolving {
                Box::pin(std::future::pending())
            }
        }
        let sender = Sender::with_resolver(SHORT, Arc::new(Never)).unwrap();
        let exchange = send(&sender, "https://receiver.example/").await;
        assert_eq!(kind(&exchange), Some(FailureKind::Timeout));
    }

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let mut receiver = receiver(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Then::ReadOn,
        )
        .await;
        let sender = Sender::new(OPTIONS).unwrap();
        for _ in 0..2 {
            let exchange = send(&sender, format!("http://{}/", receiver.address)).await;
            assert_eq!(exchange.failure, None);
            let (connection, _) = receiver.requests.recv().await.unwrap();
            assert_eq!(connection, 0);
        }
    }

    #[tokio::test]
    async fn a_compressed_body_is_not_decompressed() {
        let mut answer =
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 22\r\n\r\n".to_vec();
        // printf %s hi | gzip -n
        answer.extend(hex::decode("1f8b0800000000000003cbc80400ac2a93d802000000").unwrap());
        let receiver = receiver(answer, Then::Close).await;
        let exchange = post(OPTIONS, format!("http://{}/", receiver.address)).await;
        assert_eq!(exchange.failure, None);
        assert!(
            exchange
                .response
                .unwrap()
                .starts_with("\u{1f}\u{fffd}\u{8}")
        );
    }

    #[tokio::test]
    async fn an_address_that_is_refused_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let public = SenderOptions {
            addresses: AddressPolicy::Public,
            ..SHORT
        };
        let answers = Answers::new([Ok("127.0.0.1")]);
        let sender = Sender::with_resolver(public, answers).unwrap();
        for (host, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
            ("backend", "backend"),
        ] {
            let exchange = send(&sender, format!("http://{host}:{port}/")).await;
            assert_eq!(kind(&exchange), Some(FailureKind::AddressRefused), "{host}");
            assert_eq!(
                message(&exchange),
                format!("{shown} is not a public address, and nothing is sent to any other")
            );
            assert_eq!((exchange.status, exchange.response), (None, None));
        }
        let nobody = listener.accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn plain_http_is_refused_unless_it_is_allowed() {
        let sender = Sender::new(SenderOptions {
            plain_http: false,
            ..SHORT
        })
        .unwrap();
        let to = url("http://127.0.0.1:9/");
        assert_eq!(sender.check(&to).await, Err(Refused::PlainHttp));
        let exchange = send(&sender, to.as_str()).await;
        assert_eq!(kind(&exchange), Some(FailureKind::AddressRefused));
        assert!(message(&exchange).contains("use https"), "{exchange:?}");
        assert_eq!(Sender::new(OPTIONS).unwrap().check(&to).await, Ok(()));
    }

    #[tokio::test]
    async fn a_name_is_sent_to_at_the_port_of_the_url() {
        let mut receiver =
            receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
        let answers = Answers::new([Ok("127.0.0.1")]);
        let sender = Sender::with_resolver(OPTIONS, answers).unwrap();
        let port = receiver.address.port();
        let exchange = send(&sender, format!("http://receiver.example:{port}/")).await;
        assert_eq!(exchange.failure, None);
        let (_, request) = receiver.requests.recv().await.unwrap();
        assert!(
            request.contains(&format!("host: receiver.example:{port}\r\n")),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_failure_and_passes_the_check() {
        let sender = Sender::with_resolver(OPTIONS, Answers::new([Err(libc::EIO)])).unwrap();
        let exchange = send(&sender, "https://receiver.example/").await;
        assert_eq!(kind(&exchange), Some(FailureKind::Dns));
        assert!(
            message(&exchange).starts_with("receiver.example does not resolve: "),
            "{exchange:?}"
        );
        assert_eq!(
            sender.check(&url("https://receiver.example/")).await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn what_this_machine_lacks_is_an_error_and_no_failure_of_the_receiver() {
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            let sender = Sender::with_resolver(OPTIONS, Answers::new([Err(code)])).unwrap();
            let to = url("https://user:secret@receiver.example/path");
            let error = sender
                .post(&to, HeaderMap::new(), Bytes::new())
                .await
                .unwrap_err();
            let shown = format!("{error:?}");
            assert!(
                shown.contains("send a message to receiver.example"),
                "{shown}"
            );
            assert!(
                !shown.contains("secret") && !shown.contains("path"),
                "{shown}"
            );
        }
    }

    /// A machine without IPv6 gets the same error for every IPv6 address as one without ports does for any.
    #[tokio::test]
    async fn no_local_address_is_our_fault_unless_the_receiver_has_ipv6() {
        for (address, ours) in [("127.0.0.1", true), ("::1", false)] {
            let answers = Answers::new([Err(libc::EADDRNOTAVAIL), Ok(address)]);
            let sender = Sender::with_resolver(OPTIONS, answers).unwrap();
            let to = url("https://receiver.example/");
            let result = sender.post(&to, HeaderMap::new(), Bytes::new()).await;
            assert_eq!(result.is_err(), ours, "{address}: {result:?}");
        }
    }

    /// An error in whose chain is the operating system's, wrapped as the client's connector and TLS wrap it.
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_cause_is_found_behind_an_io_error_too() {
        let inner = io::Error::from_raw_os_error(libc::EMFILE);
        let error = Outer(io::Error::other(Outer(io::Error::other(inner))));
        assert_eq!(shortage(&error), Some(libc::EMFILE));
        assert!(find::<Outer>(&error).is_some() && find::<rustls::Error>(&error).is_none());
        let refused = Outer(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(shortage(&refused), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let read = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        let seconds = |seconds| Some(RetryAfter::In(Duration::from_secs(seconds)));
        let date = Some(RetryAfter::At(datetime!(1994-11-06 08:49:37 UTC)));
        assert_eq!(read("120"), seconds(120));
        assert_eq!(read("0"), seconds(0));
        assert_eq!(
            read("99999999999999999999999"),
            seconds(u64::from(u32::MAX))
        );
        // The three forms of RFC 9110, section 5.6.7.
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), date);
        assert_eq!(read("Sunday, 06-Nov-94 08:49:37 GMT"), date);
        assert_eq!(read("Sun Nov  6 08:49:37 1994"), date);
        for other in ["", "-1", "+1", "1.5", "soon", "1994-11-06T08:49:37Z"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn retry_after_is_told_of_the_answer() {
        let answer = "HTTP/1.1 429 Slow down\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        let receiver = receiver(answer, Then::Close).await;
        let exchange = post(
            OPTIONS,
            format!("http://localhost:{}/", receiver.address.port()),
        )
        .await;
        assert_eq!(
            exchange.retry_after,
            Some(RetryAfter::In(Duration::from_secs(7)))
        );
        assert_eq!(
            (exchange.status, kind(&exchange)),
            (Some(429), Some(FailureKind::Status))
        );
    }

    #[test]
    fn a_kind_has_the_same_name_everywhere() {
        for kind in FailureKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn a_response_is_cut_between_characters() {
        for character in ["a", "ä", "€", "😀"] {
            for offset in 0..4 {
                let whole = "x".repeat(offset) + &character.repeat(4097);
                let kept = text(&whole.as_bytes()[..=MAX_RESPONSE_BYTES], &[]);
                assert!(whole.starts_with(&kept), "{character} {offset}");
                assert!(
                    kept.len() <= 4096 && kept.len() > 4096 - character.len(),
                    "{character} {offset}: {}",
                    kept.len()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_response_is_never_longer_than_its_limit(bytes in prop::collection::vec(any::<u8>(), 0..=MAX_RESPONSE_BYTES + 1)) {
            prop_assert!(text(&bytes, &[]).len() <= MAX_RESPONSE_BYTES);
        }
    }
}
