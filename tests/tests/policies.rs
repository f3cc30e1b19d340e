//! The policies of template.yaml allow what the functions do, and nothing else.
//!
//! That they allow it, every test that starts a system shows: each function calls the stand-ins under its policy, and what
//! is refused fails the test. That they allow nothing else is shown here, by having the functions do everything that needs
//! a permission of its own. Whoever adds a permission has to add what needs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration as StdDuration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::presigning::PresigningConfig;
use axum::response::IntoResponse as _;
use domain::organization::OrganizationId;
use domain::report::ReportKey;
use domain::token::Right;
use identity::Role;
use local::client::File;
use local::{Clients, DEMO_ORGANIZATION, Options, Permission, Stack};
use serde_json::{Value, json};
use store::describe;
use store::queue::EventsQueue;
use store::queue::imports::LookAfter;
use store::queue::work::Work;
use store::reports::Commit;
use tests::failures::{Failures, Seam};
use tests::queue::batch;
use tests::receiver::{Answer, Receiver};
use tests::samples::{change, files, metadata, noise, stored_report};
use tests::server::{Imports, PROJECT, project};
use tests::source::{Source, call_of, signature};
use tests::system::{System, organization, text};
use tests::visitor::Visitor;
use time::{Duration, OffsetDateTime};

/// What functions need on AWS although no call of theirs shows it here: functions, actions, resource, and why.
const UNSEEN: [(&[&str], &[&str], &str, &str); 8] = [
    (
        &["DownloadFiles", "Panel"],
        &["s3:GetObjectVersion"],
        "ReportsBucket/reports/*",
        "a file of a bucket that keeps versions is read by its version, and the stand-in keeps none",
    ),
    (
        &["PublishReport", "ManageWebhooks", "ImportAnalysis"],
        &["s3:PutObjectVersionTagging"],
        "ReportsBucket/reports/*",
        "and so are the tags set of a file that was superseded, or whose report was deleted",
    ),
    (
        &["ImportAnalysis"],
        &["s3:AbortMultipartUpload"],
        "ReportsBucket/reports/*",
        "a file that is not written to its end is aborted, and only one of tens of thousands of findings is written in parts",
    ),
    (
        &[
            "ListReports",
            "DownloadFiles",
            "PublishReport",
            "ManageWebhooks",
            "Panel",
            "ReceiveEvents",
            "ImportAnalysis",
            "DeliverWebhooks",
            "RetryWebhooks",
        ],
        &["kms:Decrypt", "kms:DescribeKey"],
        "SecretsKey",
        "DynamoDB decrypts the tables of webhooks, sources, tokens and kept answers in the name of who reads them",
    ),
    (
        &[
            "PublishReport",
            "ManageWebhooks",
            "Panel",
            "ReceiveEvents",
            "DeliverWebhooks",
        ],
        &[
            "kms:Encrypt",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
            "kms:GenerateDataKey",
            "kms:GenerateDataKeyWithoutPlaintext",
        ],
        "SecretsKey",
        "and it may encrypt in the name of who writes them",
    ),
    (
        &["PublishReport", "ManageWebhooks", "ImportAnalysis"],
        &["s3:ListBucket"],
        "ReportsBucket",
        "they list nothing, but without this S3 answers 403 instead of 404 for a file that was not uploaded, or has expired",
    ),
    (
        &["DeliverWebhooks"],
        &[
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
        ],
        "EventsQueue",
        "Lambda itself does it with the role of the function whose event source the queue is",
    ),
    (
        &["ImportAnalysis"],
        &[
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
        ],
        "ImportsQueue",
        "and the same here",
    ),
];

#[tokio::test]
async fn whatever_is_allowed_is_needed() {
    let system = System::start().await;
    let org = organization();
    publish(&system, org).await;
    list(&system, org).await;
    download(&system, org).await;
    manage(&system, org).await;
    deliver(&system, org).await;
    sources(&system, org).await;
    retry(&system, org).await;
    panel(&system).await;
    let by_token = read_by_token().await;
    let importing = import().await;

    let (mut allowed, mut used) = (BTreeSet::new(), BTreeSet::new());
    for system in [&system, &by_token, &importing] {
        let policies = &system.stack.policies;
        allowed.extend(policies.allowed());
        used.extend(policies.used());
    }
    let unseen = unseen();
    let needed = &used | &unseen;
    let problems = [
        listed("is allowed, and nothing needs it", &allowed - &needed),
        listed("is not allowed, and UNSEEN has it", &unseen - &allowed),
        listed("is used, so UNSEEN need not have it", &unseen & &used),
    ]
    .concat();
    assert!(problems.is_empty(), "template.yaml:\n{problems}");
}

fn unseen() -> BTreeSet<Permission> {
    let mut unseen = BTreeSet::new();
    for (functions, actions, resource, _) in UNSEEN {
        for function in functions {
            for action in actions {
                unseen.insert(Permission {
                    function: (*function).to_owned(),
                    action: (*action).to_owned(),
                    resource: resource.to_owned(),
                    attribute: None,
                });
            }
        }
    }
    unseen
}

fn listed(problem: &str, permissions: BTreeSet<impl Display>) -> String {
    let lines = permissions.iter().map(|it| format!("{it} {problem}\n"));
    lines.collect()
}

async fn publish(system: &System, org: OrganizationId) {
    for content in ["a", "b"] {
        system.publish(org, &metadata("1.0"), &files(content)).await;
    }
    // A product that is gone is made of the reports that there are.
    let product = system.stack.dynamodb.delete_item();
    let product = product.table_name("ProductsTable");
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let product = product.key("org", key(&org.to_string()));
    product.key("key", key("acme:shop")).send().await.unwrap();
    system.publish(org, &metadata("0.5"), &files("c")).await;
    let token = system.stack.create_token("t", org, &[Right::Publish]).await;
    for (key, version) in [("a", "1.0"), ("b", "no version")] {
        let mut declaration = metadata(version);
        declaration["files"] = files("a").iter().map(File::declaration).collect();
        let request = system.request("POST", "/security/report");
        let request = request.bearer_auth(token.as_ref().unwrap().reveal());
        let request = request.header("idempotency-key", key);
        system.send(request.json(&declaration)).await;
    }
    // A file with other bytes than declared, and so large that it is written in parts: they are aborted, and what was
    // written of the other file is deleted.
    let publisher = system.publisher(org).await;
    let large = File {
        name: "large.pdf".to_owned(),
        bytes: noise(9 << 20),
    };
    let declared = [files("c").remove(0), large];
    let begun = publisher.begin(&metadata("1.0"), &declared).await.unwrap();
    let begun: Value = begun.json().await.unwrap();
    publisher.upload(&begun, &declared).await.unwrap();
    let id = text(&begun["uploadId"]);
    let other_bytes = vec![0; declared[1].bytes.len()];
    let put = system.stack.s3.put_object().bucket(system.stack.bucket());
    let put = put.key(format!("uploads/{id}/1")).body(other_bytes.into());
    put.send().await.unwrap();
    let refused = publisher.complete(&id).await.unwrap();
    assert_eq!(refused.status(), 409);
}

async fn list(system: &System, org: OrganizationId) {
    let listed = system.listed(&format!("org={org}&minver=0")).await;
    assert_eq!(listed.len(), 2);
    for path in [
        "products?",
        "products?project=acme:shop&",
        "report/list?project=acme:shop&",
    ] {
        let reply = system.get(&format!("/security/{path}org={org}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

async fn download(system: &System, org: OrganizationId) {
    let ids = system.listed(&format!("org={org}&minver=0")).await;
    let path = format!("/security/report/files?org={org}&reports={}", ids[0]);
    assert_eq!(system.get(&path).await.status, 200);
}

/// A system where reading takes a token, in which somebody has read.
async fn read_by_token() -> System {
    let options = Options {
        read_by_token: true,
        ..Options::default()
    };
    let system = System::start_with(options).await;
    let org = organization();
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    let rights = [Right::ReadReports];
    let token = system.stack.create_token("t", org, &rights).await.unwrap();
    for path in [
        format!("/security/report/list?org={org}&minver=0"),
        format!("/security/report/files?org={org}&reports={report}"),
    ] {
        let reply = system.call("GET", &path, token.reveal(), None).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    system
}

async fn manage(system: &System, org: OrganizationId) {
    let receiver = Receiver::start().await;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let reply = system.manage(org, method, path, body).await;
        assert!(reply.status.is_success(), "{method} {path}: {reply:?}");
        reply
    };
    let webhook = format!(
        "/webhooks/{}",
        text(&system.webhook(org, &receiver.url).await["id"])
    );
    system.publish(org, &metadata("1.1"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    assert!(!receiver.take().is_empty());

    call("GET", "/webhooks", None).await;
    call("PATCH", &webhook, Some(json!({"name": "renamed"}))).await;
    call("PATCH", &webhook, Some(json!({"project": "acme:shop"}))).await;
    let deliveries = format!("{webhook}/deliveries");
    let all = call("GET", &deliveries, None).await.json();
    call("GET", &format!("{deliveries}?state=failed"), None).await;
    let delivery = format!("{deliveries}/{}", text(&all["deliveries"][0]["id"]));
    call("GET", &delivery, None).await;
    call("POST", &format!("{delivery}/redeliver"), None).await;
    call("POST", &format!("{webhook}/test"), None).await;
    call("DELETE", &webhook, None).await;

    let token = json!({"name": "t", "rights": ["manage-webhooks"]});
    let token = call("POST", "/tokens", Some(token)).await.json();
    let path = format!("/organizations/{org}/webhooks");
    let secret = text(&token["token"]);
    assert_eq!(system.call("GET", &path, &secret, None).await.status, 200);
    call("GET", "/tokens", None).await;
    call("DELETE", &format!("/tokens/{}", text(&token["id"])), None).await;
    // What is created by a key: it is begun, kept, and forgotten when it comes to nothing.
    for body in [json!({"name": "t", "rights": ["publish"]}), json!({})] {
        let request = system.request("POST", &format!("/organizations/{org}/tokens"));
        let request = request.bearer_auth(system.jwt(org, Role::Administrator));
        let key = body.as_object().unwrap().len().to_string();
        let request = request.header("idempotency-key", key).json(&body);
        system.send(request).await;
    }
    // One of a product that has others, and the last one of another.
    let mut only = metadata("0.9");
    only["projectKey"] = json!("only");
    for metadata in [metadata("0.9"), only] {
        let report = system.publish(org, &metadata, &files("a")).await;
        call("DELETE", &format!("/reports/{report}"), None).await;
    }
}

async fn deliver(system: &System, org: OrganizationId) {
    let receiver = Receiver::start().await;
    let webhook = system.webhook(org, &receiver.url).await;
    let start = OffsetDateTime::now_utc();
    receiver.answer_next([Answer::Status(503)]);
    let report = system.publish(org, &metadata("2.0"), &files("a")).await;
    system.deliver(start).await;
    // The pause ends, and the probe finds the receiver there: all that is due is called.
    system.round(start + Duration::HOUR).await;
    assert_eq!(receiver.take().len(), 2);

    // The queue gives a message again.
    let queue = EventsQueue::new(system.stack.sqs.clone(), system.stack.events_queue());
    let key = ReportKey {
        org,
        id: report.parse().unwrap(),
    };
    let report = system
        .stack
        .tables
        .reports
        .latest(key)
        .await
        .unwrap()
        .unwrap();
    let again = Work::change(change(&report, 1));
    queue.send(&[again]).await.unwrap();
    system.deliver(start + Duration::HOUR).await;
    assert!(receiver.take().is_empty());

    // What was delivered is sent again.
    let replay = json!({"states": ["delivered", "failed"]});
    let path = format!("/webhooks/{}/replay", text(&webhook["id"]));
    system.manage(org, "POST", &path, Some(replay)).await;
    system.deliver(start + Duration::HOUR).await;
    assert_eq!(receiver.take().len(), 1);

    // The webhook is deleted before its receiver took everything.
    receiver.answer(Answer::Status(503));
    system.publish(org, &metadata("2.0"), &files("b")).await;
    system.deliver(start + Duration::HOUR * 2).await;
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    system.manage(org, "DELETE", &path, None).await;
    let round = system.round(start + Duration::HOUR * 3).await;
    assert_eq!((round.queued, round.failed), (1, 0));

    // A receiver that is gone, whose webhook is disabled.
    let gone = Receiver::start().await;
    gone.answer(Answer::Status(410));
    system.webhook(org, &gone.url).await;
    system.publish(org, &metadata("2.0"), &files("c")).await;
    system.deliver(start + Duration::HOUR * 3).await;
    assert_eq!(gone.take().len(), 1);
}

/// Sources, what they are told, and what is left over of it.
async fn sources(system: &System, org: OrganizationId) {
    let source = Source::create(system, org).await;
    let path = format!("/sources/{}", source.id);
    let patch = json!({"name": "other"});
    for (method, path, body) in [
        ("GET", "/sources".to_owned(), None),
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some(patch)),
        (
            "POST",
            format!("{path}/secret"),
            Some(json!({"secret": source.secret})),
        ),
    ] {
        let reply = system.manage(org, method, &path, body).await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    // Once more it is read, as it was stored.
    for _ in 0..2 {
        let reply = source.call(system, call_of("AZ1").as_bytes()).await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    assert_eq!(source.calls(system, org).await.len(), 1);
    system.deliver(OffsetDateTime::now_utc()).await;
    // One that is not announced, since the queue does not take it.
    let failures = Failures::at(3, Seam::Before, false);
    let clients = failures.clients(&system.stack.clients["ReceiveEvents"]);
    let receiving = system.stack.receiving_with(&clients).unwrap();
    let request = axum::http::Request::post(source.path())
        .header(
            "x-sonar-webhook-hmac-sha256",
            signature(&source.secret, call_of("AZ2").as_bytes()),
        )
        .body(axum::body::Body::from(call_of("AZ2")))
        .unwrap();
    let service = web::api::service(receive_events::router(receiving));
    let response = tower::ServiceExt::oneshot(service, request).await.unwrap();
    assert!(response.status().is_success());
    let round = system
        .round(OffsetDateTime::now_utc() + Duration::HOUR)
        .await;
    assert_eq!(round.swept.announced, 1);
    let reply = system.manage(org, "DELETE", &path, None).await;
    assert!(reply.status.is_success(), "{reply:?}");
}

/// Makes reports of what a server has found, also where something fails.
async fn import() -> System {
    let imports = Imports::start_with(project(1), json!({"branches": ["*"]})).await;
    // A little later, so that what has just come is due.
    let now = OffsetDateTime::now_utc() + Duration::MINUTE;
    let stack = &imports.system.stack;
    // One whose second file is not taken: the first is removed again.
    let failures = Failures::at(2, Seam::Before, false);
    let base = &stack.clients["ImportAnalysis"];
    let clients = Clients {
        s3: failures.s3(&base.s3),
        ..base.clone()
    };
    let importing = stack.importing_with(&clients).unwrap();
    imports.call("release/1.x", "AZ1").await;
    let look = LookAfter::source(imports.org, imports.source.id.parse().unwrap());
    let event = batch([look.to_json()]);
    let budget = StdDuration::from_secs(60);
    let response = import_analysis::handle(&importing, event, now, budget).await;
    assert_eq!(response.batch_item_failures.len(), 1);
    // Then it is published, and the same for the main branch, and updated.
    imports.call("trunk", "AZ2").await;
    imports.import(now).await;
    imports.server.change(|project| {
        project.branches[0].issues.clear();
        project.branches[1].issues.clear();
    });
    // A product that is missing is made of its reports.
    let delete = stack.dynamodb.delete_item().table_name("ProductsTable");
    let delete = delete
        .key("org", AttributeValue::S(imports.org.to_string()))
        .key("key", AttributeValue::S(PROJECT.to_owned()));
    delete.send().await.unwrap();
    for branch in ["trunk", "release/1.x"] {
        let gate = imports.server.call_of(branch, None);
        imports.source.call(&imports.system, gate.as_bytes()).await;
    }
    imports.import(now).await;
    // One that has to be tried again.
    imports.server.trouble(|asked, _| {
        let is_search = asked.path == "api/issues/search";
        is_search.then(|| axum::http::StatusCode::GATEWAY_TIMEOUT.into_response())
    });
    imports.call("trunk", "AZ3").await;
    imports.import(now).await;
    imports.server.trouble(|_, _| None);
    // One that was never told of, and a branch that is gone.
    imports.analyse("trunk-2", 2, "1.1");
    imports
        .server
        .change(|project| drop(project.branches.pop()));
    imports.round(now + Duration::HOUR).await;
    let made = (imports.reports().await, imports.imports().await);
    assert_eq!(made.0.len(), 3, "{made:?}");
    let list = imports
        .system
        .manage(imports.org, "GET", "/sources", None)
        .await;
    assert_eq!(list.json()["sources"][0]["import"]["state"], "working");
    // Whoever may read deliveries sees what became of them, and an administrator whether the server is good.
    let token = stack.create_token("reader", imports.org, &[Right::ReadDeliveries]);
    let path = format!(
        "/organizations/{}/sources/{}",
        imports.org, imports.source.id
    );
    let request = imports.system.request("GET", &format!("{path}/calls"));
    let request = request.bearer_auth(token.await.unwrap().reveal());
    assert!(imports.system.send(request).await.status.is_success());
    let check = format!("/sources/{}/check", imports.source.id);
    let checked = imports
        .system
        .manage(imports.org, "POST", &check, None)
        .await;
    assert_eq!(checked.json()["ok"], true);
    // What waits for its server is looked at again.
    imports.server.accept("another", None);
    imports.import(now + Duration::HOUR * 2).await;
    let busy = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    imports
        .server
        .trouble(move |_, _| Some(axum::response::IntoResponse::into_response(busy)));
    imports.round(now + Duration::HOUR * 4).await;
    imports.system
}

/// Does by the panel's pages what they can do.
async fn panel(system: &System) {
    let org = DEMO_ORGANIZATION;
    let receiver = Receiver::start().await;
    let report = system.publish(org, &metadata("1.0"), &files("a")).await;
    let visitor = Visitor::stranger(system);
    visitor.enter(system).await;
    visitor.sign_in("/panel/", "administrator").await;
    let home = visitor.home().await;
    let get = async |path: &str| {
        let seen = visitor.get(&format!("{home}{path}")).await;
        assert_eq!(seen.status, 200, "{path}: {seen:?}");
        seen
    };
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let seen = visitor.post(&format!("{home}{path}"), fields).await;
        assert!(
            seen.status.is_success() || seen.status == 303,
            "{path}: {seen:?}"
        );
        seen
    };
    get("/reports").await;
    get("/reports/acme:shop").await;
    get(&format!("/reports/acme:shop/{report}/files/report.html")).await;

    let usual = [
        ("name", "n"),
        ("format", "reports"),
        ("schedule", "hourly"),
        ("rights", "publish"),
        ("kind", "sonarqube"),
        ("enabled", "true"),
    ];
    let mut fields = usual.to_vec();
    fields.push(("url", &receiver.url));
    let refused = visitor.post(&format!("{home}/webhooks/new"), &usual).await;
    assert_eq!(refused.status, 400);
    post("/webhooks/new", &fields).await;
    let webhooks = system.manage(org, "GET", "/webhooks", None).await.json();
    let webhook = format!("/webhooks/{}", text(&webhooks["webhooks"][0]["id"]));
    system.publish(org, &metadata("1.1"), &files("a")).await;
    system.deliver(OffsetDateTime::now_utc()).await;
    get(&webhook).await;
    get(&format!("{webhook}?state=failed")).await;
    post(&format!("{webhook}/edit"), &fields).await;
    // To other projects: what limits their number is counted.
    let mut elsewhere = fields.clone();
    elsewhere.push(("projects", "acme:shop"));
    post(&format!("{webhook}/edit"), &elsewhere).await;
    post(&format!("{webhook}/secret"), &[]).await;
    post(&format!("{webhook}/test"), &[]).await;
    let deliveries = system
        .manage(org, "GET", &format!("{webhook}/deliveries"), None)
        .await;
    let delivery = text(&deliveries.json()["deliveries"][0]["id"]);
    get(&format!("{webhook}/deliveries/{delivery}")).await;
    post(&format!("{webhook}/deliveries/{delivery}/redeliver"), &[]).await;
    post(&format!("{webhook}/delete"), &[]).await;

    post("/sources/new", &usual).await;
    let sources = system.manage(org, "GET", "/sources", None).await.json();
    let id = text(&sources["sources"][0]["id"]);
    let source = format!("/sources/{id}");
    let secret = post(&format!("{source}/secret"), &[])
        .await
        .between("<code id=\"secret\">", "<");
    let call = system.request("POST", &format!("/events/{id}"));
    let call = call.header(
        "x-sonar-webhook-hmac-sha256",
        signature(&secret, call_of("AZ3").as_bytes()),
    );
    let called = system.send(call.body(call_of("AZ3"))).await;
    assert!(called.status.is_success(), "{called:?}");
    get("/sources").await;
    get(&source).await;
    // Of whose server reports are made; it is none of SonarQube.
    let server = [
        usual.as_slice(),
        &[("baseUrl", &system.stack.api_url), ("token", "t")],
    ]
    .concat();
    post(&format!("{source}/edit"), &server).await;
    get(&source).await;
    post(&format!("{source}/check"), &[]).await;
    post(&format!("{source}/delete"), &[]).await;

    post("/tokens/new", &usual).await;
    get("/tokens").await;
    let tokens = system.manage(org, "GET", "/tokens", None).await.json();
    let token = format!("/tokens/{}", text(&tokens["tokens"][0]["id"]));
    post(&format!("{token}/revoke"), &[]).await;
    let used = system
        .stack
        .dynamodb
        .scan()
        .table_name("SessionsTable")
        .send()
        .await
        .unwrap();
    let session = used.items()[0]["sha256"].clone();
    let update = system
        .stack
        .dynamodb
        .update_item()
        .table_name("SessionsTable");
    let update = update
        .key("sha256", session)
        .update_expression("SET usedAt = usedAt - :old");
    let update = update.expression_attribute_values(":old", AttributeValue::N("120".to_owned()));
    update.send().await.unwrap();
    get("/organization").await;
    visitor.post("/panel/sign-out", &[]).await;
}

async fn retry(system: &System, org: OrganizationId) {
    // A change that was stored and not announced.
    let mut report = stored_report(org, 1);
    report.announced_revision = 0;
    let now = OffsetDateTime::now_utc();
    let reports = &system.stack.tables.reports;
    let stored = reports.store(&report, Vec::new(), now).await.unwrap();
    assert!(matches!(stored, Commit::Stored), "{stored:?}");
    let round = system.round(now + Duration::HOUR).await;
    assert_eq!((round.swept.announced, round.swept.failed), (1, 0));
}

#[tokio::test]
async fn whatever_is_not_allowed_is_refused() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let (lister, publisher) = (
        &stack.clients["ListReports"],
        &stack.clients["PublishReport"],
    );

    let query = lister.dynamodb.query().table_name("ReportsTable");
    let query = query
        .key_condition_expression("org = :org")
        .expression_attribute_values(":org", AttributeValue::S("a".to_owned()));
    let by_version = query.clone().index_name("by-version").send().await;
    assert_eq!(by_version.unwrap().count, 0);
    let whole = describe(query.send().await.unwrap_err());
    let unknown = describe(lister.dynamodb.list_tables().send().await.unwrap_err());

    let bucket = aws_sdk_s3::Client::from_conf(publisher.s3.clone().build());
    let presign = async |key| {
        let put = bucket.put_object().bucket(stack.bucket()).key(key);
        let expiry = PresigningConfig::expires_in(StdDuration::from_secs(1)).unwrap();
        put.presigned(expiry).await.map_err(describe)
    };
    presign("uploads/a").await.unwrap();
    let elsewhere = presign("elsewhere/a").await.unwrap_err();

    // What a role may not update, also beside what it may, or under another name.
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let update = publisher.dynamodb.update_item().table_name("TokensTable");
    let update = update
        .key("sha256", text("a"))
        .update_expression("SET lastUsedAt = :now, rights = :now")
        .expression_attribute_values(":now", text("now"));
    let rights = describe(update.send().await.unwrap_err());
    let deliverer = &stack.clients["DeliverWebhooks"].dynamodb;
    let update = deliverer.update_item().table_name("WebhooksTable");
    let update = update
        .key("org", text("a"))
        .key("id", text("a"))
        .update_expression("SET #revision = :url")
        .expression_attribute_names("#revision", "url")
        .expression_attribute_values(":url", text("http://127.0.0.1:9/"));
    let url = describe(update.send().await.unwrap_err());

    let refused = stack.policies.refused();
    let expected = [
        (
            url,
            "DeliverWebhooks does not allow dynamodb:UpdateItem of url on WebhooksTable",
        ),
        (
            whole,
            "ListReports does not allow dynamodb:Query on ReportsTable",
        ),
        (unknown, "ListReports calls ListTables"),
        (
            elsewhere,
            "PublishReport does not allow s3:PutObject on reportsbucket/elsewhere/a",
        ),
        (
            rights,
            "PublishReport does not allow dynamodb:UpdateItem of rights on TokensTable",
        ),
    ];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for ((error, expected), refused) in expected.iter().zip(refused) {
        assert!(
            refused.contains("AccessDenied") && refused.contains(expected),
            "{refused}"
        );
        assert!(error.to_string().contains(&refused), "{error}");
    }
    let used: Vec<String> = stack
        .policies
        .used()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        used,
        [
            "ListReports: dynamodb:Query on ReportsTable/index/by-version",
            "PublishReport: s3:PutObject on ReportsBucket/uploads/*",
        ]
    );
}
