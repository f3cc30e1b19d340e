mod charsets;
mod connections;

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
    sender
        .post(&url(to), HeaderMap::new(), body, [])
        .await
        .unwrap()
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

    /// From now on it is this answer, and no other is left.
    fn change(&self, answer: &str) {
        *self.0.lock().unwrap() = vec![Ok(answer.parse().unwrap())];
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
        .post(&to, headers, Bytes::from_static(b"{\"a\":1}"), [])
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
    let exchange = sender.post(&to, headers, Bytes::new(), []).await.unwrap();
    assert_eq!((exchange.status, exchange.failure), (Some(204), None));
    assert_eq!(exchange.response.as_deref(), Some(""));
    assert_eq!(exchange.request_headers["authorization"], "***");
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

/// What is kept of the answer ends within the secret that the message is signed with, and within an escape.
#[tokio::test]
async fn a_secret_that_the_kept_part_of_an_answer_cuts_is_masked() {
    let secret = WebhookSecret::parse("one/two/three/four/five").unwrap();
    let escaped = secret.reveal().replace('/', "\\/");
    for kept in "one\\/two".len()..escaped.len() {
        let before = "x".repeat(MAX_RESPONSE_BYTES - kept);
        let answer = format!("HTTP/1.1 500 No\r\n\r\n{before}{escaped} and more");
        let receiver = receiver(answer, Then::Close).await;
        let to = url(format!("http://{}/", receiver.address));
        let sender = Sender::new(OPTIONS).unwrap();
        let exchange = sender
            .post(&to, HeaderMap::new(), Bytes::new(), [&secret])
            .await
            .unwrap();
        let response = exchange.response.unwrap();
        assert_eq!(response.trim_start_matches('x'), "***", "{kept}");
    }
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
    let mut target = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
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
async fn a_2xx_whose_body_breaks_off_counts_as_received_and_says_so() {
    for answer in [
        "content-length: 9\r\n\r\nfine",
        "transfer-encoding: chunked\r\n\r\n4\r\nfine\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nfine\r\nzz",
    ] {
        let receiver = receiver(format!("HTTP/1.1 200 OK\r\n{answer}"), Then::Close).await;
        let exchange = post(OPTIONS, format!("http://{}/", receiver.address)).await;
        let error = exchange.response_error.unwrap();
        assert_eq!((error.kind, exchange.failure), (FailureKind::Body, None));
        let expected = "answered 200 and then broke off: ";
        assert!(error.message.starts_with(expected), "{error:?}");
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
    assert_eq!(exchange.response_error, None, "we ended it");
    assert_eq!(exchange.response.unwrap(), "a".repeat(4096));
    // The connection is dropped, or this would never end.
    closed.await.unwrap();
}

#[tokio::test]
async fn the_deadline_covers_connecting_and_the_head() {
    for answer in ["", "HTTP/1.1 200 OK\r\nx-trickl"] {
        let receiver = receiver(answer, Then::Wait).await;
        let exchange = post(SHORT, format!("http://{}/", receiver.address)).await;
        assert_eq!(kind(&exchange), Some(FailureKind::Timeout));
        assert_eq!((exchange.status, &exchange.response_error), (None, &None));
        assert_eq!(message(&exchange), "did not answer within 200ms");
        assert!(exchange.duration >= SHORT.deadline, "{exchange:?}");
    }
    // A listener that accepts nothing: TLS waits for its first answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let exchange = post(SHORT, format!("https://{address}/")).await;
    assert_eq!(kind(&exchange), Some(FailureKind::Timeout));
}

#[tokio::test]
async fn a_2xx_whose_body_does_not_end_in_time_counts_as_received_and_says_so() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine";
    let receiver = receiver(answer, Then::Wait).await;
    let exchange = post(SHORT, format!("http://{}/", receiver.address)).await;
    let error = exchange.response_error.unwrap();
    assert_eq!((error.kind, exchange.failure), (FailureKind::Timeout, None));
    let expected = "answered 200 and did not finish its answer within 200ms";
    assert_eq!(error.message, expected);
    assert_eq!(
        (exchange.status, exchange.response.as_deref()),
        (Some(200), Some("fine"))
    );
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
        let wrong = exchange.failure.or(exchange.response_error).unwrap();
        assert_eq!(wrong.kind, FailureKind::Timeout);
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

/// The name is public while a person waits for the check, and this machine when a message is sent.
#[tokio::test]
async fn a_name_that_changes_after_the_check_is_not_connected_to() {
    // On a port that somebody listens at, so that a connection would be seen.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let public = SenderOptions {
        addresses: AddressPolicy::Public,
        ..SHORT
    };
    for inner in ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::1"] {
        let answers = Answers::new([Ok("8.8.8.8")]);
        let resolver: Arc<dyn Resolve> = Arc::clone(&answers) as _;
        let sender = Sender::with_resolver(public, resolver).unwrap();
        let to = format!("http://receiver.example:{port}/");
        assert_eq!(sender.check(&url(&to)).await, Ok(()));
        answers.change(inner);
        let exchange = send(&sender, to).await;
        assert_eq!(
            kind(&exchange),
            Some(FailureKind::AddressRefused),
            "{inner}"
        );
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
    let mut receiver = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
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
        let to = url("https://user:pa55word@receiver.example/h00k");
        let error = sender
            .post(&to, HeaderMap::new(), Bytes::new(), [])
            .await
            .unwrap_err();
        let shown = format!("{error:?}");
        assert!(
            shown.contains("send a message to receiver.example"),
            "{shown}"
        );
        assert!(
            !shown.contains("pa55word") && !shown.contains("h00k"),
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
        let result = sender.post(&to, HeaderMap::new(), Bytes::new(), []).await;
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

fn nothing_secret() -> Secrets {
    let url = url("https://receiver.example/");
    let request = request(&url, HeaderMap::new(), Bytes::new()).unwrap();
    Secrets::of(&request, &url, [])
}

#[test]
fn a_response_is_cut_between_characters() {
    let nothing = nothing_secret();
    for character in ["a", "ä", "€", "😀"] {
        for offset in 0..4 {
            let whole = "x".repeat(offset) + &character.repeat(4097);
            let kept = text(&whole.as_bytes()[..=MAX_RESPONSE_BYTES], UTF_8, &nothing);
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
    fn a_response_is_never_longer_than_its_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..=MAX_RESPONSE_BYTES + 1),
        label in prop::sample::select(vec!["utf-8", "latin1", "shift_jis", "gb18030", "iso-2022-jp", "utf-16"]),
    ) {
        let encoding = Encoding::for_label(label.as_bytes()).unwrap();
        prop_assert!(text(&bytes, encoding, &nothing_secret()).len() <= MAX_RESPONSE_BYTES);
    }
}
