//! How many webhooks and tokens there may be.

use domain::organization::OrganizationId;
use domain::webhook::{WebhookId, WebhookKey};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::system::{System, organization, text};
use uuid::Uuid;

use crate::support::{URL, assert_refused, create, expect, list, manage_through, path_of, with};

/// Creates ten webhooks for a project, or for all of them.
async fn fill(system: &System, org: OrganizationId, project: Option<&str>) -> Vec<Value> {
    let mut webhooks = Vec::new();
    for _ in 0..10 {
        let webhook = json!({"name": "n", "url": URL, "project": project});
        webhooks.push(system.webhook_with(org, webhook).await);
    }
    webhooks
}

#[tokio::test]
async fn a_project_has_ten_webhooks_and_so_have_all_projects_together() {
    let system = System::start().await;
    let org = organization();
    for (project, other) in [(Some("a"), None), (None, Some("b"))] {
        let webhooks = fill(&system, org, project).await;
        let full = json!({"name": "n", "url": URL, "project": project});
        let refused = create(&system, org, full.clone()).await;
        assert_refused(&refused, 409, "too_many_webhooks");

        // One that is elsewhere does not get in by a change either.
        let elsewhere = json!({"name": "n", "url": URL, "project": "elsewhere"});
        let elsewhere = system.webhook_with(org, elsewhere).await;
        for method in ["PUT", "PATCH"] {
            let reply = system
                .manage(org, method, &path_of(&elsewhere), Some(full.clone()))
                .await;
            assert_refused(&reply, 409, "too_many_webhooks");
        }
        let now = system.webhook_now(org, &elsewhere["id"]).await;
        assert_eq!(now["project"], "elsewhere");

        // Those within are not in their own way.
        for method in ["PUT", "PATCH"] {
            let same = with(full.clone(), &json!({"name": "m"}));
            let reply = system
                .manage(org, method, &path_of(&webhooks[0]), Some(same))
                .await;
            assert_eq!(reply.json()["name"], "m", "{reply:?}");
        }
        // Out and in again.
        for project in [json!(other.unwrap_or("c")), json!(project)] {
            let patch = json!({"project": project});
            let reply = system
                .manage(org, "PATCH", &path_of(&webhooks[1]), Some(patch))
                .await;
            expect(&reply, StatusCode::OK);
        }
        system
            .manage(org, "DELETE", &path_of(&webhooks[2]), None)
            .await;
        expect(
            &create(&system, org, full.clone()).await,
            StatusCode::CREATED,
        );
        let refused = create(&system, org, full).await;
        assert_refused(&refused, 409, "too_many_webhooks");
    }
}

#[tokio::test]
async fn twenty_who_create_a_webhook_at_once_make_ten() {
    let system = System::start().await;
    let org = organization();
    let create_one = async || {
        let reply = create(&system, org, json!({"name": "n", "url": URL})).await;
        if reply.status != StatusCode::CREATED {
            assert_refused(&reply, 409, "too_many_webhooks");
        }
    };
    join_all((0..20).map(|_| create_one())).await;
    assert_eq!(list(&system, org).await.len(), 10);
}

#[tokio::test]
async fn twenty_who_move_a_webhook_to_a_project_at_once_move_ten() {
    let system = System::start().await;
    let org = organization();
    let mut webhooks = fill(&system, org, Some("a")).await;
    webhooks.extend(fill(&system, org, Some("b")).await);
    let move_one = async |webhook: Value| {
        let patch = Some(json!({"project": null}));
        let reply = system.manage(org, "PATCH", &path_of(&webhook), patch).await;
        if reply.status != StatusCode::OK {
            assert_refused(&reply, 409, "too_many_webhooks");
        }
    };
    join_all(webhooks.into_iter().map(move_one)).await;
    let moved = list(&system, org).await;
    let moved = moved
        .iter()
        .filter(|webhook| webhook.get("project").is_none());
    assert_eq!(moved.count(), 10);
}

#[tokio::test]
async fn an_organization_has_a_thousand_webhooks() {
    let system = System::start().await;
    let org = organization();
    let first = json!({"name": "n", "url": URL, "project": "p0"});
    let first = system.webhook_with(org, first).await;
    let store = &system.stack.tables.webhooks;
    let id: WebhookId = text(&first["id"]).parse().unwrap();
    let mut webhook = store.get(WebhookKey { org, id }).await.unwrap().unwrap();
    for number in 1..1000 {
        webhook.id = WebhookId::new(Uuid::new_v4());
        webhook.settings.wanted.projects = [format!("p{}", number / 10)].into();
        let item = serde_dynamo::aws_sdk_dynamodb_1::to_item(&webhook).unwrap();
        let put = system.stack.dynamodb.put_item().table_name("WebhooksTable");
        put.set_item(Some(item)).send().await.unwrap();
    }
    let another = json!({"name": "n", "url": URL, "project": "another"});
    let refused = create(&system, org, another.clone()).await;
    assert_refused(&refused, 409, "too_many_webhooks");
    assert_eq!(list(&system, org).await.len(), 1000);
    system.manage(org, "DELETE", &path_of(&first), None).await;
    expect(&create(&system, org, another).await, StatusCode::CREATED);
}

#[tokio::test]
async fn an_organization_has_as_many_tokens_as_it_may_that_are_not_revoked() {
    let system = System::start().await;
    let org = organization();
    let mut managing = system.stack.managing.clone();
    managing.max_tokens = 3;
    let token = || Some(json!({"name": "t", "rights": ["publish"]}));
    let make = || manage_through(&system, &managing, org, ("POST", "/tokens"), token());
    let made = futures_util::future::join_all((0..6).map(|_| make())).await;
    let (made, refused): (Vec<_>, Vec<_>) = made
        .iter()
        .partition(|reply| reply.status == StatusCode::CREATED);
    assert_eq!(made.len(), 3, "of any number at once");
    for refused in refused {
        assert_refused(refused, 409, "too_many_tokens");
    }
    // Revoking a token makes room for one, however often it is revoked.
    let path = format!("/tokens/{}", text(&made[0].json()["id"]));
    for _ in 0..2 {
        let revoked = system.manage(org, "DELETE", &path, None).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    }
    expect(&make().await, StatusCode::CREATED);
    assert_refused(&make().await, 409, "too_many_tokens");
    let other = organization();
    let others = manage_through(&system, &managing, other, ("POST", "/tokens"), token());
    expect(&others.await, StatusCode::CREATED);
}
