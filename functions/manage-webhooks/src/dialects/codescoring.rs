//! `CodeScoring`'s API for webhooks (its documentation, "Webhooks management via API"): experimental, since only its nine calls are
//! documented. Their bodies are described by an installation's own Swagger, which is not public.
//!
//! So what a body looks like is guessed, and all guesses are here:
//!
//! | guess | why |
//! |---|---|
//! | Names of fields: `name`, `url`, `projects`, `events`, `token`, `is_active`, `is_available` | The form of its page has Name, URL, Projects, Events and Token; an availability can be refreshed; a webhook is disabled after its last retry. |
//! | `id` is a text here | There it is a number. A client that takes it as it is can send it back. |
//! | `token` can be written and not read | As passwords can, with Django REST Framework. |
//! | `projects` and `events` are lists; an empty one means all projects, and all triggers but `security_report_deleted` | "If the field is empty, all projects will be taken into account". Who has never heard of deleting is not told of it. |
//! | `is_available` is false while a webhook is disabled, or is left alone since its receiver seems to be down; a refresh says what came of its call, and one that fails changes nothing | An availability is of now. A test call counts for a receiver, and not against it. |
//! | Values of own headers are not known, so a webhook that has some does not go to another host here | They never go to another host, and can only be given anew in our own API. |
//! | A project is its number or its name | Events have `project_id` and `project_name`. |
//! | What stands twice in a list counts once, also a number and the same number as a text | Django REST Framework makes a set of such a list. |
//! | `PUT` wants `name` and `url`; without `projects` or `events` it is all of them; the others stay | "Completely update data", but a token that cannot be read cannot be sent back. |
//! | A list is an array, and with `page` or `per_page` an object with `count`, `next`, `previous`, `results` | That pages have these parameters and at most 100 things is documented. |
//! | Errors are `{"detail": …}` and `{"field": […]}`, and fields that are not known are ignored | So Django REST Framework has it. |
//! | `test` answers with `status_code`, and `null` where no answer came | A status is what its page shows. |
//! | `triggers` are objects with `value` and `label` | Its page has a name for each trigger. |
//!
//! Only webhooks of the format `codescoring` are to be seen: others have no token, and are told of what is no trigger.

use std::collections::HashSet;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use domain::date::timestamp;
use domain::event::Event;
use domain::webhook::format::Format;
use domain::webhook::schedule::Schedule;
use domain::webhook::{Webhook, WebhookId};
use outbound::format::codescoring::report_trigger;
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode, Worded, Wording};
use web::base::BaseUrl;
use web::fields::{invalid, whole_number};
use web::json;

use super::{Dialect, credentials, speaking};
use crate::access::{Call, ManageWebhooks};
use crate::precondition::Precondition;
use crate::settings::{Mode, given, read};
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::target::webhook_not_found;
use crate::webhooks::operations::NotAdded;
use crate::without_loop;

const API: &str = "/codescoring/{organizationId}";
/// Behind the address of the API.
const WEBHOOKS: &str = "/api/settings/webhooks";

/// How many things a page has unless `per_page` says otherwise, and at the most ("API" in its documentation).
const DEFAULT_PER_PAGE: usize = 10;
const MAX_PER_PAGE: usize = 100;

/// Up to here a number of JSON is the same to every client (RFC 8259, section 6).
const EXACT: u64 = (1 << 53) - 1;

/// The fields that can be set.
const FIELDS: [&str; 6] = ["name", "url", "projects", "events", "token", "is_active"];

const DIALECT: Dialect = Dialect {
    token,
    wording: Wording(worded),
    expiry: None,
};

pub(crate) fn router() -> Router<Managing> {
    let calls: [(&str, MethodRouter<Managing>); 5] = [
        ("", get(list).post(create)),
        ("/test", post(test)),
        ("/triggers", get(triggers)),
        (
            "/{webhookId}",
            get(one).put(replace).patch(patch).delete(delete),
        ),
        ("/{webhookId}/refresh_availability_status", post(refresh)),
    ];
    let mut router = Router::new();
    for (call, method) in calls {
        let method = method.fallback(wrong_method);
        // There, a path without the slash at its end leads to the one with it, and POST loses its body on the way.
        for ending in ["", "/"] {
            router = router.route(&format!("{API}{WEBHOOKS}{call}{ending}"), method.clone());
        }
    }
    router
        .route(API, any(unknown))
        .route(&format!("{API}/"), any(unknown))
        .route(&format!("{API}/{{*path}}"), any(unknown))
        .route_layer(from_fn(without_loop))
        .route_layer(from_fn_with_state(DIALECT, speaking))
}

async fn wrong_method(method: Method) -> ApiError {
    let message = format!("Method \"{method}\" not allowed.");
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

async fn unknown() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "Not found.")
}

/// `Authorization: Token …` ("API" in its documentation).
fn token(headers: &HeaderMap) -> Option<String> {
    let token = credentials(headers, "Token").or_else(|| credentials(headers, "Bearer"));
    token.map(str::to_owned)
}

/// How Django REST Framework says errors.
fn worded(error: &ApiError) -> Worded {
    let detail = |status, text: &str| (status, json!({"detail": text}));
    let (status, json) = match error.code() {
        ErrorCode::MissingToken => detail(
            StatusCode::UNAUTHORIZED,
            "Authentication credentials were not provided.",
        ),
        // For a client, another organization is another installation, which does not know its token.
        ErrorCode::InvalidToken
        | ErrorCode::RevokedToken
        | ErrorCode::ExpiredToken
        | ErrorCode::OrganizationNotFound => detail(StatusCode::UNAUTHORIZED, "Invalid token."),
        ErrorCode::InsufficientRight | ErrorCode::InsufficientRole => detail(
            StatusCode::FORBIDDEN,
            "You do not have permission to perform this action.",
        ),
        ErrorCode::WebhookNotFound => detail(StatusCode::NOT_FOUND, "Not found."),
        ErrorCode::InternalError => detail(
            StatusCode::INTERNAL_SERVER_ERROR,
            "A server error occurred.",
        ),
        ErrorCode::TooManyWebhooks => (
            StatusCode::BAD_REQUEST,
            json!({"non_field_errors": [error.message()]}),
        ),
        code => match error
            .named()
            .filter(|_| code.status() == StatusCode::BAD_REQUEST)
        {
            Some(named) => {
                let text = error.message();
                let text = text.strip_prefix(&format!("{named}: ")).unwrap_or(text);
                let text = match text {
                    "is required" => "This field is required.",
                    text => text,
                };
                (code.status(), json!({field(named): [text]}))
            }
            None => detail(code.status(), error.message()),
        },
    };
    Worded {
        status,
        json: json.to_string().into(),
    }
}

/// The field that one of ours is called here.
fn field(named: &str) -> &str {
    match named.split(['[', '.']).next().unwrap_or(named) {
        "enabled" => "is_active",
        name => name,
    }
}

#[derive(Serialize)]
struct WebhookBody {
    id: WebhookId,
    name: String,
    /// With its password masked.
    url: String,
    projects: Vec<Value>,
    events: Vec<String>,
    is_active: bool,
    /// Whether it is enabled, and not left alone for a while since its receiver seems to be down.
    is_available: bool,
}

impl WebhookBody {
    fn of(webhook: &Webhook, now: OffsetDateTime) -> Self {
        let settings = &webhook.settings;
        let now = timestamp(now);
        let is_left_alone = webhook.health.paused_until.as_ref();
        let is_left_alone = is_left_alone.is_some_and(|until| *until > now);
        let projects = settings.wanted.projects.iter();
        Self {
            id: webhook.id,
            name: settings.name.clone(),
            url: settings.url.masked(),
            projects: projects.map(|project| number_or_name(project)).collect(),
            events: settings.wanted.events.iter().filter_map(trigger).collect(),
            is_active: webhook.is_enabled(),
            is_available: webhook.is_enabled() && !is_left_alone,
        }
    }
}

/// A project that is called by a number is a number, as it was sent, unless some clients would read another one.
fn number_or_name(project: &str) -> Value {
    match project.parse::<u64>() {
        Ok(number) if number <= EXACT && number.to_string() == project => json!(number),
        _ => json!(project),
    }
}

/// The trigger by which messages tell of an event.
fn trigger(event: &Event) -> Option<String> {
    match event {
        Event::Report(event) => Some(report_trigger(*event).to_owned()),
        Event::Codescoring(trigger) => Some(trigger.name().to_owned()),
        Event::Analysis(_) => None,
    }
}

/// What the fields of a body are called by our own API.
///
/// # Errors
/// `invalid_field` (400): a field is `null`, which means nothing here.
fn translated(body: Value) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(fields) = body else {
        return Ok(Map::new());
    };
    let fields = fields.into_iter();
    let known = fields.filter(|(name, _)| FIELDS.contains(&name.as_str()));
    known
        .map(|(name, value)| match (name.as_str(), value) {
            (_, Value::Null) => {
                let message = "This field may not be null.";
                Err(invalid(ErrorCode::InvalidField, &name, message))
            }
            ("is_active", value) => Ok(("enabled".to_owned(), value)),
            ("projects", Value::Array(projects)) => {
                let projects = projects.into_iter().map(project_of);
                Ok((name, as_set(projects.collect::<Result<Vec<_>, _>>()?)))
            }
            // Without any, all are meant.
            ("events", Value::Array(events)) if events.is_empty() => Ok((name, Value::Null)),
            ("events", Value::Array(triggers)) => {
                let events = triggers.into_iter().map(|trigger| {
                    let named = trigger.as_str().and_then(event_of);
                    named.map(Value::String).ok_or_else(|| {
                        let message = format!("{trigger} is not a valid choice.");
                        invalid(ErrorCode::InvalidEvent, &name, &message)
                    })
                });
                let events = events.collect::<Result<Vec<_>, _>>()?;
                Ok((name, as_set(events)))
            }
            (_, value) => Ok((name, value)),
        })
        .collect()
}

/// An array of these, without what stands twice. Our own API refuses that, since it is hardly meant.
fn as_set(mut values: Vec<Value>) -> Value {
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.clone()));
    Value::Array(values)
}

/// What our own API calls a project.
fn project_of(project: Value) -> Result<Value, ApiError> {
    match whole_number(&project).filter(|number| *number <= EXACT) {
        Some(number) => Ok(json!(number.to_string())),
        None if project.is_string() => Ok(project),
        None => {
            let message = format!("must be a name, or a whole number from 0 to {EXACT}");
            Err(invalid(ErrorCode::InvalidField, "projects", &message))
        }
    }
}

/// The name of the event that a trigger tells of.
fn event_of(name: &str) -> Option<String> {
    let event = Event::all().find(|event| trigger(event).as_deref() == Some(name))?;
    Some(event.as_str().to_owned())
}

/// The same for a webhook that is made: of this format, and tried again as it is tried there.
fn new_webhook(body: Value) -> Result<Value, ApiError> {
    let mut fields = translated(body)?;
    given(Some(fields.get("token").cloned()), "token")?;
    fields.insert("format".to_owned(), json!(Format::Codescoring));
    fields.insert("schedule".to_owned(), json!(Schedule::Codescoring));
    Ok(Value::Object(fields))
}

async fn list(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    BaseUrl(base): BaseUrl,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let page = Page::of(query.as_deref().unwrap_or_default())?;
    let mut webhooks = managing.webhooks.all(call.caller.org).await?;
    webhooks.retain(is_ours);
    webhooks.sort_by(|one, other| {
        let of = |it: &Webhook| (it.created_at.clone(), it.id);
        of(one).cmp(&of(other))
    });
    let bodies: Vec<WebhookBody> = webhooks
        .iter()
        .map(|webhook| WebhookBody::of(webhook, call.now))
        .collect();
    let Some(page) = page else {
        return api::json(StatusCode::OK, &bodies);
    };
    let address = format!("{base}/codescoring/{}{WEBHOOKS}/", call.caller.org);
    let body = page.body(bodies, &address)?;
    api::json(StatusCode::OK, &body)
}

/// Which page of how many things.
struct Page {
    index: usize,
    size: usize,
}

impl Page {
    /// The page that a query asks for, if it asks for one.
    fn of(query: &str) -> Result<Option<Self>, ApiError> {
        let number = |wanted: &str| {
            let mut values = form_urlencoded::parse(query.as_bytes());
            let value = values.find(|(name, _)| name == wanted);
            let number = value.map(|(_, text)| text.parse().ok().filter(|number| *number > 0));
            number.map(|number| number.ok_or_else(no_page)).transpose()
        };
        Ok(match (number("page")?, number("per_page")?) {
            (None, None) => None,
            (index, size) => Some(Self {
                index: index.unwrap_or(1),
                size: size.unwrap_or(DEFAULT_PER_PAGE).min(MAX_PER_PAGE),
            }),
        })
    }

    fn body(&self, all: Vec<WebhookBody>, address: &str) -> Result<Value, ApiError> {
        let (count, pages) = (all.len(), all.len().div_ceil(self.size).max(1));
        if self.index > pages {
            return Err(no_page());
        }
        let link = |index: usize| format!("{address}?page={index}&per_page={}", self.size);
        let first = (self.index - 1) * self.size;
        let results: Vec<WebhookBody> = all.into_iter().skip(first).take(self.size).collect();
        Ok(json!({
            "count": count,
            "next": (self.index < pages).then(|| link(self.index + 1)),
            "previous": (self.index > 1).then(|| link(self.index - 1)),
            "results": results,
        }))
    }
}

fn no_page() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "Invalid page.")
}

async fn create(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let draft = read(new_webhook(body)?, None, Mode::Whole, call.now)?;
    let added = managing.add(&call.caller, draft, call.now, |_| Ok(None));
    let webhook = added.await.map_err(NotAdded::into_error)?;
    api::json(StatusCode::CREATED, &WebhookBody::of(&webhook, call.now))
}

async fn one(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.codescorings(&call).await?;
    api::json(StatusCode::OK, &WebhookBody::of(&webhook, call.now))
}

async fn replace(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let mut fields = translated(json::object(body, MAX_BODY_BYTES).await?)?;
    for name in ["name", "url"] {
        // As an absent one is refused, when a webhook is made.
        given(Some(fields.get(name).cloned()), name)?;
    }
    for name in ["projects", "events"] {
        fields.entry(name).or_insert(Value::Null);
    }
    managing.change_codescorings(&call, fields).await
}

async fn patch(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let fields = translated(json::object(body, MAX_BODY_BYTES).await?)?;
    managing.change_codescorings(&call, fields).await
}

async fn delete(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.codescorings(&call).await?;
    let removed = managing.remove(&call.caller, webhook.key(), &Precondition::Any);
    removed.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn refresh(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.codescorings(&call).await?;
    let tried = managing.try_stored(&webhook, call.now).await?;
    let is_delivered = tried.is_delivered();
    let body = WebhookBody {
        is_available: is_delivered && webhook.is_enabled(),
        ..WebhookBody::of(&webhook, call.now)
    };
    api::json(StatusCode::OK, &body)
}

async fn test(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let draft = read(new_webhook(body)?, None, Mode::Test, call.now)?;
    let tried = managing.try_unstored(call.caller.org, &draft.settings, call.now);
    let tried = tried.await?;
    let body = json!({"status_code": tried.attempt.status, "is_available": tried.is_delivered()});
    api::json(StatusCode::OK, &body)
}

async fn triggers(_: Call<ManageWebhooks>) -> Result<Response, ApiError> {
    let known = Event::all().filter(|event| Format::Codescoring.takes(event));
    let triggers: Vec<Value> = known
        .filter_map(|event| trigger(&event))
        .map(|value| json!({"label": label(&value), "value": value}))
        .collect();
    api::json(StatusCode::OK, &triggers)
}

/// A trigger for a reader.
fn label(trigger: &str) -> String {
    let words = trigger.replace('_', " ");
    let (first, rest) = words.split_at(words.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

fn is_ours(webhook: &Webhook) -> bool {
    webhook.settings.wanted.format == Format::Codescoring
}

impl Managing {
    /// The webhook that the path names, if it is of this format.
    async fn codescorings(&self, call: &Call<ManageWebhooks>) -> Result<Webhook, ApiError> {
        let webhook = self.webhook(call.key()?).await?;
        Some(webhook).filter(is_ours).ok_or_else(webhook_not_found)
    }

    async fn change_codescorings(
        &self,
        call: &Call<ManageWebhooks>,
        fields: Map<String, Value>,
    ) -> Result<Response, ApiError> {
        let (caller, now) = (&call.caller, call.now);
        let key = self.codescorings(call).await?.key();
        let wanted = (Value::Object(fields), Mode::Patch);
        let changed = self.change_settings(caller, key, &Precondition::Any, wanted, now);
        api::json(StatusCode::OK, &WebhookBody::of(&changed.await?, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trigger_is_that_of_an_event_and_back() {
        for event in Event::all() {
            match trigger(&event) {
                Some(trigger) => assert_eq!(event_of(&trigger).unwrap(), event.as_str()),
                None => assert!(!Format::Codescoring.takes(&event)),
            }
        }
        assert_eq!(event_of("a new one"), None);
        assert_eq!(
            label("security_report_published"),
            "Security report published"
        );
    }

    #[test]
    fn a_project_is_a_number_where_every_client_reads_the_same_one() {
        for (project, shown) in [
            ("7", json!(7)),
            ("9007199254740991", json!(9_007_199_254_740_991_u64)),
            ("9007199254740992", json!("9007199254740992")),
            ("18446744073709551616", json!("18446744073709551616")),
            ("007", json!("007")),
            ("Customer portal", json!("Customer portal")),
        ] {
            assert_eq!(number_or_name(project), shown);
        }
    }

    #[test]
    fn pages_are_counted_from_one() {
        let of = |query| Page::of(query).map(|page| page.map(|it| (it.index, it.size)));
        for (query, expected) in [
            ("", None),
            ("other=1", None),
            ("page=2", Some((2, 10))),
            ("per_page=7", Some((1, 7))),
            ("page=3&per_page=1000", Some((3, 100))),
        ] {
            assert_eq!(of(query).unwrap(), expected, "{query}");
        }
        for refused in ["page=0", "page=x", "per_page=-1", "page="] {
            assert_eq!(
                of(refused).unwrap_err().code(),
                ErrorCode::NotFound,
                "{refused}"
            );
        }
    }
}
