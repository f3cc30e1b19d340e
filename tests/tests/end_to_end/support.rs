//! What several of these tests begin with.

use domain::organization::OrganizationId;
use serde_json::Value;
use tests::api::{Reply, text};
use tests::deployment::Deployment;
use tests::receiver::{Received, Receiver};
use tests::samples::{files, metadata};
use tests::system::organization;

/// An organization with a webhook, and its receiver.
pub(crate) struct Stage {
    pub(crate) system: Deployment,
    pub(crate) org: OrganizationId,
    pub(crate) receiver: Receiver,
    pub(crate) webhook: Value,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let (system, org) = (Deployment::open().await, organization());
        let receiver = system.receiver().await;
        let webhook = system.webhook(org, &receiver.url).await;
        Self {
            system,
            org,
            receiver,
            webhook,
        }
    }

    /// Publishes a report on a version, and gives its id.
    pub(crate) async fn publish(&self, version: &str) -> String {
        let (metadata, files) = (metadata(version), files(version));
        let published = self.system.publish(self.org, &metadata, &files).await;
        text(&published["id"])
    }

    /// Does something to the webhook.
    pub(crate) async fn ask(&self, action: &str, body: Option<Value>) -> Reply {
        let path = format!("/webhooks/{}/{action}", text(&self.webhook["id"]));
        self.system.manage(self.org, "POST", &path, body).await
    }

    /// What the receiver gets of what has happened, which is one message.
    pub(crate) async fn told_once(&self) -> Received {
        let told = self.system.told(&self.receiver, 1).await;
        let [told] = told.try_into().unwrap();
        told
    }

    /// Lets an hour pass, and then comes a round.
    pub(crate) async fn hour_passes(&self) {
        let webhook = &self.webhook["id"];
        self.system.hour_passes(self.org, webhook).await;
    }

    /// The webhook's deliveries, the newest first, as soon as they are in these states.
    pub(crate) async fn settled(&self, states: &[&str]) -> Vec<Value> {
        let webhook = &self.webhook["id"];
        self.system.settled(self.org, webhook, states).await
    }
}
