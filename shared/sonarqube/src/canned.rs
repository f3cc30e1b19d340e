//! A server for tests that answers each path with what it was given for that.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::client::{Client, Connection, Patience, Token};

/// A client of a server that answers by `answer` of a path: the status, a header, and the body.
pub(crate) async fn client_of(
    token: &str,
    answer: impl Fn(&str) -> (u16, String, String) + Send + 'static,
) -> Client {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let connection = Connection {
        url: format!("http://{}", listener.local_addr().unwrap()),
        token: Token::new(token).unwrap(),
        organization: None,
        through_proxy: false,
        patience: Patience {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(1),
            requests: 1,
            answer: Duration::from_secs(60),
        },
    };
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split([' ', '?']).nth(1).unwrap();
            let (status, header, body) = answer(path.trim_start_matches('/'));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} -\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Client::new(connection).unwrap()
}
