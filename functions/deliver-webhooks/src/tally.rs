//! The figures of a batch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::metrics::Metric;

/// Counts the outcomes that DynamoDB has. An attempt that could not be recorded is made again, and counts then.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    succeeded: usize,
    failed: usize,
    held: usize,
    disabled: usize,
    milliseconds: Vec<u64>,
}

impl Tally {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery was tried.
    pub(crate) fn attempted(&self, is_success: bool, milliseconds: u64) {
        let mut figures = self.figures();
        if is_success {
            figures.succeeded += 1;
        } else {
            figures.failed += 1;
        }
        figures.milliseconds.push(milliseconds);
    }

    /// A delivery waits for its webhook to be enabled.
    pub(crate) fn held(&self) {
        self.figures().held += 1;
    }

    /// A webhook was disabled.
    pub(crate) fn disabled(&self) {
        self.figures().disabled += 1;
    }

    /// The metrics; `None` if nothing was done.
    pub(crate) fn metrics(&self) -> Option<[Metric; 5]> {
        let figures = self.figures();
        if figures.succeeded + figures.failed + figures.held + figures.disabled == 0 {
            return None;
        }
        // A count of zero says that there was none. That differs from no figure at all.
        Some([
            Metric::count("DeliveriesSucceeded", figures.succeeded),
            Metric::count("DeliveriesFailed", figures.failed),
            Metric::count("DeliveriesHeld", figures.held),
            Metric::count("WebhooksDisabled", figures.disabled),
            Metric::milliseconds("AttemptDuration", figures.milliseconds.clone()),
        ])
    }
}
