//! The operations on webhooks, for our own API and for the dialects.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::TransactWriteItem;
use axum::http::{HeaderValue, header};
use domain::date::timestamp;
use domain::delivery::attempt::Attempt;
use domain::delivery::{Delivery, DeliveryId};
use domain::organization::OrganizationId;
use domain::webhook::health::{DisabledReason, Health};
use domain::webhook::url::WebhookUrl;
use domain::webhook::{Disabled, Settings, Webhook, WebhookId, WebhookKey};
use outbound::format::Outgoing;
use serde_json::Value;
use store::contention::Retries;
use store::dynamodb::Changed;
use store::queue::work::Work;
use store::webhooks::{Deleted, Forgotten, Webhooks};
use time::OffsetDateTime;
use uuid::Uuid;
use web::api::{ApiError, ErrorCode};

use crate::access::Caller;
use crate::precondition::Precondition;
use crate::settings::{Draft, Mode, read};
use crate::state::{FOR_RETRIES, Managing};
use crate::target::webhook_not_found;

/// How many webhooks a project may have, and how many an organization may have for all projects (`SonarQube`).
const MAX_PER_PROJECT: usize = 10;
/// How many webhooks an organization may have as a whole. Each change of a report reads all of them.
const MAX_PER_ORGANIZATION: usize = 1000;

/// The result of a test call.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) payload: String,
    pub(crate) attempt: Attempt,
}

impl Trial {
    /// Whether the receiver took it.
    pub(crate) fn is_delivered(&self) -> bool {
        self.attempt.error.is_none()
    }
}

/// Why there is no room for another webhook.
#[derive(Debug)]
pub(crate) enum Full {
    /// This project has the most webhooks allowed.
    Project(String),
    /// There are the most webhooks allowed for all projects.
    AllProjects,
    /// The organization has the most webhooks allowed.
    Organization,
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let message = match full {
            Full::Project(project) => {
                format!("project {project} has {MAX_PER_PROJECT} webhooks already")
            }
            Full::AllProjects => {
                format!("there are {MAX_PER_PROJECT} webhooks for all projects already")
            }
            Full::Organization => {
                format!("the organization has {MAX_PER_ORGANIZATION} webhooks already")
            }
        };
        Self::new(ErrorCode::TooManyWebhooks, message)
    }
}

/// Why a webhook is not added.
#[derive(Debug)]
pub(crate) enum NotAdded {
    /// There is no room for it.
    Full(Full),
    /// Another error.
    Other(ApiError),
}

impl<E: Into<ApiError>> From<E> for NotAdded {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl NotAdded {
    /// The error of our own API.
    pub(crate) fn into_error(self) -> ApiError {
        match self {
            Self::Full(full) => full.into(),
            Self::Other(error) => error,
        }
    }
}

impl Managing {
    /// The webhook with this key.
    ///
    /// # Errors
    /// `webhook_not_found` (404).
    pub(crate) async fn webhook(&self, key: WebhookKey) -> Result<Webhook, ApiError> {
        self.webhooks.get(key).await?.ok_or_else(webhook_not_found)
    }

    /// Adds a webhook, and writes what `alongside` makes of it in the same transaction.
    pub(crate) async fn add(
        &self,
        caller: &Caller,
        draft: Draft,
        now: OffsetDateTime,
        alongside: impl Fn(&Webhook) -> anyhow::Result<Option<TransactWriteItem>>,
    ) -> Result<Webhook, NotAdded> {
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
        let kept = alongside(&webhook)?;
        let mut retries = Retries::within(FOR_RETRIES);
        while retries.next().await {
            let among = self.webhooks.all_to_change(caller.org).await?;
            check_limits(&among, &webhook).map_err(NotAdded::Full)?;
            let added = self.webhooks.add(&webhook, &among, kept.clone());
            if added.await? == Changed::Stored {
                note(caller, webhook.id, "created");
                return Ok(webhook);
            }
        }
        Err(conflict().into())
    }

    /// Changes the settings of a webhook, and perhaps whether it is enabled.
    pub(crate) async fn change_settings(
        &self,
        caller: &Caller,
        key: WebhookKey,
        wanted: &Precondition,
        (body, mode): (Value, Mode),
        now: OffsetDateTime,
    ) -> Result<Webhook, ApiError> {
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
        let webhook = self.change(key, wanted, now, change).await?;
        note(caller, webhook.id, "changed");
        Ok(webhook)
    }

    /// Deletes a webhook.
    pub(crate) async fn remove(
        &self,
        caller: &Caller,
        key: WebhookKey,
        wanted: &Precondition,
    ) -> Result<(), ApiError> {
        match self.webhooks.delete(key, wanted.revisions()).await? {
            Deleted::Done => {
                note(caller, key.id, "deleted");
                Ok(())
            }
            Deleted::OtherRevision => Err(precondition_failed()),
            Deleted::Gone => Err(webhook_not_found()),
        }
    }

    /// Changes a webhook, if the precondition holds. If the change deletes the record of its health, its waiting deliveries
    /// are tried. Gives the changed webhook.
    pub(crate) async fn change(
        &self,
        key: WebhookKey,
        wanted: &Precondition,
        now: OffsetDateTime,
        change: impl Fn(&mut Webhook) -> Result<Forgotten, ApiError>,
    ) -> Result<Webhook, ApiError> {
        let nothing = |_: &Webhook| Ok(None);
        self.change_alongside(key, wanted, now, change, nothing)
            .await
    }

    /// The same. It also writes what `alongside` makes of the changed webhook in the same transaction.
    pub(crate) async fn change_alongside(
        &self,
        key: WebhookKey,
        wanted: &Precondition,
        now: OffsetDateTime,
        change: impl Fn(&mut Webhook) -> Result<Forgotten, ApiError>,
        alongside: impl Fn(&Webhook) -> anyhow::Result<Option<TransactWriteItem>>,
    ) -> Result<Webhook, ApiError> {
        let mut checked: Option<WebhookUrl> = None;
        let mut retries = Retries::within(FOR_RETRIES);
        while retries.next().await {
            let current = self.webhook(key).await?;
            if !wanted.holds(current.revision) {
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
            let url = &webhook.settings.url;
            if !url.is_same_address(&current.settings.url) && checked.as_ref() != Some(url) {
                self.check(url).await?;
                checked = Some(url.clone());
            }
            let among = if webhook.settings.wanted.projects == current.settings.wanted.projects {
                None
            } else {
                let among = self.webhooks.all_to_change(key.org).await?;
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

    /// The newest of a webhook's deliveries.
    pub(crate) async fn latest_delivery(
        &self,
        webhook: WebhookId,
        now: OffsetDateTime,
    ) -> Result<Option<Delivery>, store::Error> {
        let newest = self.deliveries.newest(webhook, DeliveryId::FIRST).await?;
        // DynamoDB deletes expired items only after some time.
        Ok(newest.filter(|delivery| !delivery.is_expired(now)))
    }

    /// Checks that messages may go to this URL.
    async fn check(&self, url: &WebhookUrl) -> Result<(), ApiError> {
        self.sender.check(url).await.map_err(|refused| {
            ApiError::new(ErrorCode::AddressRefused, format!("url: {refused}")).parameter("url")
        })
    }

    /// Counts a test call.
    ///
    /// # Errors
    /// `too_many_tests` (429): this minute has had the most test calls allowed.
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

    /// Makes a test call to a webhook. If its receiver takes the call, the webhook resumes.
    pub(crate) async fn try_stored(
        &self,
        webhook: &Webhook,
        now: OffsetDateTime,
    ) -> Result<Trial, ApiError> {
        self.count_test(webhook.org, now).await?;
        let tried = self.try_out(webhook.org, &webhook.settings, now).await?;
        if tried.is_delivered() && webhook.is_enabled() {
            self.resume(webhook).await;
        }
        Ok(tried)
    }

    /// Makes a test call with settings that no stored webhook has.
    pub(crate) async fn try_unstored(
        &self,
        org: OrganizationId,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Result<Trial, ApiError> {
        self.count_test(org, now).await?;
        self.check(&settings.url).await?;
        self.try_out(org, settings, now).await
    }

    async fn try_out(
        &self,
        org: OrganizationId,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Result<Trial, ApiError> {
        let outgoing = Outgoing::test(DeliveryId::at(now).to_string(), org, settings, now);
        let headers = outgoing.headers(settings, now)?;
        let payload = String::from_utf8_lossy(&outgoing.body).into_owned();
        let signing = settings.secrets.signing(now);
        let exchange = self
            .sender
            .post(&settings.url, headers, outgoing.body, signing)
            .await?;
        Ok(Trial {
            payload,
            attempt: Attempt::of(1, now, &exchange),
        })
    }

    /// Resumes a webhook whose receiver took a test call, if neither the webhook nor its pause has changed since.
    async fn resume(&self, webhook: &Webhook) {
        match self.webhooks.end_pause(webhook).await {
            Ok(Changed::Stored) => self.call_what_waits(webhook).await,
            Ok(Changed::Lost) => {}
            Err(error) => {
                tracing::error!(webhook = %webhook.id, "the pause of webhook {} continues: {error:#}", webhook.id);
            }
        }
    }

    /// Puts every waiting delivery of this webhook on the queue. If the queue does not take them, the sweep tries each when
    /// it is due.
    async fn call_what_waits(&self, webhook: &Webhook) {
        // The time is read anew: the call may have taken a while, and deliveries that were created in the meantime wait too.
        let messages = Work::undelivered(webhook.key(), true, OffsetDateTime::now_utc());
        if let Err(error) = self.queue.send(&messages).await {
            tracing::error!(webhook = %webhook.id, "the waiting deliveries of webhook {} wait until they are due: {error:#}", webhook.id);
        }
    }
}

/// Which part of the health a change of settings deletes. The health of the old receiver says nothing of a new one. For the
/// same receiver with other credentials, the time since when it fails is kept.
pub(crate) fn forgotten_by(before: &Settings, after: &Settings) -> Forgotten {
    if !before.url.is_same_address(&after.url) {
        Forgotten::All
    } else if before.is_same_receiver(after) {
        Forgotten::Nothing
    } else {
        Forgotten::Pause
    }
}

pub(crate) fn by_administrator(enabled: Option<bool>, now: OffsetDateTime) -> Option<Disabled> {
    (enabled == Some(false)).then(|| Disabled {
        reason: DisabledReason::Administrator,
        at: timestamp(now),
    })
}

fn check_limits(among: &Webhooks, webhook: &Webhook) -> Result<(), Full> {
    let others = || among.webhooks.iter().filter(|other| other.id != webhook.id);
    let projects = &webhook.settings.wanted.projects;
    let is_full = |is_of_scope: &dyn Fn(&BTreeSet<String>) -> bool| {
        let of_scope = others().filter(|other| is_of_scope(&other.settings.wanted.projects));
        of_scope.count() >= MAX_PER_PROJECT
    };
    let full = projects
        .iter()
        .find(|&project| is_full(&|of| of.contains(project)));
    if let Some(project) = full {
        Err(Full::Project(project.clone()))
    } else if projects.is_empty() && is_full(&BTreeSet::is_empty) {
        Err(Full::AllProjects)
    } else if others().count() >= MAX_PER_ORGANIZATION {
        Err(Full::Organization)
    } else {
        Ok(())
    }
}

fn precondition_failed() -> ApiError {
    let message = "the webhook has been changed; read it again";
    ApiError::new(ErrorCode::PreconditionFailed, message)
}

pub(crate) fn note(caller: &Caller, webhook: WebhookId, what: &str) {
    tracing::info!(
        %webhook, caller = caller.name,
        "webhook {webhook} was {what} by {}", caller.name
    );
}

fn conflict() -> ApiError {
    let message = "others were changing webhooks at the same moment; try again";
    ApiError::new(ErrorCode::Conflict, message).header(header::RETRY_AFTER, HeaderValue::from(1))
}
