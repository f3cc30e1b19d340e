//! The settings of a webhook, as an administrator sends them.

use std::collections::BTreeSet;

use axum::http::{HeaderName, HeaderValue, header};
use domain::analysis::MAX_KEY;
use domain::codescoring::TOKEN_HEADER;
use domain::event::Event;
use domain::webhook::format::Format;
use domain::webhook::schedule::Schedule;
use domain::webhook::secret::{Secrets, WebhookSecret};
use domain::webhook::url::{InvalidUrl, MASK, WebhookUrl};
use domain::webhook::wanted::{MAX_PROJECTS, Wanted};
use domain::webhook::{OwnHeader, Settings};
use outbound::format::is_reserved;
use serde_json::Value;
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};
use web::fields::{Fields, boolean, each_once, invalid, one_of, project_key, text};
use web::json;
use web::text::shortened;

/// The fields of a webhook. The first ones can be set. The others are ignored, so that a client can send back what it read.
const FIELDS: [&str; 23] = [
    "name",
    "url",
    "secret",
    "token",
    "project",
    "projects",
    "events",
    "headers",
    "format",
    "schedule",
    "enabled",
    "id",
    "organizationId",
    "hasSecret",
    "previousSecretUntil",
    "hasToken",
    "disabledReason",
    "disabledAt",
    "failingSince",
    "pausedUntil",
    "createdAt",
    "updatedAt",
    "latestDelivery",
];
const HEADER_FIELDS: [&str; 2] = ["name", "value"];

/// The longest name in characters (`SonarQube`).
pub(crate) const MAX_NAME: usize = 100;
/// The shortest token of a source, in characters, like the shortest secret.
const MIN_TOKEN: usize = 16;
/// How many headers of its own a webhook may have.
const MAX_HEADERS: usize = 10;
/// The longest name of a header in characters.
const MAX_HEADER_NAME: usize = 100;
/// The longest value of a header, in characters. A token of an identity provider may well have 1,000.
const MAX_HEADER_VALUE: usize = 2048;

/// The settings that a webhook is to have.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) enabled: Option<bool>,
    /// Whether we generated the secret just now.
    pub(crate) is_secret_generated: bool,
}

/// How absent fields are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They get their defaults.
    Whole,
    /// They get their defaults, and so does the name.
    Test,
    /// They stay unchanged (RFC 7396).
    Patch,
}

/// Reads the settings of a webhook. `current` are its settings so far.
pub(crate) fn read(
    body: Value,
    current: Option<&Settings>,
    mode: Mode,
    now: OffsetDateTime,
) -> Result<Draft, ApiError> {
    let mut fields = Fields::of(body, String::new(), &FIELDS)?;
    let kept = current.filter(|_| mode == Mode::Patch);

    let name = match (fields.nullable("name"), kept) {
        (None, Some(kept)) => kept.name.clone(),
        (None, None) if mode == Mode::Test => "Test".to_owned(),
        (value, _) => text(given(value, "name")?, "name", MAX_NAME)?,
    };
    let url = match (fields.nullable("url"), kept) {
        (None, Some(kept)) => kept.url.clone(),
        (value, _) => url(&given(value, "url")?, current)?,
    };
    let format = match (fields.nullable("format"), kept) {
        (None, Some(kept)) => kept.wanted.format,
        (value, _) => value
            .flatten()
            .map(|value| format(&value))
            .transpose()?
            .unwrap_or_default(),
    };
    let read_project = project_of(format == Format::Codescoring);
    let given_projects = projects(
        fields.nullable("project"),
        fields.nullable("projects"),
        read_project,
    )?;
    let projects = match (given_projects, kept) {
        (None, Some(kept)) => {
            // Another format may have other names for them.
            let kept = kept.wanted.projects.iter();
            kept.map(|it| read_project(Value::String(it.clone()), "projects"))
                .collect::<Result<_, _>>()?
        }
        (given, _) => given.unwrap_or_default(),
    };
    let schedule = match (fields.nullable("schedule"), kept) {
        (None, Some(kept)) => kept.schedule,
        (value, _) => value
            .flatten()
            .map(|value| schedule(&value))
            .transpose()?
            .unwrap_or_default(),
    };
    let events = match (fields.nullable("events"), kept) {
        (None, Some(kept)) => kept.wanted.events.clone(),
        (value, _) => value.flatten().map(events).transpose()?.unwrap_or_default(),
    };
    if let Some(event) = events.iter().find(|event| !format.takes(event)) {
        let message = format!(
            "messages of the format '{}' do not tell of '{}'",
            format.as_str(),
            event.as_str()
        );
        return Err(invalid(ErrorCode::InvalidEvent, "events", &message));
    }
    // Values are never shown. If they were sent to another host, its owner could read them.
    let stored = current.filter(|current| current.url.origin() == url.origin());
    let headers = match (fields.nullable("headers"), kept) {
        (None, Some(kept)) if stored.is_some() || kept.headers.is_empty() => kept.headers.clone(),
        (None, Some(_)) => {
            let message = "headers: are required with a url of another host, with their values";
            return Err(ApiError::new(ErrorCode::MissingField, message).parameter("headers"));
        }
        (value, _) => value
            .flatten()
            .map(|value| headers(value, stored))
            .transpose()?
            .unwrap_or_default(),
    };
    let token = token(fields.nullable("token"), format, stored)?;
    let enabled = match fields.nullable("enabled") {
        None => (mode != Mode::Patch).then_some(true),
        Some(None) => Some(true),
        Some(Some(value)) => Some(boolean(&value, "enabled")?),
    };
    let given_secret = fields.nullable("secret");
    let is_secret_removed =
        mode == Mode::Patch && matches!(given_secret, Some(None)) && !format.needs_secret();
    let given_secret = given_secret
        .flatten()
        .map(|value| match current.map(|current| &current.secrets) {
            // The present secret is accepted, even if the rules have become stricter since.
            Some(Secrets {
                secret: Some(current),
                ..
            }) if value == current.reveal() => Ok(current.clone()),
            _ => Sharing::Secret.read(&value),
        })
        .transpose()?;

    if url.basic_auth().is_some()
        && headers
            .iter()
            .any(|own| own.name == header::AUTHORIZATION.as_str())
    {
        let message = "there is an Authorization header already, made of the user in the url";
        return Err(invalid(ErrorCode::InvalidHeader, "headers", message));
    }
    if format.has_token() && headers.iter().any(|own| own.name == TOKEN_HEADER) {
        let message = format!("'{TOKEN_HEADER}' is made of the token");
        return Err(invalid(ErrorCode::InvalidHeader, "headers", &message));
    }
    let (secrets, is_secret_generated) = match (&given_secret, current) {
        (Some(secret), None) => (Secrets::new(Some(secret.clone())), false),
        (None, Some(_)) if is_secret_removed => (Secrets::default(), false),
        (_, Some(current)) => (current.secrets.clone(), false),
        (None, None) if !format.needs_secret() => (Secrets::default(), false),
        (None, None) => (Secrets::new(Some(WebhookSecret::generate()?)), true),
    };
    let mut settings = Settings {
        name,
        url,
        secrets,
        token,
        wanted: Wanted {
            projects,
            events,
            format,
        },
        headers,
        schedule,
    };
    if let Some(secret) = given_secret {
        rotate(&mut settings.secrets, secret, now)?;
    }
    if format.needs_secret() && settings.secrets.secret.is_none() {
        let message = format!("is required for the format '{}'", format.as_str());
        return Err(
            ApiError::new(ErrorCode::MissingField, format!("secret: {message}"))
                .parameter("secret"),
        );
    }
    Ok(Draft {
        settings,
        enabled,
        is_secret_generated,
    })
}

/// Replaces the secret.
///
/// # Errors
/// `too_many_secrets` (409).
pub(crate) fn rotate(
    secrets: &mut Secrets,
    secret: WebhookSecret,
    now: OffsetDateTime,
) -> Result<(), ApiError> {
    let rotated = secrets.rotate(secret, now);
    rotated.map_err(|reason| ApiError::new(ErrorCode::TooManySecrets, reason.to_string()))
}

/// How the two sides authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// By a secret, which signs.
    Secret,
    /// By a token, which is sent.
    Token,
}

impl Sharing {
    /// The field that takes it, and that shows it once.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Token => "token",
        }
    }

    /// Reads one that somebody chose.
    pub(crate) fn read(self, value: &Value) -> Result<WebhookSecret, ApiError> {
        match self {
            Self::Secret => {
                let text = self.text(value)?;
                WebhookSecret::parse(text).map_err(|it| self.refused(&it.to_string()))
            }
            Self::Token => Self::read_token(value, MIN_TOKEN),
        }
    }

    /// Reads a token of `least` characters or more.
    pub(crate) fn read_token(value: &Value, least: usize) -> Result<WebhookSecret, ApiError> {
        let text = Self::Token.text(value)?;
        let token = WebhookSecret::parse_token(text, least);
        token.map_err(|it| Self::Token.refused(&it.to_string()))
    }

    fn text(self, value: &Value) -> Result<&str, ApiError> {
        value.as_str().ok_or_else(|| self.refused("must be text"))
    }

    fn refused(self, reason: &str) -> ApiError {
        invalid(ErrorCode::InvalidSecret, self.field(), reason)
    }

    /// A new one.
    pub(crate) fn generate(self) -> anyhow::Result<WebhookSecret> {
        match self {
            Self::Secret => WebhookSecret::generate(),
            Self::Token => WebhookSecret::generate_token(),
        }
    }

    /// Reads the body of a rotation, which may be empty. Gives the new secret or token, and whether it was generated because
    /// the body has none.
    pub(crate) fn rotation(self, body: &[u8]) -> Result<(WebhookSecret, bool), ApiError> {
        let given = match body {
            [] => None,
            body => {
                let known = [self.field()];
                let mut fields = Fields::of(json::parse_object(body)?, String::new(), &known)?;
                fields.optional(self.field()).map(|value| self.read(&value))
            }
        };
        Ok(match given.transpose()? {
            Some(secret) => (secret, false),
            None => (self.generate()?, true),
        })
    }
}

/// The token of a webhook, in a format that has one. `stored` are the webhook's settings so far, if its URL has the same
/// host.
fn token(
    given: Option<Option<Value>>,
    format: Format,
    stored: Option<&Settings>,
) -> Result<Option<WebhookSecret>, ApiError> {
    const NAME: &str = Sharing::Token.field();
    // A token that is removed is not kept.
    let stored = stored.filter(|_| given != Some(None));
    match given.flatten() {
        Some(_) if !format.has_token() => {
            let message = format!("a webhook of the format '{}' has none", format.as_str());
            Err(Sharing::Token.refused(&message))
        }
        // The receiver decides how long its token is.
        Some(value) => Sharing::read_token(&value, 1).map(Some),
        None if !format.has_token() => Ok(None),
        None => match stored.and_then(|stored| stored.token.clone()) {
            Some(token) => Ok(Some(token)),
            None => {
                let message = format!(
                    "{NAME}: is required for the format '{}', and with a url of another host",
                    format.as_str()
                );
                Err(ApiError::new(ErrorCode::MissingField, message).parameter(NAME))
            }
        },
    }
}

pub(crate) fn given(value: Option<Option<Value>>, name: &str) -> Result<Value, ApiError> {
    value.flatten().ok_or_else(|| {
        ApiError::new(ErrorCode::MissingField, format!("{name}: is required")).parameter(name)
    })
}

fn url(value: &Value, current: Option<&Settings>) -> Result<WebhookUrl, ApiError> {
    let text = value
        .as_str()
        .ok_or_else(|| invalid(ErrorCode::InvalidUrl, "url", "must be text"))?;
    let shown = |current: &&Settings| {
        [current.url.masked(), current.url.starred()].contains(&text.to_owned())
    };
    if let Some(current) = current.filter(shown) {
        return Ok(current.url.clone());
    }
    // The text is not repeated, since it may contain a password.
    let url: WebhookUrl = text
        .parse()
        .map_err(|reason: InvalidUrl| invalid(ErrorCode::InvalidUrl, "url", &reason.to_string()))?;
    match url.basic_auth() {
        Some((user, password)) if is_masked(&user, &password) => {
            let message = "its password is masked; give the whole url";
            Err(invalid(ErrorCode::InvalidUrl, "url", message))
        }
        _ => Ok(url),
    }
}

/// Whether user and password are none, but stand for some: as we mask them, or as `SonarQube` does, with a star for each character.
fn is_masked(user: &str, password: &str) -> bool {
    let are_stars = |text: &str| text.bytes().all(|byte| byte == b'*');
    user == MASK || password == MASK || (are_stars(user) && are_stars(password))
}

fn format(value: &Value) -> Result<Format, ApiError> {
    let known = Format::ALL.map(|it| (it.as_str(), it));
    one_of(value, ErrorCode::InvalidField, "format", "format", &known)
}

fn schedule(value: &Value) -> Result<Schedule, ApiError> {
    let known = Schedule::ALL.map(|it| (it.as_str(), it));
    one_of(
        value,
        ErrorCode::InvalidField,
        "schedule",
        "schedule",
        &known,
    )
}

/// Reads the name of a project.
pub(crate) type ReadProject = fn(Value, &str) -> Result<String, ApiError>;

/// Reads the name of a project: its key for `SonarQube`; for `CodeScoring` any name, or a number.
pub(crate) fn project_of(is_codescoring: bool) -> ReadProject {
    match is_codescoring {
        true => |value, path| text(value, path, MAX_KEY),
        false => project_key,
    }
}

/// The projects, in either form; `None` when neither is given.
fn projects(
    one: Option<Option<Value>>,
    several: Option<Option<Value>>,
    read: ReadProject,
) -> Result<Option<BTreeSet<String>>, ApiError> {
    let one = one.map(|value| {
        let key = value.map(|value| read(value, "project"));
        Ok::<_, ApiError>(BTreeSet::from_iter(key.transpose()?))
    });
    let one = one.transpose()?;
    let several = several.map(|value| {
        let values = value.unwrap_or(Value::Array(Vec::new()));
        several_projects(values, read)
    });
    let several = several.transpose()?;
    match (one, several) {
        // A client can send back what it read.
        (Some(one), Some(several)) if !one.is_empty() && one != several => {
            let message = "differs from 'projects'; leave out one of them";
            Err(invalid(ErrorCode::InvalidField, "project", message))
        }
        (one, several) => Ok(several.or(one)),
    }
}

fn several_projects(value: Value, read: ReadProject) -> Result<BTreeSet<String>, ApiError> {
    let Value::Array(values) = value else {
        let message = "must be an array of projects' keys";
        return Err(invalid(ErrorCode::InvalidField, "projects", message));
    };
    if values.len() > MAX_PROJECTS {
        let message = format!("there may be at most {MAX_PROJECTS}");
        return Err(invalid(ErrorCode::InvalidField, "projects", &message));
    }
    let projects = each_once(values, ErrorCode::InvalidField, "projects", read)?;
    Ok(projects.into_iter().collect())
}

fn events(value: Value) -> Result<BTreeSet<Event>, ApiError> {
    let Value::Array(values) = value else {
        return Err(invalid(
            ErrorCode::InvalidEvent,
            "events",
            "must be an array",
        ));
    };
    if values.is_empty() {
        let message =
            "must not be empty; leave it out for those that the format is told of unasked";
        return Err(invalid(ErrorCode::InvalidEvent, "events", message));
    }
    let all: Vec<Event> = Event::all().collect();
    let known: Vec<(&str, &Event)> = all.iter().map(|it| (it.as_str(), it)).collect();
    let code = ErrorCode::InvalidEvent;
    let read = |value: Value, path: &str| one_of(&value, code, path, "event", &known);
    let events = each_once(values, code, "events", read)?;
    Ok(events.into_iter().cloned().collect())
}

/// The headers. A header without a value keeps its present value, since values are never shown.
fn headers(value: Value, current: Option<&Settings>) -> Result<Vec<OwnHeader>, ApiError> {
    let Value::Array(values) = value else {
        let message = "must be an array of objects with 'name' and 'value'";
        return Err(invalid(ErrorCode::InvalidHeader, "headers", message));
    };
    if values.len() > MAX_HEADERS {
        let message = format!("there may be at most {MAX_HEADERS}");
        return Err(invalid(ErrorCode::InvalidHeader, "headers", &message));
    }
    let mut headers: Vec<OwnHeader> = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let path = format!("headers[{position}].");
        let mut fields = Fields::of(value, path, &HEADER_FIELDS)?;
        let name = header_name(&mut fields)?;
        let path = fields.path("name");
        if headers.iter().any(|own| own.name == name) {
            return Err(invalid(ErrorCode::InvalidHeader, &path, "stands twice"));
        }
        let value = match fields.optional("value") {
            Some(value) => header_value(&value, &fields.path("value"))?,
            None => {
                let stored = current.into_iter().flat_map(|current| &current.headers);
                let mut stored = stored
                    .filter(|own| own.name == name)
                    .map(|own| own.value.clone());
                stored.next_back().ok_or_else(|| {
                    let path = fields.path("value");
                    ApiError::new(ErrorCode::MissingField, format!("{path}: is required"))
                        .parameter(path)
                })?
            }
        };
        headers.push(OwnHeader { name, value });
    }
    Ok(headers)
}

fn header_name(fields: &mut Fields) -> Result<String, ApiError> {
    let name = fields.text("name", MAX_HEADER_NAME)?;
    let path = fields.path("name");
    let name: HeaderName = name.parse().map_err(|_| {
        let message = format!("'{}' is not the name of a header", shortened(&name));
        invalid(ErrorCode::InvalidHeader, &path, &message)
    })?;
    if is_reserved(name.as_str()) {
        let message = format!("'{name}' is reserved");
        return Err(invalid(ErrorCode::InvalidHeader, &path, &message));
    }
    Ok(name.to_string())
}

fn header_value(value: &Value, path: &str) -> Result<String, ApiError> {
    let refused = || {
        let message = format!(
            "must be text of 1 to {MAX_HEADER_VALUE} visible ASCII characters, with spaces only between them"
        );
        invalid(ErrorCode::InvalidHeader, path, &message)
    };
    let text = value.as_str().ok_or_else(refused)?;
    let is_good = (1..=MAX_HEADER_VALUE).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && HeaderValue::from_str(text).is_ok();
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(refused())
    }
}
