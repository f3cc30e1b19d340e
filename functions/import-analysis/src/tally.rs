//! The figures of visits to sources.

use runtime::metrics::Metric;
use time::OffsetDateTime;

use crate::state::Importing;

/// The figures of imports.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Analyses whose reports are published.
    pub(crate) published: usize,
    /// Analyses that were given up.
    pub(crate) given_up: usize,
    /// Sources whose token is not accepted.
    pub(crate) unauthorized: usize,
    /// Sources whose servers cannot be reached.
    pub(crate) unreachable: usize,
    /// Sources whose token expires soon, or has expired.
    pub(crate) expiring: usize,
}

impl Tally {
    /// Records the figures.
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
