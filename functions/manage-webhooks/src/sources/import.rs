//! The server from which reports are imported: its settings as an administrator sends them, and the check whether it works.

use std::time::Duration;

use domain::date::timestamp;
use domain::report::limits::MAX_BRANCH;
use domain::source::import::{Health, ImportSettings, MAX_BRANCHES, Standing};
use domain::source::{Source, SourceKind};
use domain::webhook::url::{InvalidUrl, WebhookUrl};
use findings::{Mode, Standard, UnknownStandard};
use outbound::sender::Sender;
use serde::Serialize;
use serde_json::Value;
use sonarqube::{Checked, Client, Connection, Error, Patience, Token, VersionFallback};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use web::api::{ApiError, ErrorCode};
use web::fields::{Fields, each_once, invalid, text};
use web::text::shortened;

use crate::settings::Sharing;

/// The settings besides the address.
const WITH_ADDRESS: [&str; 5] = [
    "organization",
    "token",
    "standards",
    "branches",
    "versionFallback",
];
/// The field with the server's address.
const ADDRESS: &str = "baseUrl";
/// The longest key of an organization in characters (`SonarQube` Cloud's web API).
const MAX_ORGANIZATION: usize = 255;
/// How long a check may take as a whole; the same as for a test call.
const CHECK: Duration = Duration::from_secs(10);
/// A person waits for it.
const PATIENCE: Patience = Patience {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(2),
    requests: 2,
    answer: Duration::from_secs(8),
};

/// Reads the settings of the server. `current` are those of the source so far, and `kept` the same where absent fields stay
/// unchanged.
pub(super) fn read(
    fields: &mut Fields,
    kind: SourceKind,
    current: Option<&Source>,
    kept: Option<&Source>,
) -> Result<Option<ImportSettings>, ApiError> {
    let of = |source: Option<&Source>| source.and_then(|it| it.settings.import.clone());
    let (current, kept) = (of(current), of(kept));
    if kind != SourceKind::Sonarqube {
        let given = fields.optional(ADDRESS).map(|_| ADDRESS);
        let others = WITH_ADDRESS.into_iter().filter(|name| *name != "token");
        let given = given.or_else(|| {
            others
                .into_iter()
                .find(|name| fields.optional(name).is_some())
        });
        return match given {
            Some(name) => {
                let message = format!("a source of the kind '{}' has none", kind.as_str());
                Err(invalid(ErrorCode::InvalidField, name, &message))
            }
            None => Ok(None),
        };
    }
    let base_url = match (fields.nullable(ADDRESS), &kept) {
        (None, Some(kept)) => Some(kept.base_url.clone()),
        (value, _) => value.flatten().map(|value| address(&value)).transpose()?,
    };
    let given = WITH_ADDRESS.map(|name| (name, fields.nullable(name)));
    let Some(base_url) = base_url else {
        let is_given = |value: &Option<Option<Value>>| matches!(value, Some(Some(_)));
        return match given.iter().find(|(_, value)| is_given(value)) {
            Some((name, _)) => {
                let message = format!("{ADDRESS}: is required with '{name}'");
                Err(ApiError::new(ErrorCode::MissingField, message).parameter(ADDRESS))
            }
            None => Ok(None),
        };
    };
    let [organization, token, standards, branches, fallback] = given.map(|(_, value)| value);
    let organization = match (organization, &kept) {
        (None, Some(kept)) => kept.organization.clone(),
        (value, _) => {
            let value = value.flatten();
            let read = value.map(|value| text(value, "organization", MAX_ORGANIZATION));
            read.transpose()?
        }
    };
    let standards = match (standards, &kept) {
        (None, Some(kept)) => kept.standards.clone(),
        (value, _) => list(
            value.flatten(),
            "standards",
            Standard::all().len(),
            standard,
        )?,
    };
    let branches = match (branches, &kept) {
        (None, Some(kept)) => kept.branches.clone(),
        (value, _) => list(value.flatten(), "branches", MAX_BRANCHES, branch)?,
    };
    let version_fallback = match (fallback, &kept) {
        (None, Some(kept)) => kept.version_fallback.clone(),
        (value, _) => match value.flatten() {
            Some(value) => version_fallback(value)?,
            None => "date".to_owned(),
        },
    };
    let token = match token.flatten() {
        // The server decides how long its token is.
        Some(value) => Sharing::read_token(&value, 1)?,
        // Whoever had the stored token sent to another address could read it there.
        None => current
            .filter(|it| it.base_url.origin() == base_url.origin())
            .map(|it| it.token)
            .ok_or_else(|| {
                let message =
                    "token: is required with a baseUrl, and again with one of another server";
                ApiError::new(ErrorCode::MissingField, message).parameter("token")
            })?,
    };
    let settings = ImportSettings {
        base_url,
        organization,
        token,
        standards,
        branches,
        version_fallback,
    };
    connection(&settings)
        .and_then(|connection| connection.check())
        .map_err(|error| {
            let field = match error {
                Error::InvalidToken => "token",
                Error::NoOrganization => "organization",
                _ => ADDRESS,
            };
            invalid(ErrorCode::InvalidField, field, &error.to_string())
        })?;
    Ok(Some(settings))
}

fn address(value: &Value) -> Result<WebhookUrl, ApiError> {
    let refused = |reason: &str| invalid(ErrorCode::InvalidUrl, ADDRESS, reason);
    let text = value.as_str().ok_or_else(|| refused("must be text"))?;
    let url = text.parse();
    url.map_err(|reason: InvalidUrl| refused(&reason.to_string()))
}

/// An array of distinct texts.
fn list(
    value: Option<Value>,
    name: &str,
    most: usize,
    read: impl Fn(Value, &str) -> Result<String, ApiError>,
) -> Result<Vec<String>, ApiError> {
    let refused = |message: &str| invalid(ErrorCode::InvalidField, name, message);
    let values = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(refused("must be an array of texts")),
    };
    if values.len() > most {
        return Err(refused(&format!("there may be at most {most}")));
    }
    each_once(values, ErrorCode::InvalidField, name, read)
}

fn standard(value: Value, path: &str) -> Result<String, ApiError> {
    let id = text(value, path, MAX_BRANCH)?;
    let known: Result<&Standard, UnknownStandard> = shortened(&id).parse();
    known.map_err(|error| invalid(ErrorCode::InvalidField, path, &error.to_string()))?;
    Ok(id)
}

fn branch(value: Value, path: &str) -> Result<String, ApiError> {
    text(value, path, MAX_BRANCH)
}

fn version_fallback(value: Value) -> Result<String, ApiError> {
    const NAME: &str = "versionFallback";
    let how = text(value, NAME, MAX_BRANCH)?;
    let known: Result<VersionFallback, _> = how.parse();
    known.map_err(|error| invalid(ErrorCode::InvalidField, NAME, &error.to_string()))?;
    Ok(how)
}

fn connection(settings: &ImportSettings) -> Result<Connection, Error> {
    Ok(Connection {
        url: settings.base_url.as_str().to_owned(),
        token: Token::new(settings.token.reveal())?,
        organization: settings.organization.clone(),
        through_proxy: false,
        patience: PATIENCE,
    })
}

/// The standing of a source's imports, as answers show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StandingBody {
    state: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<String>,
    /// Whether that is within two weeks.
    is_token_expiring: bool,
}

impl StandingBody {
    pub(super) fn of(standing: Standing, revision: u64, now: OffsetDateTime) -> Self {
        let standing = standing.of(revision);
        let expires_at = standing.token_expires_at.as_ref();
        Self {
            state: standing.health,
            next_try_at: standing.pause(now).map(timestamp),
            token_expires_at: expires_at.map(|it| timestamp(it.instant())),
            is_token_expiring: standing.is_token_expiring(now),
            since: standing.since,
            reason: standing.reason,
            answered_at: standing.answered_at,
        }
    }
}

/// The result of a check.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckBody {
    /// Whether reports can be imported.
    pub(super) ok: bool,
    /// What to repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<String>,
    /// How many projects the token's user may browse.
    #[serde(skip_serializing_if = "Option::is_none")]
    projects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
}

/// Asks the server whether reports can be imported from it.
///
/// # Errors
/// Our own fault.
pub(super) async fn check(sender: &Sender, settings: &ImportSettings) -> anyhow::Result<CheckBody> {
    let client = sender
        .client_for(&settings.base_url)
        .map_err(|error| error.to_string())
        .and_then(|builder| {
            let client = connection(settings).and_then(|it| Client::through(it, builder));
            client.map_err(|error| error.to_string())
        });
    let checked = match client {
        Ok(client) => tokio::time::timeout(CHECK, sonarqube::check(&client))
            .await
            .map_err(|_| {
                format!(
                    "the server does not answer within {} seconds",
                    CHECK.as_secs()
                )
            }),
        Err(reason) => Err(reason),
    };
    let (checked, problem) = match checked {
        Ok(mut checked) => {
            let problem = checked.problem.take().map(|it| it.to_string());
            (checked, problem)
        }
        Err(reason) => (Checked::default(), Some(reason)),
    };
    Ok(CheckBody {
        ok: problem.is_none(),
        problem,
        reachable: checked.is_reachable,
        token_valid: checked.is_token_valid,
        token_expires_at: checked.token_expires_at.map(|it| timestamp(it.instant())),
        projects: checked.projects,
        edition: checked.edition,
        version: checked.version,
        mode: checked.mode.map(|mode| match mode {
            Mode::Standard => "standard",
            Mode::Mqr => "mqr",
        }),
    })
}

/// A time in the form of [`timestamp`], if it is in the future.
pub(super) fn to_come(at: Option<&String>, now: OffsetDateTime) -> Option<String> {
    let at = OffsetDateTime::parse(at?, &Rfc3339).ok()?;
    (at > now).then(|| timestamp(at))
}
