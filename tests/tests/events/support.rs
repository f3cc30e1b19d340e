//! Batches as Lambda hands them to the function, made by hand.

use deliver_webhooks::Delivering;
use store::queue::work::Work;
use tests::queue::batch;
use time::OffsetDateTime;

/// Hands messages of the queue over at a time, and gives how many come again.
pub(crate) async fn handed(delivering: &Delivering, works: &[Work], now: OffsetDateTime) -> usize {
    let event = batch(works.iter().map(Work::to_json));
    let budget = std::time::Duration::from_secs(60);
    let response = deliver_webhooks::handle(delivering, event, now, budget).await;
    response.batch_item_failures.len()
}

/// The same, where none does.
pub(crate) async fn handle(delivering: &Delivering, works: &[Work], now: OffsetDateTime) {
    assert_eq!(handed(delivering, works, now).await, 0);
}
