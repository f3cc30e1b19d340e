//! Once an hour: what is due goes back on the queue, and so does what never got there. Sources whose servers reports are made of are put on
//! theirs.
//!
//! *Invariant:* nothing is sent from here. There is one way to a receiver, and it begins at the queue.
//!
//! Any number of rounds may run at once: a delivery that is on the queue twice is claimed once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::date::timestamp;
use domain::delivery::DeliveryId;
use domain::webhook::health::Admission;
use domain::webhook::schedule::RetryLimits;
use domain::webhook::{Webhook, WebhookKey};
use runtime::clock::Clock;
use runtime::config::Environment;
use runtime::metrics::{Metric, Metrics};
use store::calls::CallStore;
use store::deliveries::{DUE_SHARDS, DeliveryStore, DueDelivery};
use store::outbox::{Swept, rotated, sweep};
use store::queue::EventsQueue;
use store::queue::imports::{ImportsQueue, LookAfter};
use store::queue::work::{MAX_DUE, Work};
use store::reports::ReportStore;
use store::sources::SourceStore;
use store::webhooks::WebhookStore;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long a round works when nobody says otherwise: template.yaml gives the function 5 minutes, and [`RESERVE`] is for what
/// has been begun.
pub const BUDGET: Duration = Duration::from_secs(280);
/// So much of the function's time is kept for what has been begun, when DynamoDB and the queue are slow: a read of a webhook,
/// or of a report, and a message; and the round's figures.
pub const RESERVE: Duration = Duration::from_secs(20);

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Retrying {
    /// What may not have been announced.
    pub reports: ReportStore,
    /// The same.
    pub calls: CallStore,
    /// Who is told.
    pub webhooks: WebhookStore,
    /// What is due.
    pub deliveries: DeliveryStore,
    /// Of whose servers reports are made.
    pub sources: SourceStore,
    /// Where it goes.
    pub queue: EventsQueue,
    /// Where sources go.
    pub imports: ImportsQueue,
    /// What is counted of it.
    pub metrics: Metrics,
    /// How long it is until the next round. What falls due by then is handed over now, where it is to be tried at its time.
    pub interval: Duration,
}

impl Retrying {
    /// What the function works with, of these clients and by these variables.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        Ok(Self {
            reports: ReportStore::new(dynamodb.clone(), required("REPORTS_TABLE")?),
            calls: CallStore::new(dynamodb.clone(), required("CALLS_TABLE")?),
            webhooks: WebhookStore::new(dynamodb.clone(), required("WEBHOOKS_TABLE")?),
            deliveries: DeliveryStore::new(dynamodb.clone(), required("DELIVERIES_TABLE")?),
            sources: SourceStore::new(dynamodb.clone(), required("SOURCES_TABLE")?),
            queue: EventsQueue::new(sqs.clone(), required("EVENTS_QUEUE_URL")?),
            imports: ImportsQueue::new(sqs, required("IMPORTS_QUEUE_URL")?),
            metrics: environment.metrics()?,
            interval: RetryLimits::default().round,
        })
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Changes of reports and calls of sources that were left over.
    pub swept: Swept,
    /// Deliveries that are due.
    pub due: usize,
    /// Deliveries that are now on the queue.
    pub queued: usize,
    /// Sources whose servers are to be asked what they have not told of.
    pub sources: usize,
    /// Deliveries that are due and wait for their webhook: it is disabled, or left alone because it seems to be down.
    pub waiting: usize,
    /// Shards, and webhooks' deliveries, that could not be read or put on the queue. They are due still.
    pub failed: usize,
    /// Whether there was no time for all of it. What is left is due still.
    pub is_cut_short: bool,
}

/// Makes the round of `now`. What fails does not keep the rest from being done: it is logged and counted. When `budget` is
/// over it begins nothing new: what is left is due still.
pub async fn round(retrying: &Retrying, now: OffsetDateTime, budget: Duration) -> Round {
    let clock = Clock::new(now, budget);
    // Half of the time at the most: also when very much is left over, what is due comes up.
    let sweeping = Clock::new(now, budget / 2);
    let is_over = || sweeping.is_over();
    let mut swept = sweep(&retrying.reports, &retrying.queue, now, is_over).await;
    swept += sweep(&retrying.calls, &retrying.queue, now, is_over).await;
    let mut round = Round {
        swept,
        is_cut_short: swept.is_cut_short,
        ..Round::default()
    };
    // Few requests, whatever else there is to do.
    look_after_sources(retrying, &clock, &mut round).await;
    let mut webhooks = Webhooks::default();
    // And a little more: the next one may be late.
    let until = now + retrying.interval + retrying.interval / 12;
    for shard in rotated(DUE_SHARDS, now) {
        let mut start = None;
        loop {
            if clock.is_over() {
                round.is_cut_short = true;
                break;
            }
            match retrying.deliveries.due(shard, until, start).await {
                Ok((due, next)) => {
                    enqueue(retrying, due, &mut webhooks, &clock, &mut round).await;
                    start = next;
                }
                Err(error) => {
                    round.failed += 1;
                    tracing::error!(shard, "{error:#}");
                    break;
                }
            }
            if start.is_none() {
                break;
            }
        }
    }
    // Also when there is nothing: a figure for each round shows that there was one.
    let metrics = [
        Metric::count("DeliveriesDue", round.due),
        Metric::count("ChangesUnannounced", round.swept.found),
        Metric::count("RoundsCutShort", usize::from(round.is_cut_short)),
    ];
    retrying.metrics.record(now, &metrics);
    let unreadable = retrying.reports.unreadable.take()
        + retrying.calls.unreadable.take()
        + retrying.webhooks.unreadable.take()
        + retrying.sources.unreadable.take()
        + retrying.deliveries.unreadable.take();
    retrying.metrics.record_unreadable(now, unreadable);
    if round.is_cut_short {
        tracing::warn!("there was no time for all of the round: the next one goes on");
    }
    if round == Round::default() {
        tracing::debug!("nothing is due");
    } else {
        tracing::info!(
            announced = round.swept.announced,
            queued = round.queued,
            waiting = round.waiting,
            sources = round.sources,
            failed = round.failed + round.swept.failed,
            "put {} due deliveries, {} left-over changes and {} sources on the queues; {} wait for their webhook; {} failures",
            round.queued,
            round.swept.announced,
            round.sources,
            round.waiting,
            round.failed + round.swept.failed,
        );
    }
    round
}

/// Puts each source on the queue of whose server reports are made.
async fn look_after_sources(retrying: &Retrying, clock: &Clock, round: &mut Round) {
    let mut start = None;
    loop {
        if clock.is_over() {
            round.is_cut_short = true;
            return;
        }
        let put = async |start| {
            let (sources, next) = retrying.sources.importing(start).await?;
            let messages = sources.into_iter();
            let messages: Vec<LookAfter> = messages
                .map(|(org, source)| LookAfter::sweep(org, source))
                .collect();
            retrying.imports.send(&messages).await?;
            Ok::<_, store::Error>((messages.len(), next))
        };
        match put(start).await {
            Ok((count, next)) => {
                round.sources += count;
                start = next;
            }
            Err(error) => {
                round.failed += 1;
                tracing::error!("sources are not looked after: {error:#}");
                return;
            }
        }
        if start.is_none() {
            return;
        }
    }
}

/// The webhooks that this round has met.
#[derive(Default)]
struct Webhooks {
    known: HashMap<WebhookKey, Option<Webhook>>,
    /// Those that were down and are tried again: one message of the queue is enough for that.
    tried: BTreeSet<WebhookKey>,
}

async fn enqueue(
    retrying: &Retrying,
    due: Vec<DueDelivery>,
    webhooks: &mut Webhooks,
    clock: &Clock,
    round: &mut Round,
) {
    let mut groups: BTreeMap<WebhookKey, Group> = BTreeMap::new();
    let began = timestamp(clock.began());
    for delivery in due {
        let key = WebhookKey {
            org: delivery.org,
            id: delivery.webhook,
        };
        let group = groups.entry(key).or_default();
        if delivery.due_at <= began {
            round.due += 1;
            group.due.push(delivery.id);
        } else if let Ok(at) = OffsetDateTime::parse(&delivery.due_at, &Rfc3339) {
            group.later.push((delivery.id, at));
        }
    }
    for (key, group) in groups {
        if clock.is_over() {
            round.is_cut_short = true;
            return;
        }
        match enqueue_of(retrying, key, &group, webhooks, clock.now()).await {
            Ok(queued) => {
                round.queued += queued;
                round.waiting += group.due.len() - queued;
            }
            Err(error) => {
                round.failed += 1;
                tracing::error!(webhook = %key.id, "deliveries to webhook {} are not queued: {error:#}", key.id);
            }
        }
    }
}

/// Deliveries of one webhook.
#[derive(Default)]
struct Group {
    /// Those that are due.
    due: Vec<DeliveryId>,
    /// Those that will be before the next round, and when.
    later: Vec<(DeliveryId, OffsetDateTime)>,
}

/// Puts a webhook's deliveries on the queue. Gives how many of those that are due.
async fn enqueue_of(
    retrying: &Retrying,
    key: WebhookKey,
    group: &Group,
    webhooks: &mut Webhooks,
    now: OffsetDateTime,
) -> anyhow::Result<usize> {
    let webhook = match webhooks.known.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => match retrying.webhooks.get(key).await {
            Ok(webhook) => unknown.insert(webhook),
            // They wait for somebody to mend the webhook. It is counted each hour.
            Err(error) if error.is_unreadable() => {
                tracing::error!(webhook = %key.id, "webhook {} cannot be read: {error}", key.id);
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        },
    };
    let is_to_the_minute = webhook
        .as_ref()
        .is_some_and(|it| it.settings.schedule.is_to_the_minute() && it.is_enabled());
    let deliveries = group.due.as_slice();
    let admission = webhook.as_ref().map(|webhook| webhook.admission(now));
    let deliveries = match admission {
        // It was deleted. Whoever takes the message forgets the deliveries.
        None | Some(Admission::All) => deliveries,
        Some(Admission::Disabled | Admission::Paused) => &[],
        // They are tried one after the other, until the receiver has said how it does. If it is there, all others are
        // replayed.
        Some(Admission::OneByOne | Admission::Probe) if webhooks.tried.insert(key) => {
            &deliveries[..deliveries.len().min(MAX_DUE)]
        }
        Some(Admission::OneByOne | Admission::Probe) => &[],
    };
    let messages = Work::due(key.org, key.id, deliveries);
    retrying.queue.send(&messages).await?;
    if is_to_the_minute {
        let messages = Work::due_at(key, &group.later, now);
        retrying.queue.send_later(&messages).await?;
    }
    Ok(deliveries.len())
}
