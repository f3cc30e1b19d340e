//! From the imports queue to reports. Each analysis that a source has reported, or that its server was found to have, becomes
//! reports of its findings.
//!
//! *Invariant:* one process at a time asks the server of a source, with at most two requests at once. It holds the source's
//! lease (`store::imports`).
//!
//! *Invariant:* a server is asked at the address and with the token that an administrator entered, through the guard of
//! `outbound`. No address in a call is ever called. A call is trusted only to say that something has happened. The one
//! exception is a version, where the source's settings say that a property of the analysis has it.
//!
//! A message of the queue says which source to visit. What there is to do is in the tables. So messages may be many, be lost,
//! or come twice.

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

/// How much of the function's time is reserved for what has begun. The files of a report are written and the revision is
/// stored, perhaps after others have won. Then the import is recorded, and the lease is given back.
pub const RESERVE: Duration = Duration::from_secs(90);

/// Handles messages of the queue that came at `now`. Begins nothing new when `budget` is over.
///
/// The answer names the messages that have to come again, because something of ours failed. All other messages are done,
/// whatever their servers answered.
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
