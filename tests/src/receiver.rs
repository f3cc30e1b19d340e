//! A receiver of webhooks, which answers as a test wants, and keeps what it got.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sha2::Sha256;
use standardwebhooks::{Webhook, WebhookError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::system::text;

/// How long a test waits for requests before it fails: far longer than anything on loopback takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a trickling answer takes for each byte.
const TRICKLE: Duration = Duration::from_millis(50);
/// More bytes than any peer waits for: what trickles needs a year for them.
const NEVER_REACHED: u64 = 1 << 30;

/// An HTTP/1.1 server, which ends when dropped.
pub struct Receiver {
    /// Where it is reached, such as `http://127.0.0.1:1234/`.
    pub url: String,
    address: SocketAddr,
    state: Arc<State>,
    /// Dropping it ends the server too.
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// A request that came completely.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path with the query, as it was sent.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Which TCP connection carried it; the receiver's first is 0.
    pub connection: usize,
}

/// How a request is answered. The connection stays open after a complete answer, and is closed after any other.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status with an empty body.
    Status(u16),
    /// A whole answer. `Content-Length` is added unless it stands among the headers.
    Full {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// A redirect with an empty body.
    Redirect {
        /// The status.
        status: u16,
        /// The header `Location`.
        location: String,
    },
    /// The connection is closed without a byte.
    CloseBeforeHead,
    /// The connection is closed amid the headers.
    CloseInHead,
    /// The connection is closed before the body has as many bytes as `Content-Length` says.
    CloseInBody {
        /// The status.
        status: u16,
    },
    /// A head that never ends: a byte every 50 ms for as long as the peer stays.
    TrickleHead,
    /// A head at once, and a body that never ends: a byte every 50 ms for as long as the peer stays.
    TrickleBody {
        /// The status.
        status: u16,
    },
    /// So many bytes of body, as fast as the peer reads; see [`Receiver::sent_bytes`].
    Endless {
        /// The status.
        status: u16,
        /// How many bytes.
        bytes: u64,
    },
    /// No answer for as long as the peer stays.
    Silence,
    /// 200 with an empty body, as soon as there is a permit; each answer uses one up.
    Hold(Arc<Semaphore>),
}

impl Receiver {
    /// Starts a receiver on loopback that answers 200 with an empty body.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        Self::start_on(listener, url, None)
    }

    /// Starts a receiver at this address that speaks TLS, for the name of its certificate, and answers 200 with an empty
    /// body.
    pub async fn start_with_tls(address: IpAddr, name: &str, tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("https://{name}:{}/", listener.local_addr().unwrap().port());
        Self::start_on(listener, url, Some(tls))
    }

    fn start_on(listener: TcpListener, url: String, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(Script {
                next: VecDeque::new(),
                usual: Arc::new(|_| Answer::Status(200)),
            }),
            received: watch::Sender::default(),
            sent_bytes: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(listen(listener, tls, Arc::clone(&state), stopped));
        Self {
            url,
            address,
            state,
            stop,
            server,
        }
    }

    /// Answers every request like this from now on, whatever was to come before.
    pub fn answer(&self, answer: Answer) {
        self.answer_by(move |_| answer.clone());
    }

    /// Answers every request by this function from now on, whatever was to come before.
    pub fn answer_by(&self, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Script {
            next: VecDeque::new(),
            usual: Arc::new(answer),
        };
    }

    /// Answers the next requests like these, one each, and later ones as usual. Called again, it adds to those left.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.script.lock().unwrap().next.extend(answers);
    }

    /// What came so far, in order. A request is here before its answer begins.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.borrow().clone()
    }

    /// What came so far, and forgets it.
    pub fn take(&self) -> Vec<Received> {
        self.state.received.send_replace(Vec::new())
    }

    /// What came since the last [`Receiver::take`], as soon as it is at least so many.
    ///
    /// # Panics
    /// When they have not come after 30 s.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait(count, PATIENCE).await
    }

    /// Like [`Receiver::wait_for`], for what takes another time.
    ///
    /// # Panics
    /// When they have not come by then.
    pub async fn wait(&self, count: usize, patience: Duration) -> Vec<Received> {
        let mut received = self.state.received.subscribe();
        let enough = received.wait_for(|all| all.len() >= count);
        match tokio::time::timeout(patience, enough).await {
            Ok(all) => all.unwrap().clone(),
            Err(_) => panic!(
                "waited {patience:?} for {count} requests, and {} came",
                self.received().len()
            ),
        }
    }

    /// How many bytes of body [`Answer::Endless`] has sent so far, over all requests. The peer has read fewer: some
    /// megabytes fit into the buffers of the two sockets.
    pub fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Ordering::Relaxed)
    }

    /// Closes every connection and stops listening. Whoever connects to the URL that this gives is refused.
    pub async fn gone(self) -> String {
        drop(self.stop);
        self.server.await.unwrap();
        // A test that runs beside this one must not be given the port: a socket that does not listen keeps it for as long
        // as the process lives.
        let keeper = TcpSocket::new_v4().unwrap();
        keeper.set_reuseaddr(true).unwrap();
        keeper.bind(self.address).unwrap();
        std::mem::forget(keeper);
        self.url
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Received {
    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| std::str::from_utf8(value.as_bytes()).unwrap())
            .unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The ids of the reports that the body names, in its order.
    pub fn report_ids(&self) -> Vec<String> {
        self.reports().into_iter().map(|(id, _)| id).collect()
    }

    /// The ids and revisions of the reports that the body names, in its order.
    pub fn reports(&self) -> Vec<(String, u64)> {
        let body = self.json();
        let reports = body["reports"]
            .as_array()
            .unwrap_or_else(|| panic!("no reports: {body}"));
        let revision = |report: &Value| {
            report["revision"]
                .as_u64()
                .unwrap_or_else(|| panic!("no revision: {report}"))
        };
        reports
            .iter()
            .map(|report| (text(&report["id"]), revision(report)))
            .collect()
    }
}

/// Asserts that a request is signed with the secret in both ways.
pub fn assert_signed(received: &Received, secret: &str) {
    assert_standard_signature(received, secret);
    assert_sonar_signature(received, secret);
}

/// Asserts that one of the signatures of Standard Webhooks is by the secret. The time may be any: tests have their own.
pub fn assert_standard_signature(received: &Received, secret: &str) {
    let webhook = if secret.starts_with("whsec_") {
        Webhook::new(secret)
    } else {
        Webhook::from_bytes(secret.into())
    };
    let webhook = webhook.unwrap();
    let timestamp = received.header("webhook-timestamp");
    // The crate takes signs and leading zeros too, and an empty id.
    let is_plain = timestamp
        .parse::<i64>()
        .is_ok_and(|seconds| seconds.to_string() == timestamp);
    assert!(
        is_plain && !received.header("webhook-id").is_empty(),
        "{received:?}"
    );
    match webhook.verify(&received.body, &received.headers) {
        Ok(()) => return,
        // Of any other time than now this is all that it says, so the rest is left to us.
        Err(WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError) => (),
        Err(error) => panic!("{error}: {received:?}"),
    }
    let expected = webhook
        .sign(
            received.header("webhook-id"),
            timestamp.parse().unwrap(),
            &received.body,
        )
        .unwrap();
    let mut signatures = received.header("webhook-signature").split(' ');
    assert!(
        signatures.any(|signature| signature == expected),
        "not signed with {secret}: {received:?}"
    );
}

/// Asserts that the signature in the manner of SonarQube is by the secret.
pub fn assert_sonar_signature(received: &Received, secret: &str) {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&received.body);
    assert_eq!(
        received.header("x-sonar-webhook-hmac-sha256"),
        hex::encode(mac.finalize().into_bytes()),
        "not signed with {secret}: {received:?}"
    );
}

struct State {
    script: Mutex<Script>,
    received: watch::Sender<Vec<Received>>,
    sent_bytes: AtomicU64,
}

struct Script {
    next: VecDeque<Answer>,
    usual: Arc<dyn Fn(&Received) -> Answer + Send + Sync>,
}

impl State {
    /// Keeps a request, and says how it is answered.
    fn record(&self, received: Received) -> Answer {
        let usual = {
            // One lock over both: of requests at the same time the first to be seen has the first answer.
            let mut script = self.script.lock().unwrap();
            self.received.send_modify(|all| all.push(received.clone()));
            match script.next.pop_front() {
                Some(answer) => return answer,
                None => Arc::clone(&script.usual),
            }
        };
        usual(&received)
    }
}

async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    let mut count = 0;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                connections.spawn(accept(stream, tls.clone(), count, Arc::clone(&state)));
                count += 1;
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Answers what a connection carries. An error means that the peer has left, which it may.
async fn accept(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: usize,
    state: Arc<State>,
) -> io::Result<()> {
    // Nagle's algorithm would gather what is to trickle.
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream, connection, state).await,
        Some(tls) => serve(tls.accept(stream).await?, connection, state).await,
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    state: Arc<State>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(received) = read(&mut stream, &mut buffer, connection).await? {
        let is_last = received.header("connection").eq_ignore_ascii_case("close");
        let answer = state.record(received);
        if !send(&mut stream, answer, &state.sent_bytes).await? || is_last {
            break;
        }
    }
    Ok(())
}

/// Reads a request; `None` when the peer has closed the connection instead.
async fn read(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    buffer: &mut BytesMut,
    connection: usize,
) -> io::Result<Option<Received>> {
    const END: &[u8] = b"\r\n\r\n";
    let length = loop {
        if let Some(at) = buffer.windows(END.len()).position(|bytes| bytes == END) {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = buffer.split_to(length + END.len());
    let mut lines = std::str::from_utf8(&head[..length]).unwrap().split("\r\n");
    let mut request = lines.next().unwrap().split(' ');
    let (method, path) = (request.next().unwrap(), request.next().unwrap());
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        let value: HeaderValue = value.trim().parse().unwrap();
        (name, value)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(header) {
        headers.append(name, value);
    }
    assert!(
        !headers.contains_key("transfer-encoding"),
        "the receiver reads bodies with a Content-Length only: {headers:?}"
    );
    let length = headers
        .get("content-length")
        .map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Received {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: buffer.split_to(length).freeze(),
        connection,
    }))
}

/// Sends an answer, and says whether it was a complete one, so that the connection can carry another request.
async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    answer: Answer,
    sent_bytes: &AtomicU64,
) -> io::Result<bool> {
    match answer {
        Answer::Status(status) => {
            stream.write_all(&head(status, &[], 0)).await?;
            Ok(true)
        }
        Answer::Full {
            status,
            headers,
            body,
        } => {
            let mut answer = head(status, &headers, body.len() as u64);
            answer.extend_from_slice(&body);
            stream.write_all(&answer).await?;
            Ok(true)
        }
        Answer::Redirect { status, location } => {
            let location = ("location".to_owned(), location);
            stream.write_all(&head(status, &[location], 0)).await?;
            Ok(true)
        }
        Answer::CloseBeforeHead => Ok(false),
        Answer::CloseInHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?;
            Ok(false)
        }
        Answer::CloseInBody { status } => {
            let mut answer = head(status, &[], 1000);
            answer.extend_from_slice(b"not so many");
            stream.write_all(&answer).await?;
            Ok(false)
        }
        Answer::TrickleHead => trickle(stream, b"HTTP/1.1 200 OK\r\nx-endless: ").await,
        Answer::TrickleBody { status } => {
            stream.write_all(&head(status, &[], NEVER_REACHED)).await?;
            trickle(stream, b"").await
        }
        Answer::Endless { status, bytes } => {
            stream.write_all(&head(status, &[], bytes)).await?;
            flood(stream, bytes, sent_bytes).await
        }
        Answer::Silence => {
            left(stream).await;
            Ok(false)
        }
        Answer::Hold(permits) => {
            tokio::select! {
                permit = permits.acquire() => permit.unwrap().forget(),
                // Whoever has left must not use up a permit.
                () = left(stream) => return Ok(false),
            }
            stream.write_all(&head(200, &[], 0)).await?;
            Ok(true)
        }
    }
}

fn head(status: u16, headers: &[(String, String)], length: u64) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} \r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // RFC 9110, section 8.6: these have no Content-Length.
    let has_no_body = matches!(status, 100..200 | 204);
    let has_length = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_no_body && !has_length {
        head += &format!("content-length: {length}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}

async fn trickle(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    beginning: &[u8],
) -> io::Result<bool> {
    let mut interval = tokio::time::interval(TRICKLE);
    for byte in beginning.iter().copied().chain(std::iter::repeat(b'a')) {
        tokio::select! {
            _ = interval.tick() => stream.write_all(&[byte]).await?,
            () = left(stream) => break,
        }
    }
    Ok(false)
}

async fn flood(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: u64,
    sent_bytes: &AtomicU64,
) -> io::Result<bool> {
    let chunk = [b'a'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let next = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let sent = stream.write(&chunk[..next]).await? as u64;
        sent_bytes.fetch_add(sent, Ordering::Relaxed);
        left -= sent;
    }
    Ok(true)
}

/// Returns when the peer has closed the connection.
async fn left(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut ignored = [0; 1024];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "waited 1ms for 2 requests, and 0 came")]
    async fn a_wait_for_too_many_says_how_many_came() {
        Receiver::start()
            .await
            .wait(2, Duration::from_millis(1))
            .await;
    }
}
