use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body as Streamed;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, mpsc};

use super::*;

/// Short: tests wait for its end, and for nothing that must happen before.
const SHORT: Duration = Duration::from_millis(100);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: local\r\n\r\n";

/// Serves like this on an address of its own.
macro_rules! serving {
    ($tasks:ident, $limits:expr, $service:expr) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        $tasks.spawn(serve(listener, $limits, service_fn($service)));
        address
    }};
}

async fn empty(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

/// Everything that comes until the connection is closed.
async fn to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes));
    // A reset is an end too.
    let _ = read.await.expect("the connection is closed");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_closed() {
    let mut tasks = JoinSet::new();
    let limits = Limits::with(SHORT);
    let address = serving!(tasks, limits, empty);
    for (sent, answers) in [
        (&b""[..], 0),
        (b"GET / HT", 0),
        (b"GET / HTTP/1.1\r\nhost: local\r\n", 0),
        (REQUEST, 1),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let answer = to_end(&mut stream).await;
        let sent = String::from_utf8_lossy(sent);
        assert_eq!(answer.matches("200 OK").count(), answers, "{sent}");
    }
}

#[tokio::test]
async fn an_answer_may_take_longer() {
    let mut tasks = JoinSet::new();
    let (give, mut given) = mpsc::channel(1);
    let address = serving!(tasks, Limits::with(SHORT), move |_| {
        let give = give.clone();
        async move {
            let (sender, parts) = mpsc::channel::<&str>(1);
            give.send(sender).await.unwrap();
            let next = async |mut parts: mpsc::Receiver<&'static str>| {
                let part = parts.recv().await?;
                Some((Ok::<_, Infallible>(part), parts))
            };
            let body = Streamed::from_stream(stream::unfold(parts, next));
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let mut reader = TcpStream::connect(address).await.unwrap();
    reader.write_all(REQUEST).await.unwrap();
    let answer = given.recv().await.unwrap();
    for part in ["first", "second"] {
        answer.send(part).await.unwrap();
        // Its end is when patience has an end.
        let mut other = TcpStream::connect(address).await.unwrap();
        to_end(&mut other).await;
    }
    drop(answer);
    let whole = to_end(&mut reader).await;
    assert!(
        whole.contains("first") && whole.contains("second"),
        "{whole}"
    );
    assert!(whole.ends_with("\r\n0\r\n\r\n"), "{whole}");
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    const AT_ONCE: usize = 2;
    const CLIENTS: usize = 20;
    let mut tasks = JoinSet::new();
    let limits = Limits {
        patience: LONG,
        connections: AT_ONCE,
    };
    let open = Arc::new(AtomicUsize::new(0));
    let (all, most) = (
        Arc::new(Barrier::new(AT_ONCE)),
        Arc::new(AtomicUsize::new(0)),
    );
    let shared = (Arc::clone(&open), all, Arc::clone(&most));
    let address = serving!(tasks, limits, move |request: Request<Incoming>| {
        let (open, all, most) = shared.clone();
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            all.wait().await;
            request.into_body().collect().await.unwrap();
            open.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            to_end(&mut stream).await
        });
    }
    for answer in clients.join_all().await {
        assert!(answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
}
