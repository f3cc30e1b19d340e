//! What the function works with.

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

/// How patient it is with a server while it waits. What takes longer is tried again later.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(10),
    requests: 4,
    answer: Duration::from_secs(120),
};
/// So long an index of DynamoDB may be behind its table, usually far less: what is noted meanwhile is looked for after that.
const INDEX_LAG: Duration = Duration::from_secs(1);

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Importing {
    /// Of whose servers reports are made.
    pub sources: SourceStore,
    /// What they have told.
    pub calls: CallStore,
    /// How they stand.
    pub imports: ImportStore,
    /// Where the files of reports go.
    pub files: ReportFiles,
    /// What stores revisions of reports, and announces them.
    pub publisher: Publisher,
    /// Where what is left over goes.
    pub queue: ImportsQueue,
    /// The one way to a server that an administrator chose.
    pub sender: Sender,
    /// How patient it is with a server.
    pub patience: Patience,
    /// For how long an index is waited for.
    pub index_lag: Duration,
    /// What is counted of it.
    pub metrics: Metrics,
}

impl Importing {
    /// What the function works with, of these clients and by these variables. `sender` says which addresses are allowed.
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
