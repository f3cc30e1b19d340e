//! Carries out the effects of a verdict about the receiver.

use std::time::Duration;

use domain::delivery::{Delivery, DeliveryId};
use domain::webhook::health::{DisabledReason, Effect, Pause, Verdict, finish, step};
use store::dynamodb::Changed;
use store::queue::work::Work;
use time::OffsetDateTime;

use super::Running;

/// How many attempts at one delivery are made at the times that the receiver itself sets. After that the hourly sweep calls
/// it. So a receiver cannot decide how much work we have.
const CALLED_AT_ITS_TIME: u32 = 20;
/// For the same reason, a receiver is never called again sooner than this.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);

/// The result of carrying out effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Out,
    /// The webhook has changed since it was read: an administrator has changed, disabled or deleted it, or another batch has
    /// disabled it.
    TooLate,
}

impl Running<'_> {
    /// Records what an attempt that ended at `now` says of the receiver. What cannot be recorded shows again at the next
    /// delivery.
    pub(super) async fn heed(&self, delivery: &Delivery, verdict: Verdict, now: OffsetDateTime) {
        if let Verdict::ToldToWait(_) = verdict
            && !self.policy.schedule.is_to_the_minute()
            && delivery.attempts < CALLED_AT_ITS_TIME
        {
            *self.told_to_wait() = Some(delivery.id);
        }
        let effects = {
            let mut state = self.state();
            let policy = self.policy.after(delivery.failures);
            let (next, effects) = step(state.clone(), verdict, now, &policy);
            *state = next;
            effects
        };
        if self.carry_out(effects, now).await == Carried::TooLate {
            self.log(self.try_anew(delivery, now).await);
        }
    }

    /// Does what remains at the end. Nothing is lost if it fails.
    pub(super) async fn finish(&self) {
        let effects = finish(&self.state());
        self.carry_out(effects, self.clock.now()).await;
    }

    /// Carries out the effects of `now` separately. If one fails or comes too late, the next is still carried out. Its write
    /// has conditions of its own.
    async fn carry_out(&self, effects: Vec<Effect>, now: OffsetDateTime) -> Carried {
        let mut carried = Carried::Out;
        for effect in effects {
            match self.carry_out_one(effect, now).await {
                Ok(Carried::Out) => {}
                Ok(Carried::TooLate) => carried = Carried::TooLate,
                Err(error) => self.log::<(), _>(Err(error)),
            }
        }
        carried
    }

    /// Tries a delivery anew that failed while an administrator changed the webhook. Its next time was set by the former
    /// receiver, or for the former request, so it may no longer hold. The change made other deliveries due, but not this one,
    /// since it was being tried.
    async fn try_anew(&self, delivery: &Delivery, now: OffsetDateTime) -> Result<(), store::Error> {
        let deliveries = &self.delivering.deliveries;
        if deliveries.hasten(delivery.key(), now).await? == Changed::Stored {
            let due = Work::due(self.webhook.org, self.webhook.id, &[delivery.id]);
            self.delivering.queue.send(&due).await?;
        }
        Ok(())
    }

    async fn carry_out_one(
        &self,
        effect: Effect,
        now: OffsetDateTime,
    ) -> Result<Carried, store::Error> {
        let webhook = self.webhook;
        let webhooks = &self.delivering.webhooks;
        match effect {
            Effect::RecordFailure(pause) => {
                if webhooks.failed(webhook, now, pause).await? == Changed::Lost
                    && !self.failed_all_the_same(now, pause).await?
                {
                    return Ok(Carried::TooLate);
                }
            }
            Effect::RecordSuccess => webhooks.succeeded(webhook.key(), now).await?,
            Effect::RecordSuccessSince(at) => webhooks.succeeded_since(webhook.key(), at).await?,
            Effect::EndPause => webhooks.unpause(webhook.key()).await?,
            Effect::ReturnProbe(until) => webhooks.return_probe(webhook, until).await?,
            Effect::Disable {
                reason,
                failing_since,
            } => {
                let since = failing_since.as_deref();
                let disabled = webhooks.disable(webhook, reason, since, now).await?;
                match disabled {
                    Changed::Stored => self.note_disabled(reason, since),
                    // With a time, the reason may also be that a delivery has succeeded.
                    Changed::Lost if since.is_none() => return Ok(Carried::TooLate),
                    Changed::Lost => {}
                }
            }
            Effect::CallAt(at) => self.call_at(at, now),
            Effect::ReplayDue => {
                // Failed deliveries that are not due stay as they are: one may be why the webhook was paused.
                let messages = Work::undelivered(webhook.key(), false, now);
                self.delivering.queue.send(&messages).await?;
            }
        }
        Ok(Carried::Out)
    }

    /// Records a failure with a webhook that was changed since it was read, if its receiver is the same. Then the receiver's
    /// answer still holds.
    async fn failed_all_the_same(
        &self,
        now: OffsetDateTime,
        pause: Option<Pause>,
    ) -> Result<bool, store::Error> {
        let webhooks = &self.delivering.webhooks;
        let Some(current) = webhooks.get(self.webhook.key()).await? else {
            return Ok(false);
        };
        let is_same = current.settings.is_same_receiver(&self.webhook.settings);
        if !is_same || !current.is_enabled() {
            return Ok(false);
        }
        Ok(webhooks.failed(&current, now, pause).await? == Changed::Stored)
    }

    /// Schedules another attempt at the delivery to which the receiver answered that it wants to be left alone. If the
    /// receiver then takes it, all others follow.
    fn call_at(&self, at: OffsetDateTime, now: OffsetDateTime) {
        if let Some(delivery) = *self.told_to_wait() {
            self.try_at(delivery, at.max(now + SHORTEST_WAIT));
        }
    }

    /// Schedules an attempt as soon as a delivery is due, unless a round of the sweep comes before that.
    pub(super) fn try_at(&self, delivery: DeliveryId, at: OffsetDateTime) {
        if at - self.clock.now() <= self.policy.limits.round {
            self.soon().push((delivery, at));
        }
    }

    /// Puts the deliveries on the queue that are to be tried as soon as they are due. The queue can hold a message back for a
    /// quarter of an hour; after that it comes here again. If the queue does not take them, the next round of the sweep does.
    pub(super) async fn send_soon(&self) {
        let soon = std::mem::take(&mut *self.soon());
        let (webhook, now) = (self.webhook.key(), self.clock.now());
        self.log(
            self.delivering
                .queue
                .send_later(&Work::due_at(webhook, &soon, now))
                .await,
        );
    }

    fn note_disabled(&self, reason: DisabledReason, failing_since: Option<&str>) {
        {
            let mut state = self.state();
            *state = state.clone().disabled();
        }
        self.tally.disabled();
        let why = match (reason, failing_since) {
            (_, Some(since)) => format!("no delivery has succeeded since {since}"),
            (DisabledReason::RetriesExhausted, None) => {
                "a delivery has failed as often as its schedule has it tried".to_owned()
            }
            (_, None) => "its receiver answered 410".to_owned(),
        };
        tracing::warn!(
            webhook = %self.webhook.id, reason = reason.as_str(),
            "webhook {} is disabled: {why}", self.webhook.id
        );
    }
}
