//! Who may read reports.

use anyhow::bail;
use axum::http::{HeaderMap, HeaderName};
use axum::routing::MethodRouter;
use domain::organization::OrganizationId;
use domain::token::Right;
use runtime::config::Environment;
use store::tokens::TokenStore;
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};
use web::bearer::bearer;
use web::cors;
use web::query::Query;

use crate::with_right;

/// Who may list and download an organization's reports.
#[derive(Clone, Debug)]
pub enum Reading {
    /// Whoever knows the organization's id.
    Open,
    /// Whoever has one of the organization's tokens with the right [`Right::ReadReports`].
    Token(TokenStore),
}

impl Reading {
    /// The access that the variable `READING` sets.
    ///
    /// # Errors
    /// A variable is missing, or is neither `open` nor `token`.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
    ) -> anyhow::Result<Self> {
        match environment.required("READING")?.as_str() {
            "open" => Ok(Self::Open),
            "token" => {
                let table = environment.required("TOKENS_TABLE")?;
                Ok(Self::Token(TokenStore::new(dynamodb.clone(), table)))
            }
            other => bail!("READING is '{other}', neither 'open' nor 'token'"),
        }
    }

    /// The organization that a request names, if the request may read its reports.
    ///
    /// A token costs one read. Its use is not recorded, since that would require the right to write tokens.
    ///
    /// # Errors
    /// `missing_parameter` or `invalid_organization` (400). Where reading requires a token, also `missing_token`,
    /// `invalid_token`, `revoked_token` or `expired_token` (401), `insufficient_right` or `wrong_organization` (403).
    pub async fn organization(
        &self,
        headers: &HeaderMap,
        query: &Query,
        now: OffsetDateTime,
    ) -> Result<OrganizationId, ApiError> {
        let Self::Token(tokens) = self else {
            return query.organization();
        };
        let found = tokens.look_up(bearer(headers)?, now).await?;
        let token = with_right(found, Right::ReadReports)?;
        let org = query.organization()?;
        if org == token.org {
            return Ok(org);
        }
        let message = "org: the bearer token is of another organization";
        Err(ApiError::new(ErrorCode::WrongOrganization, message).parameter("org"))
    }

    /// The routes of a path. Scripts of any web site may call them where reading is open; see [`cors::public`].
    pub fn routes<S: Clone + Send + Sync + 'static>(
        &self,
        routes: MethodRouter<S>,
        allowed_headers: impl IntoIterator<Item = HeaderName>,
        exposed_headers: impl IntoIterator<Item = HeaderName>,
    ) -> MethodRouter<S> {
        match self {
            Self::Open => cors::public(routes, allowed_headers, exposed_headers),
            Self::Token(_) => routes,
        }
    }
}
