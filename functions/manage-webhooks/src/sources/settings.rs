//! The settings of a source, as an administrator sends them.

use domain::source::{MAX_PATTERNS, Source, SourceKind, SourceSettings};
use domain::webhook::secret::Secrets;
use serde_json::Value;
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};
use web::fields::{Fields, each_once, invalid, one_of, text};

use super::import;
use crate::settings::{
    MAX_NAME, Mode, ReadProject, Sharing, given, project_of, rotate as rotate_secret,
};

/// The fields of a source. The first ones can be set. The others are ignored, so that a client can send back what it read.
const FIELDS: [&str; 21] = [
    "name",
    "kind",
    "projects",
    "enabled",
    "secret",
    "token",
    "baseUrl",
    "organization",
    "standards",
    "branches",
    "versionFallback",
    "id",
    "organizationId",
    "url",
    "hasSecret",
    "previousSecretUntil",
    "hasToken",
    "import",
    "createdAt",
    "updatedAt",
    "lastCallAt",
];

/// The settings that a source is to have.
pub(super) struct Draft {
    pub(super) kind: SourceKind,
    pub(super) settings: SourceSettings,
    pub(super) is_secret_generated: bool,
}

impl Draft {
    /// Reads the settings of a source. `current` is the source so far.
    pub(super) fn read(
        body: Value,
        current: Option<&Source>,
        mode: Mode,
        now: OffsetDateTime,
    ) -> Result<Self, ApiError> {
        let mut fields = Fields::of(body, String::new(), &FIELDS)?;
        let kept = current.filter(|_| mode == Mode::Patch);
        let name = match (fields.nullable("name"), kept) {
            (None, Some(kept)) => kept.settings.name.clone(),
            (value, _) => text(given(value, "name")?, "name", MAX_NAME)?,
        };
        let kind = match (fields.nullable("kind"), kept) {
            (None, Some(kept)) => kept.kind,
            (value, _) => kind(&given(value, "kind")?)?,
        };
        if current.is_some_and(|current| current.kind != kind) {
            let message = "cannot be changed; make another source";
            return Err(invalid(ErrorCode::InvalidField, "kind", message));
        }
        let projects = match (fields.nullable("projects"), kept) {
            (None, Some(kept)) => kept.settings.projects.clone(),
            (value, _) => match value.flatten() {
                Some(value) => patterns(value, project_of(kind == SourceKind::Codescoring))?,
                None => Vec::new(),
            },
        };
        let enabled = fields.boolean("enabled")?;
        let enabled = enabled.unwrap_or_else(|| kept.is_none_or(|kept| kept.settings.enabled));
        let sharing = sharing(kind);
        // In a source that SonarQube calls, the field 'token' is the token for SonarQube's API.
        if sharing == Sharing::Token && fields.optional(Sharing::Secret.field()).is_some() {
            let message = format!(
                "a source of the kind '{}' has a 'token' instead",
                kind.as_str()
            );
            return Err(invalid(
                ErrorCode::InvalidField,
                Sharing::Secret.field(),
                &message,
            ));
        }
        let given_secret = fields.optional(sharing.field());
        let given_secret = given_secret.map(|value| sharing.read(&value)).transpose()?;
        let import = import::read(&mut fields, kind, current, kept)?;
        let is_secret_generated = given_secret.is_none() && current.is_none();
        let secrets = match (given_secret, current) {
            (Some(secret), None) => Secrets::new(Some(secret)),
            (None, None) => Secrets::new(Some(sharing.generate()?)),
            (given, Some(current)) => {
                let mut secrets = current.settings.secrets.clone();
                if let Some(secret) = given {
                    rotate_secret(&mut secrets, secret, now)?;
                }
                secrets
            }
        };
        Ok(Self {
            kind,
            settings: SourceSettings {
                name,
                projects,
                enabled,
                secrets,
                import,
            },
            is_secret_generated,
        })
    }
}

fn kind(value: &Value) -> Result<SourceKind, ApiError> {
    let known = SourceKind::ALL.map(|it| (it.as_str(), it));
    one_of(
        value,
        ErrorCode::InvalidField,
        "kind",
        "kind of source",
        &known,
    )
}

/// How a source of this kind and its caller authenticate.
pub(super) const fn sharing(kind: SourceKind) -> Sharing {
    match kind {
        SourceKind::Sonarqube => Sharing::Secret,
        SourceKind::Codescoring => Sharing::Token,
    }
}

/// Patterns of projects: names, or beginnings of names with a `*` after them.
fn patterns(value: Value, read: ReadProject) -> Result<Vec<String>, ApiError> {
    let Value::Array(values) = value else {
        let message = "must be an array of projects, with '*' for any ending";
        return Err(invalid(ErrorCode::InvalidField, "projects", message));
    };
    if values.len() > MAX_PATTERNS {
        let message = format!("there may be at most {MAX_PATTERNS}");
        return Err(invalid(ErrorCode::InvalidField, "projects", &message));
    }
    let pattern = |value: Value, path: &str| {
        let beginning = value.as_str().and_then(|it| it.strip_suffix('*'));
        Ok::<_, ApiError>(match beginning.map(str::to_owned) {
            Some(beginning) if beginning.is_empty() => "*".to_owned(),
            // By the rule of keys, a beginning may also be a number.
            Some(beginning) => {
                read(Value::String(format!("{beginning}x")), path)?;
                format!("{beginning}*")
            }
            None => read(value, path)?,
        })
    };
    each_once(values, ErrorCode::InvalidField, "projects", pattern)
}
