//! Turns verified files into a stored and announced revision of a report, and a report into a tombstone.
//!
//! Several publications of one report may run at once. Each writes its objects under a prefix of its own, an [`Attempt`].
//! Then a single transaction makes one of them the next revision. Before that, readers see nothing of it.
//!
//! *Invariant:* an object is never written twice. Only the transaction writes what a report is, and a deletion only makes a
//! report a tombstone.

mod files;
mod payload;
mod revision;
mod writer;

pub use files::{Attempt, ReportFiles, SupersededObject};
pub use revision::{Deleted, NewRevision, Outcome, Publisher, Revision};
pub use writer::{FileWriter, Written};
