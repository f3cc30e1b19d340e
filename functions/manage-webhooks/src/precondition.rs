//! Preconditions: changes that fail if somebody else has made one.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use web::api::{self, ApiError};

/// What `If-Match` requires (RFC 9110, section 13.1.1) of a resource with revisions.
pub(crate) enum Precondition {
    /// Any revision: the header is absent, or is `*`.
    Any,
    /// An entity tag of one of these revisions. Other tags match nothing here.
    Revisions(Vec<u64>),
}

impl Precondition {
    /// The most tags that are compared: as many as one condition of DynamoDB allows (DynamoDB, "Quotas").
    const MOST: usize = 100;

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get_all(header::IF_MATCH);
        if given.iter().next().is_none() {
            return Self::Any;
        }
        let tags = given.iter().filter_map(|value| value.to_str().ok());
        let tags = tags.flat_map(|value| value.split(',')).map(str::trim);
        let tags: Vec<&str> = tags.collect();
        if tags.contains(&"*") {
            return Self::Any;
        }
        let revision = |tag: &str| {
            let text = tag.strip_prefix('"')?.strip_suffix('"')?;
            let revision = text.parse().ok()?;
            (text == u64::to_string(&revision)).then_some(revision)
        };
        let revisions = tags.into_iter().filter_map(revision);
        Self::Revisions(revisions.take(Self::MOST).collect())
    }

    pub(crate) fn revisions(&self) -> Option<&[u64]> {
        match self {
            Self::Any => None,
            Self::Revisions(revisions) => Some(revisions),
        }
    }

    /// Whether a resource with this revision meets the precondition.
    pub(crate) fn holds(&self, revision: u64) -> bool {
        self.revisions()
            .is_none_or(|revisions| revisions.contains(&revision))
    }

    /// The entity tag of a revision.
    pub(crate) fn tag(revision: u64) -> String {
        format!("\"{revision}\"")
    }

    /// An answer with the entity tag of a revision.
    pub(crate) fn tagged(
        status: StatusCode,
        revision: u64,
        body: &impl Serialize,
    ) -> Result<Response, ApiError> {
        let mut response = api::json(status, body)?;
        let tag = HeaderValue::try_from(Self::tag(revision));
        let tag = tag.map_err(anyhow::Error::from)?;
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }
}
