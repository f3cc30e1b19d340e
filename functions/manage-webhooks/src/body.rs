//! The JSON of answers.

use std::collections::{BTreeMap, BTreeSet};

use domain::delivery::attempt::{Attempt, AttemptError, AttemptSummary};
use domain::delivery::{About, Delivery, DeliveryId, DeliveryState};
use domain::event::Event;
use domain::organization::OrganizationId;
use domain::token::{Right, Token, TokenId};
use domain::webhook::format::Format;
use domain::webhook::health::DisabledReason;
use domain::webhook::schedule::Schedule;
use domain::webhook::{Webhook, WebhookId};
use serde::Serialize;
use time::OffsetDateTime;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookBody {
    id: WebhookId,
    organization_id: OrganizationId,
    name: String,
    /// With its password masked.
    url: String,
    has_secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<String>,
    has_token: bool,
    /// Set when `projects` has exactly one.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    projects: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    events: BTreeSet<Event>,
    headers: Vec<HeaderBody>,
    format: Format,
    schedule: Schedule,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<DisabledReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_until: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_delivery: Option<DeliverySummaryBody>,
    /// Set only if we made the secret, and only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize)]
struct HeaderBody {
    name: String,
}

impl WebhookBody {
    pub(crate) fn of(webhook: &Webhook, now: OffsetDateTime) -> Self {
        let settings = &webhook.settings;
        let previous_secret_until = settings.secrets.previous_until(now).map(str::to_owned);
        let now = domain::date::timestamp(now);
        let header = |own: &domain::webhook::OwnHeader| HeaderBody {
            name: own.name.clone(),
        };
        Self {
            id: webhook.id,
            organization_id: webhook.org,
            name: settings.name.clone(),
            url: settings.url.masked(),
            has_secret: settings.secrets.secret.is_some(),
            previous_secret_until,
            has_token: settings.token.is_some(),
            project: settings.wanted.only_project().map(str::to_owned),
            projects: settings.wanted.projects.clone(),
            events: settings.wanted.events.clone(),
            headers: settings.headers.iter().map(header).collect(),
            format: settings.wanted.format,
            schedule: settings.schedule,
            enabled: webhook.is_enabled(),
            disabled_reason: webhook.disabled.as_ref().map(|it| it.reason),
            disabled_at: webhook.disabled.as_ref().map(|it| it.at.clone()),
            failing_since: webhook.health.failing_since.clone(),
            paused_until: webhook
                .health
                .paused_until
                .clone()
                .filter(|until| *until > now),
            created_at: webhook.created_at.clone(),
            updated_at: webhook.updated_at.clone(),
            latest_delivery: None,
            secret: None,
        }
    }

    pub(crate) fn with_latest(mut self, delivery: Option<&Delivery>, now: OffsetDateTime) -> Self {
        self.latest_delivery = delivery.map(|delivery| DeliverySummaryBody::of(delivery, now));
        self
    }

    pub(crate) fn with_secret(mut self, secret: Option<String>) -> Self {
        self.secret = secret;
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliverySummaryBody {
    id: DeliveryId,
    webhook_id: WebhookId,
    state: DeliveryState,
    events: BTreeSet<Event>,
    /// How many changes of reports.
    reports: u32,
    /// How many analyses.
    #[serde(skip_serializing_if = "Option::is_none")]
    analyses: Option<u32>,
    /// How many events of `CodeScoring`.
    #[serde(skip_serializing_if = "Option::is_none")]
    codescoring_events: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    attempt_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<AttemptSummary>,
}

impl DeliverySummaryBody {
    pub(crate) fn of(delivery: &Delivery, now: OffsetDateTime) -> Self {
        let of = |about| (delivery.about() == about).then_some(delivery.changes);
        Self {
            id: delivery.id,
            webhook_id: delivery.webhook,
            state: delivery.state,
            events: delivery.events.clone(),
            reports: of(About::Reports).unwrap_or_default(),
            analyses: of(About::Analyses),
            codescoring_events: of(About::CodescoringEvents),
            project: delivery.project.clone(),
            created_at: delivery.created_at.clone(),
            // During an attempt, the attribute is the end of the lease.
            due_at: delivery
                .due_at
                .clone()
                .filter(|_| !delivery.is_in_progress(now)),
            attempt_count: delivery.attempts,
            last_attempt: delivery.last_attempt.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryBody {
    #[serde(flatten)]
    summary: DeliverySummaryBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    attempts: Vec<AttemptBody>,
}

impl DeliveryBody {
    /// `payload` decides whether what was sent and answered is shown.
    pub(crate) fn of(
        delivery: &Delivery,
        payload: Option<String>,
        attempts: Vec<Attempt>,
        now: OffsetDateTime,
    ) -> Self {
        let attempt = |attempt| {
            if payload.is_some() {
                AttemptBody::of(attempt)
            } else {
                AttemptBody::without_content(attempt)
            }
        };
        Self {
            summary: DeliverySummaryBody::of(delivery, now),
            attempts: attempts.into_iter().map(attempt).collect(),
            payload,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptBody {
    number: u32,
    at: String,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AttemptError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_error: Option<AttemptError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_headers: Option<BTreeMap<String, String>>,
}

impl AttemptBody {
    pub(crate) fn of(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at,
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            response: attempt.response,
            error: attempt.error,
            response_error: attempt.response_error,
            request_headers: Some(attempt.request_headers),
        }
    }

    fn without_content(attempt: Attempt) -> Self {
        Self {
            response: None,
            request_headers: None,
            ..Self::of(attempt)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenBody {
    id: TokenId,
    organization_id: OrganizationId,
    name: String,
    rights: BTreeSet<Right>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    /// The token itself, only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenBody {
    pub(crate) fn of(token: Token, secret: Option<String>) -> Self {
        Self {
            id: token.id,
            organization_id: token.org,
            name: token.name,
            rights: token.rights,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
            token: secret,
        }
    }
}
