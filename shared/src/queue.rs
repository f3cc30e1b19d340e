//! The queue of what is to be delivered: changes of reports, deliveries that are due, deliveries to be made due.

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::aws::describe;
use crate::delivery::{DeliveryId, DeliveryState};
use crate::organization::OrganizationId;
use crate::report::ReportId;
use crate::webhook::{WebhookId, WebhookKey};

/// The most entries of one `SendMessageBatch` (SQS API reference).
const MAX_BATCH: usize = 10;
/// How many deliveries one message stands for at the most. More of them would keep a message in flight for longer.
pub const MAX_DUE: usize = 50;

/// A message on the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Work {
    /// A report was published or updated: its organization's webhooks are to be told.
    Change(ReportChange),
    /// Deliveries are due: each is to be tried again.
    Due(DueDeliveries),
    /// Deliveries are to be made due.
    Replay(Replay),
}

/// One revision of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReportChange {
    /// What happened.
    pub event: ReportEvent,
    /// Whose report it is.
    pub org: OrganizationId,
    /// Which report.
    pub report: ReportId,
    /// Which revision of it.
    pub revision: u64,
}

/// Deliveries of one webhook that are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueDeliveries {
    /// Whose webhook it is.
    pub org: OrganizationId,
    /// Which webhook.
    pub webhook: WebhookId,
    /// Which deliveries of it.
    pub due: Vec<DeliveryId>,
}

/// The deliveries of one webhook that are in a state and lie in a range: they are to be tried now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Whose webhook it is.
    pub org: OrganizationId,
    /// Which webhook.
    pub webhook: WebhookId,
    /// The state that they are in.
    pub replay: DeliveryState,
    /// Whether also those are meant that are not due yet.
    pub early: bool,
    /// The first id; ids are in the order of time.
    pub from: DeliveryId,
    /// The last id.
    pub to: DeliveryId,
}

/// What can happen to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReportEvent {
    /// Its first revision was stored.
    #[serde(rename = "report.published")]
    Published,
    /// A further revision was stored.
    #[serde(rename = "report.updated")]
    Updated,
}

impl ReportEvent {
    /// Every event.
    pub const ALL: [Self; 2] = [Self::Published, Self::Updated];

    /// The event that a revision is.
    pub fn of_revision(revision: u64) -> Self {
        if revision == 1 {
            Self::Published
        } else {
            Self::Updated
        }
    }

    /// The event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "report.published",
            Self::Updated => "report.updated",
        }
    }
}

impl Work {
    /// As few messages as possible for these deliveries of a webhook.
    pub fn due(org: OrganizationId, webhook: WebhookId, deliveries: &[DeliveryId]) -> Vec<Self> {
        let message = |due: &[DeliveryId]| {
            Self::Due(DueDeliveries {
                org,
                webhook,
                due: due.to_vec(),
            })
        };
        deliveries.chunks(MAX_DUE).map(message).collect()
    }

    /// Replays of everything that a webhook has not got by `now`; see [`Replay::early`].
    pub fn undelivered(webhook: WebhookKey, early: bool, now: OffsetDateTime) -> [Self; 3] {
        DeliveryState::UNDELIVERED.map(|state| {
            Self::Replay(Replay {
                org: webhook.org,
                webhook: webhook.id,
                replay: state,
                early,
                from: DeliveryId::FIRST,
                // The millisecond is not over yet.
                to: DeliveryId::last_before(now + Duration::MILLISECOND),
            })
        })
    }

    fn org(&self) -> OrganizationId {
        match self {
            Self::Change(change) => change.org,
            Self::Due(due) => due.org,
            Self::Replay(replay) => replay.org,
        }
    }
}

/// The queue.
#[derive(Clone, Debug)]
pub struct EventsQueue {
    client: Client,
    url: String,
}

impl EventsQueue {
    /// The queue with this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Puts messages on the queue; an error when the queue did not take each of them.
    ///
    /// The organization is the message group: of a fair queue (SQS, standard queues) that keeps one organization's many
    /// messages from delaying the others'.
    pub async fn send(&self, messages: &[Work]) -> anyhow::Result<()> {
        for batch in messages.chunks(MAX_BATCH) {
            let entry = |(position, work): (usize, &Work)| -> anyhow::Result<_> {
                Ok(SendMessageBatchRequestEntry::builder()
                    .id(position.to_string())
                    .message_group_id(work.org().to_string())
                    .message_body(serde_json::to_string(work)?)
                    .build()?)
            };
            let entries = batch
                .iter()
                .enumerate()
                .map(entry)
                .collect::<anyhow::Result<_>>()?;
            let output = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(describe)
                .context("send messages to the queue")?;
            if let Some(failed) = output.failed.first() {
                anyhow::bail!(
                    "the queue refused {} of {} messages: {failed:?}",
                    output.failed.len(),
                    batch.len()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_what_it_is() {
        let (org, webhook) = (
            "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        );
        let id: DeliveryId = "00000000-0000-0000-0000-000000000003".parse().unwrap();
        let due = DueDeliveries {
            org,
            webhook,
            due: vec![id],
        };
        let replay = Replay {
            org,
            webhook,
            replay: DeliveryState::Held,
            early: true,
            from: id,
            to: id,
        };
        let change = ReportChange {
            event: ReportEvent::Published,
            org,
            report: "00000000-0000-0000-0000-000000000004".parse().unwrap(),
            revision: 1,
        };
        for work in [Work::Due(due), Work::Replay(replay), Work::Change(change)] {
            let json = serde_json::to_string(&work).unwrap();
            assert_eq!(serde_json::from_str::<Work>(&json).unwrap(), work, "{json}");
        }
    }

    #[test]
    fn deliveries_are_spread_over_messages() {
        let (org, webhook) = (
            "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        );
        let ids: Vec<DeliveryId> = (0..120)
            .map(|number| DeliveryId::new(uuid::Uuid::from_u128(number)))
            .collect();
        let sizes: Vec<usize> = Work::due(org, webhook, &ids)
            .iter()
            .map(|work| match work {
                Work::Due(due) => due.due.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes, [50, 50, 20]);
        assert!(Work::due(org, webhook, &[]).is_empty());
    }
}
