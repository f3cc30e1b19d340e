//! The stores and clients of the function.

use std::time::Duration;

use outbound::sender::Sender;
use publishing::{Publisher, ReportFiles};
use runtime::config::Environment;
use runtime::metrics::Metrics;
use sonarqube::Patience;
use store::calls::CallStore;
use store::imports::ImportStore;
use store::queue::EventsQueue;
use store::queue::imports::ImportsQueue;
use store::sources::SourceStore;

/// How patient it is with a server within a visit. What takes longer is tried again later.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(10),
    requests: 4,
    answer: Duration::from_secs(120),
};
/// How long an index of DynamoDB may lag behind its table; usually it is far less. After this time the calls of a note are
/// looked for.
const INDEX_LAG: Duration = Duration::from_secs(1);

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Importing {
    /// The sources.
    pub sources: SourceStore,
    /// Their calls.
    pub calls: CallStore,
    /// The standings of their imports, and their leases.
    pub imports: ImportStore,
    /// Where the files of reports are written.
    pub files: ReportFiles,
    /// Stores revisions of reports, and announces them.
    pub publisher: Publisher,
    /// The queue for remaining work.
    pub queue: ImportsQueue,
    /// The only way to a server that an administrator chose.
    pub sender: Sender,
    /// How patient it is with a server.
    pub patience: Patience,
    /// How long it waits for an index.
    pub index_lag: Duration,
    /// The function's metrics.
    pub metrics: Metrics,
}

impl Importing {
    /// The stores of these clients, with the names that the variables give. `sender` decides which addresses are allowed.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        s3: aws_sdk_s3::Client,
        sqs: aws_sdk_sqs::Client,
        sender: Sender,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        let events = EventsQueue::new(sqs.clone(), required("EVENTS_QUEUE_URL")?);
        Ok(Self {
            sources: SourceStore::new(dynamodb.clone(), required("SOURCES_TABLE")?),
            calls: CallStore::new(dynamodb.clone(), required("CALLS_TABLE")?),
            imports: ImportStore::new(dynamodb.clone(), required("IMPORTS_TABLE")?),
            files: ReportFiles::new(s3, required("BUCKET")?),
            publisher: Publisher::new(dynamodb, events, required)?,
            queue: ImportsQueue::new(sqs, required("IMPORTS_QUEUE_URL")?),
            sender,
            patience: PATIENCE,
            index_lag: INDEX_LAG,
            metrics: environment.metrics()?,
        })
    }
}
