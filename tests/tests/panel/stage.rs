//! Behind API Gateway, with a stage before each path, and without.

use axum::body::Body;
use axum::http::Request;
use lambda_http::RequestExt as _;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use lambda_http::request::RequestContext;
use local::{DEMO_ORGANIZATION, DevelopmentIssuer};
use std::collections::{BTreeMap, HashMap};
use tests::samples::{files, metadata};
use tests::system::System;
use tests::visitor::{Seen, Visitor};
use tower::ServiceExt as _;

/// What somebody sees who comes by API Gateway.
async fn seen(system: &System, session: &str, prefix: &str, path: &str) -> Seen {
    let mut context = ApiGatewayProxyRequestContext::default();
    context.domain_name = Some("api.example".to_owned());
    context.path = Some(format!("{prefix}{}", path.split('?').next().unwrap()));
    let client = DevelopmentIssuer::PANEL_CLIENT.to_owned();
    let variables = HashMap::from([(panel::CLIENT_VARIABLE.to_owned(), client)]);
    let request = Request::get(path)
        .header("cookie", format!("__Host-session={session}"))
        .body(Body::empty())
        .unwrap()
        .with_stage_variables(variables)
        .with_request_context(RequestContext::ApiGatewayV1(context));
    let service = web::api::service(panel::router(system.stack.panel.clone()));
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Seen {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

#[tokio::test]
async fn every_link_begins_with_the_stage_and_leads_somewhere() {
    let system = System::start().await;
    system
        .publish(DEMO_ORGANIZATION, &metadata("1.0"), &files("a"))
        .await;
    let source = serde_json::json!({"name": "s", "kind": "sonarqube"});
    system
        .manage(DEMO_ORGANIZATION, "POST", "/sources", Some(source))
        .await;
    let visitor = Visitor::signed_in(&system, "administrator").await;
    let session = visitor.cookie("session").unwrap();
    for prefix in ["", "/v1"] {
        let first = seen(&system, &session, prefix, "/panel/").await;
        assert!(
            first
                .header("strict-transport-security")
                .starts_with("max-age=")
        );
        let mut waiting = vec![first.location()];
        let mut pages: BTreeMap<String, Seen> = BTreeMap::new();
        while let Some(path) = waiting.pop() {
            if pages.contains_key(&path) {
                continue;
            }
            let within = path
                .strip_prefix(prefix)
                .unwrap_or_else(|| panic!("{path} is without {prefix}"));
            let page = seen(&system, &session, prefix, within).await;
            if page.status == 303 {
                waiting.push(page.location());
                pages.insert(path, page);
                continue;
            }
            assert_eq!(page.status, 200, "{path}: {page:?}");
            if page.header("content-type").starts_with("text/html") && !path.contains("/files/") {
                let actions = page.text.split(" action=\"").skip(1);
                let actions = actions.map(|rest| rest.split_once('"').unwrap().0);
                for action in actions {
                    assert!(
                        action.starts_with(&format!("{prefix}/panel/")),
                        "{path}: {action}"
                    );
                }
                let links = page
                    .links()
                    .into_iter()
                    .map(|it| it.split('#').next().unwrap().to_owned());
                waiting.extend(links.filter(|it| !it.is_empty() && !it.starts_with("data:")));
            }
            pages.insert(path, page);
        }
        assert!(pages.len() > 15, "{:?}", pages.keys());
        let of_source = pages
            .iter()
            .find(|(path, _)| path.contains("/sources/") && !path.ends_with("new"));
        let (_, of_source) = of_source.unwrap();
        assert!(
            of_source
                .text
                .contains(&format!("https://api.example{prefix}/events/")),
            "{of_source:?}"
        );
    }
    // Without a session people are led to sign in, within the stage.
    let seen = seen(&system, "", "/v1", "/panel/").await;
    assert_eq!(seen.location(), "/v1/panel/sign-in?to=%2Fv1%2Fpanel%2F");
}

#[tokio::test]
async fn without_a_client_nobody_can_sign_in_and_the_page_says_so() {
    let system = System::start().await;
    let request = Request::get("/panel/").body(Body::empty()).unwrap();
    let service = web::api::service(panel::router(system.stack.panel.clone()));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
}
