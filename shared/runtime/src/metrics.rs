//! Figures for CloudWatch, in its embedded metric format: a record is a line of JSON on the standard output, of which
//! CloudWatch Logs makes metrics. So they cost no request, and a function does not wait for them.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// What tells these metrics from those of others. Alarms and the dashboard name it too.
const NAMESPACE: &str = "SonarQubeReports";
/// The one dimension. Each further one, and each value of one, would be a metric of its own, and is paid for as such.
const DIMENSION: &str = "FunctionName";
/// The most values of a metric in a record (CloudWatch, "Specification: Embedded metric format").
const MAX_VALUES: usize = 100;

/// Where figures go. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Metrics(Option<Arc<Recorder>>);

struct Recorder {
    function: String,
    out: Mutex<Box<dyn Write + Send>>,
}

/// A metric, and what was measured. Without values it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    unit: &'static str,
    values: Vec<u64>,
}

impl Metrics {
    /// Nowhere.
    pub fn off() -> Self {
        Self(None)
    }

    /// To `out`, as those of the Lambda function with this name.
    pub fn of(function: impl Into<String>, out: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Recorder {
            function: function.into(),
            out: Mutex::new(Box::new(out)),
        })))
    }

    /// Records that stored items could not be read, if there were any. There is an alarm for it.
    pub fn record_unreadable(&self, now: OffsetDateTime, count: usize) {
        if count > 0 {
            self.record(now, &[Metric::count("ItemsUnreadable", count)]);
        }
    }

    /// Records what was measured at `now`.
    pub fn record(&self, now: OffsetDateTime, metrics: &[Metric]) {
        let Some(recorder) = &self.0 else {
            return;
        };
        let lines = recorder.lines(now, metrics);
        let mut out = recorder.out.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that no line of the log comes into its midst.
        if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!("figures for CloudWatch are lost: {error}");
        }
    }
}

impl Recorder {
    /// As many records as it takes to hold all values, each of them once.
    fn lines(&self, now: OffsetDateTime, metrics: &[Metric]) -> String {
        let most = metrics.iter().map(|metric| metric.values.len()).max();
        let mut lines = String::new();
        for first in (0..most.unwrap_or_default()).step_by(MAX_VALUES) {
            let mut definitions = Vec::new();
            let mut values = Map::new();
            for metric in metrics {
                let rest = metric.values.get(first..).unwrap_or_default();
                let value = match &rest[..rest.len().min(MAX_VALUES)] {
                    [] => continue,
                    [value] => json!(value),
                    values => json!(values),
                };
                definitions.push(json!({"Name": metric.name, "Unit": metric.unit}));
                values.insert(metric.name.to_owned(), value);
            }
            let mut record = json!({
                "_aws": {
                    "Timestamp": now.unix_timestamp_nanos() / 1_000_000,
                    "CloudWatchMetrics": [{
                        "Namespace": NAMESPACE,
                        "Dimensions": [[DIMENSION]],
                        "Metrics": definitions,
                    }],
                },
                DIMENSION: self.function,
            });
            if let Value::Object(root) = &mut record {
                root.extend(values);
            }
            lines += &format!("{record}\n");
        }
        lines
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder of {}", self.function)
    }
}

impl Metric {
    /// How many of something there were.
    pub fn count(name: &'static str, count: usize) -> Self {
        let unit = "Count";
        let values = vec![count as u64];
        Self { name, unit, values }
    }

    /// Whether it counts nothing.
    pub fn is_zero(&self) -> bool {
        self.values.iter().all(|value| *value == 0)
    }

    /// How many bytes something had.
    pub fn bytes(name: &'static str, bytes: u64) -> Self {
        let unit = "Bytes";
        let values = vec![bytes];
        Self { name, unit, values }
    }

    /// How long something took, each time that it was done.
    pub fn milliseconds(name: &'static str, values: Vec<u64>) -> Self {
        let unit = "Milliseconds";
        Self { name, unit, values }
    }
}
