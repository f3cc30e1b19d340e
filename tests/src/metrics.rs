//! What functions record for CloudWatch, and records held against its embedded metric format.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use runtime::metrics::Metrics;
use serde_json::Value;

/// The values of each metric of a record.
pub type Figures = BTreeMap<String, Vec<u64>>;

/// Where figures go instead of the standard output. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<u8>>>);

impl Records {
    /// What a function works with that records here.
    pub fn metrics(&self) -> Metrics {
        Metrics::of("function", self.clone())
    }

    /// The figures of each record so far.
    pub fn figures(&self) -> Vec<Figures> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(figures).collect()
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The figures of a record. Panics unless it is what CloudWatch's "Specification: Embedded metric format" wants, with the
/// project's namespace and dimension.
pub fn figures(line: &str) -> Figures {
    // The longest event that CloudWatch Logs took in earlier years; today it takes more.
    assert!(line.len() <= 256 * 1024, "{} bytes", line.len());
    let root: Value = serde_json::from_str(line).unwrap();
    let metadata = root["_aws"].as_object().unwrap();
    assert!(metadata.keys().eq(["Timestamp", "CloudWatchMetrics"]));
    let timestamp = metadata["Timestamp"].as_u64().unwrap();
    // Seconds or nanoseconds would be another century.
    assert!((1_600_000_000_000..4_000_000_000_000).contains(&timestamp));
    let [directive] = metadata["CloudWatchMetrics"].as_array().unwrap().as_slice() else {
        panic!("one directive is enough: {line}");
    };
    assert_eq!(directive.as_object().unwrap().len(), 3, "{line}");
    assert_eq!(directive["Namespace"], "SonarQubeReports");
    assert_eq!(
        directive["Dimensions"],
        serde_json::json!([["FunctionName"]])
    );
    let dimension = root["FunctionName"].as_str().unwrap();
    assert!((1..=1024).contains(&dimension.len()), "{line}");
    let definitions = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&definitions.len()), "{line}");
    let mut figures = Figures::new();
    for definition in definitions {
        assert_eq!(definition.as_object().unwrap().len(), 2, "{line}");
        let (name, unit) = (&definition["Name"], &definition["Unit"]);
        assert!(["Count", "Bytes", "Milliseconds"].contains(&unit.as_str().unwrap()));
        let name = name.as_str().unwrap();
        assert!((1..=255).contains(&name.len()), "{line}");
        let values = match &root[name] {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        assert!((1..=100).contains(&values.len()), "{line}");
        let values = values.iter().map(|it| it.as_u64().unwrap()).collect();
        let is_new = figures.insert(name.to_owned(), values).is_none();
        assert!(is_new, "{name} stands twice: {line}");
    }
    assert_eq!(root.as_object().unwrap().len(), 2 + figures.len(), "{line}");
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::metrics::Metric;
    use time::OffsetDateTime;

    #[test]
    fn a_record_is_one_line_as_cloudwatch_wants_it() {
        let records = Records::default();
        let now = OffsetDateTime::from_unix_timestamp(1_766_000_000).unwrap();
        records.metrics().record(
            now,
            &[
                Metric::count("None", 0),
                Metric::bytes("Size", 7),
                Metric::milliseconds("Durations", vec![3, 1]),
                Metric::milliseconds("Nothing", Vec::new()),
            ],
        );
        let printed = String::from_utf8(records.0.lock().unwrap().clone()).unwrap();
        let expected = r#"{"_aws":{"Timestamp":1766000000000,"CloudWatchMetrics":[{"Namespace":"SonarQubeReports","Dimensions":[["FunctionName"]],"Metrics":[{"Name":"None","Unit":"Count"},{"Name":"Size","Unit":"Bytes"},{"Name":"Durations","Unit":"Milliseconds"}]}]},"FunctionName":"function","None":0,"Size":7,"Durations":[3,1]}"#;
        assert_eq!(printed, format!("{expected}\n"));
        figures(&printed);
    }

    #[test]
    fn more_values_than_a_record_may_have_are_several_and_nothing_counts_twice() {
        for count in [1, 99, 100, 101, 200, 250] {
            let records = Records::default();
            let durations: Vec<u64> = (0..count).collect();
            let metrics = [
                Metric::count("Count", 5),
                Metric::milliseconds("Duration", durations.clone()),
            ];
            records
                .metrics()
                .record(OffsetDateTime::now_utc(), &metrics);
            let figures = records.figures();
            assert_eq!(figures.len() as u64, count.div_ceil(100));
            let all = |name| figures.iter().filter_map(move |it| it.get(name)).flatten();
            assert!(all("Count").eq(&[5]), "{figures:?}");
            assert!(all("Duration").eq(&durations), "{figures:?}");
        }
    }

    #[test]
    fn nothing_is_printed_without_values_and_when_it_is_off() {
        let records = Records::default();
        let now = OffsetDateTime::now_utc();
        records.metrics().record(now, &[]);
        let nothing = Metric::milliseconds("Duration", Vec::new());
        records.metrics().record(now, &[nothing]);
        Metrics::off().record(now, &[Metric::count("Count", 1)]);
        assert!(records.figures().is_empty());
    }
}
