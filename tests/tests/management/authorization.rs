//! Who may do what, for every operation that the contract has on an organization.

use std::collections::BTreeSet;

use domain::codescoring::TRIGGERS;
use domain::token::Right;
use identity::{IdentityOptions, IdentityProvider, Role};
use manage_webhooks::Managing;
use reqwest::StatusCode;
use tests::receiver::Receiver;
use tests::system::{Reply, System, organization};
use uuid::Uuid;

use crate::support::callers::{Caller, Need, callers};
use crate::support::{Stage, assert_refused, call_through, manage_through, operations};

const WEBHOOKS: &str = "/organizations/{organizationId}/webhooks";
const WEBHOOK: &str = "/organizations/{organizationId}/webhooks/{webhookId}";
const DELIVERIES: &str = "/organizations/{organizationId}/webhooks/{webhookId}/deliveries";
const DELIVERY: &str =
    "/organizations/{organizationId}/webhooks/{webhookId}/deliveries/{deliveryId}";
const TOKENS: &str = "/organizations/{organizationId}/tokens";
const REPORT: &str = "/organizations/{organizationId}/reports/{reportId}";
const SOURCES: &str = "/organizations/{organizationId}/sources";
const SOURCE: &str = "/organizations/{organizationId}/sources/{sourceId}";

/// The operation's row of the table.
fn need(method: &str, path: &str) -> Need {
    let below = |of: &str| path.strip_prefix(of).unwrap_or("elsewhere");
    match (method, path) {
        ("GET", DELIVERIES | DELIVERY) => Need::Read,
        ("GET" | "POST", WEBHOOKS) | ("GET" | "PUT" | "PATCH" | "DELETE", WEBHOOK) => {
            Need::Webhooks
        }
        ("POST", _) if below(WEBHOOKS) == "/test" || below(DELIVERY) == "/redeliver" => {
            Need::Webhooks
        }
        ("POST", _)
            if matches!(
                below(WEBHOOK),
                "/test" | "/secret" | "/enable" | "/disable" | "/replay"
            ) =>
        {
            Need::Webhooks
        }
        ("GET" | "POST", TOKENS) => Need::Tokens,
        ("DELETE", _) if below(TOKENS) == "/{tokenId}" => Need::Tokens,
        ("DELETE", REPORT) => Need::Reports,
        ("GET", _) if below(SOURCE) == "/calls" => Need::Calls,
        ("GET" | "POST", SOURCES) | ("GET" | "PUT" | "PATCH" | "DELETE", SOURCE) => Need::Sources,
        ("POST", _) if matches!(below(SOURCE), "/secret" | "/check") => Need::Sources,
        _ => panic!("{method} {path} is new: say here who may do it"),
    }
}

async fn call(
    system: &System,
    stage: &Stage,
    caller: &Caller,
    (method, path): (&str, &str),
) -> Reply {
    let request = system.request(method, &stage.path(path));
    let request = match &caller.bearer {
        None => request,
        Some(bearer) => request.bearer_auth(bearer),
    };
    let request = match stage.body(method, path) {
        None => request,
        Some(body) => request.json(&body),
    };
    system.send(request).await
}

#[tokio::test]
async fn each_caller_may_do_what_its_role_or_right_allows_and_no_more() {
    let system = System::start().await;
    let other = Stage::new(&system).await;
    let count = callers(&system, organization(), other.org).await.len();
    for position in 0..count {
        // Of those who succeed none finds what the one before has left.
        let stage = Stage::new(&system).await;
        let caller = callers(&system, stage.org, other.org)
            .await
            .swap_remove(position);
        let may_change = (caller.verdict)(Need::Webhooks).is_none();
        let may_change_sources = (caller.verdict)(Need::Sources).is_none();
        let sources_before = stage.sources(&system).await;
        let may_change_tokens = (caller.verdict)(Need::Tokens).is_none();
        let before = stage.snapshot(&system).await;
        let tokens_before = stage.tokens(&system).await;

        let mut operations = operations();
        // What is disabled cannot be tried, and what is deleted can be nothing.
        operations.sort_by_key(|(method, path)| (method == "DELETE", path.ends_with("/disable")));
        for (method, path) in &operations {
            let reply = call(&system, &stage, &caller, (method, path)).await;
            let what = format!("{} {method} {path}: {reply:?}", caller.name);
            match (caller.verdict)(need(method, path)) {
                None => assert!(reply.status.is_success(), "{what}"),
                Some((status, code)) => {
                    assert_eq!(reply.status.as_u16(), status, "{what}");
                    assert_eq!(reply.code(), code, "{what}");
                    let challenge = reply.header("www-authenticate");
                    assert_eq!(status == 401, challenge.starts_with("Bearer"), "{what}");
                }
            }
        }

        if !may_change {
            assert_eq!(stage.snapshot(&system).await, before, "{}", caller.name);
            assert!(stage.receiver.received().is_empty(), "{}", caller.name);
        }
        if !may_change_sources {
            assert_eq!(stage.sources(&system).await, sources_before);
        }
        let may_delete = (caller.verdict)(Need::Reports).is_none();
        let reports = stage.reports(&system).await;
        assert_eq!(reports.is_empty(), may_delete, "{}", caller.name);
        if !may_change_tokens {
            assert_eq!(
                stage.tokens(&system).await,
                tokens_before,
                "{}",
                caller.name
            );
        }
    }
}

#[tokio::test]
async fn what_another_organization_has_is_not_there() {
    let system = System::start().await;
    let (ours, theirs) = (Stage::new(&system).await, Stage::new(&system).await);
    let before = (ours.snapshot(&system).await, theirs.snapshot(&system).await);
    let administrator = system.jwt(ours.org, Role::Administrator);
    let manager = system.token(ours.org, &Right::ALL, None).await.1;
    let nothing = Uuid::new_v4().to_string();

    let mut tried = BTreeSet::new();
    for (method, path) in operations() {
        let body = ours.body(&method, path);
        for (parameter, code, of_theirs) in [
            ("{webhookId}", "webhook_not_found", &theirs.webhook),
            ("{deliveryId}", "delivery_not_found", &theirs.delivery),
            ("{tokenId}", "token_not_found", &theirs.token),
            ("{reportId}", "report_not_found", &theirs.report),
            ("{sourceId}", "source_not_found", &theirs.source),
        ] {
            if !path.contains(parameter) {
                continue;
            }
            tried.insert(parameter);
            for id in [of_theirs.as_str(), &nothing, "no-id"] {
                let path = ours.path(&path.replace(parameter, id));
                let reply = system
                    .call(&method, &path, &administrator, body.clone())
                    .await;
                assert_refused(&reply, 404, code);
                if parameter != "{tokenId}" {
                    let reply = system.call(&method, &path, &manager, body.clone()).await;
                    assert_refused(&reply, 404, code);
                }
            }
        }
    }
    assert_eq!(tried.len(), 5);

    // The webhook is theirs too, which does not help.
    let path = ours.path(DELIVERY).replace(&ours.webhook, &theirs.webhook);
    let path = path.replace(&ours.delivery, &theirs.delivery);
    let reply = system.call("GET", &path, &administrator, None).await;
    assert_refused(&reply, 404, "webhook_not_found");

    assert_eq!(theirs.snapshot(&system).await, before.1);
    assert_eq!(theirs.reports(&system).await, [theirs.report.as_str()]);
    assert!(theirs.receiver.received().is_empty());
    let (mut ours_now, mut ours_before) = (ours.snapshot(&system).await, before.0);
    // There is one more token, by which we tried.
    ours_now[2].take();
    ours_before[2].take();
    assert_eq!(ours_now, ours_before);
    assert!(ours.receiver.received().is_empty());
}

#[tokio::test]
async fn an_id_that_is_not_even_text_is_not_there_either() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let administrator = system.jwt(stage.org, Role::Administrator);
    for (method, path) in operations() {
        for (parameter, code) in [
            ("{webhookId}", "webhook_not_found"),
            ("{deliveryId}", "delivery_not_found"),
            ("{tokenId}", "token_not_found"),
            ("{sourceId}", "source_not_found"),
        ] {
            if path.contains(parameter) {
                let body = stage.body(&method, path);
                let path = stage.path(&path.replace(parameter, "%FF"));
                let reply = system.call(&method, &path, &administrator, body).await;
                assert_refused(&reply, 404, code);
            }
        }
    }
}

#[tokio::test]
async fn a_delivery_of_another_webhook_of_the_organization_is_not_there() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let other = system.webhook(stage.org, &stage.receiver.url).await;
    let other = other["id"].as_str().unwrap();
    for (method, path) in operations() {
        if path.contains("{deliveryId}") {
            let path = stage.path(path).replace(&stage.webhook, other);
            let administrator = system.jwt(stage.org, Role::Administrator);
            let reply = system.call(&method, &path, &administrator, None).await;
            assert_refused(&reply, 404, "delivery_not_found");
        }
    }
}

#[tokio::test]
async fn what_is_no_organization_is_one_in_which_nobody_has_a_part() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let bearers = [
        system.jwt(stage.org, Role::Owner),
        system.token(stage.org, &Right::ALL, None).await.1,
    ];
    let simple = stage.org.to_string().replace('-', "");
    let nil = Uuid::nil().to_string();
    for (method, path) in operations() {
        for id in ["no-id", "*", "%FF", &nil, &simple] {
            let path = stage.path(&path.replace("{organizationId}", id));
            for bearer in &bearers {
                let body = stage.body(&method, &path);
                let reply = system.call(&method, &path, bearer, body).await;
                assert_refused(&reply, 404, "organization_not_found");
            }
            let reply = system.send(system.request(&method, &path)).await;
            assert_refused(&reply, 401, "missing_token");
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_a_query_that_it_does_not_know() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let before = stage.snapshot(&system).await;
    let administrator = system.jwt(stage.org, Role::Administrator);
    for (method, path) in operations() {
        let body = stage.body(&method, path);
        let path = format!("{}?dryRun=true", stage.path(path));
        let reply = system.call(&method, &path, &administrator, body).await;
        assert_refused(&reply, 400, "unknown_parameter");
        assert_eq!(reply.json()["parameter"], "dryRun");
    }
    let reply = system.get("/webhook-events?x=1").await;
    assert_refused(&reply, 400, "unknown_parameter");
    assert_eq!(stage.snapshot(&system).await, before);
    assert!(stage.receiver.received().is_empty());
}

#[tokio::test]
async fn every_body_has_a_limit() {
    let system = System::start().await;
    let stage = Stage::new(&system).await;
    let before = stage.snapshot(&system).await;
    for (method, path) in operations() {
        if stage.body(&method, path).is_none() && !path.ends_with("/secret") {
            continue;
        }
        let post = |length: usize| {
            system
                .request(&method, &stage.path(path))
                .bearer_auth(system.jwt(stage.org, Role::Administrator))
                .body(format!("{{}}{}", " ".repeat(length - 2)))
        };
        let reply = system.send(post(64 * 1024 + 1)).await;
        assert_refused(&reply, 413, "body_too_large");
        if path.ends_with("/tokens") {
            let reply = system.send(post(64 * 1024)).await;
            assert_refused(&reply, 400, "missing_field");
        }
    }
    assert_eq!(stage.snapshot(&system).await, before);
}

#[tokio::test]
async fn while_the_issuer_cannot_be_asked_people_are_told_to_come_again_and_tokens_work() {
    let system = System::start().await;
    let org = organization();
    let issuer = Receiver::start().await.gone().await;
    let options = IdentityOptions {
        issuer: issuer.trim_end_matches('/').to_owned(),
        ..system.stack.issuer.options()
    };
    let managing = Managing {
        identity: IdentityProvider::new(options).unwrap(),
        ..system.stack.managing.clone()
    };
    let reply = manage_through(&system, &managing, org, ("GET", "/webhooks"), None).await;
    assert_refused(&reply, 503, "identity_unavailable");
    assert_eq!(reply.header("retry-after"), "60");

    let token = system.token(org, &[Right::ManageWebhooks], None).await.1;
    let list = ("GET", "/webhooks");
    let reply = call_through(&system, &managing, org, list, &token, None).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

#[tokio::test]
async fn anybody_may_see_what_can_be_told_of() {
    let system = System::start().await;
    let reply = system.get("/webhook-events").await;
    let events = reply.json();
    let events = events["events"].as_array().unwrap();
    let names: Vec<_> = events.iter().map(|event| &event["name"]).collect();
    let triggers = TRIGGERS.map(|trigger| format!("codescoring.{trigger}"));
    let ours = [
        "report.published",
        "report.updated",
        "report.deleted",
        "analysis.completed",
        "quality_gate.changed",
    ];
    let known = ours.map(str::to_owned).into_iter().chain(triggers);
    let known: Vec<String> = known.chain(["report.test".to_owned()]).collect();
    assert_eq!(names, known.iter().collect::<Vec<_>>());
    for event in events {
        let sample = &event["sample"];
        let [reports, analyses] = ["reports", "analyses"].map(|of| &sample[of][0]["event"]);
        let trigger = sample["events"][0]["trigger"].as_str().unwrap_or_default();
        let trigger = serde_json::json!(format!("codescoring.{trigger}"));
        let told = [reports, analyses, &trigger];
        assert!(told.contains(&&event["name"]), "{sample}");
    }
}
