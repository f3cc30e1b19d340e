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
            Metric::count("ImportsPublished", self.published),
            Metric::count("ImportsFailed", self.given_up),
            Metric::count("SourcesUnauthorized", self.unauthorized),
            Metric::count("SourcesUnreachable", self.unreachable),
            Metric::count("SourceTokensExpiring", self.expiring),
        ];
        let metrics: Vec<Metric> = counts.into_iter().filter(|it| !it.is_zero()).collect();
        if !metrics.is_empty() {
            importing.metrics.record(now, &metrics);
        }
    }
}
