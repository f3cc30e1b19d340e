//! From messages of the queue to what there is to do for each webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use domain::event::{Change, ChangeKey};
use domain::organization::OrganizationId;
use domain::webhook::{Webhook, WebhookKey};
use futures_util::future::join_all;
use outbound::format;
use store::queue::work::{Called, Replay, Work};

use crate::lane::{Due, Lane, Task, What};
use crate::receipt::{Receipt, Records};
use crate::state::Delivering;

/// When so many bytes of calls are read, the others are left to another batch: each webhook that wants a call gets a message that
/// has its body. Ten calls of 256 KiB may come on top.
const MAX_CALL_BYTES: usize = 4 << 20;
/// So many calls are read at a time.
const CALLS_AT_A_TIME: usize = 10;

/// A change, and the messages of the queue that told of it.
type Told = (Arc<Change>, Receipt);

/// Messages by what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order in which they came, each once.
    changes: BTreeMap<OrganizationId, Vec<Told>>,
    /// Calls of sources, each once, whose bodies have not been read.
    calls: Vec<(Called, Receipt)>,
    /// In the order in which they came, which is that of their `dueAt`: what has waited longest is tried first, so that one
    /// that always fails does not keep the others from being tried.
    due: BTreeMap<WebhookKey, Vec<(Due, Receipt)>>,
    /// In the order in which they came.
    pub(crate) replays: Vec<(Replay, Receipt)>,
}

impl Batch {
    /// Reads the messages of a batch. Those that cannot be read come again, and go to the dead-letter queue in the end,
    /// where somebody looks at them.
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
            Work::Change(change) => {
                let changes = self.changes.entry(change.org).or_default();
                let change = Arc::new(Change::Report(change));
                add(changes, change, receipt, |change| change.key());
            }
            Work::Call(called) => {
                add(&mut self.calls, called, receipt, |called| called.key());
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
                    // One that is due by now, as one message says, need not wait until what another one says.
                    due.at = at.min(due.at.take());
                }
                receipt.settle();
            }
            Work::Replay(replay) => self.replays.push((replay, receipt)),
        }
    }

    /// Reads what sources were told. Messages of what cannot be read come again.
    async fn read_calls(&mut self, delivering: &Delivering) {
        let mut calls = std::mem::take(&mut self.calls);
        // Before reports: of an analysis, what SonarQube says itself is more.
        let mut told: BTreeMap<OrganizationId, Vec<Told>> = BTreeMap::new();
        let mut bytes = 0;
        while !calls.is_empty() && bytes < MAX_CALL_BYTES {
            let some: Vec<_> = calls.drain(..CALLS_AT_A_TIME.min(calls.len())).collect();
            let read = some
                .iter()
                .map(|(called, _)| delivering.calls.get(called.key()));
            let read = join_all(read).await;
            for ((called, receipt), read) in some.into_iter().zip(read) {
                match read {
                    Ok(Some((call, body))) => {
                        bytes += body.len();
                        match call.change(body) {
                            Some(change) => {
                                let told = told.entry(called.org).or_default();
                                told.push((Arc::new(change.into()), receipt));
                            }
                            // Somebody has put it on the queue by hand.
                            None => receipt.settle(),
                        }
                    }
                    // Its time is over.
                    Ok(None) => receipt.settle(),
                    Err(error) => tracing::error!(source = %called.source, "{error:#}"),
                }
            }
        }
        for (org, calls) in told {
            self.changes.entry(org).or_default().splice(..0, calls);
        }
        leave(calls, delivering).await;
    }

    /// What there is to do for each webhook. Messages for which that cannot be told come again.
    pub(crate) async fn lanes(mut self, delivering: &Delivering) -> BTreeMap<WebhookKey, Lane> {
        self.read_calls(delivering).await;
        let mut lanes = BTreeMap::new();
        // A loop, since a closure over references makes a future that is not `Send` enough.
        let mut of_organizations = Vec::new();
        for (org, changes) in self.changes {
            of_organizations.push(of_changes(delivering, org, changes));
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
                    // What is due stays due, and each round finds it.
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
                // What has waited goes before what is new.
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
async fn leave(calls: Vec<(Called, Receipt)>, delivering: &Delivering) {
    let works: Vec<Work> = calls.iter().map(|(it, _)| Work::Call(*it)).collect();
    match delivering.queue.send(&works).await {
        Ok(()) => {
            for (_, receipt) in calls {
                receipt.settle();
            }
        }
        // Then their messages come again.
        Err(error) => tracing::error!("{error:#}"),
    }
}

/// Adds a thing that a message asks for, once: what tells it from others is its `key`. Gives the one that stays.
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
    changes: Vec<Told>,
) -> anyhow::Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    let (webhooks, unreadable) = delivering.webhooks.all_and_unreadable(org).await?;
    for webhook in webhooks {
        lanes.push(of_webhook(webhook, &changes)?);
    }
    if unreadable == 0 {
        // From here on the lanes stand for the messages.
        for (_, receipt) in changes {
            receipt.settle();
        }
    } else {
        // The others are told now. The messages come again, until the webhook is mended or deleted, and are dead letters in
        // the end: from there they can be sent once more, and nobody is told twice.
        tracing::error!(
            "{unreadable} webhooks of organization {} cannot be told of {} changes",
            org.digest(),
            changes.len()
        );
    }
    Ok(lanes)
}

fn of_webhook(webhook: Webhook, changes: &[Told]) -> anyhow::Result<Lane> {
    let wanted = changes.iter().filter(|(change, _)| webhook.wants(change));
    let wanted: Vec<Arc<Change>> = wanted.map(|(change, _)| Arc::clone(change)).collect();
    let receipt_of = |keys: &[ChangeKey]| {
        let of_message = changes
            .iter()
            .filter(|(change, _)| keys.contains(&change.key()));
        Receipt::joined(of_message.map(|(_, receipt)| receipt.share()))
    };
    let messages = format::messages(webhook.settings.wanted.format, webhook.org, &wanted)?;
    let tasks: Vec<Task> = messages
        .into_iter()
        .map(|message| Task {
            receipt: receipt_of(&message.keys()),
            what: What::New(message),
        })
        .collect();
    let mut lane = Lane::new(webhook.key(), Some(webhook));
    lane.prepend(tasks);
    Ok(lane)
}
