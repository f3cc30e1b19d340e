//! The messages of the queue that are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};

/// The messages of a batch.
#[derive(Debug, Default)]
pub(crate) struct Records(Vec<Arc<Record>>);

#[derive(Debug)]
struct Record {
    message_id: String,
    comes_again: AtomicBool,
}

/// The obligation to settle some messages of the batch. If it is dropped unsettled, by an error or by oversight, the messages
/// come again.
///
/// *Invariant:* it is settled only when DynamoDB has the outcome of every delivery that it stands for.
#[derive(Debug)]
#[must_use = "a message whose receipt is dropped comes again"]
pub(crate) struct Receipt {
    records: Vec<Arc<Record>>,
}

impl Records {
    /// Adds a message of the batch.
    pub(crate) fn receive(&mut self, message_id: String) -> Receipt {
        let record = Arc::new(Record {
            message_id,
            comes_again: AtomicBool::new(false),
        });
        self.0.push(Arc::clone(&record));
        Receipt {
            records: vec![record],
        }
    }

    /// The answer by which Lambda deletes every message except those that come again. A message whose receipt still exists
    /// comes again too.
    pub(crate) fn response(self) -> SqsBatchResponse {
        let failure = |record: &Arc<Record>| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier.clone_from(&record.message_id);
            failure
        };
        let come_again = self.0.iter();
        let come_again = come_again
            .filter(|it| it.comes_again.load(Ordering::Relaxed) || Arc::strong_count(it) > 1);
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = come_again.map(failure).collect();
        response
    }
}

impl Receipt {
    /// Settles this receipt: as far as it is concerned, the messages are done.
    pub(crate) fn settle(mut self) {
        self.records.clear();
    }

    /// A further receipt for the same messages. Each receipt has to be settled.
    pub(crate) fn share(&self) -> Self {
        Self {
            records: self.records.clone(),
        }
    }

    /// Merges another receipt, so that this one is for the messages of both.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.records.append(&mut other.records);
    }

    /// One receipt for the messages of all. Without any it is for no message.
    pub(crate) fn joined(receipts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            records: Vec::new(),
        };
        for receipt in receipts {
            all.join(receipt);
        }
        all
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        for record in &self.records {
            record.comes_again.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_again(records: Records) -> Vec<String> {
        let failures = records.response().batch_item_failures.into_iter();
        failures.map(|failure| failure.item_identifier).collect()
    }

    #[test]
    fn what_is_not_settled_comes_again() {
        let mut records = Records::default();
        let (one, two) = (records.receive("1".into()), records.receive("2".into()));
        one.settle();
        drop(two);
        assert_eq!(come_again(records), ["2"]);
    }

    #[test]
    fn what_is_still_held_comes_again() {
        let mut records = Records::default();
        let _held = records.receive("1".into());
        records.receive("2".into()).settle();
        assert_eq!(come_again(records), ["1"]);
    }

    #[test]
    fn each_share_has_to_be_settled() {
        let mut records = Records::default();
        let (one, two) = (records.receive("1".into()), records.receive("2".into()));
        let (share_of_one, share_of_two) = (one.share(), two.share());
        one.settle();
        two.settle();
        share_of_one.settle();
        drop(share_of_two);
        assert_eq!(come_again(records), ["2"]);
    }

    #[test]
    fn a_joined_receipt_stands_for_all() {
        let mut records = Records::default();
        let receipts = ["1", "2", "3"].map(|id| records.receive(id.into()));
        let [one, two, three] = receipts;
        let joined = Receipt::joined([one, two]);
        three.settle();
        drop(joined);
        assert_eq!(come_again(records), ["1", "2"]);
    }
}
