//! `SonarQube`'s Web API, as far as it is about webhooks (`org.sonar.server.webhook.ws` and `org.sonar.server.ws` in its source), and
//! what its clients ask before they do anything.
//!
//! For a client an organization is a server of its own: `…/sonarqube/{organizationId}` is the server's address.

mod body;
mod parameters;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::delivery::{Delivery, DeliveryKey, DeliveryState};
use domain::webhook::format::Format;
use domain::webhook::secret::{MAX_CHARACTERS, MIN_CHARACTERS};
use domain::webhook::{Webhook, WebhookId, WebhookKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use store::deliveries::Range;
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode, Worded, Wording};
use web::text::shortened;

use self::body::{
    DeliveriesBody, DeliveryBody, DeliverySummaryBody, LatestDelivery, ListedWebhook, PagingBody,
    WebhookBody,
};
use self::parameters::{
    COMPONENT, DELIVERY, NAME, PROJECT, Parameters, SECRET, TASK, URL, WEBHOOK,
};
use super::{Dialect, credentials, speaking};
use crate::access::{Call, Caller, ManageWebhooks};
use crate::precondition::Precondition;
use crate::settings::{Mode, read};
use crate::state::Managing;
use crate::webhooks::AT_ONCE;
use crate::webhooks::operations::{Full, NotAdded, forgotten_by, note};
use crate::without_loop;

/// The address of an organization as a server.
const SERVER: &str = "/sonarqube/{organizationId}";

/// The version that clients are told. From 10.6 on answers have `hasSecret`, secrets have a minimum length, and tokens may be bearer
/// tokens, as it is here; what later versions have added is not about webhooks.
const VERSION: &str = "10.8.0";
/// The edition that clients are told: that which promises least.
const EDITION: &str = "Community";

/// So many of a webhook's deliveries are looked at, the newest ones, to list and to count those that have been tried: to count is to
/// read them.
const MAX_RESULTS: usize = 1000;

const DIALECT: Dialect = Dialect {
    token,
    wording: Wording(worded),
    expiry: Some(TOKEN_EXPIRATION),
};

/// Its scanner warns by it.
const TOKEN_EXPIRATION: HeaderName =
    HeaderName::from_static("sonarqube-authentication-token-expiration");

pub(crate) fn router() -> Router<Managing> {
    let actions: [(&str, MethodRouter<Managing>); 10] = [
        ("webhooks/create", post(create)),
        ("webhooks/update", post(update)),
        ("webhooks/delete", post(delete)),
        ("webhooks/list", get(list)),
        ("webhooks/deliveries", get(deliveries)),
        ("webhooks/delivery", get(delivery)),
        ("system/info", get(info)),
        ("system/status", get(status)),
        ("server/version", get(version)),
        ("authentication/validate", get(validate)),
    ];
    let mut router = Router::new();
    for (action, method) in actions {
        let method = method.fallback(wrong_method);
        for ending in ["", ".json"] {
            router = router.route(&format!("{SERVER}/api/{action}{ending}"), method.clone());
        }
    }
    router
        .route(SERVER, any(unknown))
        .route(&format!("{SERVER}/"), any(unknown))
        .route(&format!("{SERVER}/{{*path}}"), any(unknown))
        .route_layer(from_fn(without_loop))
        .route_layer(from_fn_with_state(DIALECT, speaking))
}

/// As `SonarQube` says it (`RequestVerifier` in its source).
async fn wrong_method(method: Method) -> ApiError {
    let message = match method {
        Method::GET => "HTTP method POST is required".to_owned(),
        Method::POST => "HTTP method GET is required".to_owned(),
        _ => format!("HTTP method {method} is not allowed"),
    };
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

async fn unknown(request: Request) -> ApiError {
    // Of the path, what is behind the address of the server.
    let path = request.uri().path().splitn(4, '/').nth(3);
    let message = format!("Unknown url : /{}", shortened(path.unwrap_or_default()));
    ApiError::new(ErrorCode::NotFound, message)
}

/// A token as the user of Basic authentication, without a password (RFC 7617), or as a bearer token.
fn token(headers: &HeaderMap) -> Option<String> {
    if let Some(token) = credentials(headers, "Bearer") {
        return Some(token.to_owned());
    }
    let encoded = credentials(headers, "Basic")?;
    let decoded = STANDARD.decode(encoded).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    // There are no users with passwords here, so whoever sends one is nobody.
    let user = text.as_deref().and_then(|text| text.strip_suffix(':'));
    Some(user.unwrap_or_default().to_owned())
}

/// How `SonarQube` says errors (`WebServiceEngine` in its source), and by which status.
fn worded(error: &ApiError) -> Worded {
    let nothing = Worded {
        status: StatusCode::UNAUTHORIZED,
        json: Vec::new(),
    };
    let (status, message) = match error.code() {
        ErrorCode::MissingToken => (StatusCode::UNAUTHORIZED, "Authentication is required"),
        // For a client, another organization is another server, which does not know its token.
        ErrorCode::InvalidToken
        | ErrorCode::RevokedToken
        | ErrorCode::ExpiredToken
        | ErrorCode::OrganizationNotFound => return nothing,
        ErrorCode::InsufficientRight | ErrorCode::InsufficientRole => {
            (StatusCode::FORBIDDEN, "Insufficient privileges")
        }
        ErrorCode::InternalError => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "An error has occurred. Please contact your administrator",
        ),
        // Whatever is wrong with what was asked for is an IllegalArgumentException there.
        ErrorCode::TooManyWebhooks => (StatusCode::BAD_REQUEST, error.message()),
        // There is none there. Of this status Terraform's provider knows that it may ask again, of 409 it does not.
        ErrorCode::Conflict => (StatusCode::TOO_MANY_REQUESTS, error.message()),
        code => (code.status(), error.message()),
    };
    Worded {
        status,
        json: json!({"errors": [{"msg": message}]}).to_string().into(),
    }
}

async fn create(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let (name, url) = (parameters.required(&NAME)?, parameters.required(&URL)?);
    let project = parameters.optional(&PROJECT)?.filter(|it| !it.is_empty());
    let secret = parameters.optional(&SECRET)?;
    if let Some(secret) = secret {
        SECRET.check_least(secret, MIN_CHARACTERS)?;
    }
    let body = json!({
        "name": name, "url": url, "project": project, "secret": secret, "format": Format::Sonarqube,
    });
    let draft = read(body, None, Mode::Whole, call.now).map_err(|error| of_url(error, url))?;
    let added = managing.add(&call.caller, draft, call.now, |_| Ok(None));
    let webhook = added.await.map_err(|reason| match reason {
        NotAdded::Full(full) => of_full(full),
        NotAdded::Other(error) => error,
    })?;
    let webhook = WebhookBody::of(&webhook);
    api::json(StatusCode::OK, &json!({"webhook": webhook}))
}

async fn update(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let webhook = parameters.required(&WEBHOOK)?;
    let (name, url) = (parameters.required(&NAME)?, parameters.required(&URL)?);
    let secret = parameters.given(&SECRET);
    let mut body = json!({"name": name, "url": url});
    if let Some(secret) = secret {
        let length = secret.encode_utf16().count();
        if !secret.is_empty() && !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&length) {
            // As it is written there.
            let message = format!(
                "Secret length must between {MIN_CHARACTERS} and {MAX_CHARACTERS} characters"
            );
            return Err(ApiError::new(ErrorCode::InvalidSecret, message));
        }
        body["secret"] = json!(Some(secret).filter(|secret| !secret.is_empty()));
    }
    let change = |webhook: &mut Webhook| {
        let before = webhook.settings.clone();
        let mut current = before.clone();
        if secret.is_some() {
            // The new one is the only one from now on: no receiver of SonarQube's calls knows two, and who replaces one that
            // has become known does not expect that it goes on signing.
            current.secrets.previous_secrets.clear();
        }
        let draft = read(body.clone(), Some(&current), Mode::Patch, call.now);
        webhook.settings = draft.map_err(|error| of_url(error, url))?.settings;
        if let Some(secret) = secret {
            webhook.settings.secrets.previous_secrets.clear();
            if secret.is_empty() && webhook.settings.secrets.secret.is_some() {
                let format = webhook.settings.wanted.format.as_str();
                let message = format!("A webhook of the format '{format}' must have a secret");
                return Err(ApiError::new(ErrorCode::InvalidSecret, message));
            }
        }
        Ok(forgotten_by(&before, &webhook.settings))
    };
    let key = key(&call.caller, webhook).ok_or_else(|| no_webhook(webhook))?;
    let changed = managing.change(key, &Precondition::Any, call.now, change);
    changed.await.map_err(|error| of_webhook(error, webhook))?;
    note(&call.caller, key.id, "changed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn delete(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let webhook = parameters.required(&WEBHOOK)?;
    let key = key(&call.caller, webhook).ok_or_else(|| no_webhook(webhook))?;
    let removed = managing.remove(&call.caller, key, &Precondition::Any);
    removed.await.map_err(|error| of_webhook(error, webhook))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let project = parameters.optional(&PROJECT)?.filter(|it| !it.is_empty());
    let mut webhooks = managing.webhooks.all(call.caller.org).await?;
    webhooks.retain(|webhook| {
        let projects = &webhook.settings.wanted.projects;
        project.map_or(projects.is_empty(), |project| projects.contains(project))
    });
    webhooks.sort_by(|one, other| {
        let of = |it: &Webhook| (it.settings.name.clone(), it.id);
        of(one).cmp(&of(other))
    });
    let listed = async |webhook: Webhook| {
        let latest = managing.latest_attempted(webhook.id, call.now).await?;
        Ok::<_, store::Error>(ListedWebhook {
            webhook: WebhookBody::of(&webhook),
            latest_delivery: latest.as_ref().and_then(LatestDelivery::of),
        })
    };
    let webhooks: Vec<ListedWebhook> = stream::iter(webhooks)
        .map(listed)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    api::json(StatusCode::OK, &json!({"webhooks": webhooks}))
}

async fn deliveries(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let webhook = parameters.optional(&WEBHOOK)?.filter(|it| !it.is_empty());
    let deprecated = [&COMPONENT, &TASK].map(|it| parameters.given(it).map(|_| it.name));
    let given = deprecated.iter().flatten().count() + usize::from(webhook.is_some());
    let (1, Some(webhook)) = (given, webhook) else {
        let message = match deprecated.into_iter().flatten().next() {
            Some(name) if given == 1 => format!(
                "Parameter '{name}' is deprecated since 10.7 and not supported here: use 'webhook'"
            ),
            _ => "Either 'ceTaskId' or 'componentKey' or 'webhook' must be provided".to_owned(),
        };
        return Err(ApiError::new(ErrorCode::InvalidField, message));
    };
    let (index, size) = parameters.page(MAX_RESULTS)?;
    // Of a webhook that is gone its deliveries are gone too, which is no error there.
    let webhook = match key(&call.caller, webhook) {
        None => None,
        Some(key) => managing.webhooks.get(key).await?,
    };
    let attempted = match &webhook {
        None => Vec::new(),
        Some(webhook) => managing.attempted(webhook.id, call.now).await?,
    };
    let page = attempted.iter().skip((index - 1) * size).take(size);
    let summary = |delivery| DeliverySummaryBody::of(webhook.as_ref()?, delivery);
    let body = DeliveriesBody {
        paging: PagingBody {
            page_index: index,
            page_size: size,
            total: attempted.len(),
        },
        deliveries: page.filter_map(summary).collect(),
    };
    api::json(StatusCode::OK, &body)
}

async fn delivery(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let not_found = || ApiError::new(ErrorCode::DeliveryNotFound, "Webhook delivery not found");
    let id = parameters.required(&DELIVERY)?;
    let (webhook, id) = body::ids(id).ok_or_else(not_found)?;
    let key = WebhookKey {
        org: call.caller.org,
        id: webhook,
    };
    let webhook = managing.webhooks.get(key).await?.ok_or_else(not_found)?;
    let key = DeliveryKey {
        webhook: webhook.id,
        id,
    };
    let whole = managing.deliveries.whole(key, true).await?;
    let whole = whole.filter(|whole| !whole.delivery.is_expired(call.now));
    let delivery = whole.and_then(|whole| DeliveryBody::of(&webhook, whole));
    let delivery = delivery.ok_or_else(not_found)?;
    api::json(StatusCode::OK, &json!({"delivery": delivery}))
}

async fn info(_: Call<ManageWebhooks>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        health: &'static str,
        system: System,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct System {
        version: &'static str,
        edition: &'static str,
    }
    let system = System {
        version: VERSION,
        edition: EDITION,
    };
    let health = "GREEN";
    api::json(StatusCode::OK, &Info { health, system })
}

async fn status() -> Result<Response, ApiError> {
    let body = json!({"id": "sonarqube-reports", "version": VERSION, "status": "UP"});
    api::json(StatusCode::OK, &body)
}

async fn version() -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], VERSION).into_response()
}

/// Whether the login is one of the organization's, whatever it may do.
async fn validate(call: Result<Call<ManageWebhooks>, ApiError>) -> Result<Response, ApiError> {
    let is_valid = match call {
        Ok(_) => true,
        Err(error) => match error.code() {
            ErrorCode::InsufficientRight | ErrorCode::InsufficientRole => true,
            ErrorCode::InternalError | ErrorCode::IdentityUnavailable => return Err(error),
            _ => false,
        },
    };
    api::json(StatusCode::OK, &json!({"valid": is_valid}))
}

impl Managing {
    /// The newest delivery that has been tried.
    async fn latest_attempted(
        &self,
        webhook: WebhookId,
        now: OffsetDateTime,
    ) -> Result<Option<Delivery>, store::Error> {
        let mut latest = self.latest_delivery(webhook, now).await?;
        if latest.as_ref().is_none_or(|it| it.last_attempt.is_some()) {
            return Ok(latest);
        }
        // What waits for a receiver that is down has not been tried, and is newer than what has failed: the index knows that,
        // however much waits.
        latest = self.attempted(webhook, now).await?.into_iter().next();
        for state in [DeliveryState::Failed, DeliveryState::Rejected] {
            let range = Range {
                state: Some(state),
                ..Range::all(webhook)
            };
            let newest = self.deliveries.page(&range, true, 1).await?.deliveries;
            latest = latest.into_iter().chain(newest).max_by_key(|it| it.id);
        }
        Ok(latest.filter(|delivery| !delivery.is_expired(now)))
    }

    /// The deliveries that have been tried, of the newest [`MAX_RESULTS`].
    async fn attempted(
        &self,
        webhook: WebhookId,
        now: OffsetDateTime,
    ) -> Result<Vec<Delivery>, store::Error> {
        let all = Range::all(webhook);
        let mut deliveries = self
            .deliveries
            .page(&all, true, MAX_RESULTS)
            .await?
            .deliveries;
        deliveries.retain(|delivery| delivery.last_attempt.is_some() && !delivery.is_expired(now));
        Ok(deliveries)
    }
}

fn key(caller: &Caller, webhook: &str) -> Option<WebhookKey> {
    Some(WebhookKey {
        org: caller.org,
        id: webhook.parse().ok()?,
    })
}

fn no_webhook(webhook: &str) -> ApiError {
    let message = format!("No webhook with key '{webhook}'");
    ApiError::new(ErrorCode::WebhookNotFound, message)
}

fn of_webhook(error: ApiError, webhook: &str) -> ApiError {
    match error.code() {
        ErrorCode::WebhookNotFound => no_webhook(webhook),
        _ => error,
    }
}

fn of_url(error: ApiError, url: &str) -> ApiError {
    match error.code() {
        ErrorCode::InvalidUrl => {
            let url = body::without_credentials(url);
            let message = format!("Url parameter with value '{url}' is not a valid url");
            ApiError::new(ErrorCode::InvalidUrl, message)
        }
        _ => error,
    }
}

fn of_full(full: Full) -> ApiError {
    let message = match full {
        Full::Project(project) => {
            format!("Maximum number of webhook reached for project '{project}'")
        }
        Full::AllProjects => "Maximum number of global webhooks reached".to_owned(),
        Full::Organization => return full.into(),
    };
    ApiError::new(ErrorCode::TooManyWebhooks, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token_of(value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        token(&headers)
    }

    #[test]
    fn a_token_is_a_user_without_a_password_or_a_bearer() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (value, expected) in [
            (basic("srt_1:"), Some("srt_1")),
            (basic("srt_1:").replacen("Basic", "bAsIc", 1), Some("srt_1")),
            ("Bearer srt_1".to_owned(), Some("srt_1")),
            // There are no passwords.
            (basic("srt_1:secret"), Some("")),
            (basic(":srt_1"), Some("")),
            (basic("srt_1"), Some("")),
            (basic(":"), Some("")),
            ("Basic %".to_owned(), Some("")),
            ("Token srt_1".to_owned(), None),
            ("Basic".to_owned(), None),
        ] {
            assert_eq!(token_of(&value).as_deref(), expected, "{value}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn what_may_be_asked_again_is_said_by_a_status_that_clients_know() {
        let said = worded(&ApiError::new(ErrorCode::Conflict, "try again"));
        assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    }

    proptest! {
        #[test]
        fn any_login_is_read_or_is_none(value in "(Basic|Bearer|Token)? ?[!-~]{0,40}") {
            if let Some(token) = token_of(&value) {
                prop_assert!(!token.ends_with(':') || value.starts_with("Bearer"));
            }
        }
    }
}
