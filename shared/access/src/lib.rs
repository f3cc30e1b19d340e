//! Which of our own tokens may call, for functions that accept no JWT.

mod reading;

use axum::http::HeaderMap;
use domain::token::{Right, Token};
use store::tokens::{Found, TokenStore};
use time::OffsetDateTime;
use web::api::ApiError;
use web::bearer::{bearer, refused};

pub use crate::reading::Reading;

/// The token of a request, if it is valid and has this right. Records its use.
///
/// # Errors
/// `missing_token`, `invalid_token`, `revoked_token` or `expired_token` (401), `insufficient_right` (403).
pub async fn authorize(
    tokens: &TokenStore,
    headers: &HeaderMap,
    right: Right,
    now: OffsetDateTime,
) -> Result<Token, ApiError> {
    with_right(tokens.find(bearer(headers)?, now).await?, right)
}

fn with_right(found: Found, right: Right) -> Result<Token, ApiError> {
    let token = match found {
        Found::Good(token) => token,
        Found::Refused(reason) => return Err(refused(&reason)),
    };
    token
        .check_right(right)
        .map_err(|reason| refused(&reason))?;
    Ok(token)
}
