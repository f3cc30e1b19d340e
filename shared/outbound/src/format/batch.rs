//! Combines changes into as few messages as the limits allow.

use std::sync::Arc;

use domain::delivery::message::Message;
use domain::event::Change;
use serde_json::value::RawValue;

/// How many changes one message tells of at most. They are stored in one transaction with their message, and DynamoDB allows
/// 100 actions in a transaction.
pub const MAX_CHANGES: usize = 50;
/// How large a body may become, in bytes, before a further change goes into another message. An item of DynamoDB has at most
/// 400 KB. A single report has up to 128 KiB, and a call of `SonarQube` or an event of `CodeScoring` up to 256 KiB.
pub const MAX_BODY_BYTES: usize = 200_000;

/// Messages of these entries in their order, with one entry for each change. The changes of one message came through equally
/// many stacks. `body` puts the entries of a message into a frame.
pub(super) fn messages(
    mut entries: Vec<(&Arc<Change>, Box<RawValue>)>,
    body: impl Fn(&[Box<RawValue>]) -> serde_json::Result<String>,
) -> anyhow::Result<Vec<Message>> {
    let frame = body(&[])?.len();
    let mut messages = Vec::new();
    let (mut changes, mut gathered) = (Vec::new(), Vec::<Box<RawValue>>::new());
    // A change that came through more stacks may be stopped sooner, and must not stop the others.
    entries.sort_by_key(|(change, _)| change.hops());
    let mut hops = 0;
    let mut size = frame;
    for (change, entry) in entries {
        let length = entry.get().len();
        // The entry and the comma before it.
        let is_full = gathered.len() == MAX_CHANGES || size + 1 + length > MAX_BODY_BYTES;
        if (is_full || change.hops() != hops) && !gathered.is_empty() {
            messages.push(message(body(&gathered)?, std::mem::take(&mut changes)));
            gathered.clear();
            size = frame;
        }
        hops = change.hops();
        size += length + usize::from(!gathered.is_empty());
        changes.push(Arc::clone(change));
        gathered.push(entry);
    }
    if !gathered.is_empty() {
        messages.push(message(body(&gathered)?, changes));
    }
    Ok(messages)
}

fn message(body: String, changes: Vec<Arc<Change>>) -> Message {
    let project = changes[0].project();
    let is_common = changes.iter().all(|change| change.project() == project);
    Message {
        body,
        events: changes.iter().map(|change| change.event()).collect(),
        told: None,
        task: None,
        project: project.filter(|_| is_common).map(str::to_owned),
        changes,
    }
}
