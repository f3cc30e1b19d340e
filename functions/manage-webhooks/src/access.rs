//! Permissions: who may do what.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use domain::organization::OrganizationId;
use domain::token::{Right, Token, TokenSecret};
use domain::webhook::WebhookKey;
use idempotency::{Answer, Attempt, Keyed, Scope};
use identity::{Role, VerifyError};
use store::tokens::Found;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use web::api::{ApiError, ErrorCode};
use web::bearer::{bearer, refused, unauthorized};

use crate::state::Managing;
use crate::target::{Target, organization_not_found};

/// After how many seconds the identity provider may be asked again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("60");

/// The permission that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To read deliveries, at least in part.
    ReadDeliveries,
    /// To read and change webhooks, and to read all of their deliveries.
    ManageWebhooks,
    /// To read and change tokens. No token has this permission, since it could make a stronger token.
    ManageTokens,
    /// To delete reports.
    DeleteReports,
    /// To read and change sources.
    ManageSources,
    /// To read the calls of sources, at least in part.
    ReadCalls,
}

/// The permission that a call needs, as a type. A handler names it among its arguments, and so cannot forget it.
pub(crate) trait Permission {
    const NEED: Need;
}

macro_rules! permissions {
    ($($name:ident),*) => {$(
        /// A call that needs the permission of this name.
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Permission for $name {
            const NEED: Need = Need::$name;
        }
    )*};
}

permissions!(
    ReadDeliveries,
    ManageWebhooks,
    ManageTokens,
    DeleteReports,
    ManageSources,
    ReadCalls
);

/// An authorized call.
#[derive(Debug)]
pub(crate) struct Call<P> {
    pub(crate) caller: Caller,
    pub(crate) target: Target,
    pub(crate) now: OffsetDateTime,
    permission: PhantomData<P>,
}

impl<P: Permission> FromRequestParts<Managing> for Call<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, managing: &Managing) -> Result<Self, ApiError> {
        let now = OffsetDateTime::now_utc();
        let target = Target::of(parts);
        let caller = managing.authorize(parts, &target, P::NEED, now).await?;
        Ok(Self {
            caller,
            target,
            now,
            permission: PhantomData,
        })
    }
}

impl<P> Call<P> {
    /// The key of the webhook that the path names.
    pub(crate) fn key(&self) -> Result<WebhookKey, ApiError> {
        Ok(WebhookKey {
            org: self.caller.org,
            id: self.target.webhook()?,
        })
    }
}

/// Somebody who may do what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) org: OrganizationId,
    /// The caller's name in the log: the token's id, or the subject of the JWT.
    pub(crate) name: String,
    /// Whether the caller may also see what was sent and answered.
    pub(crate) may_manage: bool,
}

/// When the token expires by which somebody asks. Whoever needs it puts one of these into the request's extensions before, and
/// reads it after the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenExpiry(Arc<OnceLock<OffsetDateTime>>);

impl TokenExpiry {
    /// The time, if there is one of a token that belongs to the organization.
    pub(crate) fn noted(&self) -> Option<OffsetDateTime> {
        self.0.get().copied()
    }

    fn note(&self, token: &Token) {
        let at = token.expires_at.as_deref();
        if let Some(Ok(at)) = at.map(|at| OffsetDateTime::parse(at, &Rfc3339)) {
            self.0.get_or_init(|| at);
        }
    }
}

impl Managing {
    /// Carries a call out that its client may make again: once, if it has a key.
    ///
    /// # Errors
    /// Those of [`idempotency::Idempotency::once`].
    pub(crate) fn once<P, F: Future<Output = Result<Answer, ApiError>>>(
        &self,
        call: &Call<P>,
        keyed: &Keyed,
        body: &[u8],
        first: impl FnOnce(Attempt) -> F,
    ) -> impl Future<Output = Result<Response, ApiError>> {
        let scope = Scope {
            org: call.caller.org,
            caller: &call.caller.name,
        };
        let idempotency = &self.idempotency;
        idempotency.once(scope, keyed, body, call.now, first)
    }

    /// The caller, if it may do what it asks for in the organization that the path names.
    ///
    /// # Errors
    /// 401 for a missing or invalid bearer token, `organization_not_found` (404) for a caller that does not belong to the
    /// organization, `insufficient_role` or `insufficient_right` (403), `identity_unavailable` (503).
    async fn authorize(
        &self,
        parts: &Parts,
        target: &Target,
        need: Need,
        now: OffsetDateTime,
    ) -> Result<Caller, ApiError> {
        let bearer = bearer(&parts.headers)?;
        if TokenSecret::looks_like(bearer) {
            let token = match self.tokens.find(bearer, now).await? {
                Found::Good(token) => token,
                Found::Refused(reason) => return Err(refused(&reason)),
            };
            if target.organization()? != token.org {
                return Err(organization_not_found());
            }
            if let Some(expiry) = parts.extensions.get::<TokenExpiry>() {
                expiry.note(&token);
            }
            let has = |right| token.rights.contains(&right);
            let may_manage = match need {
                Need::ManageSources | Need::ReadCalls => has(Right::ManageSources),
                _ => has(Right::ManageWebhooks),
            };
            let may = match need {
                Need::ReadDeliveries | Need::ReadCalls => may_manage || has(Right::ReadDeliveries),
                Need::ManageWebhooks | Need::ManageSources => may_manage,
                Need::ManageTokens => false,
                Need::DeleteReports => has(Right::DeleteReports),
            };
            if !may {
                return Err(insufficient_right(need));
            }
            return Ok(Caller {
                org: token.org,
                name: format!("token {}", token.id),
                may_manage,
            });
        }
        let identity = self
            .identity
            .verify(bearer, now)
            .await
            .map_err(not_verified)?;
        let org = target.organization()?;
        let role = identity.role_in(org).ok_or_else(organization_not_found)?;
        let needed = match need {
            Need::ReadDeliveries | Need::ReadCalls => Role::Viewer,
            Need::ManageWebhooks
            | Need::ManageTokens
            | Need::DeleteReports
            | Need::ManageSources => Role::Administrator,
        };
        if role < needed {
            let message = format!(
                "this takes the role '{}', and yours is '{}'",
                needed.as_str(),
                role.as_str()
            );
            return Err(ApiError::new(ErrorCode::InsufficientRole, message));
        }
        Ok(Caller {
            org,
            name: identity.subject,
            may_manage: role >= Role::Administrator,
        })
    }
}

fn insufficient_right(need: Need) -> ApiError {
    let message = match need {
        Need::ReadDeliveries => {
            "the bearer token has neither the right 'read-deliveries' nor 'manage-webhooks'"
        }
        Need::ManageWebhooks => "the bearer token does not have the right 'manage-webhooks'",
        Need::DeleteReports => "the bearer token does not have the right 'delete-reports'",
        Need::ManageSources => "the bearer token does not have the right 'manage-sources'",
        Need::ReadCalls => {
            "the bearer token has neither the right 'read-deliveries' nor 'manage-sources'"
        }
        Need::ManageTokens => "tokens are managed by administrators, not by tokens",
    };
    ApiError::new(ErrorCode::InsufficientRight, message)
}

fn not_verified(error: VerifyError) -> ApiError {
    match error {
        VerifyError::Invalid(reason) => unauthorized(
            ErrorCode::InvalidToken,
            format!("the bearer token is not accepted: {reason}"),
        ),
        VerifyError::Expired => {
            unauthorized(ErrorCode::ExpiredToken, "the bearer token has expired")
        }
        VerifyError::Unavailable(cause) => {
            tracing::error!("the identity provider cannot be asked: {cause:#}");
            let message = "the identity provider cannot be asked at the moment; try again";
            ApiError::new(ErrorCode::IdentityUnavailable, message)
                .header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
        }
    }
}
