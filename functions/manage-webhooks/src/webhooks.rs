//! Webhooks: listed, created, changed, tried out.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::TransactWriteItem;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::date::timestamp;
use domain::delivery::attempt::Attempt;
use domain::delivery::{Delivery, DeliveryId};
use domain::organization::OrganizationId;
use domain::webhook::health::{DisabledReason, Health};
use domain::webhook::url::WebhookUrl;
use domain::webhook::{Disabled, Settings, Webhook, WebhookId, WebhookKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use idempotency::{Answer, Keyed};
use outbound::format::Outgoing;
use serde::Serialize;
use serde_json::Value;
use store::dynamodb::Changed;
use store::queue::work::Work;
use store::webhooks::{Deleted, Forgotten, Webhooks};
use time::OffsetDateTime;
use uuid::Uuid;
use web::api::{self, ApiError, ErrorCode};
use web::json;

use crate::access::{Call, Caller, ManageWebhooks};
use crate::body::{AttemptBody, WebhookBody};
use crate::precondition::Precondition;
use crate::settings::{Draft, Mode, Sharing, read, rotate as rotate_secret};
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::target::{Target, webhook_not_found};

/// How many webhooks a project may have, and how many an organization may have for all projects (`SonarQube`).
const MAX_PER_PROJECT: usize = 10;
/// How many webhooks an organization may have in all. Each change of a report reads all of them.
const MAX_PER_ORGANIZATION: usize = 1000;
/// How often a change is tried, when others win.
const MAX_TRIES: usize = 5;
/// How many webhooks' deliveries are asked for at a time.
const AT_ONCE: usize = 16;

#[derive(Serialize)]
struct WebhooksBody {
    webhooks: Vec<WebhookBody>,
}

#[derive(Serialize)]
struct TestBody {
    delivered: bool,
    payload: String,
    attempt: AttemptBody,
}

pub(crate) async fn list(
    State(managing): State<Managing>,
    Call { caller, now, .. }: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhooks = managing.webhooks.all(caller.org).await?;
    let body = async |webhook: Webhook| {
        let latest = managing.latest_delivery(webhook.id, now).await?;
        Ok::<_, store::Error>(WebhookBody::of(&webhook, now).with_latest(latest.as_ref(), now))
    };
    let webhooks = stream::iter(webhooks)
        .map(body)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    api::json(StatusCode::OK, &WebhooksBody { webhooks })
}

pub(crate) async fn get(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.webhook(&caller, &target).await?;
    let latest = managing.latest_delivery(webhook.id, now).await?;
    let body = WebhookBody::of(&webhook, now).with_latest(latest.as_ref(), now);
    tagged(StatusCode::OK, &webhook, &body)
}

pub(crate) async fn create(
    State(managing): State<Managing>,
    Call { caller, now, .. }: Call<ManageWebhooks>,
    keyed: Keyed,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.create(&caller, &body, attempt, now);
    let once = managing
        .idempotency
        .once(caller.scope(), &keyed, &body, now, first);
    once.await?.response()
}

pub(crate) async fn replace(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    managing
        .change_settings(&call, &headers, body, Mode::Whole)
        .await
}

pub(crate) async fn patch(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    managing
        .change_settings(&call, &headers, body, Mode::Patch)
        .await
}

pub(crate) async fn delete(
    State(managing): State<Managing>,
    Call { caller, target, .. }: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = key(&caller, &target)?;
    let wanted = Precondition::of(&headers);
    let deleted = managing.webhooks.delete(key, wanted.revisions());
    match deleted.await? {
        Deleted::Done => {
            note(&caller, key.id, "deleted");
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Deleted::OtherRevision => Err(precondition_failed()),
        Deleted::Gone => Err(webhook_not_found()),
    }
}

pub(crate) async fn rotate(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageWebhooks>,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.rotate(&caller, &target, &headers, &body, attempt, now);
    let once = managing
        .idempotency
        .once(caller.scope(), &keyed, &body, now, first);
    once.await?.response()
}

pub(crate) async fn enable(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let change = |webhook: &mut Webhook| {
        webhook.disabled = None;
        Ok(Forgotten::All)
    };
    let webhook = managing
        .change(&caller, &target, &headers, now, change)
        .await?;
    note(&caller, webhook.id, "enabled");
    tagged(StatusCode::OK, &webhook, &WebhookBody::of(&webhook, now))
}

pub(crate) async fn disable(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let change = |webhook: &mut Webhook| {
        webhook.disabled = webhook
            .disabled
            .take()
            .or(by_administrator(Some(false), now));
        Ok(Forgotten::Nothing)
    };
    let webhook = managing
        .change(&caller, &target, &headers, now, change)
        .await?;
    note(&caller, webhook.id, "disabled");
    tagged(StatusCode::OK, &webhook, &WebhookBody::of(&webhook, now))
}

pub(crate) async fn test(
    State(managing): State<Managing>,
    Call {
        caller,
        target,
        now,
        ..
    }: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let webhook = managing.webhook(&caller, &target).await?;
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    // What was typed and is not saved yet: secrets and values of headers need not be given again for that.
    let unsaved = match &*body {
        [] => None,
        body => {
            let body = json::parse_object(body)?;
            let draft = read(body, Some(&webhook.settings), Mode::Patch, now)?;
            Some(draft.settings)
        }
    };
    let unsaved = unsaved.filter(|settings| *settings != webhook.settings);
    managing.count_test(caller.org, now).await?;
    if let Some(settings) = unsaved {
        managing.check(&settings.url).await?;
        let tried = managing.try_out(caller.org, &settings, now).await?;
        // It says nothing of the webhook as it is.
        return api::json(StatusCode::OK, &tried);
    }
    let tried = managing.try_out(caller.org, &webhook.settings, now).await?;
    if tried.delivered && webhook.is_enabled() {
        managing.resume(&webhook).await;
    }
    api::json(StatusCode::OK, &tried)
}

pub(crate) async fn test_unstored(
    State(managing): State<Managing>,
    Call { caller, now, .. }: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let draft = read(body, None, Mode::Test, now)?;
    managing.count_test(caller.org, now).await?;
    managing.check(&draft.settings.url).await?;
    let tried = managing.try_out(caller.org, &draft.settings, now).await?;
    api::json(StatusCode::OK, &tried)
}

impl Managing {
    /// The webhook that the path names.
    pub(crate) async fn webhook(
        &self,
        caller: &Caller,
        target: &Target,
    ) -> Result<Webhook, ApiError> {
        let key = key(caller, target)?;
        self.webhooks.get(key).await?.ok_or_else(webhook_not_found)
    }

    async fn create(
        &self,
        caller: &Caller,
        body: &[u8],
        attempt: idempotency::Attempt,
        now: OffsetDateTime,
    ) -> Result<Answer, ApiError> {
        let draft = read(json::parse_object(body)?, None, Mode::Whole, now)?;
        self.check(&draft.settings.url).await?;
        let webhook = Webhook {
            org: caller.org,
            id: WebhookId::new(Uuid::new_v4()),
            revision: 1,
            settings: draft.settings,
            disabled: by_administrator(draft.enabled, now),
            created_at: timestamp(now),
            updated_at: timestamp(now),
            former: Vec::new(),
            health: Health::default(),
        };
        let secret = draft
            .is_secret_generated
            .then(|| revealed(&webhook))
            .flatten();
        let body = WebhookBody::of(&webhook, now).with_secret(secret);
        let answer = Answer::json(StatusCode::CREATED, &body)?
            .with(&header::ETAG, tag(&webhook))
            // Relative, since behind API Gateway the path begins with the stage.
            .with(&header::LOCATION, format!("webhooks/{}", webhook.id));
        let kept = attempt.keeping(&answer)?;
        for _ in 0..MAX_TRIES {
            let among = self.webhooks.all_to_change(caller.org).await?;
            check_limits(&among, &webhook)?;
            let added = self.webhooks.add(&webhook, &among, kept.clone());
            if added.await? == Changed::Stored {
                note(caller, webhook.id, "created");
                return Ok(answer);
            }
        }
        Err(conflict())
    }

    async fn rotate(
        &self,
        caller: &Caller,
        target: &Target,
        headers: &HeaderMap,
        body: &[u8],
        attempt: idempotency::Attempt,
        now: OffsetDateTime,
    ) -> Result<Answer, ApiError> {
        let (secret, is_generated) = Sharing::Secret.rotation(body)?;
        let change = |webhook: &mut Webhook| {
            let before = webhook.settings.clone();
            rotate_secret(&mut webhook.settings.secrets, secret.clone(), now)?;
            Ok(forgotten_by(&before, &webhook.settings))
        };
        let answer = |webhook: &Webhook| {
            let secret = is_generated.then(|| revealed(webhook)).flatten();
            let body = WebhookBody::of(webhook, now).with_secret(secret);
            let answer = Answer::json(StatusCode::OK, &body)?;
            anyhow::Ok(answer.with(&header::ETAG, tag(webhook)))
        };
        let alongside = |webhook: &Webhook| attempt.keeping(&answer(webhook)?);
        let webhook = self
            .change_alongside(caller, target, headers, now, change, alongside)
            .await?;
        note(caller, webhook.id, "given another secret");
        Ok(answer(&webhook)?)
    }

    async fn latest_delivery(
        &self,
        webhook: WebhookId,
        now: OffsetDateTime,
    ) -> Result<Option<Delivery>, store::Error> {
        let newest = self.deliveries.newest(webhook, DeliveryId::FIRST).await?;
        // DynamoDB takes its time to delete what has expired.
        Ok(newest.filter(|delivery| !delivery.is_expired(now)))
    }

    /// Whether messages may go to this URL.
    async fn check(&self, url: &WebhookUrl) -> Result<(), ApiError> {
        self.sender.check(url).await.map_err(|refused| {
            ApiError::new(ErrorCode::AddressRefused, format!("url: {refused}")).parameter("url")
        })
    }

    async fn change_settings(
        &self,
        call: &Call<ManageWebhooks>,
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
        let change = |webhook: &mut Webhook| {
            let Draft {
                settings, enabled, ..
            } = read(body.clone(), Some(&webhook.settings), mode, now)?;
            let was_enabled = webhook.is_enabled();
            match enabled {
                Some(true) => webhook.disabled = None,
                Some(false) if was_enabled => webhook.disabled = by_administrator(enabled, now),
                _ => {}
            }
            let forgotten = if webhook.is_enabled() && !was_enabled {
                Forgotten::All
            } else {
                forgotten_by(&webhook.settings, &settings)
            };
            webhook.settings = settings;
            Ok(forgotten)
        };
        let webhook = self.change(caller, target, headers, now, change).await?;
        note(caller, webhook.id, "changed");
        tagged(StatusCode::OK, &webhook, &WebhookBody::of(&webhook, now))
    }

    /// Changes the webhook that the path names, if the request's precondition holds, and has what waits for it tried if the
    /// record is forgotten. Gives it as it is then.
    async fn change(
        &self,
        caller: &Caller,
        target: &Target,
        headers: &HeaderMap,
        now: OffsetDateTime,
        change: impl Fn(&mut Webhook) -> Result<Forgotten, ApiError>,
    ) -> Result<Webhook, ApiError> {
        let nothing = |_: &Webhook| Ok(None);
        self.change_alongside(caller, target, headers, now, change, nothing)
            .await
    }

    /// The same, and writes what `alongside` makes of the changed webhook in the same transaction.
    async fn change_alongside(
        &self,
        caller: &Caller,
        target: &Target,
        headers: &HeaderMap,
        now: OffsetDateTime,
        change: impl Fn(&mut Webhook) -> Result<Forgotten, ApiError>,
        alongside: impl Fn(&Webhook) -> anyhow::Result<Option<TransactWriteItem>>,
    ) -> Result<Webhook, ApiError> {
        for _ in 0..MAX_TRIES {
            let current = self.webhook(caller, target).await?;
            if !Precondition::of(headers).holds(current.revision) {
                return Err(precondition_failed());
            }
            let mut webhook = current.clone();
            webhook.settings.secrets.forget_expired(now);
            let forgotten = change(&mut webhook)?;
            webhook.health = match forgotten {
                Forgotten::Nothing => webhook.health,
                Forgotten::Pause => Health {
                    failing_since: webhook.health.failing_since,
                    ..Health::default()
                },
                Forgotten::All => Health::default(),
            };
            webhook.note_former(&current.settings, now);
            webhook.revision += 1;
            webhook.updated_at = timestamp(now);
            if webhook.settings.url != current.settings.url {
                self.check(&webhook.settings.url).await?;
            }
            let among = if webhook.settings.wanted.projects == current.settings.wanted.projects {
                None
            } else {
                let among = self.webhooks.all_to_change(caller.org).await?;
                check_limits(&among, &webhook)?;
                Some(among)
            };
            let replaced = self
                .webhooks
                .replace(&webhook, forgotten, among.as_ref(), alongside(&webhook)?)
                .await?;
            if replaced == Changed::Stored {
                if forgotten != Forgotten::Nothing && webhook.is_enabled() {
                    self.call_what_waits(&webhook).await;
                }
                return Ok(webhook);
            }
        }
        Err(conflict())
    }

    /// Goes on with a webhook whose receiver has taken a test call, as far as it is the same webhook and the same pause still.
    async fn resume(&self, webhook: &Webhook) {
        match self.webhooks.end_pause(webhook).await {
            Ok(Changed::Stored) => self.call_what_waits(webhook).await,
            Ok(Changed::Lost) => {}
            Err(error) => {
                tracing::error!(webhook = %webhook.id, "the pause of webhook {} goes on: {error:#}", webhook.id);
            }
        }
    }

    /// Has everything tried that waits for this webhook. If it cannot be put on the queue now, the hourly round tries what is
    /// due, and the rest when its time comes.
    async fn call_what_waits(&self, webhook: &Webhook) {
        // As it is now: the call may have taken its time, and what came meanwhile waits too.
        let messages = Work::undelivered(webhook.key(), true, OffsetDateTime::now_utc());
        if let Err(error) = self.queue.send(&messages).await {
            tracing::error!(webhook = %webhook.id, "what waits for webhook {} waits for its time: {error:#}", webhook.id);
        }
    }

    /// Counts a test call.
    ///
    /// # Errors
    /// `too_many_tests` (429): there were as many in this minute as there may be.
    pub(crate) async fn count_test(
        &self,
        org: OrganizationId,
        now: OffsetDateTime,
    ) -> Result<(), ApiError> {
        let most = self.max_tests;
        let counted = self.deliveries.count_test(org, now, most);
        if counted.await? == Changed::Stored {
            return Ok(());
        }
        let message = format!("there may be {most} test calls a minute");
        let seconds = 60 - now.unix_timestamp().rem_euclid(60);
        Err(ApiError::new(ErrorCode::TooManyTests, message)
            .header(header::RETRY_AFTER, HeaderValue::from(seconds)))
    }

    async fn try_out(
        &self,
        org: OrganizationId,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Result<TestBody, ApiError> {
        let outgoing = Outgoing::test(DeliveryId::at(now).to_string(), org, settings, now);
        let headers = outgoing.headers(settings, now)?;
        let payload = String::from_utf8_lossy(&outgoing.body).into_owned();
        let signing = settings.secrets.signing(now);
        let exchange = self
            .sender
            .post(&settings.url, headers, outgoing.body, signing)
            .await?;
        Ok(TestBody {
            delivered: exchange.failure.is_none(),
            payload,
            attempt: AttemptBody::of(Attempt::of(1, now, &exchange)),
        })
    }
}

/// What a change of settings forgets. How the old receiver did says nothing of a new one; of the same one with another login it
/// says since when it fails.
fn forgotten_by(before: &Settings, after: &Settings) -> Forgotten {
    if before.url != after.url {
        Forgotten::All
    } else if before.is_same_receiver(after) {
        Forgotten::Nothing
    } else {
        Forgotten::Pause
    }
}

fn by_administrator(enabled: Option<bool>, now: OffsetDateTime) -> Option<Disabled> {
    (enabled == Some(false)).then(|| Disabled {
        reason: DisabledReason::Administrator,
        at: timestamp(now),
    })
}

fn check_limits(among: &Webhooks, webhook: &Webhook) -> Result<(), ApiError> {
    let others = || among.webhooks.iter().filter(|other| other.id != webhook.id);
    let projects = &webhook.settings.wanted.projects;
    let is_full = |is_of_scope: &dyn Fn(&BTreeSet<String>) -> bool| {
        let of_scope = others().filter(|other| is_of_scope(&other.settings.wanted.projects));
        of_scope.count() >= MAX_PER_PROJECT
    };
    let full = projects
        .iter()
        .find(|&project| is_full(&|of| of.contains(project)));
    let message = if let Some(project) = full {
        format!("project {project} has {MAX_PER_PROJECT} webhooks already")
    } else if projects.is_empty() && is_full(&BTreeSet::is_empty) {
        format!("there are {MAX_PER_PROJECT} webhooks for all projects already")
    } else if others().count() >= MAX_PER_ORGANIZATION {
        format!("the organization has {MAX_PER_ORGANIZATION} webhooks already")
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::TooManyWebhooks, message))
}

fn precondition_failed() -> ApiError {
    let message = "the webhook has been changed; read it again";
    ApiError::new(ErrorCode::PreconditionFailed, message)
}

fn key(caller: &Caller, target: &Target) -> Result<WebhookKey, ApiError> {
    Ok(WebhookKey {
        org: caller.org,
        id: target.webhook()?,
    })
}

/// The entity tag: of what administrators set, so that a delivery does not make it stale.
fn tag(webhook: &Webhook) -> String {
    Precondition::tag(webhook.revision)
}

fn tagged(status: StatusCode, webhook: &Webhook, body: &WebhookBody) -> Result<Response, ApiError> {
    Precondition::tagged(status, webhook.revision, body)
}

fn revealed(webhook: &Webhook) -> Option<String> {
    let secret = webhook.settings.secrets.secret.as_ref();
    secret.map(|secret| secret.reveal().to_owned())
}

fn note(caller: &Caller, webhook: WebhookId, what: &str) {
    tracing::info!(
        %webhook, caller = caller.name,
        "webhook {webhook} was {what} by {}", caller.name
    );
}

fn conflict() -> ApiError {
    let message = "others were changing webhooks at the same moment; try again";
    ApiError::new(ErrorCode::Conflict, message)
}
