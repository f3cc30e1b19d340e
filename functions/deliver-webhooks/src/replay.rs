//! Replays: deliveries that are tried again on request.

use domain::date::timestamp;
use domain::delivery::DeliveryKey;
use domain::delivery::{Delivery, DeliveryId, DeliveryState};
use futures_util::{StreamExt as _, stream};
use runtime::clock::Clock;
use store::deliveries::lease::MadeDue;
use store::deliveries::{Page, Range};
use store::queue::work::{Replay, Work};

use crate::receipt::Receipt;
use crate::state::Delivering;

/// How many deliveries are read and written at a time: few enough that what begins at the last moment ends in time.
const PAGE: usize = 32;
/// How many of them are written at once.
const AT_ONCE: usize = 16;

/// Makes replays one after the other, and settles those that are made.
pub(crate) async fn all(delivering: &Delivering, replays: Vec<(Replay, Receipt)>, clock: &Clock) {
    for (replay, receipt) in replays {
        match make(delivering, &replay, clock).await {
            Ok(()) => receipt.settle(),
            Err(error) => {
                tracing::error!(webhook = %replay.webhook, "a replay for webhook {} stopped: {error:#}", replay.webhook);
            }
        }
    }
}

/// Puts the deliveries of a replay on the queue, and makes them due first if the replay asks for that. What there is no time
/// for goes on the queue as a further replay.
///
/// An error leaves some deliveries undone. Then the same replay may be made again.
async fn make(delivering: &Delivering, replay: &Replay, clock: &Clock) -> anyhow::Result<()> {
    let mut range = Range {
        webhook: replay.webhook,
        state: Some(replay.replay),
        from: replay.from,
        to: replay.to,
    };
    let mut has_progressed = false;
    loop {
        let page = if clock.is_over() {
            Err(anyhow::anyhow!("there is no time left"))
        } else {
            page_of(delivering, replay, &mut range, clock).await
        };
        match page {
            Ok(true) => has_progressed = true,
            Ok(false) => return Ok(()),
            // A repetition of the same replay would send again what was delivered in the meantime.
            Err(error) if has_progressed || clock.is_over() => {
                tracing::info!(webhook = %replay.webhook, "a replay for webhook {} continues later: {error:#}", replay.webhook);
                let rest = Work::Replay(Replay {
                    from: range.from,
                    ..replay.clone()
                });
                return Ok(delivering.queue.send(&[rest]).await?);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Replays a page, and moves the beginning of the range after it. Gives whether there is more.
async fn page_of(
    delivering: &Delivering,
    replay: &Replay,
    range: &mut Range,
    clock: &Clock,
) -> anyhow::Result<bool> {
    let Page { deliveries, next } = delivering.deliveries.page(range, false, PAGE).await?;
    let due = if replay.early {
        let ids = deliveries.iter().map(|delivery| delivery.id).collect();
        make_due(delivering, replay, ids, clock).await?
    } else {
        let now = timestamp(clock.now());
        let is_due = |it: &&Delivery| it.due_at.as_ref().is_some_and(|at| *at <= now);
        deliveries.iter().filter(is_due).map(|it| it.id).collect()
    };
    let messages = Work::due(replay.org, replay.webhook, &due);
    delivering.queue.send(&messages).await?;
    if let Some(last) = next {
        range.from = last.next();
    }
    Ok(next.is_some())
}

/// Makes deliveries due, and gives those that are due now.
async fn make_due(
    delivering: &Delivering,
    replay: &Replay,
    ids: Vec<DeliveryId>,
    clock: &Clock,
) -> anyhow::Result<Vec<DeliveryId>> {
    let webhook = replay.webhook;
    let made_due = ids.iter().copied().map(|id| {
        let key = DeliveryKey { webhook, id };
        // A delivery of the replay may have been delivered since it was read.
        let again = replay.replay == DeliveryState::Delivered;
        delivering.deliveries.make_due(key, again, clock.now())
    });
    let results: Vec<_> = stream::iter(made_due).buffered(AT_ONCE).collect().await;
    let mut due = Vec::new();
    for (id, result) in ids.into_iter().zip(results) {
        match result? {
            MadeDue::Due(_) => due.push(id),
            // Somebody is trying it or was, or it does not exist any more.
            MadeDue::InProgress | MadeDue::Delivered | MadeDue::Gone => {}
        }
    }
    Ok(due)
}
