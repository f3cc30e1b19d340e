//! The token endpoint (RFC 6749), where the panel exchanges codes and refresh tokens, and revocation (RFC 7009).

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use web::api::ApiError;

use crate::issuer::grants::SignIn;
use crate::issuer::parameters::Parameters;
use crate::issuer::{DevelopmentIssuer, random};

/// Why there is no token.
#[derive(Debug)]
pub(super) enum TokenError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnsupportedGrantType,
    /// Nothing that the client did.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for TokenError {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Broken(error) => return ApiError::from(error).into_response(),
        };
        (status, Json(json!({ "error": code }))).into_response()
    }
}

/// `POST /token`: a code or a refresh token for tokens.
pub(super) async fn token(
    State(issuer): State<DevelopmentIssuer>,
    body: Bytes,
) -> Result<Response, TokenError> {
    issuer.grants().token_requests += 1;
    let parameters = Parameters::parse(&body);
    let now = OffsetDateTime::now_utc();
    let tokens = match parameters.one("grant_type") {
        Some("authorization_code") => by_code(&issuer, &parameters, now)?,
        Some("refresh_token") => by_refresh_token(&issuer, &parameters, now)?,
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => return Err(TokenError::InvalidRequest),
    };
    Ok(Json(tokens).into_response())
}

fn by_code(
    issuer: &DevelopmentIssuer,
    parameters: &Parameters,
    now: OffsetDateTime,
) -> Result<Value, TokenError> {
    // The first attempt uses it up, good or not.
    let code = parameters.one("code").ok_or(TokenError::InvalidRequest)?;
    let granted = issuer.grants().take_code(code, now);
    check_client(parameters)?;
    let required = |name| parameters.one(name).ok_or(TokenError::InvalidRequest);
    let (redirect_uri, verifier) = (required("redirect_uri")?, required("code_verifier")?);
    let granted = granted
        .filter(|granted| granted.fits(redirect_uri, verifier))
        .ok_or(TokenError::InvalidGrant)?;
    Ok(tokens(issuer, granted.sign_in, Some(&granted.nonce), now)?)
}

fn by_refresh_token(
    issuer: &DevelopmentIssuer,
    parameters: &Parameters,
    now: OffsetDateTime,
) -> Result<Value, TokenError> {
    check_client(parameters)?;
    let token = parameters
        .one("refresh_token")
        .ok_or(TokenError::InvalidRequest)?;
    let sign_in = issuer
        .grants()
        .take_refresh_token(token, now)
        .ok_or(TokenError::InvalidGrant)?;
    Ok(tokens(issuer, sign_in, None, now)?)
}

fn check_client(parameters: &Parameters) -> Result<(), TokenError> {
    match parameters.one("client_id") {
        Some(DevelopmentIssuer::PANEL_CLIENT) => Ok(()),
        Some(_) => Err(TokenError::InvalidClient),
        None => Err(TokenError::InvalidRequest),
    }
}

/// The access token is for nothing: the API takes ID tokens.
fn tokens(
    issuer: &DevelopmentIssuer,
    sign_in: SignIn,
    nonce: Option<&str>,
    now: OffsetDateTime,
) -> anyhow::Result<Value> {
    let (id_token, validity) = issuer.id_token(sign_in, nonce, now)?;
    let refresh_token = random()?;
    let tokens = json!({
        "id_token": id_token,
        "access_token": random()?,
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_in": validity.whole_seconds(),
    });
    issuer
        .grants()
        .add_refresh_token(refresh_token, sign_in, now);
    Ok(tokens)
}

/// `POST /revoke`: ends a refresh token. Whether there was one the answer does not say.
pub(super) async fn revoke(State(issuer): State<DevelopmentIssuer>, body: Bytes) -> StatusCode {
    let parameters = Parameters::parse(&body);
    if let (Ok(()), Some(token)) = (check_client(&parameters), parameters.one("token")) {
        issuer
            .grants()
            .take_refresh_token(token, OffsetDateTime::now_utc());
    }
    StatusCode::OK
}
