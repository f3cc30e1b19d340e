//! The binary of the function, as a process against a Runtime API.

use domain::source::SourceId;
use serde_json::json;
use tests::lambda::{Function, assert_same_answer, event};
use tests::source::{Source, call_of, signature};
use tests::system::{System, organization};

#[tokio::test]
async fn a_request_of_api_gateway_is_answered_like_plain_http() {
    let system = System::start().await;
    let org = organization();
    let source = Source::create(&system, org).await;
    let binary = env!("CARGO_BIN_EXE_receive-events");
    let mut function = Function::start(binary, &system.stack.environment()).await;
    for (body, secret) in [
        (call_of("AZ1"), source.secret.as_str()),
        (call_of("AZ1"), "another secret of sixteen"),
        ("{}".to_owned(), &source.secret),
        (
            format!("{}{}", call_of("AZ2"), " ".repeat(300_000)),
            &source.secret,
        ),
    ] {
        let signature = signature(secret, body.as_bytes());
        let headers = [("X-Sonar-Webhook-HMAC-SHA256", signature.as_str())];
        let path = source.path();
        let request = event("POST", &path, &[], &headers, Some(&body));
        let answer = function.invoke(request).await;
        let request = system
            .request("POST", &path)
            .header(headers[0].0, headers[0].1);
        let plain = system.send(request.body(body)).await;
        assert_same_answer(&answer.into_reply(), &plain);
    }
    let calls = source.calls(&system, org).await;
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1]["payload"], json!(call_of("AZ1")));
    let id: SourceId = source.id.parse().unwrap();
    let noted = system.stack.tables.sources.get(id).await.unwrap().unwrap();
    assert!(noted.last_call_at.is_some());
}
