//! From messages of the queue to what there is to do for each webhook.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use futures_util::future::join_all;
use shared::delivery::DeliveryId;
use shared::message::Message;
use shared::organization::OrganizationId;
use shared::queue::{Replay, ReportChange, Work};
use shared::report::{Report, ReportId};
use shared::webhook::{Webhook, WebhookKey};

use crate::Delivering;
use crate::lane::{Lane, Task, What};

/// Messages by what they ask for. A record is the place of a message in the batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order in which they came, each once.
    changes: BTreeMap<OrganizationId, Vec<(ReportChange, Vec<usize>)>>,
    /// In the order in which they came, which is that of their `dueAt`: what has waited longest is tried first, so that one
    /// that always fails does not keep the others from being tried.
    due: BTreeMap<WebhookKey, Vec<(DeliveryId, Vec<usize>)>>,
    pub(crate) replays: Vec<(Replay, usize)>,
    /// They go to the dead-letter queue in the end, where somebody looks at them.
    pub(crate) unreadable: Vec<usize>,
}

impl Batch {
    pub(crate) fn read(event: &SqsEvent) -> Self {
        let mut batch = Self::default();
        for (record, message) in event.records.iter().enumerate() {
            let body = message.body.as_deref().unwrap_or_default();
            match serde_json::from_str(body) {
                Ok(Work::Change(change)) => {
                    add(batch.changes.entry(change.org).or_default(), change, record);
                }
                Ok(Work::Due(due)) => {
                    let key = WebhookKey {
                        org: due.org,
                        id: due.webhook,
                    };
                    let of_webhook = batch.due.entry(key).or_default();
                    for id in due.due {
                        add(of_webhook, id, record);
                    }
                }
                Ok(Work::Replay(replay)) => batch.replays.push((replay, record)),
                Err(error) => {
                    let id = message.message_id.as_deref().unwrap_or_default();
                    tracing::error!(
                        message = id,
                        "message {id} of the queue cannot be read: {error}"
                    );
                    batch.unreadable.push(record);
                }
            }
        }
        batch
    }
}

/// Adds a thing that a record asks for, once.
fn add<T: PartialEq>(things: &mut Vec<(T, Vec<usize>)>, thing: T, record: usize) {
    match things.iter_mut().find(|(known, _)| *known == thing) {
        Some((_, records)) => records.push(record),
        None => things.push((thing, vec![record])),
    }
}

/// What there is to do for each webhook. Records for which that cannot be told are added to `unsettled`.
pub(crate) async fn lanes(
    delivering: &Delivering,
    batch: &Batch,
    unsettled: &mut BTreeSet<usize>,
) -> BTreeMap<WebhookKey, Lane> {
    let mut lanes = BTreeMap::new();
    // A loop, since a closure over references makes a future that is not `Send` enough.
    let mut of_organizations = Vec::new();
    for (org, changes) in &batch.changes {
        of_organizations.push(of_changes(delivering, *org, changes));
    }
    let results = join_all(of_organizations).await;
    for (result, changes) in results.into_iter().zip(batch.changes.values()) {
        match result {
            Ok(of_organization) => {
                lanes.extend(of_organization.into_iter().map(|lane| (lane.key, lane)));
            }
            Err(error) => {
                tracing::error!("changes of reports could not be told: {error:#}");
                unsettled.extend(changes.iter().flat_map(|(_, records)| records));
            }
        }
    }

    // A webhook that was just read need not be read again.
    let unread = batch.due.keys().filter(|key| !lanes.contains_key(*key));
    let unread: Vec<WebhookKey> = unread.copied().collect();
    let read = unread.iter().copied();
    let read = join_all(read.map(|key| delivering.webhooks.get(key))).await;
    for (key, result) in unread.iter().zip(read) {
        match result {
            Ok(webhook) => {
                lanes.insert(*key, Lane::new(*key, webhook, Arc::default()));
            }
            Err(error) => {
                tracing::error!(webhook = %key.id, "webhook {} could not be read: {error:#}", key.id);
                unsettled.extend(batch.due[key].iter().flat_map(|(_, records)| records));
            }
        }
    }
    for (key, deliveries) in &batch.due {
        if let Some(lane) = lanes.get_mut(key) {
            let task = |(id, records): &(DeliveryId, Vec<usize>)| Task {
                what: What::Stored(*id),
                records: records.clone(),
            };
            // What has waited goes before what is new.
            lane.prepend(deliveries.iter().map(task));
        }
    }
    lanes
}

async fn of_changes(
    delivering: &Delivering,
    org: OrganizationId,
    changes: &[(ReportChange, Vec<usize>)],
) -> anyhow::Result<Vec<Lane>> {
    let webhooks = delivering.webhooks.all(org).await?;
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<ReportId> = changes.iter().map(|(change, _)| change.report).collect();
    let ids: Vec<ReportId> = ids.into_iter().collect();
    let reports = delivering.reports.get_all(org, &ids).await?;
    let reports: Arc<HashMap<ReportId, Report>> = Arc::new(
        reports
            .into_iter()
            .map(|report| (report.id, report))
            .collect(),
    );
    for id in ids.iter().filter(|id| !reports.contains_key(*id)) {
        tracing::error!(report = %id, "report {id} is not there, so nobody is told of it");
    }
    webhooks
        .into_iter()
        .map(|webhook| of_webhook(webhook, changes, &reports))
        .collect()
}

fn of_webhook(
    webhook: Webhook,
    changes: &[(ReportChange, Vec<usize>)],
    reports: &Arc<HashMap<ReportId, Report>>,
) -> anyhow::Result<Lane> {
    let wanted: Vec<(ReportChange, &Report)> = changes
        .iter()
        .filter_map(|(change, _)| Some((*change, reports.get(&change.report)?)))
        .filter(|(change, report)| webhook.wants(&report.metadata.project_key, change.event))
        .collect();
    let messages = Message::of(webhook.org, &wanted)?;
    let records_of = |message: &Message| {
        let of_message = changes
            .iter()
            .filter(|(change, _)| message.changes.contains(change));
        of_message
            .flat_map(|(_, records)| records)
            .copied()
            .collect()
    };
    let tasks: Vec<Task> = messages
        .into_iter()
        .map(|message| Task {
            records: records_of(&message),
            what: What::New(message),
        })
        .collect();
    let mut lane = Lane::new(webhook.key(), Some(webhook), Arc::clone(reports));
    lane.prepend(tasks);
    Ok(lane)
}
