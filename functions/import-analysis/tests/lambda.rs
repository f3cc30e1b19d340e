//! The binary of the function, as a process against a Runtime API. Unlike the one in this process it calls public addresses only.

use serde_json::{Value, json};
use store::queue::imports::LookAfter;
use tests::lambda::Function;
use tests::server::Imports;

/// What becomes of a call, when the server is at this host.
async fn import_of(host: &str) -> (Value, Value, usize) {
    let imports = Imports::start().await;
    let url = imports.server.url.replace("127.0.0.1", host);
    let settings = json!({"baseUrl": url, "token": tests::server::TOKEN});
    imports.set(settings).await;
    imports.call("trunk", "AZ1").await;

    let binary = env!("CARGO_BIN_EXE_import-analysis");
    let environment = imports.system.stack.environment();
    let mut function = Function::start(binary, &environment).await;
    let look = LookAfter::sweep(imports.org, imports.source.id.parse().expect("it is an id"));
    let event = json!({"Records": [{"messageId": "1", "body": look.to_json()}]});
    let answer = function.invoke(event).await.json();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let recorded = function.recorded().await;
    assert_eq!(recorded[0]["SourcesUnreachable"], [1], "{recorded:?}");
    (
        imports.of_task("AZ1").await,
        imports.standing().await,
        imports.server.asked().len(),
    )
}

#[tokio::test]
async fn no_request_leaves_for_an_address_that_is_not_public() {
    // As an address, and as a name that leads to one.
    for (host, refusal) in [
        ("127.0.0.1", "127.0.0.1 is not a public address"),
        ("localhost", "localhost has no public address"),
    ] {
        let (import, standing, asked) = import_of(host).await;
        assert_eq!(import["state"], "pending", "{host} {import}");
        assert_eq!(standing["state"], "unreachable", "{host}");
        let reason = standing["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(refusal), "{host}: {reason}");
        assert_eq!(asked, 0, "{host}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_comes_again() {
    let imports = Imports::start().await;
    let binary = env!("CARGO_BIN_EXE_import-analysis");
    let environment = imports.system.stack.environment();
    let mut function = Function::start(binary, &environment).await;
    let event = json!({"Records": [{"messageId": "7", "body": "{}"}]});
    let answer = function.invoke(event).await.json();
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "7"}]})
    );
}
