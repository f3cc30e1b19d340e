//! One attempt to deliver a message.

use domain::delivery::DeliveryState;
use domain::delivery::attempt::Attempt;
use domain::webhook::health::Verdict;
use domain::webhook::schedule::End;
use outbound::format::{Outgoing, event_names};
use store::deliveries::lease::{Leased, Next, Outcome};
use time::{Duration, OffsetDateTime};

use super::Running;

/// How often a message is tried that the receiver does not want. The answer may be different an hour later.
const TRIES: u32 = 3;
/// The shortest time over which such a message is tried, however short the waits of a schedule are. A proxy may give such an
/// answer while the receiver behind it is being replaced.
const TRIED_FOR: Duration = Duration::HOUR;

impl Running<'_> {
    /// Sends a message and records the attempt. Gives the attempt and the time at which it ended. Reads the body if it is not
    /// given.
    ///
    /// # Errors
    /// Our own faults. They count as no attempt: the receiver may have the message or not, and it will be sent again.
    pub(super) async fn attempt(
        &self,
        leased: &Leased,
        body: Option<String>,
    ) -> anyhow::Result<(Verdict, OffsetDateTime)> {
        let webhook = self.webhook;
        let delivery = &leased.delivery;
        let deliveries = &self.delivering.deliveries;
        let body = match body {
            Some(body) => body,
            None => deliveries.message(leased).await?,
        };
        let outgoing = Outgoing {
            id: delivery.id.to_string(),
            events: event_names(&delivery.events),
            project: delivery.project.clone(),
            hops: delivery.hops,
            body: body.into(),
        };
        let at = self.clock.now();
        let headers = outgoing.headers(&webhook.settings, at)?;
        let sender = &self.delivering.sender;
        let signing = webhook.settings.secrets.signing(at);
        let exchange = sender
            .post(&webhook.settings.url, headers, outgoing.body, signing)
            .await?;
        // Its number is provisional. Recording gives it the next free number.
        let attempt = Attempt::of(delivery.attempts + 1, at, &exchange);
        let now = self.clock.now();
        let format = webhook.settings.wanted.format;
        let verdict = match exchange.status {
            Some(status) if format.is_about_the_message(status) => Verdict::NotWanted,
            _ => exchange.verdict(now),
        };
        let policy = self.policy.after(delivery.failures);
        let is_unwanted = verdict == Verdict::NotWanted;
        let unwanted = delivery.unwanted + u32::from(is_unwanted);
        let has_been_tried = unwanted >= TRIES && delivery.is_older_than(TRIED_FOR, now);
        let outcome = match verdict.due_again(now, &policy) {
            None => Outcome::Delivered,
            Some(_) if is_unwanted && has_been_tried => Outcome::GivenUp(DeliveryState::Rejected),
            Some(_) if policy.end() == Some(End::GiveUp) => Outcome::GivenUp(DeliveryState::Failed),
            Some(due_at) => Outcome::Failed(Next {
                due_at,
                failures: policy.counted(),
                unwanted,
            }),
        };
        let recorded = deliveries.record(leased, attempt.clone(), outcome);
        let recorded = recorded.await?;
        // An unwanted message is neither a success of the receiver nor a failure that anybody has to repair.
        if recorded.is_some() && !is_unwanted {
            self.tally
                .attempted(verdict == Verdict::Success, attempt.duration_ms);
        }
        if let (Some(_), Outcome::Failed(next)) = (&recorded, outcome)
            && policy.schedule.is_to_the_minute()
        {
            self.try_at(delivery.id, next.due_at);
        }
        let number = recorded.map_or(attempt.number, |attempt| attempt.number);
        let what = match (&attempt.error, attempt.status) {
            (Some(error), _) => format!("failed: {}", error.message),
            (None, Some(status)) => match &attempt.response_error {
                Some(error) => format!("delivered: {}", error.message),
                None => status.to_string(),
            },
            (None, None) => "no answer".to_owned(),
        };
        tracing::info!(
            webhook = %webhook.id, delivery = %delivery.id, attempt = number, status = attempt.status,
            milliseconds = attempt.duration_ms,
            "delivery {} to webhook {}, attempt {number}: {what}, {} ms", delivery.id, webhook.id, attempt.duration_ms,
        );
        Ok((verdict, now))
    }
}
