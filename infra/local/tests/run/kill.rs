//! What a kill loses: nothing that anybody was told.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::token::TokenSecret;
use local::client::{File, Publisher};
use serde_json::json;
use tests::receiver::Receiver;
use tests::samples;
use tests::system::text;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{Administrator, start};

const KILLS: usize = 10;
/// How many publishers publish a report each before a kill. What all of them publish fits into one message: so a kill
/// never finds another delivery that is still to be sent, which would come only after its lease.
const PUBLISHERS: usize = 5;
/// How many reports are confirmed before a kill, which finds the other publishers in the midst of it. Most kills come before
/// the queue's batch is taken, which is collected for some seconds, and find all messages on the queue.
const CONFIRMED: usize = 3;
/// How long a test waits that a slow machine lets come to such a lease.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn every_confirmed_report_is_told_in_spite_of_kills() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--no-demo", "--retry-every", "500ms"];
    let receiver = Receiver::start().await;
    let mut confirmed = BTreeSet::new();
    for kill in 0..KILLS {
        let mut running = start(data.path(), &arguments).await;
        if kill == 0 {
            let webhook = json!({"name": "mine", "url": receiver.url});
            let administrator = Administrator::of(&running);
            administrator.call("POST", "/webhooks", Some(webhook)).await;
        }
        let token = TokenSecret::parse(&running.environment["PUBLISH_TOKEN"]).unwrap();
        let publisher = Publisher::new(&running.environment["API_URL"], token).unwrap();
        let (confirm, mut confirmations) = mpsc::unbounded_channel();
        let mut publishers = JoinSet::new();
        for number in 0..PUBLISHERS {
            let project = format!("{kill}-{number}");
            publishers.spawn(publish(publisher.clone(), project, confirm.clone()));
        }
        drop(confirm);
        for _ in 0..CONFIRMED {
            confirmed.insert(confirmations.recv().await.expect("publishing works"));
        }
        if kill % 3 == 2 {
            // This one comes when a delivery is sent and not yet recorded.
            receiver.wait_for(receiver.received().len() + 1).await;
        }
        // SIGKILL.
        running.process.kill().await.unwrap();
        while let Some(id) = confirmations.recv().await {
            confirmed.insert(id);
        }
    }

    let _running = start(data.path(), &arguments).await;
    loop {
        let received = receiver.received();
        let told: BTreeSet<String> = received.iter().flat_map(|it| it.report_ids()).collect();
        if confirmed.is_subset(&told) {
            break;
        }
        receiver.wait(received.len() + 1, PATIENCE).await;
    }
}

/// Publishes a report, and says so if it is confirmed.
async fn publish(publisher: Publisher, project: String, confirm: mpsc::UnboundedSender<String>) {
    let mut metadata = samples::metadata("1.0");
    metadata["projectKey"] = project.into();
    let file = File {
        name: "report.html".to_owned(),
        bytes: b"<p>Nothing found.</p>".to_vec(),
    };
    if let Ok(report) = publisher.publish(&metadata, &[file]).await {
        confirm.send(text(&report["id"])).unwrap();
    }
}
