//! `infra/openapi.yaml`, and answers held against it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use crate::system::{Reply, text};

/// The contract.
pub static OPENAPI: LazyLock<Value> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("../../infra/openapi.yaml")).unwrap());

/// Panics unless the answer is one that the contract names for the operation: the status, the headers, a body of the schema,
/// and for an error the envelope with one of the codes that may have this status there. Whatever is no operation must be
/// answered with 404 or 405.
pub fn check(method: &str, path: &str, reply: &Reply) {
    let status = reply.status.as_u16().to_string();
    let has_envelope = !["/sonarqube/", "/codescoring/"]
        .iter()
        .any(|dialect| path.starts_with(dialect));
    let Some(operation) = operation(method, path) else {
        assert!(
            matches!(status.as_str(), "404" | "405"),
            "{method} {path} is no operation: {reply:?}"
        );
        if method != "HEAD" && has_envelope {
            check_envelope(reply, &codes());
        }
        return;
    };
    let response = &resolve(&operation["responses"])[&status];
    assert!(
        !response.is_null(),
        "the contract of {method} {path} has no {status}: {reply:?}"
    );
    let response = resolve(response);
    check_headers(response, reply);
    if method == "HEAD" {
        return;
    }
    check_body(response, reply);
    if reply.status.as_u16() >= 400 && has_envelope {
        let schema = &response["content"]["application/json"]["schema"]["allOf"];
        let allowed = schema
            .as_array()
            .unwrap()
            .iter()
            .find_map(|part| part["properties"]["code"]["enum"].as_array());
        check_envelope(reply, &allowed.unwrap().iter().map(text).collect());
    }
}

/// Panics unless the response has every header that it must have, and those that it has are as they should be.
fn check_headers(response: &'static Value, reply: &Reply) {
    let headers = response.get("headers").and_then(Value::as_object);
    for (name, header) in headers.into_iter().flatten() {
        let header = resolve(header);
        let Some(value) = reply.headers.get(name) else {
            assert_ne!(header["required"], true, "{name} is missing: {reply:?}");
            continue;
        };
        let value = value.to_str().unwrap();
        let schema = &header["schema"];
        match schema["type"].as_str() {
            Some("integer") => assert_of(schema, &json!(value.parse::<u64>().unwrap()), reply),
            Some("string") => assert_of(schema, &json!(value), reply),
            // A list has separators that a schema does not say.
            _ => {}
        }
    }
}

/// Panics unless the body is of a media type that the contract names, and if that is JSON, of its schema.
fn check_body(response: &'static Value, reply: &Reply) {
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        match response.get("x-optional-body") {
            // OpenAPI has no word for a body that may be absent.
            Some(schema) if !reply.body.is_empty() => assert_of(schema, &reply.json(), reply),
            _ => assert!(reply.body.is_empty(), "no body was expected: {reply:?}"),
        }
        return;
    };
    let media_type = reply.header("content-type").split(';').next().unwrap();
    let content = content
        .get(media_type)
        .unwrap_or_else(|| panic!("'{media_type}' was not expected: {reply:?}"));
    if media_type == "application/json" {
        assert_of(&content["schema"], &reply.json(), reply);
    }
}

fn assert_of(schema: &'static Value, value: &Value, reply: &Reply) {
    let validator = validator(schema);
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?} in {reply:?}");
}

/// What holds values against a schema of the contract. Each is made once, since that takes longer than most requests.
fn validator(schema: &'static Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    // A test that fails in here leaves the map as it was.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        // References within the contract lead to where they lead there.
        let mut schema = schema.clone();
        schema["components"] = OPENAPI["components"].clone();
        let options = jsonschema::options()
            // OpenAPI 3.1 is of this one.
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true);
        Arc::new(options.build(&schema).unwrap())
    };
    Arc::clone(made.entry(schema.to_string()).or_insert_with(make))
}

fn check_envelope(reply: &Reply, codes: &BTreeSet<String>) {
    assert_eq!(
        reply.header("content-type"),
        "application/json",
        "{reply:?}"
    );
    let envelope = reply.json();
    assert!(
        codes.contains(&text(&envelope["code"])),
        "{envelope} has none of {codes:?}"
    );
    assert!(
        !text(&envelope["message"]).is_empty() && !text(&envelope["requestId"]).is_empty(),
        "{envelope}"
    );
    let known = ["code", "message", "parameter", "requestId"];
    assert!(
        envelope
            .as_object()
            .unwrap()
            .keys()
            .all(|key| known.contains(&key.as_str())),
        "{envelope}"
    );
}

/// Every code of the envelope.
pub fn codes() -> BTreeSet<String> {
    let codes = &OPENAPI["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    codes.as_array().unwrap().iter().map(text).collect()
}

/// Every operation: method in capitals, path, description.
pub fn operations() -> impl Iterator<Item = (String, &'static str, &'static Value)> {
    let methods = ["get", "head", "post", "put", "patch", "delete", "options"];
    OPENAPI["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(move |(path, item)| {
            let of_method =
                move |method: &str| Some((method.to_uppercase(), path.as_str(), item.get(method)?));
            methods.into_iter().filter_map(of_method)
        })
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    // Of these paths there is another form, which the contract has in words.
    let path = match path.split('/').nth(1) {
        Some("sonarqube") => path.strip_suffix(".json").unwrap_or(path),
        Some("codescoring") => path.strip_suffix('/').unwrap_or(path),
        _ => path,
    };
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        let mut parts = template.iter().zip(&path);
        template.len() == path.len()
            && parts.all(|(part, given)| part.starts_with('{') || part == given)
    };
    // `/webhooks/test` is no webhook's path: of the paths that match, the one with the fewest parameters is meant.
    let matching = operations().map(|(_, template, _)| template);
    let meant = matching
        .filter(|template| matches(template))
        .min_by_key(|template| template.matches('{').count())?;
    let of = |method: &str| operations().find(|(of, path, _)| of == method && *path == meant);
    // What answers GET answers HEAD.
    let found = of(method).or_else(|| if method == "HEAD" { of("GET") } else { None });
    found.map(|(_, _, operation)| operation)
}

/// Follows a reference within the document.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => OPENAPI.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    const EVENTS: &str = "/webhook-events";
    const WEBHOOK: &str = "/organizations/o/webhooks/w";

    fn reply(status: StatusCode, headers: &[(&'static str, &str)], body: &Value) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Reply {
            status,
            headers: map,
            body: body.to_string().into(),
        }
    }

    fn json_reply(status: StatusCode, body: &Value) -> Reply {
        reply(status, &[("content-type", "application/json")], body)
    }

    #[test]
    fn what_the_contract_has_passes() {
        check(
            "GET",
            EVENTS,
            &json_reply(StatusCode::OK, &json!({"events": events()})),
        );
        let mut deleted = reply(StatusCode::NO_CONTENT, &[], &Value::Null);
        deleted.body.clear();
        check("DELETE", WEBHOOK, &deleted);
    }

    /// The contract's own example.
    fn events() -> Value {
        let operation = &OPENAPI["paths"][EVENTS]["get"];
        let content = &operation["responses"]["200"]["content"]["application/json"];
        content["example"]["events"].clone()
    }

    #[test]
    #[should_panic(expected = "Additional properties are not allowed")]
    fn a_field_that_the_contract_does_not_have_is_noticed() {
        let mut events = events();
        events[0]["other"] = json!(1);
        check(
            "GET",
            EVENTS,
            &json_reply(StatusCode::OK, &json!({"events": events})),
        );
    }

    #[test]
    #[should_panic(expected = "\"events\\\" is a required property")]
    fn a_field_that_is_missing_is_noticed() {
        check("GET", EVENTS, &json_reply(StatusCode::OK, &json!({})));
    }

    #[test]
    #[should_panic(expected = "is not valid under any of the schemas")]
    fn a_text_of_another_format_is_noticed() {
        let mut events = events();
        events[0]["sample"]["organizationId"] = json!("o");
        check(
            "GET",
            EVENTS,
            &json_reply(StatusCode::OK, &json!({"events": events})),
        );
    }

    #[test]
    #[should_panic(expected = "'text/html' was not expected")]
    fn another_media_type_is_noticed() {
        let html = reply(StatusCode::OK, &[("content-type", "text/html")], &json!({}));
        check("GET", EVENTS, &html);
    }

    #[test]
    #[should_panic(expected = "ETag is missing")]
    fn a_header_that_is_missing_is_noticed() {
        check("GET", WEBHOOK, &json_reply(StatusCode::OK, &json!({})));
    }

    #[test]
    #[should_panic(expected = "does not match")]
    fn a_header_of_another_form_is_noticed() {
        let headers = [("content-type", "application/json"), ("etag", "1")];
        check("GET", WEBHOOK, &reply(StatusCode::OK, &headers, &json!({})));
    }

    #[test]
    #[should_panic(expected = "no body was expected")]
    fn a_body_where_none_may_be_is_noticed() {
        check(
            "DELETE",
            WEBHOOK,
            &json_reply(StatusCode::NO_CONTENT, &json!({})),
        );
    }
}
