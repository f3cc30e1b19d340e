//! Sources: listed, created, changed; and what they were told.

use aws_sdk_dynamodb::types::TransactWriteItem;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::analysis::AnalysisEvent;
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::source::call::{Call as Received, CallId, Outcome};
use domain::source::{MAX_PATTERNS, MAX_SOURCES, Source, SourceId, SourceKind, SourceSettings};
use domain::webhook::secret::{Secrets, WebhookSecret};
use idempotency::{Answer, Attempt, Keyed};
use serde::Serialize;
use serde_json::Value;
use store::calls::Position;
use store::dynamodb::Changed;
use time::OffsetDateTime;
use uuid::Uuid;
use web::api::{self, ApiError, ErrorCode};
use web::base::BaseUrl;
use web::cursor::Scope;
use web::fields::{Fields, invalid, project_key, text};
use web::json;
use web::query::Query;
use web::text::{did_you_mean, shortened};

use crate::access::{Call, Caller, ManageSources, ReadCalls};
use crate::precondition::Precondition;
use crate::settings::{Mode, given, read_secret, rotate as rotate_secret, secret};
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::target::{Target, source_not_found};

/// The query parameters of a source's calls.
pub const CALLS_PARAMETERS: [&str; 2] = ["limit", "cursor"];

/// The fields of a source. The first ones can be set; the others are ignored, so that what was read can be sent back.
const FIELDS: [&str; 13] = [
    "name",
    "kind",
    "projects",
    "enabled",
    "secret",
    "id",
    "organizationId",
    "url",
    "hasSecret",
    "previousSecretUntil",
    "createdAt",
    "updatedAt",
    "lastCallAt",
];
/// The longest name in characters, as that of a webhook.
const MAX_NAME: usize = 100;
/// How often a change is tried, when others win.
const MAX_TRIES: usize = 5;
/// When a page of calls has so many bytes of bodies, as JSON has them, it ends: a buffered answer of Lambda ends at 6 MB.
const MAX_PAGE_BYTES: usize = 2_000_000;

#[derive(Serialize)]
struct SourcesBody {
    sources: Vec<SourceBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceBody {
    id: SourceId,
    organization_id: OrganizationId,
    kind: SourceKind,
    name: String,
    projects: Vec<String>,
    enabled: bool,
    /// What is entered where the calls come from.
    url: String,
    has_secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_call_at: Option<String>,
    /// Only when we made it, and only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl SourceBody {
    fn of(source: &Source, base: &BaseUrl, now: OffsetDateTime) -> Self {
        let settings = &source.settings;
        Self {
            id: source.id,
            organization_id: source.org,
            kind: source.kind,
            name: settings.name.clone(),
            projects: settings.projects.clone(),
            enabled: settings.enabled,
            url: format!("{}/events/{}", base.0, source.id),
            has_secret: settings.secrets.secret.is_some(),
            previous_secret_until: settings.secrets.previous_until(now).map(str::to_owned),
            created_at: source.created_at.clone(),
            updated_at: source.updated_at.clone(),
            last_call_at: source.last_call_at.clone(),
            secret: None,
        }
    }

    fn with_secret(mut self, source: &Source, is_generated: bool) -> Self {
        let secret = source.settings.secrets.secret.as_ref();
        self.secret = secret
            .filter(|_| is_generated)
            .map(|it| it.reveal().to_owned());
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallsBody {
    calls: Vec<CallBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallBody {
    id: CallId,
    received_at: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<AnalysisEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// What was sent, for who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

impl CallBody {
    fn of(call: Received, payload: Option<String>) -> Self {
        Self {
            id: call.id,
            received_at: call.received_at,
            outcome: call.outcome,
            reason: call.reason,
            event: call.event,
            project: call.project,
            branch: call.branch,
            task_id: call.task,
            payload,
        }
    }
}

pub(crate) async fn list(
    State(managing): State<Managing>,
    Call { caller, now, .. }: Call<ManageSources>,
    base: BaseUrl,
) -> Result<Response, ApiError> {
    let sources = managing.sources.all(caller.org).await?;
    let sources = sources.iter().map(|it| SourceBody::of(it, &base, now));
    let body = SourcesBody {
        sources: sources.collect(),
    };
    api::json(StatusCode::OK, &body)
}

pub(crate) async fn get(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageSources>,
    base: BaseUrl,
) -> Result<Response, ApiError> {
    let source = managing.source(&caller, &target).await?;
    let body = SourceBody::of(&source, &base, now);
    Precondition::tagged(StatusCode::OK, source.revision, &body)
}

pub(crate) async fn create(
    State(managing): State<Managing>,
    Call { caller, now, .. }: Call<ManageSources>,
    base: BaseUrl,
    keyed: Keyed,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.create_source(&caller, &base, &body, attempt, now);
    let once = managing
        .idempotency
        .once(caller.scope(), &keyed, &body, now, first);
    once.await?.response()
}

pub(crate) async fn replace(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    managing
        .change_source_settings(&call, &base, &headers, body, Mode::Whole)
        .await
}

pub(crate) async fn patch(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    managing
        .change_source_settings(&call, &base, &headers, body, Mode::Patch)
        .await
}

/// Deletes a source. What it was told is kept for its time, and nobody sees it any more.
pub(crate) async fn delete(
    State(managing): State<Managing>,
    Call { caller, target, .. }: Call<ManageSources>,
) -> Result<Response, ApiError> {
    let id = target.source()?;
    if managing.sources.delete(caller.org, id).await? == Changed::Lost {
        return Err(source_not_found());
    }
    note(&caller, id, "deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn rotate(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageSources>,
    base: BaseUrl,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = async |attempt: Attempt| {
        let given = match &body[..] {
            [] => None,
            body => read_secret(json::parse_object(body)?)?,
        };
        let is_generated = given.is_none();
        let secret = given.map_or_else(WebhookSecret::generate, Ok)?;
        let change =
            |source: &mut Source| rotate_secret(&mut source.settings.secrets, secret.clone(), now);
        let answer = |source: &Source| {
            let body = SourceBody::of(source, &base, now).with_secret(source, is_generated);
            let answer = Answer::json(StatusCode::OK, &body)?;
            anyhow::Ok(answer.with(&header::ETAG, Precondition::tag(source.revision)))
        };
        let alongside = |source: &Source| attempt.keeping(&answer(source)?);
        let source = managing
            .change_source(&caller, &target, &headers, now, change, alongside)
            .await?;
        note(&caller, source.id, "given another secret");
        Ok(answer(&source)?)
    };
    let once = managing
        .idempotency
        .once(caller.scope(), &keyed, &body, now, first);
    once.await?.response()
}

/// What a source was told, the newest first.
pub(crate) async fn calls(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ReadCalls>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let source = managing.source(&caller, &target).await?;
    let query = Query::parse(raw.as_deref(), &CALLS_PARAMETERS)?;
    let scope = Scope::new(&serde_json::json!(["calls", source.id]));
    let limit = query.limit()?;
    let after = query
        .optional("cursor")?
        .map(|cursor| scope.open(cursor, Position::parse))
        .transpose()?;
    let (page, has_more) = managing
        .calls
        .page(source.id, after.as_ref(), limit)
        .await?;
    // DynamoDB takes its time to delete what has expired.
    let page: Vec<Received> = page.into_iter().filter(|it| !it.is_expired(now)).collect();
    let (calls, last) = match caller.may_manage {
        true => managing.with_payloads(page, has_more).await?,
        false => {
            let last = page.last().filter(|_| has_more).map(Position::of);
            let calls = page.into_iter().map(|call| CallBody::of(call, None));
            (calls.collect(), last)
        }
    };
    let body = CallsBody {
        next_cursor: last.map(|last| scope.seal(last.as_str())),
        calls,
    };
    api::json(StatusCode::OK, &body)
}

impl Managing {
    /// The source that the path names. Its id says nothing of whose it is, so another organization's is none.
    async fn source(&self, caller: &Caller, target: &Target) -> Result<Source, ApiError> {
        let source = self.sources.get(target.source()?).await?;
        source
            .filter(|source| source.org == caller.org)
            .ok_or_else(source_not_found)
    }

    async fn create_source(
        &self,
        caller: &Caller,
        base: &BaseUrl,
        body: &[u8],
        attempt: Attempt,
        now: OffsetDateTime,
    ) -> Result<Answer, ApiError> {
        let draft = Draft::read(json::parse_object(body)?, None, Mode::Whole, now)?;
        let source = Source {
            id: SourceId::new(Uuid::new_v4()),
            org: caller.org,
            revision: 1,
            kind: draft.kind,
            settings: draft.settings,
            created_at: timestamp(now),
            updated_at: timestamp(now),
            last_call_at: None,
        };
        let body = SourceBody::of(&source, base, now);
        let body = body.with_secret(&source, draft.is_secret_generated);
        let answer = Answer::json(StatusCode::CREATED, &body)?
            .with(&header::ETAG, Precondition::tag(source.revision))
            // Relative, since behind API Gateway the path begins with the stage.
            .with(&header::LOCATION, format!("sources/{}", source.id));
        let kept = attempt.keeping(&answer)?;
        if self.sources.add(&source, MAX_SOURCES, kept).await? == Changed::Lost {
            let message = format!("the organization has {MAX_SOURCES} sources already");
            return Err(ApiError::new(ErrorCode::TooManySources, message));
        }
        note(caller, source.id, "created");
        Ok(answer)
    }

    async fn change_source_settings(
        &self,
        call: &Call<ManageSources>,
        base: &BaseUrl,
        headers: &HeaderMap,
        body: Body,
        mode: Mode,
    ) -> Result<Response, ApiError> {
        let Call {
            caller,
            target,
            now,
            ..
        } = call;
        let now = *now;
        let body: Value = json::object(body, MAX_BODY_BYTES).await?;
        let change = |source: &mut Source| {
            source.settings = Draft::read(body.clone(), Some(source), mode, now)?.settings;
            Ok(())
        };
        let source = self
            .change_source(caller, target, headers, now, change, |_| Ok(None))
            .await?;
        note(caller, source.id, "changed");
        let body = SourceBody::of(&source, base, now);
        Precondition::tagged(StatusCode::OK, source.revision, &body)
    }

    /// Changes the source that the path names, if the request's precondition holds, and writes what `alongside` makes of it in
    /// the same transaction. Gives it as it is then.
    async fn change_source(
        &self,
        caller: &Caller,
        target: &Target,
        headers: &HeaderMap,
        now: OffsetDateTime,
        change: impl Fn(&mut Source) -> Result<(), ApiError>,
        alongside: impl Fn(&Source) -> anyhow::Result<Option<TransactWriteItem>>,
    ) -> Result<Source, ApiError> {
        for _ in 0..MAX_TRIES {
            let mut source = self.source(caller, target).await?;
            if !Precondition::of(headers).holds(source.revision) {
                let message = "the source has been changed; read it again";
                return Err(ApiError::new(ErrorCode::PreconditionFailed, message));
            }
            source.settings.secrets.forget_expired(now);
            change(&mut source)?;
            source.revision += 1;
            source.updated_at = timestamp(now);
            let replaced = self.sources.replace(&source, alongside(&source)?);
            if replaced.await? == Changed::Stored {
                return Ok(source);
            }
        }
        let message = "others were changing the source at the same moment; try again";
        Err(ApiError::new(ErrorCode::Conflict, message))
    }

    /// Calls with what was sent; as many as fit into an answer, and behind which one to go on.
    async fn with_payloads(
        &self,
        page: Vec<Received>,
        has_more: bool,
    ) -> Result<(Vec<CallBody>, Option<Position>), ApiError> {
        /// So many are read at a time. DynamoDB gives 16 MB at the most, in any case.
        const AT_ONCE: usize = 10;
        let mut calls = Vec::new();
        let (mut bytes, mut last) = (0, None);
        let count = page.len();
        let mut page = page.into_iter().peekable();
        while page.peek().is_some() && bytes < MAX_PAGE_BYTES {
            let some: Vec<Received> = page.by_ref().take(AT_ONCE).collect();
            let keys: Vec<_> = some.iter().map(Received::key).collect();
            let mut read = self.calls.get_all(&keys).await?;
            for call in some {
                if bytes >= MAX_PAGE_BYTES {
                    break;
                }
                let at = read.iter().position(|(it, _)| it.id == call.id);
                let payload = at.map(|at| read.swap_remove(at).1);
                bytes += payload.as_ref().map_or(0, |it| length_in_json(it));
                last = Some(Position::of(&call));
                calls.push(CallBody::of(call, payload));
            }
        }
        let is_cut_short = calls.len() < count;
        Ok((calls, last.filter(|_| has_more || is_cut_short)))
    }
}

/// How many bytes a text has as JSON, where a control character has six.
fn length_in_json(text: &str) -> usize {
    let escaped = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
    text.len() + 5 * text.as_bytes().iter().filter(|it| escaped(it)).count()
}

/// What a source is to be.
struct Draft {
    kind: SourceKind,
    settings: SourceSettings,
    is_secret_generated: bool,
}

impl Draft {
    /// Reads a source. `current` is what it has been.
    fn read(
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
            (value, _) => value.flatten().map_or(Ok(Vec::new()), patterns)?,
        };
        let enabled = match (fields.nullable("enabled").flatten(), kept) {
            (None, Some(kept)) => kept.settings.enabled,
            (None, None) => true,
            (Some(Value::Bool(enabled)), _) => enabled,
            (Some(_), _) => {
                let message = "must be true or false";
                return Err(invalid(ErrorCode::InvalidField, "enabled", message));
            }
        };
        let given_secret = fields.optional("secret").map(|value| secret(&value));
        let given_secret = given_secret.transpose()?;
        let is_secret_generated = given_secret.is_none() && current.is_none();
        let secrets = match (given_secret, current) {
            (Some(secret), None) => Secrets::new(Some(secret)),
            (None, None) => Secrets::new(Some(WebhookSecret::generate()?)),
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
            },
            is_secret_generated,
        })
    }
}

fn kind(value: &Value) -> Result<SourceKind, ApiError> {
    let name = value.as_str().unwrap_or_default();
    let kind = SourceKind::ALL.into_iter().find(|it| it.as_str() == name);
    kind.ok_or_else(|| {
        let hint = did_you_mean(name, &SourceKind::ALL.map(SourceKind::as_str));
        let message = format!("'{}' is no kind of source{hint}", shortened(name));
        invalid(ErrorCode::InvalidField, "kind", &message)
    })
}

/// Keys of projects, or beginnings of them with a `*` behind.
fn patterns(value: Value) -> Result<Vec<String>, ApiError> {
    let Value::Array(values) = value else {
        let message = "must be an array of projects' keys, with '*' for any ending";
        return Err(invalid(ErrorCode::InvalidField, "projects", message));
    };
    if values.len() > MAX_PATTERNS {
        let message = format!("there may be at most {MAX_PATTERNS}");
        return Err(invalid(ErrorCode::InvalidField, "projects", &message));
    }
    let mut patterns = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let path = format!("projects[{position}]");
        let beginning = value.as_str().and_then(|it| it.strip_suffix('*'));
        let pattern = match beginning.map(str::to_owned) {
            Some(beginning) if beginning.is_empty() => "*".to_owned(),
            // By the key's own rule a beginning may also be a number.
            Some(beginning) => {
                project_key(Value::String(format!("{beginning}x")), &path)?;
                format!("{beginning}*")
            }
            None => project_key(value, &path)?,
        };
        if patterns.contains(&pattern) {
            return Err(invalid(ErrorCode::InvalidField, &path, "stands twice"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

fn note(caller: &Caller, source: SourceId, what: &str) {
    tracing::info!(
        %source, caller = caller.name,
        "source {source} was {what} by {}", caller.name
    );
}
