//! The hourly sweep. It puts due deliveries back on the queue, and announces what a crash left in the outbox
//! ([`store::outbox`]). It also puts each source with a server on the imports queue.
//!
//! *Invariant:* nothing is sent from here. The only way to a receiver begins at the queue.
//!
//! Several rounds may run at once: a delivery that is on the queue twice is claimed once.

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

/// How long a round works by default. template.yaml gives the function 5 minutes, and [`RESERVE`] is for what has begun.
pub const BUDGET: Duration = Duration::from_secs(280);
/// How much of the function's time is reserved for what has begun, when DynamoDB and the queue are slow: a read of a webhook
/// or a report, a message, and the round's metrics.
pub const RESERVE: Duration = Duration::from_secs(20);

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Retrying {
    /// The reports, which are an outbox.
    pub reports: ReportStore,
    /// The calls of sources, which are an outbox too.
    pub calls: CallStore,
    /// The webhooks.
    pub webhooks: WebhookStore,
    /// The deliveries.
    pub deliveries: DeliveryStore,
    /// The sources.
    pub sources: SourceStore,
    /// The queue of deliveries to make.
    pub queue: EventsQueue,
    /// The queue of sources to visit.
    pub imports: ImportsQueue,
    /// The function's metrics.
    pub metrics: Metrics,
    /// The time until the next round. A delivery that falls due by then is handed over now, if it is to be tried at its time.
    pub interval: Duration,
}

impl Retrying {
    /// The stores of these clients, with the names that the variables give.
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

/// The result of a round of the sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// What it found in the outbox: changes of reports and calls of sources.
    pub swept: Swept,
    /// How many deliveries are due.
    pub due: usize,
    /// How many deliveries are on the queue now.
    pub queued: usize,
    /// How many sources are on their queue now, to ask their servers for unreported analyses.
    pub sources: usize,
    /// How many due deliveries wait for their webhook, because it is disabled or paused.
    pub waiting: usize,
    /// How many shards, and how many webhooks' deliveries, could not be read or put on the queue. They are still due.
    pub failed: usize,
    /// Whether the time was too short for all of it. What remains is still due.
    pub is_cut_short: bool,
}

/// Makes one round of the sweep, at `now`. A failure is logged and counted, and does not keep the rest from being done. The
/// round begins nothing new when `budget` is over. What remains is still due.
pub async fn round(retrying: &Retrying, now: OffsetDateTime, budget: Duration) -> Round {
    let clock = Clock::new(now, budget);
    // At most half of the time, so that due deliveries get their turn even when the outbox is very full.
    let sweeping = Clock::new(now, budget / 2);
    let is_over = || sweeping.is_over();
    let mut swept = sweep(&retrying.reports, &retrying.queue, now, is_over).await;
    swept += sweep(&retrying.calls, &retrying.queue, now, is_over).await;
    let mut round = Round {
        swept,
        is_cut_short: swept.is_cut_short,
        ..Round::default()
    };
    // This takes few requests, whatever else there is to do.
    look_after_sources(retrying, &clock, &mut round).await;
    let mut webhooks = Webhooks::default();
    // A little more, since the next round may be late.
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
    // Also when there is nothing: a figure for each round shows that the round ran.
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
        tracing::warn!("there was no time for the whole round; the next one continues");
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

/// Puts each source with a server on the imports queue.
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
                tracing::error!("sources are not put on their queue: {error:#}");
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
    /// The webhooks that were down and are tried again. One message on the queue is enough for each.
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
    /// The deliveries that are due.
    due: Vec<DeliveryId>,
    /// The deliveries that will be due before the next round, and their times.
    later: Vec<(DeliveryId, OffsetDateTime)>,
}

/// Puts a webhook's deliveries on the queue. Gives how many of the due ones it puts there.
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
            // They wait for somebody to repair the webhook. It is counted each hour.
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
        // The webhook was deleted. The function that takes the message deletes the deliveries.
        None | Some(Admission::All) => deliveries,
        Some(Admission::Disabled | Admission::Paused) => &[],
        // They are tried one after the other, until a verdict shows how the receiver does. If the receiver answers, all
        // others are replayed.
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
