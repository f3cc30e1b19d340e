//! Where webhooks may not lead to.

use manage_webhooks::Managing;
use outbound::address::AddressPolicy;
use outbound::sender::{DEADLINE, Sender, SenderOptions};
use reqwest::StatusCode;
use serde_json::json;
use tests::receiver::Receiver;
use tests::system::{System, organization};

use crate::support::{assert_wrong, expect, list, manage_through, path_of};

fn managing_with(system: &System, addresses: AddressPolicy, plain_http: bool) -> Managing {
    let options = SenderOptions {
        addresses,
        plain_http,
        deadline: DEADLINE,
    };
    Managing {
        sender: Sender::new(options).unwrap(),
        ..system.stack.managing.clone()
    }
}

/// Asserts that through this function no webhook comes to be at these URLs, nor is one called there.
async fn assert_never_called(system: &System, managing: &Managing, at: &Receiver, urls: &[&str]) {
    let org = organization();
    let stored_url = format!("{}stored", at.url);
    let stored = system.webhook(org, &stored_url).await;
    let path = path_of(&stored);
    for url in urls {
        let whole = json!({"name": "n", "url": url});
        for (method, path, body) in [
            ("POST", "/webhooks", &whole),
            ("POST", "/webhooks/test", &whole),
            ("PUT", path.as_str(), &whole),
            ("PATCH", path.as_str(), &json!({"url": url})),
        ] {
            let body = Some(body.clone());
            // An organization may make a few test calls only.
            let of = if path == "/webhooks/test" {
                organization()
            } else {
                org
            };
            let reply = manage_through(system, managing, of, (method, path), body).await;
            assert_wrong(&reply, "address_refused", "url");
        }
    }
    // What is stored already is not called, and may be changed otherwise.
    let test = format!("{path}/test");
    let tested = manage_through(system, managing, org, ("POST", &test), None).await;
    let tested = expect(&tested, StatusCode::OK);
    assert_eq!(
        (&tested["delivered"], &tested["attempt"]["error"]["kind"]),
        (&json!(false), &json!("address_refused"))
    );
    let same = json!({"name": "m", "url": stored_url});
    for method in ["PUT", "PATCH"] {
        let reply =
            manage_through(system, managing, org, (method, &path), Some(same.clone())).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    let webhooks = list(system, org).await;
    assert_eq!((webhooks.len(), &webhooks[0]["url"]), (1, &stored["url"]));
    assert!(at.received().is_empty());
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused() {
    let system = System::start().await;
    let managing = managing_with(&system, AddressPolicy::Public, true);
    let receiver = Receiver::start().await;
    let port = receiver.url.rsplit_once(':').unwrap().1;
    let with_port = [
        "http://127.0.0.1",
        "http://localhost",
        "http://user:password@127.0.0.1",
        "http://2130706433",
        "http://0x7f.1",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]",
    ]
    .map(|url| format!("{url}:{port}"));
    let mut urls: Vec<&str> = with_port.iter().map(String::as_str).collect();
    urls.extend([
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "http://[fe80::1]/",
    ]);
    assert_never_called(&system, &managing, &receiver, &urls).await;
}

#[tokio::test]
async fn plain_http_is_refused_where_it_is_not_allowed() {
    let system = System::start().await;
    let managing = managing_with(&system, AddressPolicy::PublicAndLoopback, false);
    let receiver = Receiver::start().await;
    let urls = [receiver.url.as_str(), "HTTP://receiver.example/"];
    assert_never_called(&system, &managing, &receiver, &urls).await;
}
