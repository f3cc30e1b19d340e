//! Sources: listed, created, changed; and their calls.

mod body;
pub(crate) mod calls;
mod import;
mod settings;

use aws_sdk_dynamodb::types::TransactWriteItem;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::date::timestamp;
use domain::source::import::Standing;
use domain::source::{MAX_SOURCES, Source, SourceId, SourceSettings};
use idempotency::{Answer, Attempt, Keyed};
use serde_json::Value;
use store::contention::Retries;
use store::dynamodb::Changed;
use store::queue::imports::LookAfter;
use uuid::Uuid;
use web::api::{self, ApiError, ErrorCode};
use web::base::BaseUrl;
use web::json;

use crate::access::{Call, Caller, ManageSources};
use crate::precondition::Precondition;
use crate::settings::{Mode, rotate as rotate_secret};
use crate::state::{FOR_RETRIES, MAX_BODY_BYTES, Managing};
use crate::target::source_not_found;

use self::body::{SourceBody, SourcesBody};
use self::settings::{Draft, sharing};

pub(crate) async fn list(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
) -> Result<Response, ApiError> {
    let sources = managing.sources.all(call.caller.org).await?;
    let mut importing = Vec::new();
    for source in &sources {
        importing.extend(source.settings.import.as_ref().map(|_| source.id));
    }
    let mut standings = managing.imports.standings(importing).await?;
    let body_of = |it: &Source| SourceBody::of(it, standings.remove(&it.id), &base, call.now);
    let sources = sources.iter().map(body_of);
    let body = SourcesBody {
        sources: sources.collect(),
    };
    api::json(StatusCode::OK, &body)
}

pub(crate) async fn get(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
) -> Result<Response, ApiError> {
    let source = managing.source(&call).await?;
    let standing = managing.standing(&source).await?;
    let body = SourceBody::of(&source, standing, &base, call.now);
    Precondition::tagged(StatusCode::OK, source.revision, &body)
}

pub(crate) async fn create(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
    keyed: Keyed,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.create_source(&call, &base, &body, attempt);
    managing.once(&call, &keyed, &body, first).await
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

/// Deletes a source. Its calls are kept until they expire, but nobody can see them any more.
pub(crate) async fn delete(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
) -> Result<Response, ApiError> {
    let id = call.target.source()?;
    if managing.sources.delete(call.caller.org, id).await? == Changed::Lost {
        return Err(source_not_found());
    }
    note(&call.caller, id, "deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn rotate(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    base: BaseUrl,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let now = call.now;
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = async |attempt: Attempt| {
        let kind = managing.source(&call).await?.kind;
        let (secret, is_generated) = sharing(kind).rotation(&body)?;
        let change =
            |source: &mut Source| rotate_secret(&mut source.settings.secrets, secret.clone(), now);
        let answer = |source: &Source| {
            // The stored standing is that of the revision before, and no longer counts.
            let body = SourceBody::of(source, None, &base, now).with_secret(source, is_generated);
            let answer = Answer::json(StatusCode::OK, &body)?;
            anyhow::Ok(answer.with(&header::ETAG, Precondition::tag(source.revision)))
        };
        let alongside = |source: &Source| attempt.keeping(&answer(source)?);
        let source = managing
            .change_source(&call, &headers, change, alongside)
            .await?;
        note(&call.caller, source.id, "given another secret");
        Ok(answer(&source)?)
    };
    managing.once(&call, &keyed, &body, first).await
}

/// Asks the server of a source whether reports can be imported from it, with the stored settings or with those that the body
/// changes.
pub(crate) async fn check(
    State(managing): State<Managing>,
    call: Call<ManageSources>,
    body: Body,
) -> Result<Response, ApiError> {
    let source = managing.source(&call).await?;
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let settings = match &*body {
        [] => source.settings.clone(),
        body => {
            let body = json::parse_object(body)?;
            Draft::read(body, Some(&source), Mode::Patch, call.now)?.settings
        }
    };
    let Some(server) = &settings.import else {
        let message = "baseUrl: is required, since it is the server that is checked";
        return Err(ApiError::new(ErrorCode::MissingField, message).parameter("baseUrl"));
    };
    managing.count_test(source.org, call.now).await?;
    let checked = import::check(&managing.sender, server).await?;
    if checked.ok && source.settings.import.as_ref() == Some(server) {
        managing.look_after(&source, true).await;
    }
    api::json(StatusCode::OK, &checked)
}

impl Managing {
    /// The standing of the source's imports, if it has a server and the standing is known.
    async fn standing(&self, source: &Source) -> Result<Option<Standing>, ApiError> {
        if source.settings.import.is_none() {
            return Ok(None);
        }
        let mut standings = self.imports.standings([source.id]).await?;
        Ok(standings.remove(&source.id))
    }

    /// Refuses a source whose server may not be called.
    ///
    /// # Errors
    /// `address_refused` (400).
    async fn check_server(&self, settings: &SourceSettings) -> Result<(), ApiError> {
        let Some(url) = settings.server() else {
            return Ok(());
        };
        let checked = self.sender.check(url).await;
        checked.map_err(|refused| {
            let message = format!("baseUrl: {refused}");
            ApiError::new(ErrorCode::AddressRefused, message).parameter("baseUrl")
        })
    }

    /// Requests a visit of the source: whether its server answers, and what is due. If the queue does not take that, the
    /// hourly sweep does it. `resumes` says that the server is known to answer.
    async fn look_after(&self, source: &Source, resumes: bool) {
        let look = LookAfter {
            resumes,
            ..LookAfter::sweep(source.org, source.id)
        };
        if let Err(error) = self.imports_queue.send(&[look]).await {
            tracing::warn!(source = %source.id, "source {} waits for the sweep: {error:#}", source.id);
        }
    }

    /// The source that the path names. Its id says nothing of whose it is, so another organization's is none.
    async fn source<P>(&self, call: &Call<P>) -> Result<Source, ApiError> {
        let source = self.sources.get(call.target.source()?).await?;
        source
            .filter(|source| source.org == call.caller.org)
            .ok_or_else(source_not_found)
    }

    async fn create_source(
        &self,
        call: &Call<ManageSources>,
        base: &BaseUrl,
        body: &[u8],
        attempt: Attempt,
    ) -> Result<Answer, ApiError> {
        let (caller, now) = (&call.caller, call.now);
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
        self.check_server(&source.settings).await?;
        let body = SourceBody::of(&source, None, base, now);
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
        if source.importing().is_some() {
            self.look_after(&source, false).await;
        }
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
        let now = call.now;
        let body: Value = json::object(body, MAX_BODY_BYTES).await?;
        let current = self.source(call).await?;
        // What is wrong with the request otherwise is said below.
        if Precondition::of(headers).holds(current.revision)
            && let Ok(draft) = Draft::read(body.clone(), Some(&current), mode, now)
            && current.settings.server() != draft.settings.server()
        {
            self.check_server(&draft.settings).await?;
        }
        let change = |source: &mut Source| {
            source.settings = Draft::read(body.clone(), Some(source), mode, now)?.settings;
            Ok(())
        };
        let source = self
            .change_source(call, headers, change, |_| Ok(None))
            .await?;
        note(&call.caller, source.id, "changed");
        // What was to be imported is, or is not any more.
        if current.importing().is_some() || source.importing().is_some() {
            self.look_after(&source, false).await;
        }
        let body = SourceBody::of(&source, None, base, now);
        Precondition::tagged(StatusCode::OK, source.revision, &body)
    }

    /// Changes the source that the path names, if the request's precondition holds, and writes what `alongside` makes of it
    /// in the same transaction. Gives the changed source.
    async fn change_source(
        &self,
        call: &Call<ManageSources>,
        headers: &HeaderMap,
        change: impl Fn(&mut Source) -> Result<(), ApiError>,
        alongside: impl Fn(&Source) -> anyhow::Result<Option<TransactWriteItem>>,
    ) -> Result<Source, ApiError> {
        let mut retries = Retries::within(FOR_RETRIES);
        while retries.next().await {
            let mut source = self.source(call).await?;
            if !Precondition::of(headers).holds(source.revision) {
                let message = "the source has been changed; read it again";
                return Err(ApiError::new(ErrorCode::PreconditionFailed, message));
            }
            source.settings.secrets.forget_expired(call.now);
            change(&mut source)?;
            source.revision += 1;
            source.updated_at = timestamp(call.now);
            let replaced = self.sources.replace(&source, alongside(&source)?);
            if replaced.await? == Changed::Stored {
                return Ok(source);
            }
        }
        let message = "others were changing the source at the same moment; try again";
        Err(ApiError::new(ErrorCode::Conflict, message))
    }
}

fn note(caller: &Caller, source: SourceId, what: &str) {
    tracing::info!(
        %source, caller = caller.name,
        "source {source} was {what} by {}", caller.name
    );
}
