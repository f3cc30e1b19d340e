//! Metrics for CloudWatch, in its embedded metric format: a record is a line of JSON on the standard output, from which
//! CloudWatch Logs makes metrics. So they cost no request, and a function does not wait for them.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The namespace that distinguishes these metrics from others. Alarms and the dashboard name it too.
const NAMESPACE: &str = "SonarQubeReports";
/// The only dimension. Each further dimension, and each value of one, would be a metric of its own, and would be charged as
/// one.
const DIMENSION: &str = "FunctionName";
/// The most values of a metric in a record (CloudWatch, "Specification: Embedded metric format").
const MAX_VALUES: usize = 100;

/// Where metrics are written. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Metrics(Option<Arc<Recorder>>);

struct Recorder {
    function: String,
    out: Mutex<Box<dyn Write + Send>>,
}

/// A metric and its values. A metric without values is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    unit: &'static str,
    values: Vec<u64>,
}

impl Metrics {
    /// No metrics.
    pub fn off() -> Self {
        Self(None)
    }

    /// Metrics that are written to `out`, in the name of this Lambda function.
    pub fn of(function: impl Into<String>, out: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Recorder {
            function: function.into(),
            out: Mutex::new(Box::new(out)),
        })))
    }

    /// Records how many stored items could not be read, if any. There is an alarm for it.
    pub fn record_unreadable(&self, now: OffsetDateTime, count: usize) {
        if count > 0 {
            self.record(now, &[Metric::count("ItemsUnreadable", count)]);
        }
    }

    /// Records values that were measured at `now`.
    pub fn record(&self, now: OffsetDateTime, metrics: &[Metric]) {
        let Some(recorder) = &self.0 else {
            return;
        };
        let lines = recorder.lines(now, metrics);
        let mut out = recorder.out.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that no line of the log comes in between.
        if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!("figures for CloudWatch are lost: {error}");
        }
    }
}

impl Recorder {
    /// As many records as all values need.
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
    /// A count.
    pub fn count(name: &'static str, count: usize) -> Self {
        let unit = "Count";
        let values = vec![count as u64];
        Self { name, unit, values }
    }

    /// Whether it is a count of zero.
    pub fn is_zero(&self) -> bool {
        self.values.iter().all(|value| *value == 0)
    }

    /// A number of bytes.
    pub fn bytes(name: &'static str, bytes: u64) -> Self {
        let unit = "Bytes";
        let values = vec![bytes];
        Self { name, unit, values }
    }

    /// The durations of an operation, one for each time it was done.
    pub fn milliseconds(name: &'static str, values: Vec<u64>) -> Self {
        let unit = "Milliseconds";
        Self { name, unit, values }
    }
}
