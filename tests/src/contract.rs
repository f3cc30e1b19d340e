//! `infra/openapi.yaml`, and answers held against it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

use crate::system::{Reply, text};

/// The contract.
pub static OPENAPI: LazyLock<Value> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("../../infra/openapi.yaml")).unwrap());

/// Panics unless the answer is one that the contract names for the operation: the status, and for an error the envelope
/// with one of the codes that may have this status there. Whatever is no operation must be answered with 404 or 405.
pub fn check(method: &str, path: &str, reply: &Reply) {
    let status = reply.status.as_u16().to_string();
    let Some(operation) = operation(method, path) else {
        assert!(
            matches!(status.as_str(), "404" | "405"),
            "{method} {path} is no operation: {reply:?}"
        );
        if method != "HEAD" {
            check_envelope(reply, &codes());
        }
        return;
    };
    let response = &resolve(&operation["responses"])[&status];
    assert!(
        !response.is_null(),
        "the contract of {method} {path} has no {status}: {reply:?}"
    );
    if reply.status.as_u16() >= 400 && method != "HEAD" {
        let schema = &resolve(response)["content"]["application/json"]["schema"]["allOf"];
        let allowed = schema
            .as_array()
            .unwrap()
            .iter()
            .find_map(|part| part["properties"]["code"]["enum"].as_array());
        check_envelope(reply, &allowed.unwrap().iter().map(text).collect());
    }
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
    let methods = ["get", "head", "post", "put", "patch", "delete"];
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
