//! Clients that stop in the midst of a body.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use local::{DEMO_ORGANIZATION, Options};
use reqwest::Url;
use tests::samples;
use tests::system::{System, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Tests wait for its end, and for nothing that must happen before.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a test waits before it fails.
const MINE: Duration = Duration::from_secs(30);

async fn start() -> System {
    let options = Options {
        patience: PATIENCE,
        ..Options::default()
    };
    System::start_with(options).await
}

/// Sends this, stops, and gives what came until the connection was closed.
async fn broken_off(url: &Url, request: &str) -> String {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(MINE, stream.read_to_end(&mut answer));
    // A reset is an end too.
    let _ = read.await.expect("the connection is closed");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_declaration_that_breaks_off_ends() {
    let system = start().await;
    let token = system
        .stack
        .create_token("test", DEMO_ORGANIZATION, &[domain::token::Right::Publish])
        .await
        .unwrap();
    let url = Url::parse(&system.stack.api_url).unwrap();
    let request = format!(
        "POST /security/report HTTP/1.1\r\nhost: local\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{",
        token.reveal()
    );
    let answer = broken_off(&url, &request).await;
    assert!(
        answer.contains("the body could not be read to its end"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_file_that_breaks_off_ends_and_can_be_sent_again() {
    let system = start().await;
    let publisher = system.publisher(DEMO_ORGANIZATION).await;
    let files = samples::files("patience");
    let begun = publisher.begin(&samples::metadata("1.0"), &files).await;
    let upload: serde_json::Value = begun.unwrap().json().await.unwrap();
    let target = &upload["files"][0];
    let url = Url::parse(&text(&target["url"])).unwrap();
    let mut request = format!("PUT {}?{} HTTP/1.1\r\n", url.path(), url.query().unwrap());
    request += &format!("host: {}\r\n", url.authority());
    for (name, value) in target["headers"].as_object().unwrap() {
        request += &format!("{name}: {}\r\n", text(value));
    }
    request += &format!("content-length: {}\r\n\r\n<", files[0].bytes.len());
    let answer = broken_off(&url, &request).await;
    assert!(!answer.contains("200 OK"), "{answer}");

    publisher.upload(&upload, &files).await.unwrap();
    let id = text(&upload["uploadId"]);
    let completed = publisher.complete(&id).await.unwrap();
    assert_eq!(completed.status(), 201);
}
