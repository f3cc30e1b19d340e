//! What is counted while sources are looked after.

use runtime::metrics::Metric;
use time::OffsetDateTime;

use crate::state::Importing;

/// What is counted of imports.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Analyses whose reports are there.
    pub(crate) published: usize,
    /// Those that came to none for good.
    pub(crate) given_up: usize,
    /// Sources whose token is not accepted.
    pub(crate) unauthorized: usize,
    /// Sources whose servers cannot be asked.
    pub(crate) unreachable: usize,
    /// Sources whose token expires soon, or has.
    pub(crate) expiring: usize,
}

impl Tally {
    /// Records what there is to count.
    pub(crate) fn record(&self, importing: &Importing, now: OffsetDateTime) {
        let counts = [
            ("ImportsPublished", self.published),
            ("ImportsFailed", self.given_up),
            ("SourcesUnauthorized", self.unauthorized),
            ("SourcesUnreachable", self.unreachable),
            ("SourceTokensExpiring", self.expiring),
        ];
        let counted = counts.into_iter().filter(|(_, count)| *count > 0);
        let metrics: Vec<Metric> = counted
            .map(|(name, count)| Metric::count(name, count))
            .collect();
        if !metrics.is_empty() {
            importing.metrics.record(now, &metrics);
        }
    }
}
