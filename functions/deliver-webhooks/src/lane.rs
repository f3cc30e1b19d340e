//! The deliveries to one webhook.
//!
//! [`domain::webhook::health`] decides what the receiver's health allows, and this module carries it out. While the circuit
//! is closed, messages are sent concurrently. While it is half-open, they are sent one after the other. While it is open,
//! they are stored and wait.

mod attempt;
mod effects;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::delivery::message::Message;
use domain::delivery::{Delivery, DeliveryId, DeliveryKey, DeliveryState, Lease};
use domain::event::{Change, ChangeKey};
use domain::webhook::health::{Admission, Circuit, State};
use domain::webhook::schedule::RetryPolicy;
use domain::webhook::{Webhook, WebhookKey};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use outbound::format;
use runtime::clock::Clock;
use store::deliveries::creation::Created;
use store::deliveries::lease::{Claimed, LEASE_VALIDITY, Leased};
use store::dynamodb::Changed;
use store::queue::work::Work;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;

use crate::receipt::Receipt;
use crate::state::Delivering;
use crate::tally::Tally;

/// How many deliveries of a batch are sent to one receiver at once: enough to be quick, and few enough that a slow receiver
/// leaves room for the others.
const PER_WEBHOOK: usize = 8;

/// What is to be delivered, and the messages of the queue that wait for it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) what: What,
    pub(crate) receipt: Receipt,
}

#[derive(Debug)]
pub(crate) enum What {
    New(Message),
    Stored(Due),
}

/// A delivery that is due, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: DeliveryId,
    /// The time until which it is to wait, if there is one, in the form of [`timestamp`](domain::date::timestamp).
    pub(crate) at: Option<String>,
}

impl Due {
    /// A delivery that is due now, as far as is known.
    fn now(id: DeliveryId) -> Self {
        Self { id, at: None }
    }

    /// When it is due, if that is later than `now`.
    fn later(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let at = OffsetDateTime::parse(self.at.as_deref()?, &Rfc3339).ok()?;
        (at > now).then_some(at)
    }
}

/// The work for one webhook.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) key: WebhookKey,
    webhook: Option<Webhook>,
    tasks: VecDeque<Task>,
}

impl Lane {
    pub(crate) fn new(key: WebhookKey, webhook: Option<Webhook>) -> Self {
        Self {
            key,
            webhook,
            tasks: VecDeque::new(),
        }
    }

    /// Puts tasks before the others.
    pub(crate) fn prepend(&mut self, tasks: impl IntoIterator<Item = Task>) {
        let later = std::mem::take(&mut self.tasks);
        self.tasks = tasks.into_iter().chain(later).collect();
    }

    /// Does the work, and settles the messages whose outcome DynamoDB has.
    pub(crate) async fn run(
        self,
        delivering: &Delivering,
        slots: &Semaphore,
        clock: &Clock,
        tally: &Tally,
    ) {
        let mut tasks = self.tasks;
        if tasks.is_empty() {
            return;
        }
        let Some(webhook) = &self.webhook else {
            return forget(delivering, self.key, tasks).await;
        };
        let now = clock.now();
        // Deliveries that are not due yet go back first: they are no reason to claim a probe.
        let later = set_aside_later(&mut tasks, now);
        if !later.is_empty() {
            let soon: Vec<_> = later.iter().map(|(id, at, _)| (*id, *at)).collect();
            match delivering
                .queue
                .send_later(&Work::due_at(self.key, &soon, now))
                .await
            {
                Ok(()) => {
                    for (_, _, receipt) in later {
                        receipt.settle();
                    }
                }
                // Their messages come again.
                Err(error) => tracing::error!(webhook = %webhook.id, "{error:#}"),
            }
            if tasks.is_empty() {
                return;
            }
        }
        let policy = delivering.limits.with(webhook.settings.schedule);
        let admission = webhook.admission(now);
        let mut probe = None;
        if admission == Admission::Probe {
            let until = now + policy.probe();
            match delivering.webhooks.claim_probe(webhook, until).await {
                Ok(Changed::Stored) => probe = Some(until),
                Ok(Changed::Lost) => {}
                Err(error) => {
                    tracing::error!(webhook = %webhook.id, "webhook {} could not be tried: {error}", webhook.id);
                    return;
                }
            }
        }
        if admission == Admission::OneByOne {
            // New deliveries go first. A waiting one has failed before, or waits behind one that has.
            tasks
                .make_contiguous()
                .sort_by_key(|task| matches!(task.what, What::Stored(_)));
        }
        let running = Running {
            delivering,
            webhook,
            policy,
            slots,
            clock,
            tally,
            state: Mutex::new(State::new(admission, probe, &webhook.health, now)),
            told_to_wait: Mutex::default(),
            soon: Mutex::default(),
        };
        running.all(tasks).await;
    }
}

/// Removes the tasks that are not due yet at `now`. They came early because the queue cannot hold a message back for long
/// enough.
fn set_aside_later(
    tasks: &mut VecDeque<Task>,
    now: OffsetDateTime,
) -> Vec<(DeliveryId, OffsetDateTime, Receipt)> {
    let mut later = Vec::new();
    for task in std::mem::take(tasks) {
        match &task.what {
            What::Stored(due) if let Some(at) = due.later(now) => {
                later.push((due.id, at, task.receipt));
            }
            _ => tasks.push_back(task),
        }
    }
    later
}

/// Deletes the deliveries of a webhook that is gone.
async fn forget(delivering: &Delivering, webhook: WebhookKey, tasks: VecDeque<Task>) {
    for Task { what, receipt } in tasks {
        if let What::Stored(Due { id, .. }) = what {
            let key = DeliveryKey {
                webhook: webhook.id,
                id,
            };
            match delivering.deliveries.forget(key).await {
                Ok(()) => receipt.settle(),
                Err(error) => tracing::error!(delivery = %id, "{error}"),
            }
        } else {
            receipt.settle();
        }
    }
}

/// A lane at work.
struct Running<'a> {
    delivering: &'a Delivering,
    webhook: &'a Webhook,
    policy: RetryPolicy,
    slots: &'a Semaphore,
    clock: &'a Clock,
    tally: &'a Tally,
    /// What the lane knows of its receiver.
    state: Mutex<State>,
    /// The last delivery to which the receiver answered that it wants to be left alone.
    told_to_wait: Mutex<Option<DeliveryId>>,
    /// Deliveries to try as soon as they are due, and their times.
    soon: Mutex<Vec<(DeliveryId, OffsetDateTime)>>,
}

/// The result of a task.
enum Done {
    /// Its outcome is in DynamoDB.
    Recorded,
    /// Its delivery is stored and due, but was not tried.
    Stored(DeliveryId),
    /// Other deliveries already tell of some of its changes. These tasks replace it.
    Instead(Vec<What>),
    /// Somebody else is trying it, and may fail to record the outcome.
    InProgress,
}

/// What remains of a task.
#[derive(Default)]
struct Left {
    tasks: Vec<Task>,
    /// A delivery that could be tried at once if there were time.
    untried: Option<DeliveryId>,
}

impl Running<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told_to_wait(&self) -> MutexGuard<'_, Option<DeliveryId>> {
        let told = self.told_to_wait.lock();
        told.unwrap_or_else(PoisonError::into_inner)
    }

    fn soon(&self) -> MutexGuard<'_, Vec<(DeliveryId, OffsetDateTime)>> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn all(&self, mut tasks: VecDeque<Task>) {
        let mut untried = Vec::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let at_once = match self.state().circuit {
                Circuit::HalfOpen { .. } => 1,
                _ => PER_WEBHOOK,
            };
            while under_way.len() < at_once
                && let Some(task) = tasks.pop_front()
            {
                under_way.push(self.work(task));
            }
            // Nothing else may be awaited here: the tasks under way progress only while this stream is polled.
            let Some(left) = under_way.next().await else {
                break;
            };
            untried.extend(left.untried);
            tasks.extend(left.tasks);
        }
        self.finish().await;
        self.send_soon().await;
        let due = Work::due(self.webhook.org, self.webhook.id, &untried);
        // If this fails, the next round of the sweep queues them, since they are due.
        self.log(self.delivering.queue.send(&due).await);
    }

    /// Does a task. It asks the circuit only now, since the circuit may have changed while the task waited.
    async fn work(&self, task: Task) -> Left {
        let _slot = self.slots.acquire().await;
        let Task { what, receipt } = task;
        let circuit = self.state().circuit;
        let is_late = self.clock.is_over();
        let done = match circuit {
            Circuit::Disabled => self.store(what, DeliveryState::Held).await,
            Circuit::Open => self.store(what, DeliveryState::Pending).await,
            _ if is_late => self.store(what, DeliveryState::Pending).await,
            Circuit::Closed | Circuit::HalfOpen { .. } => self.try_now(what).await,
        };
        let mut left = Left::default();
        match done {
            Ok(Done::Recorded) => receipt.settle(),
            Ok(Done::Stored(id)) => {
                let may_be_sent = !matches!(circuit, Circuit::Open | Circuit::Disabled);
                left.untried = may_be_sent.then_some(id);
                receipt.settle();
            }
            Ok(Done::Instead(whats)) => {
                let task = |what| Task {
                    what,
                    receipt: receipt.share(),
                };
                left.tasks = whats.into_iter().map(task).collect();
                receipt.settle();
            }
            // The message comes again, to see the outcome.
            Ok(Done::InProgress) => drop(receipt),
            Err(error) => {
                tracing::error!(webhook = %self.webhook.id, "a delivery to webhook {} has to wait: {error:#}", self.webhook.id);
                // The delivery stays due. If its message came again, so would its other deliveries, and all of them would
                // become dead letters.
                let store = error.downcast_ref::<store::Error>();
                if store.is_some_and(store::Error::is_unreadable) {
                    receipt.settle();
                }
            }
        }
        left
    }

    /// Stores a new delivery that is due at once, and sends nothing.
    async fn store(&self, what: What, state: DeliveryState) -> anyhow::Result<Done> {
        let message = match what {
            What::Stored(due) => return Ok(Done::Stored(due.id)),
            What::New(message) => message,
        };
        let now = self.clock.now();
        let delivery = Delivery::new(self.webhook.key(), &message, state, now, now);
        let deliveries = &self.delivering.deliveries;
        match deliveries.create(&delivery, &message).await? {
            Created::Stored => {
                if state == DeliveryState::Held {
                    self.tally.held();
                }
                Ok(Done::Stored(delivery.id))
            }
            Created::Told(told) => self.instead(&message, &told),
            Created::Noted => Ok(Done::Recorded),
        }
    }

    async fn try_now(&self, what: What) -> anyhow::Result<Done> {
        let now = self.clock.now();
        let deliveries = &self.delivering.deliveries;
        let (leased, body) = match what {
            What::New(message) => {
                let until = now + LEASE_VALIDITY;
                let lease = Lease::new();
                let state = DeliveryState::Pending;
                let mut delivery = Delivery::new(self.webhook.key(), &message, state, until, now);
                delivery.lease = Some(lease);
                match deliveries.create(&delivery, &message).await? {
                    Created::Stored => (Leased::new(delivery, lease), Some(message.body)),
                    Created::Told(told) => return self.instead(&message, &told),
                    Created::Noted => return Ok(Done::Recorded),
                }
            }
            What::Stored(Due { id, .. }) => {
                let key = DeliveryKey {
                    webhook: self.webhook.id,
                    id,
                };
                match deliveries.claim(key, now).await? {
                    Claimed::Started(leased) => (*leased, None),
                    Claimed::InProgress => return Ok(Done::InProgress),
                    Claimed::AlreadyDelivered | Claimed::NotDue => return Ok(Done::Recorded),
                    Claimed::Gone => {
                        // It has expired, but DynamoDB has not deleted it yet.
                        deliveries.forget(key).await?;
                        return Ok(Done::Recorded);
                    }
                }
            }
        };
        match self.attempt(&leased, body).await {
            Ok((verdict, at)) => {
                self.heed(&leased.delivery, verdict, at).await;
                Ok(Done::Recorded)
            }
            Err(error) => {
                self.log(deliveries.release(&leased, now).await);
                Err(error.context(format!("try delivery {}", leased.delivery.id)))
            }
        }
    }

    /// The tasks that replace a new message when other deliveries already tell of some of its changes: those deliveries, and
    /// the rest of the changes.
    fn instead(
        &self,
        message: &Message,
        told: &HashMap<ChangeKey, DeliveryId>,
    ) -> anyhow::Result<Done> {
        let mut stored: Vec<DeliveryId> = told.values().copied().collect();
        stored.sort_unstable();
        stored.dedup();
        let rest = message
            .changes
            .iter()
            .filter(|change| !told.contains_key(&change.key()));
        let rest: Vec<Arc<Change>> = rest.cloned().collect();
        let rest = format::messages(self.webhook.settings.wanted.format, self.webhook.org, &rest)?;
        let stored = stored.into_iter().map(|id| What::Stored(Due::now(id)));
        Ok(Done::Instead(
            stored.chain(rest.into_iter().map(What::New)).collect(),
        ))
    }

    fn log<T, E: std::fmt::Display>(&self, result: Result<T, E>) {
        if let Err(error) = result {
            tracing::error!(webhook = %self.webhook.id, "{error:#}");
        }
    }
}
