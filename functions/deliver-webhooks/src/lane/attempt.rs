//! One attempt, and what it says of the receiver.

use std::time::Duration;

use anyhow::Context as _;
use shared::aws::Changed;
use shared::date::timestamp;
use shared::delivery::{Attempt, Claim, Delivery, DeliveryState};
use shared::delivery_store::{DeliveryKey, Outcome};
use shared::message::{Outgoing, event_names, shown};
use shared::webhook::DisabledReason;
use shared::webhook::sender::{Exchange, FailureKind, RetryAfter};
use shared::webhook_store::Pause;
use time::OffsetDateTime;

use super::{Gate, Running};

/// The longest `Retry-After` that is honoured. A receiver that wants to be left alone for longer can be disabled.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What an attempt says of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    /// The receiver is there, and refused the message.
    Refused,
    /// It seems to be down.
    Down(Pause),
    /// It wants no more messages.
    Gone,
}

impl Running<'_> {
    /// Sends a message, and records what came of it. Without a body it is read.
    ///
    /// # Errors
    /// Our own faults. They count as nothing: the receiver may have the message or not, and it will be sent again.
    pub(super) async fn attempt(
        &self,
        delivery: &Delivery,
        claim: Claim,
        body: Option<String>,
    ) -> anyhow::Result<Verdict> {
        let webhook = self.webhook;
        let key = DeliveryKey {
            webhook: webhook.id,
            id: delivery.id,
        };
        let body = match body {
            Some(body) => body,
            None => {
                let stored = self.delivering.deliveries.body(key).await?;
                stored.context("it has no message")?
            }
        };
        let outgoing = Outgoing {
            id: delivery.id.to_string(),
            events: event_names(&delivery.events),
            project: delivery.project.clone(),
            body: body.into(),
        };
        let at = self.clock.now();
        let headers = outgoing.headers(&webhook.settings, at)?;
        let shown_headers = shown(&headers);
        let mut exchange = self
            .delivering
            .sender
            .post(&webhook.settings.url, headers, outgoing.body)
            .await?;
        exchange.mask(webhook.settings.signing_secrets(at));
        let number = delivery.attempts + 1;
        let attempt = Attempt::of(number, at, &exchange, shown_headers);
        let now = self.clock.now();
        let verdict = self.verdict(&exchange, now);
        let outcome = match verdict {
            Verdict::Success => Outcome::Delivered,
            Verdict::Down(pause) => Outcome::Failed(pause.until),
            Verdict::Refused | Verdict::Gone => {
                Outcome::Failed(now + self.delivering.schedule.retry_after)
            }
        };
        let deliveries = &self.delivering.deliveries;
        let recorded = deliveries
            .record(delivery, claim, &attempt, outcome)
            .await?;
        if recorded == Changed::Yes {
            self.tally
                .attempted(verdict == Verdict::Success, attempt.duration_ms);
        }
        let what = match (&attempt.error, attempt.status) {
            (Some(error), _) => format!("failed: {}", error.message),
            (None, Some(status)) => status.to_string(),
            (None, None) => "no answer".to_owned(),
        };
        tracing::info!(
            webhook = %webhook.id, delivery = %delivery.id, attempt = number, status = attempt.status,
            milliseconds = attempt.duration_ms,
            "delivery {} to webhook {}, attempt {number}: {what}, {} ms", delivery.id, webhook.id, attempt.duration_ms,
        );
        Ok(verdict)
    }

    fn verdict(&self, exchange: &Exchange, now: OffsetDateTime) -> Verdict {
        let Some(failure) = &exchange.failure else {
            return Verdict::Success;
        };
        let down = |is_answering| {
            Verdict::Down(Pause {
                until: now + self.delivering.schedule.retry_after,
                is_answering,
                is_told_to_wait: false,
            })
        };
        match (failure.kind, exchange.status) {
            (_, Some(410)) => Verdict::Gone,
            (FailureKind::Status, Some(429 | 503)) => match retry_at(exchange.retry_after, now) {
                Some(until) => Verdict::Down(Pause {
                    until,
                    is_answering: false,
                    is_told_to_wait: true,
                }),
                None => down(false),
            },
            // What stands before the receiver says that it is down.
            (FailureKind::Status, Some(502 | 504)) => down(false),
            (FailureKind::Status, Some(500..)) => down(true),
            (FailureKind::Status | FailureKind::Body, _) => Verdict::Refused,
            _ => down(false),
        }
    }

    /// Opens or closes the lane, and notes how the receiver does. What cannot be noted is seen again at the next delivery.
    pub(super) async fn heed(&self, verdict: Verdict) {
        let webhooks = &self.delivering.webhooks;
        let now = self.clock.now();
        match verdict {
            Verdict::Success => {
                let was_failing = {
                    let mut state = self.state();
                    state.has_recovered |= state.gate == Gate::Probation;
                    state.last_success = Some(now);
                    // What the receiver did last decides, also when it failed at another message a moment ago. But when
                    // it said how long it wants to be left alone, this was sent before.
                    if !state.is_told_to_wait {
                        if !matches!(state.gate, Gate::Closed(DeliveryState::Held, _)) {
                            state.gate = Gate::Open;
                        }
                        std::mem::take(&mut state.is_failing)
                    } else {
                        false
                    }
                };
                if was_failing {
                    self.log(webhooks.succeeded(self.webhook.key(), now).await);
                }
            }
            Verdict::Gone => {
                self.state().close(now);
                let disabled = webhooks.disable(self.webhook, DisabledReason::Gone, None, now);
                self.note_disabled(disabled.await, "its receiver answered 410");
            }
            Verdict::Refused => {
                let was_on_probation = {
                    let mut state = self.state();
                    let was_on_probation = state.gate == Gate::Probation;
                    if was_on_probation {
                        // It is there, and that is what was to be found out.
                        state.gate = Gate::Open;
                        state.has_recovered = true;
                    }
                    was_on_probation
                };
                if was_on_probation {
                    self.log(webhooks.unpause(self.webhook.key()).await);
                }
                self.note_failure(None).await;
            }
            Verdict::Down(pause) => {
                let pause = {
                    let mut state = self.state();
                    // It has just taken another message, so this one may be to blame. One success excuses one failure.
                    let is_excused = pause.is_answering && state.last_success.take().is_some();
                    if !is_excused {
                        state.close(now);
                    }
                    let renews = self.renews_pause || !pause.is_answering;
                    // What the receiver has said itself is not shortened by what comes of earlier requests.
                    let is_ours = pause.is_told_to_wait || !state.is_told_to_wait;
                    state.is_told_to_wait |= pause.is_told_to_wait;
                    (!is_excused && renews && is_ours).then_some(pause)
                };
                self.note_failure(pause).await;
            }
        }
    }

    async fn note_failure(&self, pause: Option<Pause>) {
        {
            let mut state = self.state();
            state.is_failing = true;
            if pause.is_some() {
                state.last_success = None;
            }
        }
        let webhooks = &self.delivering.webhooks;
        let now = self.clock.now();
        let health = match webhooks.failed(self.webhook, now, pause).await {
            Ok(Some(health)) => health,
            Ok(None) => return,
            Err(error) => return self.log(Err(error)),
        };
        let limit = timestamp(now - self.delivering.schedule.disable_after);
        if let Some(since) = health.failing_since.filter(|since| *since <= limit) {
            let reason = DisabledReason::NoSuccess;
            let disabled = webhooks.disable(self.webhook, reason, Some(&since), now);
            self.note_disabled(
                disabled.await,
                &format!("no delivery has succeeded since {since}"),
            );
        }
    }

    fn note_disabled(&self, disabled: anyhow::Result<Changed>, why: &str) {
        match disabled {
            Ok(Changed::Yes) => {
                self.state().gate = Gate::Closed(DeliveryState::Held, self.clock.now());
                self.tally.disabled();
                tracing::warn!(webhook = %self.webhook.id, "webhook {} is disabled: {why}", self.webhook.id);
            }
            Ok(Changed::No) => {}
            Err(error) => self.log(Err(error)),
        }
    }
}

fn retry_at(retry_after: Option<RetryAfter>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let at = match retry_after? {
        RetryAfter::In(duration) => now + duration.min(MAX_RETRY_AFTER),
        RetryAfter::At(at) => at.clamp(now, now + MAX_RETRY_AFTER),
    };
    Some(at)
}
