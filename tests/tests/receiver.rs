//! The receiver of webhooks does what it says, so that a test of a delivery can believe it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use standardwebhooks::Webhook;
use tests::receiver::{
    Answer, Received, Receiver, assert_signed, assert_sonar_signature, assert_standard_signature,
};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// For answers that never end: the peer gives up after so long.
const SHORT: Duration = Duration::from_millis(300);
/// For what must happen: a test fails rather than hangs.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_is_kept_as_it_was_sent() {
    let receiver = Receiver::start().await;
    let body = r#"{"reports": [{"id": "a", "revision": 3}, {"id": "b", "revision": 1}]}"#;
    let request = client()
        .post(format!("{}hook%20one?q=%41", receiver.url))
        .header("X-Project", "schlüssel".as_bytes())
        .body(body);
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), body_of(response).await),
        (200, Bytes::new())
    );

    let received = receiver.received().remove(0);
    assert_eq!(
        (received.method.as_str(), received.path.as_str()),
        ("POST", "/hook%20one?q=%41")
    );
    assert_eq!(received.body, body);
    assert_eq!(received.json()["reports"][0]["id"], "a");
    assert_eq!(received.report_ids(), ["a", "b"]);
    assert_eq!(
        received.reports(),
        [("a".to_owned(), 3), ("b".to_owned(), 1)]
    );
    assert_eq!(received.header("x-PROJECT"), "schlüssel");
    assert_eq!(received.header("absent"), "");
}

#[tokio::test]
async fn a_connection_carries_requests_until_the_peer_closes_it() {
    let receiver = Receiver::start().await;
    let (one, other) = (client(), client());
    for client in [&one, &other, &one] {
        body_of(post(client, &receiver).await).await;
    }
    let close = other.post(&receiver.url).header("connection", "close");
    body_of(close.send().await.unwrap()).await;
    body_of(post(&other, &receiver).await).await;
    assert_eq!(connections(&receiver.received()), [0, 1, 0, 1, 2]);
}

#[tokio::test]
async fn requests_that_come_at_once_are_all_read() {
    let receiver = Receiver::start().await;
    receiver.answer_next([Answer::Status(201), Answer::Status(204)]);
    let mut stream = connect(&receiver).await;
    let request = b"POST /1 HTTP/1.1\r\ncontent-length: 3\r\n\r\nonePOST /2 HTTP/1.1\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answers = to_the_end(&mut stream).await;
    assert_eq!(
        answers,
        "HTTP/1.1 201 \r\ncontent-length: 0\r\n\r\nHTTP/1.1 204 \r\n\r\n"
    );
    let received = receiver.received();
    assert_eq!(
        (&received[0].body[..], &received[1].body[..]),
        (&b"one"[..], &b""[..])
    );
}

#[tokio::test]
async fn the_next_answers_come_first_and_then_the_usual_one() {
    let receiver = Receiver::start().await;
    let client = client();
    receiver.answer(Answer::Status(500));
    receiver.answer_next([Answer::Status(429), Answer::Status(503)]);
    receiver.answer_next([Answer::Status(404)]);
    assert_eq!(
        statuses(&client, &receiver, 5).await,
        [429, 503, 404, 500, 500]
    );

    receiver.answer_next([Answer::Status(429)]);
    receiver.answer(Answer::Status(202));
    assert_eq!(statuses(&client, &receiver, 2).await, [202, 202]);

    receiver.answer_by(|received| Answer::Status(if received.connection == 0 { 410 } else { 204 }));
    assert_eq!(statuses(&client, &receiver, 1).await, [410]);
    assert_eq!(statuses(&self::client(), &receiver, 2).await, [204, 204]);
}

#[tokio::test]
async fn a_wait_ends_with_the_request_that_it_is_for() {
    let receiver = Arc::new(Receiver::start().await);
    let client = client();
    post(&client, &receiver).await;
    assert_eq!(receiver.wait_for(1).await.len(), 1);

    let waiting = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move { receiver.wait_for(3).await.len() }
    });
    post(&client, &receiver).await;
    assert!(!waiting.is_finished());
    post(&client, &receiver).await;
    assert_eq!(waiting.await.unwrap(), 3);

    assert_eq!(receiver.take().len(), 3);
    assert!(receiver.received().is_empty());
    post(&client, &receiver).await;
    assert_eq!(receiver.wait_for(1).await.len(), 1);
}

#[tokio::test]
async fn a_full_answer_has_its_headers_and_body() {
    let receiver = Receiver::start().await;
    let client = client();
    receiver.answer(Answer::Full {
        status: 503,
        headers: vec![("Retry-After".to_owned(), "120".to_owned())],
        body: Bytes::from_static(b"later"),
    });
    for _ in 0..2 {
        let response = post(&client, &receiver).await;
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["retry-after"]
            ),
            (503, &"120".parse().unwrap())
        );
        assert_eq!(body_of(response).await, "later");
    }
    assert_eq!(connections(&receiver.received()), [0, 0]);
}

#[tokio::test]
async fn a_redirect_says_where_to() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Redirect {
        status: 307,
        location: "http://192.0.2.1/".to_owned(),
    });
    let response = post(&client(), &receiver).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"http://192.0.2.1/".parse().unwrap())
    );
}

#[tokio::test]
async fn a_broken_answer_ends_where_it_says() {
    let receiver = Receiver::start().await;
    for (answer, sent) in [
        (Answer::CloseBeforeHead, ""),
        (Answer::CloseInHead, "HTTP/1.1 200 OK\r\ncontent-le"),
        (
            Answer::CloseInBody { status: 202 },
            "HTTP/1.1 202 \r\ncontent-length: 1000\r\n\r\nnot so many",
        ),
    ] {
        receiver.answer(answer.clone());
        let mut stream = connect(&receiver).await;
        stream.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(to_the_end(&mut stream).await, sent, "{answer:?}");

        let failed = match client().post(&receiver.url).send().await {
            Ok(response) => {
                assert_eq!(response.status(), 202);
                response.bytes().await.unwrap_err()
            }
            Err(error) => error,
        };
        assert!(!failed.is_connect() && !failed.is_timeout(), "{failed:?}");
    }
    assert_eq!(receiver.received().len(), 6);
}

#[tokio::test]
async fn what_trickles_comes_byte_by_byte_and_never_ends() {
    let receiver = Receiver::start().await;
    for (answer, head) in [
        (Answer::TrickleHead, ""),
        (
            Answer::TrickleBody { status: 203 },
            "HTTP/1.1 203 \r\ncontent-length: 1073741824\r\n\r\n",
        ),
    ] {
        receiver.answer(answer.clone());
        let mut stream = connect(&receiver).await;
        let start = Instant::now();
        stream.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
        // The first byte comes at once, so four take three times 50 ms, give or take what the clock's steps are.
        let mut bytes = vec![0; head.len() + 4];
        tokio::time::timeout(LONG, stream.read_exact(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert!(start.elapsed() > Duration::from_millis(140), "{answer:?}");
        let rest = if head.is_empty() { "HTTP" } else { "aaaa" };
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{head}{rest}"));
    }

    receiver.answer(Answer::TrickleHead);
    assert!(impatient(&receiver).send().await.unwrap_err().is_timeout());
    receiver.answer(Answer::TrickleBody { status: 203 });
    let mut response = post(&client(), &receiver).await;
    assert_eq!(response.status(), 203);
    assert!(response.chunk().await.unwrap().unwrap().starts_with(b"a"));
    assert!(tokio::time::timeout(SHORT, response.bytes()).await.is_err());
}

#[tokio::test]
async fn silence_lasts_until_the_peer_leaves() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Silence);
    assert!(impatient(&receiver).send().await.unwrap_err().is_timeout());
    assert_eq!(receiver.wait_for(1).await.len(), 1);

    let mut stream = connect(&receiver).await;
    stream.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    receiver.wait_for(2).await;
    stream.shutdown().await.unwrap();
    assert_eq!(to_the_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_endless_answer_is_sent_as_far_as_it_is_read_and_counted() {
    let receiver = Receiver::start().await;
    let client = client();
    receiver.answer(Answer::Endless {
        status: 200,
        bytes: 5_000_001,
    });
    for count in [5_000_001, 10_000_002] {
        assert_eq!(
            body_of(post(&client, &receiver).await).await.len(),
            5_000_001
        );
        assert_eq!(receiver.sent_bytes(), count);
    }
    assert_eq!(connections(&receiver.received()), [0, 0]);

    const GIGABYTE: u64 = 1_000_000_000;
    receiver.answer(Answer::Endless {
        status: 200,
        bytes: GIGABYTE,
    });
    let mut response = post(&client, &receiver).await;
    assert_eq!(response.content_length(), Some(GIGABYTE));
    response.chunk().await.unwrap().unwrap();
    drop(response);
    body_of({
        receiver.answer(Answer::Status(200));
        post(&client, &receiver).await
    })
    .await;
    assert!(
        receiver.sent_bytes() < GIGABYTE / 10,
        "{}",
        receiver.sent_bytes()
    );
}

#[tokio::test]
async fn each_permit_lets_one_held_answer_go() {
    let receiver = Receiver::start().await;
    let permits = Arc::new(Semaphore::new(0));
    receiver.answer(Answer::Hold(Arc::clone(&permits)));
    let mut requests = JoinSet::new();
    for _ in 0..2 {
        let request = client().post(&receiver.url);
        requests.spawn(async move { request.send().await.unwrap().status() });
    }
    assert_eq!(connections(&receiver.wait_for(2).await), [0, 1]);
    assert!(requests.try_join_next().is_none());
    permits.add_permits(1);
    assert_eq!(requests.join_next().await.unwrap().unwrap(), 200);
    assert!(requests.try_join_next().is_none());
    assert_eq!(permits.available_permits(), 0);
    permits.add_permits(1);
    assert_eq!(requests.join_next().await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_peer_that_left_uses_up_no_permit() {
    let receiver = Receiver::start().await;
    let permits = Arc::new(Semaphore::new(0));
    receiver.answer(Answer::Hold(Arc::clone(&permits)));
    let mut stream = connect(&receiver).await;
    stream.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    receiver.wait_for(1).await;
    stream.shutdown().await.unwrap();
    assert_eq!(to_the_end(&mut stream).await, "");
    permits.add_permits(1);
    assert_eq!(post(&client(), &receiver).await.status(), 200);
}

#[tokio::test]
async fn a_receiver_that_is_gone_refuses_connections() {
    let receiver = Receiver::start().await;
    let mut open = connect(&receiver).await;
    let client = client();
    post(&client, &receiver).await;
    let url = receiver.gone().await;
    assert_eq!(to_the_end(&mut open).await, "");
    let error = client.post(url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(
        format!("{error:?}").contains("ConnectionRefused"),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_port_of_a_receiver_that_is_gone_is_not_given_again() {
    let url = Receiver::start().await.gone().await;
    let port = reqwest::Url::parse(&url).unwrap().port().unwrap();
    // Without SO_REUSEADDR, as a search for a free port looks at it.
    let socket = TcpSocket::new_v4().unwrap();
    let error = socket.bind(([127, 0, 0, 1], port).into()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_receiver_ends_when_dropped() {
    let receiver = Receiver::start().await;
    let mut open = connect(&receiver).await;
    receiver.answer(Answer::Silence);
    open.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    receiver.wait_for(1).await;
    drop(receiver);
    assert_eq!(to_the_end(&mut open).await, "");
}

const BODY: &str = r#"{"reports":[{"id":"a","revision":3},{"id":"b","revision":1}]}"#;
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PLAIN_SECRET: &str = "0123456789abcdef, plain";
// Computed with another implementation of HMAC, Python's.
const SIGNATURE: &str = "v1,TFnIIeAmZNwG9VKnQn9Y3LylNkT0zp5fV7X5briPxL0=";
const SONAR_SIGNATURE: &str = "b0c6a7619eee3f30f166cf5b6864591aa7b75da6b2cda4a0b07a903f387f4928";
const PLAIN_SIGNATURE: &str = "v1,eJpc0Tf8U9ztNpX9HCedQnrsRB8+38e1lHBohnLjnqg=";
const PLAIN_SONAR_SIGNATURE: &str =
    "b52349ff3ef1d0a21b586f26fb5c3ff1f72f18e4d35bf3fb8d80fd2d5e38b5b4";

#[test]
fn signatures_of_any_time_hold() {
    assert_signed(&signed(SIGNATURE, SONAR_SIGNATURE), SECRET);
    assert_signed(
        &signed(PLAIN_SIGNATURE, PLAIN_SONAR_SIGNATURE),
        PLAIN_SECRET,
    );

    let now = OffsetDateTime::now_utc().unix_timestamp();
    let signature = Webhook::new(SECRET)
        .unwrap()
        .sign("msg_1", now, BODY.as_bytes())
        .unwrap();
    let mut today = signed(&signature, SONAR_SIGNATURE);
    set(&mut today, "webhook-timestamp", &now.to_string());
    assert_signed(&today, SECRET);
    set(&mut today, "webhook-timestamp", &(now + 1).to_string());
    assert!(fails(|| assert_signed(&today, SECRET)));
}

#[test]
fn one_of_several_signatures_suffices() {
    let both = signed(&format!("{PLAIN_SIGNATURE} {SIGNATURE}"), SONAR_SIGNATURE);
    assert_standard_signature(&both, SECRET);
    assert_standard_signature(&both, PLAIN_SECRET);
    assert_sonar_signature(&both, SECRET);
    assert!(fails(|| assert_sonar_signature(&both, PLAIN_SECRET)));
}

#[test]
fn whatever_differs_is_no_signature() {
    let good = || signed(SIGNATURE, SONAR_SIGNATURE);
    assert!(fails(|| assert_standard_signature(&good(), PLAIN_SECRET)));
    assert!(fails(|| assert_sonar_signature(&good(), PLAIN_SECRET)));
    for (name, value) in [
        ("webhook-id", "msg_2"),
        ("webhook-id", ""),
        ("webhook-timestamp", "1700000001"),
        ("webhook-timestamp", "1700000000.0"),
        ("webhook-timestamp", "+1700000000"),
        (
            "webhook-signature",
            "v2,TFnIIeAmZNwG9VKnQn9Y3LylNkT0zp5fV7X5briPxL0=",
        ),
        ("webhook-signature", ""),
        (
            "x-sonar-webhook-hmac-sha256",
            &SONAR_SIGNATURE.to_uppercase(),
        ),
        ("x-sonar-webhook-hmac-sha256", PLAIN_SONAR_SIGNATURE),
    ] {
        let mut other = good();
        set(&mut other, name, value);
        assert!(fails(|| assert_signed(&other, SECRET)), "{name}: {value}");
        other.headers.remove(name);
        assert!(fails(|| assert_signed(&other, SECRET)), "{name}");
    }
    let body = Bytes::from(BODY.replace("3", "4"));
    let other = Received { body, ..good() };
    assert!(fails(|| assert_standard_signature(&other, SECRET)));
    assert!(fails(|| assert_sonar_signature(&other, SECRET)));
}

fn signed(signature: &str, sonar_signature: &str) -> Received {
    let mut received = Received {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(BODY.as_bytes()),
        connection: 0,
    };
    set(&mut received, "webhook-id", "msg_1");
    set(&mut received, "webhook-timestamp", "1700000000");
    set(&mut received, "webhook-signature", signature);
    set(
        &mut received,
        "x-sonar-webhook-hmac-sha256",
        sonar_signature,
    );
    received
}

fn set(received: &mut Received, name: &'static str, value: &str) {
    let name = HeaderName::from_static(name);
    received.headers.insert(name, value.parse().unwrap());
}

fn fails(assertion: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(assertion)).is_err()
}

fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(Policy::none());
    builder.timeout(LONG).build().unwrap()
}

async fn post(client: &Client, receiver: &Receiver) -> Response {
    client.post(&receiver.url).body("{}").send().await.unwrap()
}

/// A request that is given up soon.
fn impatient(receiver: &Receiver) -> reqwest::RequestBuilder {
    client().post(&receiver.url).timeout(SHORT)
}

async fn body_of(response: Response) -> Bytes {
    response.bytes().await.unwrap()
}

async fn statuses(client: &Client, receiver: &Receiver, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(post(client, receiver).await.status().as_u16());
    }
    statuses
}

fn connections(received: &[Received]) -> Vec<usize> {
    received
        .iter()
        .map(|received| received.connection)
        .collect()
}

async fn connect(receiver: &Receiver) -> TcpStream {
    let address = receiver
        .url
        .trim_start_matches("http://")
        .trim_end_matches('/');
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the receiver closes the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    text
}
