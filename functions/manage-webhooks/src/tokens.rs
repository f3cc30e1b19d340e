//! Tokens: listed, created, revoked.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::date::GivenDate;
use domain::token::{Right, Token};
use idempotency::{Answer, Attempt, Keyed};
use serde::Serialize;
use serde_json::Value;
use store::dynamodb::Changed;
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode};
use web::cursor::Scope;
use web::fields::{Fields, each_once, invalid, one_of};
use web::json;
use web::query::Query;
use web::text::shortened;

use crate::access::{Call, ManageTokens};
use crate::body::TokenBody;
use crate::settings::MAX_NAME;
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::target::token_not_found;

/// The query parameters of an organization's tokens.
pub const TOKENS_PARAMETERS: [&str; 2] = ["limit", "cursor"];

const FIELDS: [&str; 3] = ["name", "rights", "expiresAt"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokensBody {
    tokens: Vec<TokenBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) async fn list(
    State(managing): State<Managing>,
    call: Call<ManageTokens>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), &TOKENS_PARAMETERS)?;
    let scope = Scope::new(&serde_json::json!(["tokens", call.caller.org]));
    let limit = query.limit()?;
    let after = query
        .optional("cursor")?
        .map(|cursor| scope.open(cursor, |text| text.parse().ok()))
        .transpose()?;
    let page = managing.tokens.page(call.caller.org, after, limit);
    let (page, has_more) = page.await?;
    let last = page.last().filter(|_| has_more);
    let body = TokensBody {
        next_cursor: last.map(|last| scope.seal(&last.id.to_string())),
        tokens: page
            .into_iter()
            .map(|token| TokenBody::of(token, None))
            .collect(),
    };
    api::json(StatusCode::OK, &body)
}

pub(crate) async fn create(
    State(managing): State<Managing>,
    call: Call<ManageTokens>,
    keyed: Keyed,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.create_token(&call, &body, attempt);
    managing.once(&call, &keyed, &body, first).await
}

impl Managing {
    async fn create_token(
        &self,
        call: &Call<ManageTokens>,
        body: &[u8],
        attempt: Attempt,
    ) -> Result<Answer, ApiError> {
        let (caller, now) = (&call.caller, call.now);
        let mut fields = Fields::of(json::parse_object(body)?, String::new(), &FIELDS)?;
        let name = fields.text("name", MAX_NAME)?;
        let rights = rights(&fields.required("rights")?)?;
        let expires_at = expiry(&mut fields, now)?;

        let (token, secret) = Token::new(caller.org, name, rights, expires_at, now)?;
        let body = TokenBody::of(token.clone(), Some(secret.reveal().to_owned()));
        // Relative, since behind API Gateway the path begins with the stage.
        let location = format!("tokens/{}", token.id);
        let answer = Answer::json(StatusCode::CREATED, &body)?.with(&header::LOCATION, location);
        let most = self.max_tokens;
        let kept = attempt.keeping(&answer)?;
        if self.tokens.add(&token, most, kept).await? == Changed::Lost {
            let message = format!(
                "the organization has {most} tokens already; revoke those that nobody needs, also such as have expired"
            );
            return Err(ApiError::new(ErrorCode::TooManyTokens, message));
        }
        tracing::info!(
            token = %token.id, caller = caller.name,
            "token {} was created by {}", token.id, caller.name
        );
        Ok(answer)
    }
}

pub(crate) async fn revoke(
    State(managing): State<Managing>,
    call: Call<ManageTokens>,
) -> Result<Response, ApiError> {
    let (id, caller) = (call.target.token()?, &call.caller);
    if !managing.tokens.revoke(caller.org, id, call.now).await? {
        return Err(token_not_found());
    }
    tracing::info!(
        token = %id, caller = caller.name,
        "token {id} was revoked by {}", caller.name
    );
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn rights(value: &Value) -> Result<BTreeSet<Right>, ApiError> {
    let values = value.as_array().filter(|values| !values.is_empty());
    let values = values.ok_or_else(|| {
        let message = "must be an array of at least one right";
        invalid(ErrorCode::InvalidRight, "rights", message)
    })?;
    let known = Right::ALL.map(|it| (it.as_str(), it));
    let code = ErrorCode::InvalidRight;
    let read = |value: Value, path: &str| one_of(&value, code, path, "right", &known);
    let rights = each_once(values.clone(), code, "rights", read)?;
    Ok(rights.into_iter().collect())
}

fn expiry(fields: &mut Fields, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, ApiError> {
    let Some(value) = fields.optional("expiresAt") else {
        return Ok(None);
    };
    let refused = |message: &str| invalid(ErrorCode::InvalidDate, "expiresAt", message);
    let text = value.as_str().ok_or_else(|| refused("must be text"))?;
    let date: GivenDate = text
        .parse()
        .map_err(|reason| refused(&format!("'{}' is refused: {reason}", shortened(text))))?;
    if date.instant() <= now {
        return Err(refused("lies in the past"));
    }
    Ok(Some(date.instant()))
}
