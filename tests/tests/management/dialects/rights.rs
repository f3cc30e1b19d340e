//! Who may do what in the words of other products: every call, for every caller.

use domain::organization::OrganizationId;
use reqwest::RequestBuilder;
use serde_json::json;
use tests::contract;
use tests::system::{Reply, System, organization};

use super::support::{manager, with_form};
use crate::support::Stage;
use crate::support::callers::{Caller, Need, callers};

/// Every operation of a dialect: method and path.
fn operations(dialect: &str) -> Vec<(String, &'static str)> {
    contract::operations()
        .filter(|(_, path, _)| path.starts_with(dialect))
        .map(|(method, path, _)| (method, path))
        .collect()
}

/// How a login is sent.
type LogIn = fn(RequestBuilder, &str) -> RequestBuilder;

const BASIC: LogIn = |request, token| request.basic_auth(token, Some(""));
const BEARER: LogIn = |request, token| request.bearer_auth(token);
const TOKEN: LogIn = |request, token| request.header("authorization", format!("Token {token}"));

async fn call(
    system: &System,
    stage: &Stage,
    (caller, log_in): (&Caller, LogIn),
    (method, path): (&str, &str),
) -> Reply {
    let request = system.request(method, &stage.path(path));
    let request = match &caller.bearer {
        None => request,
        Some(token) => log_in(request, token),
    };
    let delivery = format!("{}.{}", stage.webhook, stage.delivery);
    let url = stage.receiver.url.as_str();
    let (_, action) = path.rsplit_once('/').unwrap();
    let request = if path.starts_with("/sonarqube/") {
        match action {
            "create" => with_form(request, &[("name", "n"), ("url", url)]),
            "update" => request.query(&[("webhook", &*stage.webhook), ("name", "n"), ("url", url)]),
            "delete" => with_form(request, &[("webhook", &stage.webhook)]),
            "deliveries" => request.query(&[("webhook", &stage.webhook)]),
            "delivery" => request.query(&[("deliveryId", delivery.as_str())]),
            _ => request,
        }
    } else {
        match method {
            "POST" | "PUT" => request.json(&json!({"name": "n", "url": url, "token": "t"})),
            "PATCH" => request.json(&json!({"name": "n"})),
            _ => request,
        }
    };
    system.send(request).await
}

/// A stage of an organization whose webhook is one of this dialect.
async fn stage(system: &System, dialect: &str) -> Stage {
    let stage = Stage::new(system).await;
    if dialect == "/codescoring/" {
        let path = format!("/webhooks/{}", stage.webhook);
        let body = json!({"format": "codescoring", "token": "t"});
        let changed = system.manage(stage.org, "PATCH", &path, Some(body)).await;
        assert!(changed.status.is_success(), "{changed:?}");
    }
    stage
}

/// Asserts that each caller may do what our own API lets it, and that otherwise its answer is right and nothing has happened.
async fn each_caller(
    dialect: &str,
    log_ins: &[LogIn],
    is_right: fn(&Reply, path: &str, verdict: Option<(u16, &'static str)>) -> bool,
) {
    let system = System::start().await;
    let other = organization();
    let count = callers(&system, organization(), other).await.len();
    for position in 0..count {
        for log_in in log_ins {
            let stage = stage(&system, dialect).await;
            let callers = callers(&system, stage.org, other).await;
            let caller = &callers[position];
            let verdict = (caller.verdict)(Need::Webhooks);
            let before = webhooks(&system, stage.org).await;
            let mut operations = operations(dialect);
            // What is deleted can be nothing else.
            operations
                .sort_by_key(|(method, path)| method == "DELETE" || path.ends_with("/delete"));
            for (method, path) in operations {
                let reply = call(&system, &stage, (caller, *log_in), (&method, path)).await;
                let what = format!("{} {method} {path}: {reply:?}", caller.name);
                assert!(is_right(&reply, path, verdict), "{what}");
            }
            if verdict.is_some() {
                assert_eq!(
                    webhooks(&system, stage.org).await,
                    before,
                    "{}",
                    caller.name
                );
                assert!(stage.receiver.received().is_empty(), "{}", caller.name);
            }
        }
    }
}

async fn webhooks(system: &System, org: OrganizationId) -> Vec<serde_json::Value> {
    crate::support::list(system, org).await
}

#[tokio::test]
async fn sonarqubes_words_let_nobody_do_more() {
    each_caller("/sonarqube/", &[BASIC, BEARER], |reply, path, verdict| {
        let is_login_good = matches!(verdict, None | Some((403, _)));
        let status = reply.status.as_u16();
        let says = |message: &str| reply.json() == json!({"errors": [{"msg": message}]});
        match (path.rsplit('/').next().unwrap(), verdict) {
            ("status" | "version", _) => status == 200,
            ("validate", _) => reply.json() == json!({"valid": is_login_good}),
            (_, None) => reply.status.is_success(),
            (_, Some((401, "missing_token"))) => {
                status == 401 && says("Authentication is required")
            }
            (_, Some((403, _))) => status == 403 && says("Insufficient privileges"),
            // Another organization is another server, which does not know the token.
            (_, Some(_)) => status == 401 && reply.body.is_empty(),
        }
    })
    .await;
}

#[tokio::test]
async fn codescorings_words_let_nobody_do_more() {
    each_caller("/codescoring/", &[TOKEN], |reply, _, verdict| {
        let says = |status: u16, detail: &str| {
            reply.status.as_u16() == status && reply.json() == json!({"detail": detail})
        };
        match verdict {
            None => reply.status.is_success(),
            Some((401, "missing_token")) => {
                says(401, "Authentication credentials were not provided.")
            }
            Some((403, _)) => says(403, "You do not have permission to perform this action."),
            Some(_) => says(401, "Invalid token."),
        }
    })
    .await;
}

#[tokio::test]
async fn a_password_opens_nothing() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let token = manager(&system, stage.org).await;
    let path = format!("/sonarqube/{}/api/webhooks/list", stage.org);
    for (user, password) in [
        (&*token, "secret"),
        ("admin", "admin"),
        ("", &*token),
        // What no header can have is no token, and not none at all.
        ("a\nb", ""),
        ("t\u{f6}ken", ""),
        ("a b", ""),
    ] {
        let request = system.request("GET", &path);
        let reply = system.send(request.basic_auth(user, Some(password))).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.len()),
            (401, 0),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn what_another_organization_has_is_not_there_in_codescorings_words() {
    let system = System::start().await;
    let theirs = stage(&system, "/codescoring/").await;
    let ours = stage(&system, "/codescoring/").await;
    let token = manager(&system, ours.org).await;
    let before = webhooks(&system, theirs.org).await;
    for (method, path) in operations("/codescoring/") {
        if !path.contains("{webhookId}") {
            continue;
        }
        for id in [theirs.webhook.as_str(), "7", "%FF"] {
            let path = ours.path(&path.replace("{webhookId}", id));
            let request = TOKEN(system.request(&method, &path), &token);
            let body = json!({"name": "n", "url": ours.receiver.url, "token": "t"});
            let reply = system.send(request.json(&body)).await;
            assert_eq!(reply.status, 404, "{method} {path}: {reply:?}");
            assert_eq!(reply.json(), json!({"detail": "Not found."}));
        }
    }
    assert_eq!(webhooks(&system, theirs.org).await, before);
    assert!(theirs.receiver.received().is_empty());
}

#[tokio::test]
async fn a_message_of_ours_manages_nothing() {
    let system = System::start().await;
    for (dialect, log_in) in [("/sonarqube/", BASIC), ("/codescoring/", TOKEN)] {
        let stage = stage(&system, dialect).await;
        let token = manager(&system, stage.org).await;
        let before = webhooks(&system, stage.org).await;
        for (method, path) in operations(dialect) {
            for (name, value) in [
                ("webhook-id", "1"),
                ("x-webhook-event", "report.test"),
                ("user-agent", "SonarQube-Reports/9"),
            ] {
                let request = log_in(system.request(&method, &stage.path(path)), &token);
                let reply = system.send(request.header(name, value)).await;
                assert_eq!(reply.status, 403, "{method} {path}: {reply:?}");
                let words = ["/errors/0/msg", "/detail"];
                let body = reply.json();
                let mut said = words.iter().filter_map(|it| body.pointer(it));
                let said = said.next().and_then(|it| it.as_str()).unwrap();
                assert!(said.contains("must not lead back here"), "{body}");
            }
        }
        assert_eq!(webhooks(&system, stage.org).await, before);
        assert!(stage.receiver.received().is_empty());
    }
}
