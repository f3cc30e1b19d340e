//! The deliveries to one webhook.
//!
//! A lane is open, closed, or on probation. Closed, nothing is sent: the webhook is disabled, or its receiver seems to be
//! down. On probation, one delivery is tried, and what comes of it opens or closes the lane for the others. So a receiver
//! that is down costs one request an hour, however much waits for it.
//!
//! A receiver that answers with an error of its own may do so because of one message. Then what waits has to wait, but
//! what is new is put on probation; otherwise one such message would make every other one late. Such a receiver costs one
//! request an hour, and one for each batch with something new.

mod attempt;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use shared::aws::Changed;
use shared::delivery::{Claim, Delivery, DeliveryId, DeliveryState};
use shared::delivery_store::{CLAIM_VALIDITY, Claimed, Created, DeliveryKey};
use shared::message::Message;
use shared::queue::{ReportChange, Work};
use shared::report::{Report, ReportId};
use shared::webhook::{Health, Webhook, WebhookKey};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::Delivering;
use crate::clock::Clock;
use crate::tally::Tally;

/// How many deliveries of a batch are on their way to one receiver at once: enough to be quick, few enough that a slow
/// receiver leaves room for the others.
const PER_WEBHOOK: usize = 8;

/// When a lane has worked for so long, another one may have noted a failure that it does not know of.
const LONG: time::Duration = time::Duration::seconds(5);

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
    /// Records whose outcome is not in DynamoDB.
    unsettled: Vec<usize>,
    /// What the task turned out to be instead.
    instead: Vec<Task>,
    /// It is stored, and could be tried at once if there was time.
    left: Option<DeliveryId>,
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
        tally: &Tally,
    ) -> Vec<usize> {
        let mut tasks = std::mem::take(&mut self.tasks);
        if tasks.is_empty() {
            return Vec::new();
        }
        let Some(webhook) = &self.webhook else {
            return forget(delivering, self.key, tasks).await;
        };
        let began = clock.now();
        let (gate, probe) = match gate_of(delivering, webhook, began).await {
            Ok(gate) => gate,
            Err(error) => {
                tracing::error!(webhook = %webhook.id, "webhook {} could not be tried: {error:#}", webhook.id);
                return tasks.into_iter().flat_map(|task| task.records).collect();
            }
        };
        if gate == Gate::Probation && probe.is_none() {
            // What is new goes first: what waits has failed before, or stands behind something that has.
            tasks
                .make_contiguous()
                .sort_by_key(|task| matches!(task.what, What::Stored(_)));
        }
        let running = Running {
            delivering,
            webhook,
            reports: &self.reports,
            slots,
            clock,
            tally,
            began,
            renews_pause: gate != Gate::Probation || probe.is_some(),
            state: Mutex::new(State {
                gate,
                is_failing: webhook.health != Health::default(),
                last_success: None,
                has_recovered: false,
                is_told_to_wait: false,
            }),
        };
        running.all(tasks, probe).await
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

/// The gate at the beginning, and until when others are kept from trying if this lane has the right to.
async fn gate_of(
    delivering: &Delivering,
    webhook: &Webhook,
    now: OffsetDateTime,
) -> anyhow::Result<(Gate, Option<OffsetDateTime>)> {
    if !webhook.is_enabled() {
        // They are due all the time, so whoever enables the webhook need not touch them.
        return Ok((Gate::Closed(DeliveryState::Held, now), None));
    }
    let Health {
        paused_until,
        is_answering,
        ..
    } = &webhook.health;
    let closed = Gate::Closed(DeliveryState::Pending, now);
    if paused_until.is_none() {
        return Ok((Gate::Open, None));
    }
    if webhook.health.is_paused(now) {
        let gate = if *is_answering {
            Gate::Probation
        } else {
            closed
        };
        return Ok((gate, None));
    }
    let until = now + delivering.schedule.retry_after;
    Ok(
        match delivering.webhooks.claim_probe(webhook, until).await? {
            Changed::Yes => (Gate::Probation, Some(until)),
            Changed::No => (closed, None),
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
    tally: &'a Tally,
    began: OffsetDateTime,
    /// Whether an error of the receiver's own pauses the webhook anew. Not in the midst of a pause: otherwise new messages
    /// that always fail would put off for ever what waits.
    renews_pause: bool,
    state: Mutex<State>,
}

/// What the tasks of a lane know of each other.
#[derive(Debug)]
struct State {
    gate: Gate,
    /// Whether a failure is noted with the webhook, that the next success has to remove.
    is_failing: bool,
    /// When the last delivery succeeded, if nothing has failed since that may be the receiver's state.
    last_success: Option<OffsetDateTime>,
    /// Whether the probation has shown that the receiver is there.
    has_recovered: bool,
    /// Whether the receiver has said for how long it wants to be left alone.
    is_told_to_wait: bool,
}

impl State {
    /// Lets nothing more be sent. A webhook that is disabled stays so.
    fn close(&mut self, now: OffsetDateTime) {
        if !matches!(self.gate, Gate::Closed(DeliveryState::Held, _)) {
            self.gate = Gate::Closed(DeliveryState::Pending, now);
        }
    }
}

impl Running<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn all(&self, mut tasks: VecDeque<Task>, probe: Option<OffsetDateTime>) -> Vec<usize> {
        let mut unsettled = Vec::new();
        let mut left = Vec::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let at_once = if self.state().gate == Gate::Probation {
                1
            } else {
                PER_WEBHOOK
            };
            while under_way.len() < at_once
                && let Some(task) = tasks.pop_front()
            {
                under_way.push(self.work(task));
            }
            // Nothing else is waited for here: what is under way goes on only while it is asked for.
            let Some(done) = under_way.next().await else {
                break;
            };
            unsettled.extend(done.unsettled);
            left.extend(done.left);
            tasks.extend(done.instead);
        }
        self.close(probe, left).await;
        unsettled
    }

    /// What there is to do at the end. None of it is lost if it fails.
    async fn close(&self, probe: Option<OffsetDateTime>, left: Vec<DeliveryId>) {
        let webhooks = &self.delivering.webhooks;
        let (gate, last_success, has_recovered) = {
            let state = self.state();
            (state.gate, state.last_success, state.has_recovered)
        };
        if let (Gate::Probation, Some(until)) = (gate, probe) {
            // There was no verdict, so the right to try goes back.
            self.log(webhooks.return_probe(self.webhook, until).await);
        }
        if let Some(at) = last_success.filter(|at| *at - self.began > LONG) {
            self.log(webhooks.succeeded_since(self.webhook.key(), at).await);
        }
        if has_recovered {
            self.log(self.call_the_others().await);
        }
        let due = Work::due(self.webhook.org, self.webhook.id, &left);
        // If the queue does not take them, the next round does: they are due.
        self.log(self.delivering.queue.send(&due).await);
    }

    fn log(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            tracing::error!(webhook = %self.webhook.id, "{error:#}");
        }
    }

    /// Everything else that is due for this webhook has waited long enough. What has failed and is not due stays: it may
    /// be why the webhook was paused.
    async fn call_the_others(&self) -> anyhow::Result<()> {
        let messages = Work::undelivered(self.webhook.key(), false, self.clock.now());
        self.delivering.queue.send(&messages).await
    }

    /// Does a task. It is asked whether the gate is open only now: much may have happened while it waited.
    async fn work(&self, task: Task) -> Done {
        let _slot = self.slots.acquire().await;
        let records = task.records.clone();
        let gate = self.state().gate;
        let result = match (gate, self.clock.is_over()) {
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
                    Created::Yes => {
                        if state == DeliveryState::Held {
                            self.tally.held();
                        }
                        (Some(delivery.id), Vec::new())
                    }
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
                    Created::Yes => (delivery, claim, Some(message.body)),
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
                    Claimed::Started(delivery, claim) => (*delivery, claim, None),
                    // Whoever tries it may fail to record it: the message comes again, to see what came of it.
                    Claimed::InProgress => {
                        return Ok(Done {
                            unsettled: task.records,
                            ..Done::default()
                        });
                    }
                    Claimed::AlreadyDelivered | Claimed::NotDue => return Ok(Done::default()),
                    Claimed::Gone => {
                        // Its time is over, and DynamoDB takes its own to delete it.
                        self.delivering.deliveries.forget(key).await?;
                        return Ok(Done::default());
                    }
                }
            }
        };
        match self.attempt(&delivery, claim, body).await {
            Ok(verdict) => {
                self.heed(verdict).await;
                Ok(Done::default())
            }
            Err(error) => {
                let key = DeliveryKey {
                    webhook: delivery.webhook,
                    id: delivery.id,
                };
                let released = self.delivering.deliveries.release(key, claim, now).await;
                self.log(released);
                Err(error.context(format!("try delivery {}", delivery.id)))
            }
        }
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
}
