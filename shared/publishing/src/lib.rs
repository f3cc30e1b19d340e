//! From verified files to a stored and announced revision of a report, and from that to a tombstone.
//!
//! Any number of publications of one report may run at once. Each writes its objects under a prefix of its own, an
//! [`Attempt`]. Then a single transaction makes one of them the next revision. Until then no reader sees anything of it.
//!
//! *Invariant:* an object is never written twice, and the transaction is the only write of what a report is; deleting it only
//! takes it away.

pub mod contention;
mod files;
mod payload;
mod revision;
mod writer;

pub use files::{Attempt, ReportFiles, SupersededObject};
pub use revision::{Deleted, NewRevision, Outcome, Publisher, Revision};
pub use writer::{FileWriter, Written};
