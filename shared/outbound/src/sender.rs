//! The only client that calls an address which an administrator chose.
//!
//! *Invariant:* the client never connects to an address that the [`AddressPolicy`] does not allow. A name is checked inside
//! the client's resolver, which gives the addresses that the client connects to. An address in the URL never reaches a
//! resolver, so it is checked before every request. Nothing else can lead elsewhere: the client follows no redirect and uses
//! no proxy.
//!
//! *Invariant:* one deadline covers resolving, connecting, headers and body, and no more of a body is read than is kept. A
//! 2xx is a success as soon as its headers have come, even if its body does not end or breaks off. The receiver has the
//! message, and would only get it again.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::delivery::exchange::{Exchange, Failure, FailureKind, MAX_RESPONSE_BYTES, RetryAfter};
use domain::webhook::secret::WebhookSecret;
use domain::webhook::url::WebhookUrl;
use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mime::Mime;
use reqwest::dns::{Name, Resolve};
use reqwest::{Client, ClientBuilder, Method, Request, Response};
use rustls::pki_types::InvalidDnsNameError;
use tokio::time::{Instant, timeout, timeout_at};
use tower::util::MapRequestLayer;
use url::Host;

use crate::address::{AddressPolicy, AddressRefused, GuardedResolver, NotResolved, SystemResolver};
use crate::format::shown;
use crate::mask::Secrets;

/// SonarQube's deadline: a receiver of its webhooks has as long.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A connection that is idle for longer is not used again. A Lambda function is frozen between two invocations, and does not
/// notice when the other side closes a connection in the meantime. A message on such a connection would fail for no reason.
const IDLE: Duration = Duration::from_secs(5);
/// How long the body of a 2xx answer is waited for.
const SHOWN: Duration = Duration::from_secs(1);
/// How long [`Sender::check`] waits for a name to resolve. A person waits for its answer.
const CHECK: Duration = Duration::from_secs(3);

/// Sends messages to receivers.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    /// Makes a new connection for each request.
    fresh: Client,
    resolver: Arc<GuardedResolver>,
    options: SenderOptions,
}

/// What a [`Sender`] may do.
#[derive(Clone, Copy, Debug)]
pub struct SenderOptions {
    /// The addresses that it may send to.
    pub addresses: AddressPolicy,
    /// Whether it may send without TLS.
    pub plain_http: bool,
    /// How long one exchange may take as a whole. It is [`DEADLINE`] except in tests.
    pub deadline: Duration,
}

impl SenderOptions {
    /// The options on AWS: public addresses only, within [`DEADLINE`].
    pub fn public(plain_http: bool) -> Self {
        Self {
            addresses: AddressPolicy::Public,
            plain_http,
            deadline: DEADLINE,
        }
    }
}

/// A client that reaches only what `resolver` allows. It follows no redirect, uses no proxy, and repeats no request.
fn guarded(resolver: Arc<GuardedResolver>) -> anyhow::Result<ClientBuilder> {
    Ok(Client::builder()
        .tls_backend_preconfigured(tls::client_config()?)
        .dns_resolver(resolver)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        // The client does not decide when to try again.
        .retry(reqwest::retry::never()))
}

/// Why nothing is sent to a URL. The messages are for whoever wrote the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum Refused {
    #[error("plain http is refused: anyone on the way can read and change the message; use https")]
    PlainHttp,
    /// The message does not say what a name resolves to, since outsiders may have no right to know that.
    #[error("{host} is not a public address, and nothing is sent to any other")]
    Address {
        /// The name or the address.
        host: String,
    },
}

impl Sender {
    /// A sender that asks the operating system to resolve names.
    pub fn new(options: SenderOptions) -> anyhow::Result<Self> {
        Self::with_resolver(options, Arc::new(SystemResolver))
    }

    /// A sender that asks `resolver` to resolve names, for tests. Its answers are checked like any others.
    pub fn with_resolver(
        options: SenderOptions,
        resolver: Arc<dyn Resolve>,
    ) -> anyhow::Result<Self> {
        let resolver = Arc::new(GuardedResolver::new(resolver, options.addresses));
        let client = |idle_connections| {
            Self::client(Arc::clone(&resolver), options, idle_connections)
                .context("make the HTTP client for webhooks")
        };
        Ok(Self {
            client: client(usize::MAX)?,
            fresh: client(0)?,
            resolver,
            options,
        })
    }

    fn client(
        resolver: Arc<GuardedResolver>,
        options: SenderOptions,
        idle_connections: usize,
    ) -> anyhow::Result<Client> {
        let client = guarded(resolver)?
            .connector_layer(MapRequestLayer::new(noting_a_connection))
            // HTTP/2 has no advantage for single messages. An answer that is not read to its end would have to be reset
            // within a connection that others use.
            .http1_only()
            .tcp_nodelay(true)
            // The time is divided among the addresses of a name: one that does not answer leaves time for the next.
            .connect_timeout(options.deadline)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_connections)
            .build()?;
        Ok(client)
    }

    /// Checks whether a request to this URL would be sent: its scheme, its address, and for a name what it resolves to now.
    ///
    /// A name passes if it does not resolve, or not within 3 s. The receiver may not exist yet, and every request checks
    /// again.
    pub async fn check(&self, url: &WebhookUrl) -> Result<(), Refused> {
        self.check_without_resolving(url)?;
        match timeout(CHECK, self.resolve(url)).await {
            Ok(Err(error)) if error.is::<AddressRefused>() => Err(Refused::Address {
                host: url.host().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The builder of a client for the server at this URL. The client may call allowed addresses only. The caller sets the
    /// timeouts.
    ///
    /// # Errors
    /// Nothing may be sent to the URL, or the fault is our own.
    pub fn client_for(&self, url: &WebhookUrl) -> anyhow::Result<ClientBuilder> {
        self.check_without_resolving(url)?;
        guarded(Arc::clone(&self.resolver))
    }

    /// Sends one message, once. It is sent twice only when a connection that was used before turns out to be closed.
    ///
    /// A receiver may repeat in its answer what it received, and others may read the answer. So the answer is masked: secrets
    /// in the URL, values of headers that are marked as secret, and the secrets in `signing`, which sign the message.
    ///
    /// # Errors
    /// Our own fault, for which no receiver is to blame: a request that cannot be built, or a machine that is out of file
    /// descriptors, ports or memory. Every other fault is the receiver's, and is in the [`Exchange`].
    pub async fn post<'a>(
        &self,
        url: &WebhookUrl,
        headers: HeaderMap,
        body: Bytes,
        signing: impl IntoIterator<Item = &'a WebhookSecret>,
    ) -> anyhow::Result<Exchange> {
        let started = Instant::now();
        let deadline = started + self.options.deadline;
        let request = request(url, headers, body)?;
        // With the headers from the URL: an attempt shows all that authenticated it.
        let request_headers = shown(request.headers());
        let failed = |failure| Exchange {
            status: None,
            duration: started.elapsed(),
            response: None,
            retry_after: None,
            failure: Some(failure),
            response_error: None,
            request_headers: request_headers.clone(),
        };

        if let Err(refused) = self.check_without_resolving(url) {
            let message = refused.to_string();
            return Ok(failed(Failure::new(FailureKind::AddressRefused, message)));
        }
        let secrets = Secrets::of(&request, url, signing);
        let response = match timeout_at(deadline, self.execute(request)).await {
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
        let encoding = encoding(response.headers());
        let failure = failure_of_status(status);
        // The outcome of the message is known now. The rest is only for display, so the wait is short.
        let until = match failure {
            Some(_) => deadline,
            None => deadline.min(Instant::now() + SHOWN),
        };
        let (beginning, end) = read(response, until).await;
        // A refusal is a refusal however its body ends.
        let response_error = match failure {
            Some(_) => None,
            None => self.error_of_response(status, end),
        };
        Ok(Exchange {
            status: Some(status.as_u16()),
            duration: started.elapsed(),
            response: Some(text(&beginning, encoding, &secrets)),
            retry_after,
            failure,
            response_error,
            request_headers: request_headers.clone(),
        })
    }

    /// Sends the request. A receiver may close an idle connection just when the request is sent on it, or long before without
    /// our noticing. That says nothing about the receiver. So a request that fails on such a connection without an answer is
    /// sent once more, on a new one. The receiver may then have it twice, as with any retry.
    ///
    /// A connection that was begun for the request counts as new, even if the request then used another one that became free
    /// sooner. A failure is reported then, as always.
    async fn execute(&self, request: Request) -> Result<Response, reqwest::Error> {
        let again = request.try_clone();
        let is_new = Arc::new(AtomicBool::new(false));
        let sent = IS_NEW.scope(Arc::clone(&is_new), self.client.execute(request));
        match (sent.await, again) {
            (Err(error), Some(again)) if !is_new.load(Ordering::Relaxed) && is_silent(&error) => {
                self.fresh.execute(again).await
            }
            (result, _) => result,
        }
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

    /// Whether this machine lacks what every connection needs, so that the fault is ours.
    async fn is_ours(&self, error: &reqwest::Error, url: &WebhookUrl, deadline: Instant) -> bool {
        match shortage(error) {
            // No port is left, or a machine without IPv6 was to call an IPv6 address. The latter also happens for receivers
            // with both kinds of addresses when the IPv4 ones fail, and would happen again at every retry.
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

    /// Why a response broke off.
    fn error_of_response(&self, status: StatusCode, end: End) -> Option<Failure> {
        let code = status.as_u16();
        match end {
            End::Complete | End::Cut => None,
            End::Broken(error) => {
                let message = format!("answered {code} and then broke off: {}", innermost(&error));
                Some(Failure::new(FailureKind::Body, message))
            }
            End::Late => {
                let message = format!(
                    "answered {code} and did not finish its answer within {:?}",
                    SHOWN.min(self.options.deadline)
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

tokio::task_local! {
    /// Whether the connection was made for the request of this task.
    static IS_NEW: Arc<AtomicBool>;
}

/// Records that a connection is made. `request` says where to.
fn noting_a_connection<R>(request: R) -> R {
    // The connections of [`Sender::fresh`] do not matter.
    let _ = IS_NEW.try_with(|is_new| is_new.store(true, Ordering::Relaxed));
    request
}

/// Whether nothing came back, not even something other than HTTP.
fn is_silent(error: &reqwest::Error) -> bool {
    !error.is_builder() && !find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
}

fn address(url: &WebhookUrl) -> Option<IpAddr> {
    match url.host() {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

pub(crate) fn request(
    url: &WebhookUrl,
    headers: HeaderMap,
    body: Bytes,
) -> anyhow::Result<Request> {
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

/// Why a response does not count as success.
fn failure_of_status(status: StatusCode) -> Option<Failure> {
    let code = status.as_u16();
    let message = if status.is_redirection() {
        format!("answered {code}, and redirects are not followed")
    } else if status.is_success() {
        return None;
    } else {
        format!("answered {code}")
    };
    Some(Failure::new(FailureKind::Status, message))
}

/// How the read of a body ended.
#[derive(Debug)]
enum End {
    Complete,
    /// The body continues, but we stop.
    Cut,
    Broken(reqwest::Error),
    Late,
}

/// Reads the beginning of the body, and one byte more if there is more. [`text`] needs that byte to see where a character
/// ends.
///
/// The rest is dropped with the response and the connection, so an endless answer costs nothing.
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

/// The character encoding of a body, as the response says; UTF-8 if it says none or an unknown one.
///
/// The names are those of the Encoding Standard, as browsers understand them. The standard also gives names to encodings that
/// must not be decoded, since text in them could hide a script from a filter. They count as unknown here.
fn encoding(headers: &HeaderMap) -> &'static Encoding {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()?.parse::<Mime>().ok());
    content_type
        .and_then(|it| {
            Encoding::for_label_no_replacement(it.get_param("charset")?.as_str().as_bytes())
        })
        .unwrap_or(UTF_8)
}

/// The bytes as a text of at most [`MAX_RESPONSE_BYTES`] bytes, without secrets. Secrets are searched for after decoding, in
/// the text that is kept. The text is cut last: a byte may become three, and a secret that begins before the cut is found
/// whole.
fn text(bytes: &[u8], encoding: &'static Encoding, secrets: &Secrets) -> String {
    // A byte order mark at the beginning overrides the header, and is not part of the text.
    let (decoded, ..) = encoding.decode(bytes);
    let mut text = secrets.mask(&decoded);
    text.truncate(text.floor_char_boundary(MAX_RESPONSE_BYTES));
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

/// The operating system's error number, if it says that this machine ran out of something.
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

/// The error and its causes. An [`io::Error`] that wraps an error does not name it as its source, but names that error's
/// source. Without this function the messages of TLS would be missed.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests;
