//! The deliveries to one webhook.
//!
//! A lane is open, closed, or on probation. Closed, nothing is sent: the webhook is disabled, or its receiver seems to be
//! down. On probation, one delivery is tried, and what comes of it opens or closes the lane for the others. So a receiver
//! that is down costs one request an hour, however much waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use shared::delivery::{Attempt, Claim, Delivery, DeliveryId, DeliveryState};
use shared::delivery_store::{CLAIM_VALIDITY, Claimed, Created, DeliveryKey, Outcome};
use shared::message::{Message, Outgoing, event_names, shown};
use shared::queue::{Replay, ReportChange, Work};
use shared::report::{Report, ReportId};
use shared::webhook::sender::{Exchange, FailureKind, RetryAfter};
use shared::webhook::{DisabledReason, Health, Webhook, WebhookKey};
use shared::webhook_store::Changed;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::Delivering;
use crate::clock::Clock;

/// How many deliveries are on their way to one receiver at once: enough to be quick, few enough that a slow receiver
/// leaves room for the others.
const PER_WEBHOOK: usize = 8;

/// The longest `Retry-After` that is honoured. A receiver that wants to be left alone for longer can be disabled.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What is to be delivered, and the records of the batch that wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) what: What,
    pub(crate) records: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    New(Message),
    Stored(DeliveryId),
}

/// What there is to do for one webhook.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) key: WebhookKey,
    webhook: Option<Webhook>,
    /// What the new messages tell of.
    reports: Arc<HashMap<ReportId, Report>>,
    tasks: VecDeque<Task>,
}

/// Whether deliveries may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// One may.
    Probation,
    /// None may. New ones are stored in this state, and are due at this time.
    Closed(DeliveryState, OffsetDateTime),
}

/// What became of a task.
#[derive(Debug, Default)]
struct Done {
    /// What the receiver did, if it was asked.
    verdict: Option<Verdict>,
    /// Records whose outcome is not in DynamoDB.
    unsettled: Vec<usize>,
    /// What the task turned out to be instead.
    instead: Vec<Task>,
    /// It is stored, and could be tried at once if there was time.
    left: Option<DeliveryId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Success,
    /// The receiver is there, and refused the message.
    Refused,
    /// It seems to be down, or wants to be left alone, until this time.
    Down(OffsetDateTime),
    /// It wants no more messages.
    Gone,
}

impl Lane {
    pub(crate) fn new(
        key: WebhookKey,
        webhook: Option<Webhook>,
        reports: Arc<HashMap<ReportId, Report>>,
    ) -> Self {
        Self {
            key,
            webhook,
            reports,
            tasks: VecDeque::new(),
        }
    }

    /// Puts tasks before the others.
    pub(crate) fn prepend(&mut self, tasks: impl IntoIterator<Item = Task>) {
        let later = std::mem::take(&mut self.tasks);
        self.tasks = tasks.into_iter().chain(later).collect();
    }

    /// Does what there is to do. Gives the records whose outcome is not in DynamoDB.
    pub(crate) async fn run(
        mut self,
        delivering: &Delivering,
        slots: &Semaphore,
        clock: &Clock,
    ) -> Vec<usize> {
        let tasks = std::mem::take(&mut self.tasks);
        if tasks.is_empty() {
            return Vec::new();
        }
        let Some(webhook) = &self.webhook else {
            return forget(delivering, self.key, tasks).await;
        };
        let gate = match gate_of(delivering, webhook, clock.now()).await {
            Ok(gate) => gate,
            Err(error) => {
                tracing::error!(webhook = %webhook.id, "webhook {} could not be tried: {error:#}", webhook.id);
                return tasks.into_iter().flat_map(|task| task.records).collect();
            }
        };
        let running = Running {
            delivering,
            webhook,
            reports: &self.reports,
            slots,
            clock,
            gate: Mutex::new(gate),
            is_failing: AtomicBool::new(webhook.health != Health::default()),
        };
        running.all(tasks).await
    }
}

/// The webhook is gone, so its deliveries go too.
async fn forget(delivering: &Delivering, webhook: WebhookKey, tasks: VecDeque<Task>) -> Vec<usize> {
    let mut unsettled = Vec::new();
    for task in tasks {
        let What::Stored(id) = task.what else {
            continue;
        };
        let key = DeliveryKey {
            webhook: webhook.id,
            id,
        };
        if let Err(error) = delivering.deliveries.forget(key).await {
            tracing::error!(delivery = %id, "{error:#}");
            unsettled.extend(task.records);
        }
    }
    unsettled
}

async fn gate_of(
    delivering: &Delivering,
    webhook: &Webhook,
    now: OffsetDateTime,
) -> anyhow::Result<Gate> {
    if !webhook.is_enabled() {
        // They are due all the time, so whoever enables the webhook need not touch them.
        return Ok(Gate::Closed(DeliveryState::Held, now));
    }
    let later = now + delivering.schedule.retry_after;
    if webhook.health.paused_until.is_none() {
        return Ok(Gate::Open);
    }
    if webhook.health.is_paused(now) {
        return Ok(Gate::Closed(DeliveryState::Pending, now));
    }
    Ok(
        match delivering.webhooks.claim_probe(webhook, later).await? {
            Changed::Yes => Gate::Probation,
            Changed::No => Gate::Closed(DeliveryState::Pending, now),
        },
    )
}

/// A lane at work.
struct Running<'a> {
    delivering: &'a Delivering,
    webhook: &'a Webhook,
    reports: &'a HashMap<ReportId, Report>,
    slots: &'a Semaphore,
    clock: &'a Clock,
    gate: Mutex<Gate>,
    /// Whether a failure is noted with the webhook, that the next success has to remove.
    is_failing: AtomicBool,
}

impl Running<'_> {
    fn gate(&self) -> Gate {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_gate(&self, gate: Gate) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    async fn all(&self, mut tasks: VecDeque<Task>) -> Vec<usize> {
        let mut unsettled = Vec::new();
        let mut left = Vec::new();
        let mut has_recovered = false;
        let mut under_way = FuturesUnordered::new();
        loop {
            let at_once = if self.gate() == Gate::Probation {
                1
            } else {
                PER_WEBHOOK
            };
            while under_way.len() < at_once
                && let Some(task) = tasks.pop_front()
            {
                under_way.push(self.work(task));
            }
            let Some(done) = under_way.next().await else {
                break;
            };
            unsettled.extend(done.unsettled);
            left.extend(done.left);
            tasks.extend(done.instead);
            if let Some(verdict) = done.verdict {
                has_recovered |= self.gate() == Gate::Probation && verdict == Verdict::Success;
                self.heed(verdict).await;
            }
        }
        if self.gate() == Gate::Probation {
            // Nothing was left to try, so the right to try goes back.
            self.log(self.delivering.webhooks.unpause(self.webhook.key()).await);
        }
        if has_recovered {
            self.log(self.call_the_others().await);
        }
        let due = Work::due(self.webhook.org, self.webhook.id, &left);
        // If the queue does not take them, the next round does: they are due.
        self.log(self.delivering.queue.send(&due).await);
        unsettled
    }

    fn log(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            tracing::error!(webhook = %self.webhook.id, "{error:#}");
        }
    }

    /// Everything else that waits for this webhook has waited long enough.
    async fn call_the_others(&self) -> anyhow::Result<()> {
        let messages = [DeliveryState::Pending, DeliveryState::Failed].map(|state| {
            Work::Replay(Replay {
                org: self.webhook.org,
                webhook: self.webhook.id,
                replay: state,
                from: DeliveryId::FIRST,
                to: DeliveryId::last_before(self.clock.now()),
            })
        });
        self.delivering.queue.send(&messages).await
    }

    /// Does a task. It is asked whether the gate is open only now: much may have happened while it waited.
    async fn work(&self, task: Task) -> Done {
        let _slot = self.slots.acquire().await;
        let records = task.records.clone();
        let result = match (self.gate(), self.clock.is_over()) {
            (Gate::Closed(state, due_at), _) => self.leave(task, state, due_at, false).await,
            (_, true) => {
                let now = self.clock.now();
                self.leave(task, DeliveryState::Pending, now, true).await
            }
            (Gate::Open | Gate::Probation, false) => self.try_now(task).await,
        };
        result.unwrap_or_else(|error| {
            tracing::error!(webhook = %self.webhook.id, "a delivery to webhook {} has to wait: {error:#}", self.webhook.id);
            Done {
                unsettled: records,
                ..Done::default()
            }
        })
    }

    /// Stores what is new, and sends nothing.
    async fn leave(
        &self,
        task: Task,
        state: DeliveryState,
        due_at: OffsetDateTime,
        is_to_be_tried: bool,
    ) -> anyhow::Result<Done> {
        let (id, instead) = match task.what {
            What::Stored(id) => (Some(id), Vec::new()),
            What::New(message) => {
                let now = self.clock.now();
                let delivery = Delivery::new(self.webhook.key(), &message, state, due_at, now);
                match self
                    .delivering
                    .deliveries
                    .create(&delivery, &message)
                    .await?
                {
                    Created::Yes => (Some(delivery.id), Vec::new()),
                    Created::Told(told) => (None, self.instead(&message, &told, &task.records)?),
                }
            }
        };
        Ok(Done {
            left: id.filter(|_| is_to_be_tried),
            instead,
            ..Done::default()
        })
    }

    async fn try_now(&self, task: Task) -> anyhow::Result<Done> {
        let now = self.clock.now();
        let (delivery, claim, body) = match task.what {
            What::New(message) => {
                let until = now + CLAIM_VALIDITY;
                let claim = Claim::new();
                let mut delivery = Delivery::new(
                    self.webhook.key(),
                    &message,
                    DeliveryState::Pending,
                    until,
                    now,
                );
                delivery.claim = Some(claim);
                match self
                    .delivering
                    .deliveries
                    .create(&delivery, &message)
                    .await?
                {
                    Created::Yes => (delivery, claim, message.body),
                    Created::Told(told) => {
                        return Ok(Done {
                            instead: self.instead(&message, &told, &task.records)?,
                            ..Done::default()
                        });
                    }
                }
            }
            What::Stored(id) => {
                let key = DeliveryKey {
                    webhook: self.webhook.id,
                    id,
                };
                match self.delivering.deliveries.claim(key, now).await? {
                    Claimed::Started(delivery, claim) => {
                        let body = self.delivering.deliveries.body(key).await?;
                        let body = body.with_context(|| format!("delivery {id} has no message"))?;
                        (*delivery, claim, body)
                    }
                    // Whoever tries it may fail to record it: the message comes again, to see what came of it.
                    Claimed::InProgress => {
                        return Ok(Done {
                            unsettled: task.records,
                            ..Done::default()
                        });
                    }
                    Claimed::AlreadyDelivered | Claimed::NotDue | Claimed::Gone => {
                        return Ok(Done::default());
                    }
                }
            }
        };
        let verdict = self.attempt(&delivery, claim, body).await?;
        Ok(Done {
            verdict: Some(verdict),
            ..Done::default()
        })
    }

    /// The tasks instead of a new message, some of whose changes are told of by other deliveries: those, and the rest.
    fn instead(
        &self,
        message: &Message,
        told: &HashMap<ReportChange, DeliveryId>,
        records: &[usize],
    ) -> anyhow::Result<Vec<Task>> {
        let mut stored: Vec<DeliveryId> = told.values().copied().collect();
        stored.sort_unstable();
        stored.dedup();
        let rest: Vec<(ReportChange, &Report)> = message
            .changes
            .iter()
            .filter(|change| !told.contains_key(change))
            .filter_map(|change| Some((*change, self.reports.get(&change.report)?)))
            .collect();
        let rest = Message::of(self.webhook.org, &rest)?;
        let whats = stored
            .into_iter()
            .map(What::Stored)
            .chain(rest.into_iter().map(What::New));
        Ok(whats
            .map(|what| Task {
                what,
                records: records.to_vec(),
            })
            .collect())
    }

    /// Sends a message, and records what came of it.
    ///
    /// # Errors
    /// Our own faults. They count as nothing: the receiver may have the message or not, and it will be sent again.
    async fn attempt(
        &self,
        delivery: &Delivery,
        claim: Claim,
        body: String,
    ) -> anyhow::Result<Verdict> {
        let webhook = self.webhook;
        let key = DeliveryKey {
            webhook: webhook.id,
            id: delivery.id,
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
        let posted = self
            .delivering
            .sender
            .post(&webhook.settings.url, headers, outgoing.body)
            .await;
        let exchange = match posted {
            Ok(exchange) => exchange,
            Err(error) => {
                let released = self.delivering.deliveries.release(key, claim, at).await;
                self.log(released);
                return Err(error.context(format!("try delivery {}", delivery.id)));
            }
        };
        let number = delivery.attempts + 1;
        let attempt = Attempt::of(number, at, &exchange, shown_headers);
        let now = self.clock.now();
        let verdict = self.verdict(&exchange, now);
        let outcome = match verdict {
            Verdict::Success => Outcome::Delivered,
            Verdict::Down(until) => Outcome::Failed(until),
            Verdict::Refused | Verdict::Gone => {
                Outcome::Failed(now + self.delivering.schedule.retry_after)
            }
        };
        self.delivering
            .deliveries
            .record(delivery, claim, &attempt, outcome)
            .await?;
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
        let usual = now + self.delivering.schedule.retry_after;
        match (failure.kind, exchange.status) {
            (_, Some(410)) => Verdict::Gone,
            (FailureKind::Status, Some(429 | 503)) => {
                Verdict::Down(retry_at(exchange.retry_after, now).unwrap_or(usual))
            }
            (FailureKind::Status, Some(500..)) => Verdict::Down(usual),
            (FailureKind::Status | FailureKind::Body, _) => Verdict::Refused,
            _ => Verdict::Down(usual),
        }
    }

    /// Opens or closes the lane, and notes how the receiver does. What cannot be noted is seen again at the next delivery.
    async fn heed(&self, verdict: Verdict) {
        let key = self.webhook.key();
        let webhooks = &self.delivering.webhooks;
        let now = self.clock.now();
        let was_on_probation = self.gate() == Gate::Probation;
        if verdict != Verdict::Success {
            self.is_failing.store(true, Ordering::Relaxed);
        }
        let failed = match verdict {
            Verdict::Success => {
                // What the receiver did last decides, also when it failed at another message a moment ago.
                if !matches!(self.gate(), Gate::Closed(DeliveryState::Held, _)) {
                    self.set_gate(Gate::Open);
                }
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    self.log(webhooks.succeeded(key).await);
                }
                return;
            }
            Verdict::Gone => {
                self.set_gate(Gate::Closed(DeliveryState::Held, now));
                let disabled = webhooks.disable(key, DisabledReason::Gone, None, now).await;
                self.say_disabled(disabled, "its receiver answered 410");
                return;
            }
            Verdict::Refused => {
                if was_on_probation {
                    self.set_gate(Gate::Open);
                    self.log(webhooks.unpause(key).await);
                }
                webhooks.failed(key, now, None).await
            }
            Verdict::Down(until) => {
                self.set_gate(Gate::Closed(DeliveryState::Pending, now));
                webhooks.failed(key, now, Some(until)).await
            }
        };
        let health = match failed {
            Ok(Some(health)) => health,
            Ok(None) => return,
            Err(error) => return self.log(Err(error)),
        };
        let limit = shared::date::timestamp(now - self.delivering.schedule.disable_after);
        if let Some(since) = health.failing_since.filter(|since| *since <= limit) {
            self.set_gate(Gate::Closed(DeliveryState::Held, now));
            let disabled = webhooks
                .disable(key, DisabledReason::NoSuccess, Some(&since), now)
                .await;
            self.say_disabled(
                disabled,
                &format!("no delivery has succeeded since {since}"),
            );
        }
    }

    fn say_disabled(&self, disabled: anyhow::Result<Changed>, why: &str) {
        match disabled {
            Ok(Changed::Yes) => {
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
