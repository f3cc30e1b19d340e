//! Storage: the tables of DynamoDB, the objects of S3, the queues of SQS, and the outbox between the tables and the queue.
//!
//! Each store is a client of the SDK and a name. The features `tables`, `objects` and `queue` bring the clients. Errors are
//! the store's own: [`Error`] when a service failed, and a result type of its own where the caller has to decide.

mod error;

#[cfg(feature = "tables")]
pub mod calls;
#[cfg(feature = "tables")]
pub mod contention;
#[cfg(feature = "tables")]
mod counted;
#[cfg(feature = "tables")]
pub mod deliveries;
#[cfg(feature = "tables")]
pub mod dynamodb;
#[cfg(feature = "tables")]
pub mod idempotency;
#[cfg(feature = "tables")]
pub mod imports;
#[cfg(feature = "tables")]
mod mark;
#[cfg(feature = "objects")]
pub mod objects;
#[cfg(all(feature = "tables", feature = "queue"))]
pub mod outbox;
#[cfg(feature = "tables")]
mod packed;
#[cfg(feature = "tables")]
mod pages;
#[cfg(feature = "tables")]
pub mod products;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "tables")]
pub mod quota;
#[cfg(feature = "tables")]
pub mod reports;
#[cfg(feature = "tables")]
pub mod sessions;
#[cfg(feature = "tables")]
pub mod sources;
#[cfg(feature = "tables")]
pub mod tokens;
#[cfg(feature = "tables")]
pub mod webhooks;

pub use error::{Error, describe};
