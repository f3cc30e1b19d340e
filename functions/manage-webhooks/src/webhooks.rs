//! Webhooks: listed, created, changed, tested.

pub(crate) mod operations;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::webhook::Webhook;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use idempotency::{Answer, Attempt, Keyed};
use serde::Serialize;
use store::webhooks::Forgotten;
use web::api::{self, ApiError};
use web::json;

use crate::access::{Call, ManageWebhooks};
use crate::body::{AttemptBody, WebhookBody};
use crate::precondition::Precondition;
use crate::settings::{Mode, Sharing, read, rotate as rotate_secret};
use crate::state::{MAX_BODY_BYTES, Managing};
use crate::webhooks::operations::{NotAdded, Trial, by_administrator, forgotten_by, note};

/// How many webhooks' latest deliveries are read at a time.
pub(crate) const AT_ONCE: usize = 16;

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

impl From<Trial> for TestBody {
    fn from(trial: Trial) -> Self {
        Self {
            delivered: trial.is_delivered(),
            payload: trial.payload,
            attempt: AttemptBody::of(trial.attempt),
        }
    }
}

pub(crate) async fn list(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let now = call.now;
    let webhooks = managing.webhooks.all(call.caller.org).await?;
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
    call: Call<ManageWebhooks>,
) -> Result<Response, ApiError> {
    let webhook = managing.webhook(call.key()?).await?;
    let latest = managing.latest_delivery(webhook.id, call.now).await?;
    let body = WebhookBody::of(&webhook, call.now).with_latest(latest.as_ref(), call.now);
    tagged(StatusCode::OK, &webhook, &body)
}

pub(crate) async fn create(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    keyed: Keyed,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.create(&call, &body, attempt);
    managing.once(&call, &keyed, &body, first).await
}

pub(crate) async fn replace(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    change_settings(&managing, &call, &headers, body, Mode::Whole).await
}

pub(crate) async fn patch(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    change_settings(&managing, &call, &headers, body, Mode::Patch).await
}

pub(crate) async fn delete(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = Precondition::of(&headers);
    managing.remove(&call.caller, call.key()?, &wanted).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn rotate(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let first = |attempt| managing.rotate(&call, &headers, &body, attempt);
    managing.once(&call, &keyed, &body, first).await
}

pub(crate) async fn enable(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let change = |webhook: &mut Webhook| {
        webhook.disabled = None;
        Ok(Forgotten::All)
    };
    switch(&managing, &call, &headers, change, "enabled").await
}

pub(crate) async fn disable(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let change = |webhook: &mut Webhook| {
        let before = webhook.disabled.take();
        webhook.disabled = before.or(by_administrator(Some(false), call.now));
        Ok(Forgotten::Nothing)
    };
    switch(&managing, &call, &headers, change, "disabled").await
}

async fn switch(
    managing: &Managing,
    call: &Call<ManageWebhooks>,
    headers: &HeaderMap,
    change: impl Fn(&mut Webhook) -> Result<Forgotten, ApiError>,
    done: &str,
) -> Result<Response, ApiError> {
    let (key, wanted) = (call.key()?, Precondition::of(headers));
    let webhook = managing.change(key, &wanted, call.now, change).await?;
    note(&call.caller, webhook.id, done);
    tagged(
        StatusCode::OK,
        &webhook,
        &WebhookBody::of(&webhook, call.now),
    )
}

pub(crate) async fn test(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let now = call.now;
    let webhook = managing.webhook(call.key()?).await?;
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    // Settings that are not saved yet. Secrets and values of headers need not be given again for a test.
    let unsaved = match &*body {
        [] => None,
        body => {
            let body = json::parse_object(body)?;
            let draft = read(body, Some(&webhook.settings), Mode::Patch, now)?;
            Some(draft.settings)
        }
    };
    let unsaved = unsaved.filter(|settings| *settings != webhook.settings);
    let tried = match unsaved {
        // It says nothing of the webhook as it is.
        Some(settings) => managing.try_unstored(webhook.org, &settings, now).await?,
        None => managing.try_stored(&webhook, now).await?,
    };
    api::json(StatusCode::OK, &TestBody::from(tried))
}

pub(crate) async fn test_unstored(
    State(managing): State<Managing>,
    call: Call<ManageWebhooks>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let draft = read(body, None, Mode::Test, call.now)?;
    let tried = managing.try_unstored(call.caller.org, &draft.settings, call.now);
    let tried = tried.await?;
    api::json(StatusCode::OK, &TestBody::from(tried))
}

async fn change_settings(
    managing: &Managing,
    call: &Call<ManageWebhooks>,
    headers: &HeaderMap,
    body: Body,
    mode: Mode,
) -> Result<Response, ApiError> {
    let (caller, now) = (&call.caller, call.now);
    let body = json::object(body, MAX_BODY_BYTES).await?;
    let (key, wanted) = (call.key()?, Precondition::of(headers));
    let changed = managing.change_settings(caller, key, &wanted, (body, mode), now);
    let webhook = changed.await?;
    tagged(StatusCode::OK, &webhook, &WebhookBody::of(&webhook, now))
}

impl Managing {
    async fn create(
        &self,
        call: &Call<ManageWebhooks>,
        body: &[u8],
        attempt: Attempt,
    ) -> Result<Answer, ApiError> {
        let now = call.now;
        let draft = read(json::parse_object(body)?, None, Mode::Whole, now)?;
        let is_generated = draft.is_secret_generated;
        let answer = |webhook: &Webhook| {
            let secret = is_generated.then(|| revealed(webhook)).flatten();
            let body = WebhookBody::of(webhook, now).with_secret(secret);
            let answer = Answer::json(StatusCode::CREATED, &body)?;
            let answer = answer.with(&header::ETAG, tag(webhook));
            // Relative, since behind API Gateway the path begins with the stage.
            anyhow::Ok(answer.with(&header::LOCATION, format!("webhooks/{}", webhook.id)))
        };
        let alongside = |webhook: &Webhook| attempt.keeping(&answer(webhook)?);
        let added = self.add(&call.caller, draft, now, alongside).await;
        let webhook = added.map_err(NotAdded::into_error)?;
        Ok(answer(&webhook)?)
    }

    async fn rotate(
        &self,
        call: &Call<ManageWebhooks>,
        headers: &HeaderMap,
        body: &[u8],
        attempt: Attempt,
    ) -> Result<Answer, ApiError> {
        let now = call.now;
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
        let (key, wanted) = (call.key()?, Precondition::of(headers));
        let webhook = self
            .change_alongside(key, &wanted, now, change, alongside)
            .await?;
        note(&call.caller, webhook.id, "given another secret");
        Ok(answer(&webhook)?)
    }
}

/// The entity tag. It covers what administrators set, so a delivery does not change it.
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
