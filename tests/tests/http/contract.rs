//! `infra/openapi.yaml` and `template.yaml` against the code.

use std::collections::BTreeSet;

use findings::Standard;
use serde_json::Value;
use tests::contract::{OPENAPI, codes, operations, resolve};
use tests::system::{System, text};
use web::api::ErrorCode;

fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../../template.yaml")).unwrap()
}

/// The codes of API Gateway's own answers.
fn gateway_codes() -> BTreeSet<String> {
    let template = template();
    let responses = &template["Resources"]["Api"]["Properties"]["GatewayResponses"];
    let code = |response: &Value| {
        let body = text(&response["ResponseTemplates"]["application/json"]);
        // It is JSON only once API Gateway has filled it in.
        body.split('"').nth(3).unwrap().to_owned()
    };
    responses.as_object().unwrap().values().map(code).collect()
}

#[test]
fn the_contract_has_every_code_and_no_other() {
    let of_code = ErrorCode::ALL.iter().map(|code| code.as_str().to_owned());
    assert_eq!(codes(), of_code.chain(gateway_codes()).collect());
}

#[test]
fn the_contract_has_every_standard_and_no_other() {
    let standards = &OPENAPI["components"]["schemas"]["Standards"];
    let named: Vec<&str> = standards["items"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let known: Vec<&str> = Standard::all().iter().map(|it| it.id.as_str()).collect();
    assert_eq!(named, known);
    assert_eq!(standards["maxItems"], known.len());
    let description = text(&standards["description"]);
    for standard in known {
        assert!(description.contains(&format!("`{standard}`")), "{standard}");
    }
}

#[test]
fn each_code_stands_under_its_own_status() {
    for (method, path, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let schema = &resolve(response)["content"]["application/json"]["schema"]["allOf"];
            let Some(parts) = schema.as_array() else {
                continue;
            };
            let codes = parts
                .iter()
                .find_map(|part| part["properties"]["code"]["enum"].as_array())
                .unwrap();
            for code in codes.iter().map(text) {
                if let Some(known) = ErrorCode::ALL.iter().find(|known| known.as_str() == code) {
                    assert_eq!(known.status().as_str(), status, "{code} of {method} {path}");
                }
            }
        }
    }
}

#[test]
fn the_contract_has_every_query_parameter_and_no_other() {
    for (path, known) in [
        (list_reports::PATH, list_reports::PARAMETERS.as_slice()),
        (
            list_reports::PRODUCTS,
            list_reports::PRODUCTS_PARAMETERS.as_slice(),
        ),
        (download_files::PATH, download_files::PARAMETERS.as_slice()),
        (
            download_files::file::PATH,
            download_files::file::PARAMETERS.as_slice(),
        ),
        (publish_report::BEGIN_PATH, &[]),
        (publish_report::COMPLETE_PATH, &[]),
        (
            manage_webhooks::DELIVERIES_PATH,
            manage_webhooks::DELIVERIES_PARAMETERS.as_slice(),
        ),
        (manage_webhooks::WEBHOOKS_PATH, &[]),
        (manage_webhooks::WEBHOOK_PATH, &[]),
        (manage_webhooks::REPLAY_PATH, &[]),
        (manage_webhooks::DELIVERY_PATH, &[]),
        (manage_webhooks::EVENTS_PATH, &[]),
    ] {
        let of_path: Vec<_> = operations().filter(|(_, of, _)| *of == path).collect();
        assert!(!of_path.is_empty(), "{path}");
        for (method, _, operation) in of_path {
            if method == "OPTIONS" {
                // It has those of the request that it is about, and does not look at them.
                continue;
            }
            let parameters = operation.get("parameters").and_then(Value::as_array);
            let of_item = OPENAPI["paths"][path]
                .get("parameters")
                .and_then(Value::as_array);
            let all = parameters.into_iter().chain(of_item).flatten().map(resolve);
            let query: BTreeSet<String> = all
                .filter(|it| it["in"] == "query")
                .map(|it| text(&it["name"]))
                .collect();
            let known = known
                .iter()
                .filter(|&&name| name != download_files::REPORTS_IN_BRACKETS)
                .map(|&name| name.to_owned());
            assert_eq!(query, known.collect(), "{method} {path}");
        }
    }
}

/// The routes of API Gateway: method, path, and the function that gets what comes there.
fn routes() -> Vec<(String, String, String)> {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let mut routes = Vec::new();
    for (function, resource) in resources {
        let events = resource["Properties"]["Events"].as_object();
        for event in events.into_iter().flat_map(|events| events.values()) {
            let of = |name: &str| text(&event["Properties"][name]);
            // What the panel shows to people is no part of the contract.
            if event["Type"] == "Api" && function != "Panel" {
                routes.push((of("Method"), of("Path"), function.clone()));
            }
        }
    }
    routes
}

/// Whether what is below a path comes to a route.
fn is_below(path: &str, route: &str) -> bool {
    route
        .strip_suffix("{proxy+}")
        .is_some_and(|prefix| path.starts_with(prefix))
}

#[test]
fn api_gateway_leads_each_operation_to_the_function_that_serves_it() {
    let routes = routes();
    for (method, path, _) in operations() {
        // Of the paths that have the method the most specific one counts.
        let (_, _, function) = routes
            .iter()
            .filter(|(of, route, _)| {
                (*of == method || of == "ANY") && (route == path || is_below(path, route))
            })
            .max_by_key(|(_, route, _)| (route == path, route.len()))
            .unwrap_or_else(|| panic!("{method} {path} has no route"));
        let serves = match path {
            list_reports::PATH | list_reports::PRODUCTS => "ListReports",
            download_files::PATH | download_files::file::PATH => "DownloadFiles",
            publish_report::BEGIN_PATH | publish_report::COMPLETE_PATH => "PublishReport",
            receive_events::EVENTS_PATH => "ReceiveEvents",
            _ => "ManageWebhooks",
        };
        assert_eq!(function, serves, "{method} {path}");
    }
}

#[test]
fn the_contract_has_something_behind_every_route() {
    for (method, route, _) in routes() {
        let is_documented = operations().any(|(of, path, _)| {
            (of == method || method == "ANY") && (path == route || is_below(path, &route))
        });
        assert!(is_documented, "{method} {route}");
    }
}

#[tokio::test]
async fn the_routers_serve_exactly_what_the_contract_has() {
    let system = System::start().await;
    let documented: BTreeSet<(String, &str)> = operations()
        .map(|(method, path, _)| (method, path))
        .collect();
    let paths: BTreeSet<&str> = documented.iter().map(|(_, path)| *path).collect();
    for path in paths {
        let is_parameter = |segment: &str| segment.starts_with('{');
        let concrete = path.split('/').map(|segment| match is_parameter(segment) {
            true => "00000000-0000-0000-0000-000000000000",
            false => segment,
        });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = system.send(system.request(method, &concrete)).await;
            let is_served = reply.status != 405;
            // A path that answers GET answers HEAD (RFC 9110, section 9.1).
            let is_implied = method == "HEAD" && documented.contains(&("GET".to_owned(), path));
            assert_eq!(
                is_served,
                documented.contains(&(method.to_owned(), path)) || is_implied,
                "{method} {path}"
            );
        }
    }
    for path in [
        "/security",
        "/security/report/",
        "/security/report/list/",
        "/security/products/",
        "/security/report/uploads",
    ] {
        assert_eq!(system.get(path).await.code(), "not_found", "{path}");
    }
}
