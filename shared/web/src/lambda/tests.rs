//! What a Runtime API gets to see, byte by byte.

use std::net::SocketAddr;

use futures_util::stream;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use super::*;

/// Whether that is the end of what is posted: the last chunk (RFC 9112, section 7.1), or of an error.
fn is_whole(read: &[u8]) -> bool {
    read.ends_with(b"\r\n0\r\n\r\n") || read.ends_with(b"}")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn streaming(address: SocketAddr, connector: HttpConnector, service: Router) -> Streaming {
    let client = PooledClient::builder()
        .with_endpoint(format!("http://{address}").parse().unwrap())
        .with_connector(connector);
    Streaming {
        service,
        client: Arc::new(client.build()),
    }
}

fn invocation(body: impl ToString) -> LambdaInvocation {
    let mut context = lambda_runtime::Context::default();
    context.request_id = "42".to_owned();
    LambdaInvocation {
        parts: Response::new(()).into_parts().0,
        body: body.to_string().into(),
        context,
    }
}

fn request() -> serde_json::Value {
    json!({"httpMethod": "GET", "path": "/", "requestContext": {"httpMethod": "GET"}})
}

/// A service with a body of these frames, each of which is there a moment after the one before.
fn slow(frames: impl IntoIterator<Item = Result<&'static str, &'static str>>) -> Router {
    let frames: Vec<_> = frames.into_iter().collect();
    let body = move || {
        let frames = stream::iter(frames.clone());
        let frames = futures_util::StreamExt::then(frames, async |frame| {
            yield_now().await;
            frame.map(|text| Frame::data(Bytes::from(text)))
        });
        Body::new(StreamBody::new(Box::pin(frames)))
    };
    Router::new().fallback(async move || body())
}

/// Reads what is posted, or so much as comes.
async fn read(socket: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    while !is_whole(&read) && socket.read_buf(&mut read).await.unwrap() > 0 {}
    read
}

async fn take(socket: &mut TcpStream, status: &str) {
    let taken = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    socket.write_all(taken.as_bytes()).await.unwrap();
}

/// What is posted for an event, and what comes of it when it is answered so.
async fn posted(
    service: Router,
    event: LambdaInvocation,
    status: &str,
) -> (String, Result<(), Error>) {
    let (listener, address) = listener().await;
    let taking = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let read = read(&mut socket).await;
        take(&mut socket, status).await;
        String::from_utf8(read).unwrap()
    };
    let answer = streaming(address, connector(), service).answer(event);
    tokio::join!(taking, answer)
}

#[tokio::test]
async fn a_small_answer_is_posted_as_lambda_wants_it() {
    let (listener, address) = listener().await;
    let service = Router::new().fallback(async || "small");
    let taking = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::with_capacity(64 << 10);
        socket.read_buf(&mut read).await.unwrap();
        take(&mut socket, "202 Accepted").await;
        String::from_utf8(read).unwrap()
    };
    let answer = streaming(address, connector(), service).answer(invocation(request()));
    let (read, answered) = tokio::join!(taking, answer);
    answered.unwrap();
    let (head, body) = read.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /2018-06-01/runtime/invocation/42/response HTTP/1.1\r\n"));
    for line in [
        "transfer-encoding: chunked",
        "lambda-runtime-function-response-mode: streaming",
        "content-type: application/vnd.awslambda.http-integration-response",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    let prelude = json!({
        "statusCode": 200,
        "headers": {"content-type": "text/plain; charset=utf-8", "content-length": "5"},
        "cookies": []
    });
    let prelude = format!("{prelude}{}", "\0".repeat(8));
    let length = prelude.len();
    assert_eq!(
        body,
        format!("{length:X}\r\n{prelude}\r\n5\r\nsmall\r\n0\r\n\r\n")
    );
}

#[tokio::test]
async fn connections_do_not_wait_for_acknowledgements() {
    let (_listener, address) = listener().await;
    let uri: Uri = format!("http://{address}").parse().unwrap();
    let connection = connector().oneshot(uri).await.unwrap();
    assert!(connection.inner().nodelay().unwrap());
}

/// A Runtime API that puts its acknowledgements off as long as it may.
#[cfg(target_os = "linux")]
async fn acknowledging_late() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = Vec::new();
                loop {
                    // It does not last: tcp(7).
                    let late = socket2::SockRef::from(&socket).set_tcp_quickack(false);
                    late.unwrap();
                    if socket.read_buf(&mut read).await.unwrap() == 0 {
                        break;
                    }
                    if is_whole(&read) {
                        assert!(
                            read.starts_with(b"POST /2018-06-01/runtime/invocation/42/response")
                        );
                        read.clear();
                        take(&mut socket, "202 Accepted").await;
                    }
                }
            });
        }
    });
    address
}

/// Two race, and the one with half of the way loses: each of its answers waits, for 40 ms on Linux.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_answer_waits_for_an_acknowledgement() {
    let address = acknowledging_late().await;
    let answers = async |connector: HttpConnector, count: usize| {
        let streaming = streaming(address, connector, slow([Ok("a"), Ok("b"), Ok("c")]));
        for _ in 0..count {
            let answer = streaming.clone().answer(invocation(request()));
            answer.await.unwrap();
        }
    };
    tokio::select! {
        () = answers(connector(), 20) => {}
        () = answers(HttpConnector::new(), 10) => panic!("the answers wait as those with Nagle's algorithm do"),
    }
}

#[tokio::test]
async fn a_body_that_fails_breaks_the_connection() {
    for (frames, succeeds) in [
        ([Ok("a"), Ok("b")], true),
        ([Ok("a"), Err("the bucket is gone")], false),
    ] {
        let (listener, address) = listener().await;
        let taking = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let read = read(&mut socket).await;
            if succeeds {
                take(&mut socket, "202 Accepted").await;
            }
            read
        };
        let answer = streaming(address, connector(), slow(frames)).answer(invocation(request()));
        let (read, answered) = tokio::join!(taking, answer);
        assert_eq!(answered.is_ok(), succeeds, "{answered:?}");
        assert_eq!(is_whole(&read), succeeds);
        assert!(read.windows(6).any(|part| part == b"1\r\na\r\n"));
    }
}

#[tokio::test]
async fn an_event_that_is_no_request_is_an_error_of_the_invocation() {
    let service = Router::new().fallback(async || "not asked");
    let (read, answered) = posted(service, invocation("[]"), "202 Accepted").await;
    answered.unwrap();
    assert!(read.starts_with("POST /2018-06-01/runtime/invocation/42/error HTTP/1.1\r\n"));
    assert!(read.contains("lambda-runtime-function-error-type: unhandled"));
    assert!(
        read.contains(r#"{"errorType":"InvalidEvent","errorMessage":""#),
        "{read}"
    );
}

#[tokio::test]
async fn the_id_of_an_invocation_is_repeated() {
    for event in [request().to_string(), "[]".to_owned()] {
        let mut event = invocation(event);
        let id = HeaderValue::from_static("an id");
        event.parts.headers.insert(INVOCATION_ID, id);
        let (read, _) = posted(Router::new(), event, "202 Accepted").await;
        assert!(
            read.contains("\r\nlambda-runtime-invocation-id: an id\r\n"),
            "{read}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_refused_does_not_end_the_function() {
    let service = Router::new().fallback(async || "late");
    let (_, answered) = posted(service, invocation(request()), "410 Gone").await;
    answered.unwrap();
}
