//! Deliveries that are to be tried again at somebody's wish.

use futures_util::{StreamExt as _, stream};
use shared::delivery::DeliveryId;
use shared::delivery_store::{DeliveryKey, MadeDue, Range};
use shared::queue::{Replay, Work};

use crate::Delivering;
use crate::clock::Clock;

/// How many deliveries are read at a time.
const PAGE: usize = 100;
/// How many of them are written at a time.
const AT_ONCE: usize = 16;

/// Makes deliveries due and puts them on the queue. What there is no time for is put on the queue as a further replay.
///
/// An error leaves some undone; the same replay may then be made once more.
pub(crate) async fn make_due(
    delivering: &Delivering,
    replay: &Replay,
    clock: &Clock,
) -> anyhow::Result<()> {
    let mut range = Range {
        webhook: replay.webhook,
        state: Some(replay.replay),
        from: replay.from,
        to: replay.to,
    };
    loop {
        let (page, has_more) = delivering.deliveries.page(&range, false, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        range.from = last.id.next();
        let ids: Vec<DeliveryId> = page.iter().map(|delivery| delivery.id).collect();
        let webhook = replay.webhook;
        let made_due = ids.iter().copied().map(|id| {
            let key = DeliveryKey { webhook, id };
            delivering.deliveries.make_due(key, clock.now())
        });
        let results: Vec<_> = stream::iter(made_due).buffered(AT_ONCE).collect().await;
        let mut due = Vec::new();
        for (id, result) in ids.into_iter().zip(results) {
            match result? {
                MadeDue::Yes(_) => due.push(id),
                // It is being tried, or there is none any more.
                MadeDue::InProgress | MadeDue::Gone => {}
            }
        }
        let mut messages = Work::due(replay.org, replay.webhook, &due);
        let goes_on = has_more && clock.is_over();
        if goes_on {
            let from = range.from;
            messages.push(Work::Replay(Replay {
                from,
                ..replay.clone()
            }));
        }
        delivering.queue.send(&messages).await?;
        if goes_on || !has_more {
            return Ok(());
        }
    }
}
