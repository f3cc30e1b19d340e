//! From the queue to reports: whatever a source's server has told of, or was found to have, becomes reports of what it has found.
//!
//! *Invariant:* one process at a time asks the server of a source for its reports, and no more than two requests of its are under way. It
//! holds the source's lease (`store::imports`).
//!
//! *Invariant:* a server is asked at the address and by the token that an administrator has entered, through the guard of `outbound`. No
//! address in a call is ever called, and nothing in one is believed but that something has happened; but for a version, where the source
//! says that it stands in a property of the analysis.
//!
//! A message of the queue says which source is to be looked after, and not what there is to do, which is in the tables. So any number of
//! messages may come, be lost, or come twice.

mod analysis;
mod failure;
mod missed;
mod report;
mod server;
mod source;
mod state;
mod tally;
mod visit;

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use runtime::clock::Clock;
use store::queue::imports::LookAfter;
use time::OffsetDateTime;

pub use crate::state::Importing;

/// So much of the function's time is kept for what has been begun: the files of a report are written and the revision is stored, perhaps
/// after others have won; it is recorded, and the lease given back.
pub const RESERVE: Duration = Duration::from_secs(90);

/// Handles messages of the queue that came at `now`, and begins nothing new when `budget` is over.
///
/// The messages that are named in the answer have to come again: something of ours has failed. All others are done, whatever their servers
/// have answered.
pub async fn handle(
    importing: &Importing,
    event: SqsEvent,
    now: OffsetDateTime,
    budget: Duration,
) -> SqsBatchResponse {
    let clock = Clock::new(now, budget);
    let mut response = SqsBatchResponse::default();
    // template.yaml gives it one message at a time.
    for message in event.records {
        let id = message.message_id.unwrap_or_default();
        let handled = match LookAfter::from_json(message.body.as_deref().unwrap_or_default()) {
            Ok(look) => source::look_after(importing, &look, &clock).await,
            Err(error) => Err(anyhow::Error::new(error).context("read a message of the queue")),
        };
        if let Err(error) = handled {
            tracing::error!(
                message = id,
                "message {id} of the queue comes again: {error:#}"
            );
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
    }
    let unreadable = importing.sources.unreadable.take()
        + importing.calls.unreadable.take()
        + importing.imports.unreadable.take()
        + importing.publisher.reports.unreadable.take();
    importing.metrics.record_unreadable(clock.now(), unreadable);
    response
}
