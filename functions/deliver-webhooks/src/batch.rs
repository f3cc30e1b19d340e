//! Turns messages of the queue into the work for each webhook.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use domain::delivery::message::Message;
use domain::event::{Change, ChangeKey};
use domain::organization::OrganizationId;
use domain::report::change::ReportChange;
use domain::webhook::{Webhook, WebhookId, WebhookKey};
use futures_util::future::join_all;
use outbound::format;
use store::queue::work::{Called, Gathered, News, Replay, Work};
use time::OffsetDateTime;

use crate::lane::{Due, Lane, Task, What};
use crate::receipt::{Receipt, Records};
use crate::state::Delivering;

/// Once calls of this many bytes are read, the other calls are left to another batch. Each webhook that wants a call gets
/// messages with its body. One more call may be read on top.
const MAX_CALL_BYTES: usize = 4 << 20;
/// The bytes that an event of a call counts in addition. So a batch has some 10,000 of the shortest events, or 20,000 with
/// the one more call. Each event is an item of its own for each webhook that wants it, in one partition. A partition takes
/// 1,000 write units a second, and each such write takes two.
const EVENT_BYTES: usize = 400;
/// How many calls are read at a time.
const CALLS_AT_A_TIME: usize = 4;

/// A change, and the webhooks that are to be told of it.
#[derive(Debug)]
struct Told {
    change: Arc<Change>,
    /// The only webhook to be told, if the change has gathered for one; `None` for all of the organization's.
    only: Option<WebhookId>,
}

/// A call, and the webhooks that are to be told of it: `None` for all, or one.
type Asked = (Called, Vec<(Option<WebhookId>, Receipt)>);

/// The messages of a batch, by what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order in which they came, each once.
    changes: BTreeMap<OrganizationId, Vec<(Told, Receipt)>>,
    /// The calls of sources whose bodies are not read yet, each once, and the webhooks that are to be told of them.
    calls: Vec<Asked>,
    /// In the order in which they came, which is that of their `dueAt`. What has waited longest is tried first, so that a
    /// delivery that always fails does not keep the others from being tried.
    due: BTreeMap<WebhookKey, Vec<(Due, Receipt)>>,
    /// In the order in which they came.
    pub(crate) replays: Vec<(Replay, Receipt)>,
}

impl Batch {
    /// Reads the messages of a batch. A message that cannot be read comes again, and ends in the dead-letter queue, where
    /// somebody looks at it.
    pub(crate) fn read(event: SqsEvent, records: &mut Records) -> Self {
        let mut batch = Self::default();
        for message in event.records {
            let id = message.message_id.unwrap_or_default();
            let receipt = records.receive(id.clone());
            match Work::from_json(message.body.as_deref().unwrap_or_default()) {
                Ok(work) => batch.add(work, receipt),
                Err(error) => {
                    tracing::error!(
                        message = id,
                        "message {id} of the queue cannot be read: {error}"
                    );
                }
            }
        }
        batch
    }

    fn add(&mut self, work: Work, receipt: Receipt) {
        match work {
            Work::Change(change) => self.add_change(change, None, receipt),
            Work::Call(called) => self.add_call(called, None, receipt),
            Work::Gathered(Gathered { webhook, news, .. }) => {
                for news in news {
                    let receipt = receipt.share();
                    match news {
                        News::Change(change) => self.add_change(change, Some(webhook), receipt),
                        News::Call(called) => self.add_call(called, Some(webhook), receipt),
                    }
                }
                receipt.settle();
            }
            Work::Due(due) => {
                let key = WebhookKey {
                    org: due.org,
                    id: due.webhook,
                };
                let of_webhook = self.due.entry(key).or_default();
                for id in due.due {
                    let at = due.at.clone();
                    let due = Due { id, at: at.clone() };
                    let due = add(of_webhook, due, receipt.share(), |due| due.id);
                    // If one message says that a delivery is due now, it need not wait until the time that another message
                    // says.
                    due.at = at.min(due.at.take());
                }
                receipt.settle();
            }
            Work::Replay(replay) => self.replays.push((replay, receipt)),
        }
    }

    fn add_change(&mut self, change: Box<ReportChange>, only: Option<WebhookId>, receipt: Receipt) {
        let changes = self.changes.entry(change.org).or_default();
        let change = Arc::new(Change::Report(change));
        let told = Told { change, only };
        add(changes, told, receipt, |told| {
            (told.change.key(), told.only)
        });
    }

    fn add_call(&mut self, called: Called, only: Option<WebhookId>, receipt: Receipt) {
        let known = self.calls.iter().position(|(it, _)| *it == called);
        let known = known.unwrap_or_else(|| {
            self.calls.push((called, Vec::new()));
            self.calls.len() - 1
        });
        add(&mut self.calls[known].1, only, receipt, |only| *only);
    }

    /// Reads the calls of sources. The messages of a call that cannot be read come again.
    async fn read_calls(&mut self, delivering: &Delivering) {
        let mut calls = std::mem::take(&mut self.calls);
        // Calls come before reports: SonarQube's own call says more of an analysis.
        let mut told: BTreeMap<OrganizationId, Vec<(Told, Receipt)>> = BTreeMap::new();
        let mut bytes = 0;
        let mut left = Vec::new();
        while !calls.is_empty() && bytes < MAX_CALL_BYTES {
            let some: Vec<_> = calls.drain(..CALLS_AT_A_TIME.min(calls.len())).collect();
            let read = some
                .iter()
                .map(|(called, _)| delivering.calls.get(called.key()));
            let read = join_all(read).await;
            for ((called, asked), read) in some.into_iter().zip(read) {
                if bytes >= MAX_CALL_BYTES {
                    left.push((called, asked));
                    continue;
                }
                match read.map(|it| it.map(|(call, body)| (body.len(), call.changes(body)))) {
                    Ok(Some((length, Ok(changes)))) => {
                        bytes += length + EVENT_BYTES * changes.len();
                        let told = told.entry(called.org).or_default();
                        let changes: Vec<Arc<Change>> = changes.into_iter().map(Arc::new).collect();
                        // The changes take the place of the call. A call that somebody puts on the queue by hand may have
                        // none.
                        for (only, receipt) in asked {
                            for change in &changes {
                                let change = Arc::clone(change);
                                told.push((Told { change, only }, receipt.share()));
                            }
                            receipt.settle();
                        }
                    }
                    // It has expired.
                    Ok(None) => settle(asked),
                    Ok(Some((_, Err(error)))) => {
                        tracing::error!(
                            source = %called.source, call = %called.call,
                            "call {} of source {} cannot be told: {error}", called.call, called.source
                        );
                    }
                    Err(error) => tracing::error!(source = %called.source, "{error:#}"),
                }
            }
        }
        left.append(&mut calls);
        for (org, calls) in told {
            self.changes.entry(org).or_default().splice(..0, calls);
        }
        leave(left, delivering).await;
    }

    /// The work for each webhook. Messages for which it cannot be determined come again.
    pub(crate) async fn lanes(
        mut self,
        delivering: &Delivering,
        now: OffsetDateTime,
    ) -> BTreeMap<WebhookKey, Lane> {
        self.read_calls(delivering).await;
        let mut lanes = BTreeMap::new();
        // This is a loop, since a closure over references makes a future that the compiler does not accept as `Send`.
        let mut of_organizations = Vec::new();
        for (org, changes) in self.changes {
            of_organizations.push(of_changes(delivering, org, changes, now));
        }
        for result in join_all(of_organizations).await {
            match result {
                Ok(of_organization) => {
                    lanes.extend(of_organization.into_iter().map(|lane| (lane.key, lane)));
                }
                Err(error) => {
                    tracing::error!("changes could not be told: {error:#}");
                }
            }
        }

        // A webhook that was just read need not be read again.
        let unread = self.due.keys().filter(|key| !lanes.contains_key(*key));
        let unread: Vec<WebhookKey> = unread.copied().collect();
        let mut unreadable = BTreeSet::new();
        let read = unread.iter().copied();
        let read = join_all(read.map(|key| delivering.webhooks.get(key))).await;
        for (key, result) in unread.into_iter().zip(read) {
            match result {
                Ok(webhook) => {
                    lanes.insert(key, Lane::new(key, webhook));
                }
                Err(error) => {
                    tracing::error!(webhook = %key.id, "webhook {} could not be read: {error}", key.id);
                    // What is due stays due, and each round of the sweep finds it.
                    if error.is_unreadable() {
                        unreadable.insert(key);
                    }
                }
            }
        }
        for (key, deliveries) in self.due {
            if let Some(lane) = lanes.get_mut(&key) {
                let task = |(due, receipt)| Task {
                    what: What::Stored(due),
                    receipt,
                };
                // Waiting deliveries precede new ones.
                lane.prepend(deliveries.into_iter().map(task));
            } else if unreadable.contains(&key) {
                for (_, receipt) in deliveries {
                    receipt.settle();
                }
            }
        }
        lanes
    }
}

/// Leaves calls to another batch.
async fn leave(calls: Vec<Asked>, delivering: &Delivering) {
    let mut works = Vec::new();
    for (called, asked) in &calls {
        for (only, _) in asked {
            match *only {
                None => works.push(Work::Call(*called)),
                Some(id) => {
                    let org = called.org;
                    let news = vec![News::Call(*called)];
                    works.extend(Work::gathered(WebhookKey { org, id }, news));
                }
            }
        }
    }
    match delivering.queue.send(&works).await {
        Ok(()) => calls.into_iter().for_each(|(_, asked)| settle(asked)),
        // Their messages come again.
        Err(error) => tracing::error!("{error:#}"),
    }
}

fn settle<T>(receipts: Vec<(T, Receipt)>) {
    for (_, receipt) in receipts {
        receipt.settle();
    }
}

/// Adds an item that a message asks for, unless one with the same `key` is there. Gives the item that is there then.
fn add<T, K: PartialEq>(
    things: &mut Vec<(T, Receipt)>,
    thing: T,
    receipt: Receipt,
    key: impl Fn(&T) -> K,
) -> &mut T {
    let place = things
        .iter()
        .position(|(known, _)| key(known) == key(&thing));
    let place = match place {
        Some(place) => {
            things[place].1.join(receipt);
            place
        }
        None => {
            things.push((thing, receipt));
            things.len() - 1
        }
    };
    &mut things[place].0
}

async fn of_changes(
    delivering: &Delivering,
    org: OrganizationId,
    changes: Vec<(Told, Receipt)>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    let (mut gathering, mut waiting) = (Vec::new(), Vec::new());
    let (webhooks, unreadable) = delivering.webhooks.all_and_unreadable(org).await?;
    let readable: HashSet<WebhookId> = webhooks.iter().map(|it| it.id).collect();
    for webhook in webhooks {
        let is_wanted = |told: &Told| {
            told.only.is_none_or(|it| it == webhook.id) && webhook.wants(&told.change)
        };
        let mut wanted: Vec<&(Told, Receipt)> =
            changes.iter().filter(|(told, _)| is_wanted(told)).collect();
        let format = webhook.settings.wanted.format;
        if let Some(at) = delivering.limits.gathered_at(format, webhook.id, now) {
            let fresh = wanted.extract_if(.., |(told, _)| told.only.is_none());
            let (fresh, receipts): (Vec<&Told>, Vec<&Receipt>) =
                fresh.map(|(told, receipt)| (told, receipt)).unzip();
            let news = distinct(fresh.iter().map(|told| News::of(&told.change)));
            let wait = (at - now).try_into().unwrap_or_default();
            let works = Work::gathered(webhook.key(), news).into_iter();
            gathering.extend(works.map(|work| (work, wait)));
            waiting.extend(receipts.into_iter().map(Receipt::share));
        }
        lanes.push(of_webhook(webhook, &wanted)?);
    }
    match delivering.queue.send_later(&gathering).await {
        Ok(()) => waiting.into_iter().for_each(Receipt::settle),
        // Their messages come again, and the webhooks that do not gather are told now.
        Err(error) => tracing::error!("{error:#}"),
    }
    if unreadable > 0 {
        // The readable webhooks are told now. The messages come again until the other webhook is repaired or deleted, and end
        // as dead letters. From there they can be sent again, and no webhook is told twice.
        tracing::error!(
            "{unreadable} webhooks of organization {} cannot be told of {} changes",
            org.digest(),
            changes.len()
        );
    }
    for (told, receipt) in changes {
        // From here on, the lanes and the gathering messages stand for these messages.
        if unreadable == 0 || told.only.is_some_and(|it| readable.contains(&it)) {
            receipt.settle();
        }
    }
    Ok(lanes)
}

/// Removes duplicates: several changes may come from one call, and then they are adjacent.
fn distinct(news: impl Iterator<Item = News>) -> Vec<News> {
    let mut news: Vec<News> = news.collect();
    news.dedup();
    news
}

fn of_webhook(webhook: Webhook, wanted: &[&(Told, Receipt)]) -> anyhow::Result<Lane> {
    let mut changes = Vec::new();
    let mut receipts: HashMap<ChangeKey, Vec<&Receipt>> = HashMap::new();
    for (told, receipt) in wanted {
        let of_change = receipts.entry(told.change.key()).or_default();
        // The change may be for all webhooks, and also for this one alone.
        if of_change.is_empty() {
            changes.push(Arc::clone(&told.change));
        }
        of_change.push(receipt);
    }
    let receipt_of = |message: &Message| {
        let keys = message.keys();
        let receipts = keys.iter().flat_map(|key| &receipts[key]);
        Receipt::joined(receipts.map(|receipt| receipt.share()))
    };
    let messages = format::messages(webhook.settings.wanted.format, webhook.org, &changes)?;
    let tasks: Vec<Task> = messages
        .into_iter()
        .map(|message| Task {
            receipt: receipt_of(&message),
            what: What::New(message),
        })
        .collect();
    let mut lane = Lane::new(webhook.key(), Some(webhook));
    lane.prepend(tasks);
    Ok(lane)
}
