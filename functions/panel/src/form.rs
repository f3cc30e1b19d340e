//! Forms that people send: the fields of `application/x-www-form-urlencoded`.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::Problem;

/// The longest form, in bytes: as much as the API takes.
pub(crate) const MAX_FORM_BYTES: usize = 64 * 1024;

/// The fields whose values are never shown again, not even to the person who typed them.
const SECRETS: [&str; 3] = ["secret", "token", "header-value"];

/// Whether a field holds a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

/// The fields of a form, in their order. `Debug` does not show them.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The value of a field, trimmed; empty for a missing field.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// The value of a field that is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|it| !it.is_empty())
    }

    /// Every value of a field.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The number of the form. The API takes it as the idempotency key.
    pub(crate) fn number(&self) -> String {
        let number = self.given("form").and_then(|it| Uuid::parse_str(it).ok());
        number.unwrap_or_else(Uuid::new_v4).to_string()
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form([redacted])")
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body: Body = request.into_body();
        let bytes = axum::body::to_bytes(body, MAX_FORM_BYTES).await;
        let bytes = bytes.map_err(|_| {
            let message =
                "The form is longer than it may be. Go back and shorten what you have typed.";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too long", message)
        })?;
        Ok(Self(pairs(&bytes)))
    }
}

/// The query of an address. Unknown parameters are ignored: people keep and share addresses longer than the parameters exist.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let fields = pairs.into_iter();
        let fields = fields.map(|(name, value)| (name, serde_json::Value::String(value)));
        let asked = serde_json::from_value(serde_json::Value::Object(fields.collect()));
        asked.map(Self).map_err(|_| Problem::not_found())
    }
}

/// The fields of a form.
pub(crate) fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).into_owned().collect()
}

/// Where a form is sent, and where one goes back to from it: the form of the thing with this id in the list at `list`, or of a new
/// one.
pub(crate) fn paths(list: String, id: Option<&str>) -> (String, String) {
    match id {
        None => (format!("{list}/new"), list),
        Some(id) => (format!("{list}/{id}/edit"), format!("{list}/{id}")),
    }
}

/// The number of a new form.
pub(crate) fn new_number() -> String {
    Uuid::new_v4().to_string()
}
