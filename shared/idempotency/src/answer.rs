//! Answers that can be repeated.

use std::fmt;

use anyhow::Context as _;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use web::api::ApiError;

/// An answer with a JSON body. `Debug` does not show it, since it may hold a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    status: u16,
    /// The headers besides `Content-Type`.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// An answer with this body.
    pub fn json(status: StatusCode, body: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self {
            status: status.as_u16(),
            headers: Vec::new(),
            body: serde_json::to_string(body).context("write an answer")?,
        })
    }

    /// The answer with a further header.
    #[must_use]
    pub fn with(mut self, name: &HeaderName, value: String) -> Self {
        self.headers.push((name.as_str().to_owned(), value));
        self
    }

    /// The response.
    ///
    /// # Errors
    /// A header cannot be sent.
    pub(crate) fn response(self) -> Result<Response, ApiError> {
        let status = StatusCode::from_u16(self.status).map_err(anyhow::Error::from)?;
        let json = HeaderValue::from_static("application/json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], self.body).into_response();
        for (name, value) in self.headers {
            let name = HeaderName::try_from(name).map_err(anyhow::Error::from)?;
            let value = HeaderValue::try_from(value).map_err(anyhow::Error::from)?;
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, [redacted])", self.status)
    }
}
