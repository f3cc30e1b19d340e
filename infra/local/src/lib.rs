//! The whole system in one process: the functions' own routers behind one listener, over stand-ins for DynamoDB, S3 and
//! SQS. `cargo run -p local` runs it for people; the tests run it for themselves.

pub mod client;
mod definition;
mod demo;
mod stand_ins;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use axum::Router;
use axum::serve::ListenerExt as _;
use download_files::Files;
use publish_report::{Publishing, UploadStore};
use shared::announcement::ChangeQueue;
use shared::api;
use shared::date::timestamp;
use shared::organization::OrganizationId;
use shared::report_store::ReportStore;
use shared::token::{Right, Token, TokenSecret, TokenStore};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::definition::{Definition, bucket_name};
use crate::stand_ins::Endpoints;

pub use crate::demo::{DemoReport, reports as demo_reports};

/// The organization that owns the demo reports.
pub const DEMO_ORGANIZATION: OrganizationId = OrganizationId::new(uuid::Uuid::from_u128(1));

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";
const ACCESS_KEY: &str = "local";
/// Whoever reaches the loopback ports may do anything anyway.
const SECRET_KEY: &str = "local-secret";

/// How a stack is started.
#[derive(Debug, Default)]
pub struct Options {
    /// Where reports survive a restart; without it everything ends with the stack.
    pub data: Option<PathBuf>,
    /// The port of the API on loopback; 0 for any free one.
    pub port: u16,
    /// How many bytes a download may have, instead of Lambda's limit.
    pub max_response_bytes: Option<u64>,
}

/// A running system. It ends when dropped, except for requests that are being answered.
#[derive(Debug)]
pub struct Stack {
    /// Where the API answers, without a slash at the end.
    pub api_url: String,
    /// What the download function works with.
    pub files: Files,
    /// What the publishing function works with.
    pub publishing: Publishing,
    /// A client of the stand-in for DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// A client of the stand-in for S3.
    pub s3: aws_sdk_s3::Client,
    /// A client of the stand-in for SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// The URLs of the queues by logical id.
    pub queues: BTreeMap<String, String>,
    endpoints: Endpoints,
    /// Dropping it ends the tasks.
    tasks: JoinSet<()>,
    /// Dropping it removes what a stack without a data folder wrote.
    _temporary: Option<TempDir>,
}

// The names that the functions get from their environment.
const REPORTS_TABLE: &str = "ReportsTable";
const UPLOADS_TABLE: &str = "UploadsTable";
const TOKENS_TABLE: &str = "TokensTable";
const BUCKET: &str = "ReportsBucket";
const EVENTS_QUEUE: &str = "EventsQueue";

impl Stack {
    /// Starts everything, and returns when it answers.
    ///
    /// # Errors
    /// A port that is taken, a data folder that cannot be used.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        // First of all: a port that is taken should not cost anybody a database.
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)))
            .await
            .with_context(|| format!("listen on port {}", options.port))?;
        let api_url = format!("http://{}", listener.local_addr()?);

        let temporary = if options.data.is_none() {
            Some(TempDir::new()?)
        } else {
            None
        };
        let folder = options
            .data
            .as_deref()
            .or(temporary.as_ref().map(TempDir::path))
            .context("a stack has a folder")?;
        let objects = folder.join("s3");
        std::fs::create_dir_all(&objects)
            .with_context(|| format!("create {}", objects.display()))?;
        let database = options
            .data
            .as_ref()
            .map(|folder| folder.join("dynamodb.sqlite"));

        let mut tasks = JoinSet::new();
        let endpoints = stand_ins::start(&mut tasks, database.as_deref(), &objects).await?;
        let sdk = sdk_config();
        let dynamodb = dynamodb_client(&sdk, &endpoints.dynamodb);
        let s3_config = s3_config(&sdk, &endpoints.s3);
        let s3 = aws_sdk_s3::Client::from_conf(s3_config.clone().build());
        let sqs_config = aws_sdk_sqs::config::Builder::from(&sdk)
            .endpoint_url(&endpoints.sqs)
            .build();
        let sqs = aws_sdk_sqs::Client::from_conf(sqs_config);

        let definition = Definition::read()?;
        definition.create_tables(&dynamodb).await?;
        definition.create_buckets(&s3).await?;
        let queues = definition.create_queues(&sqs).await?;
        let events = queues
            .get(EVENTS_QUEUE)
            .context("template.yaml has no EventsQueue")?;

        let reports = ReportStore::new(dynamodb.clone(), REPORTS_TABLE);
        let files = Files {
            reports: reports.clone(),
            bucket: download_files::Bucket::new(s3_config.clone(), bucket_name(BUCKET)),
            max_response_bytes: options
                .max_response_bytes
                .unwrap_or(download_files::MAX_RESPONSE_BYTES),
        };
        let publishing = Publishing {
            reports,
            uploads: UploadStore::new(dynamodb.clone(), UPLOADS_TABLE),
            tokens: TokenStore::new(dynamodb.clone(), TOKENS_TABLE),
            bucket: publish_report::Bucket::new(s3_config.clone(), bucket_name(BUCKET)),
            queue: ChangeQueue::new(sqs.clone(), events),
        };
        let service = service(&files, &publishing);
        tasks.spawn(async move {
            let listener = listener.tap_io(|socket| {
                // Small answers must not wait for Nagle's algorithm.
                let _ = socket.set_nodelay(true);
            });
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!("the API ended: {error}");
            }
        });
        Ok(Self {
            api_url,
            files,
            publishing,
            dynamodb,
            s3,
            sqs,
            queues,
            endpoints,
            tasks,
            _temporary: temporary,
        })
    }

    /// The URL of the queue of report changes.
    pub fn events_queue(&self) -> &str {
        &self.queues[EVENTS_QUEUE]
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> String {
        bucket_name(BUCKET)
    }

    /// Makes a token.
    pub async fn create_token(
        &self,
        name: &str,
        org: OrganizationId,
        rights: &[Right],
    ) -> anyhow::Result<TokenSecret> {
        create_token(&self.publishing.tokens, name, org, rights).await
    }

    /// The environment in which a function's binary works with this stack, except for the Lambda runtime's part.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.endpoints.dynamodb.clone()),
            ("AWS_ENDPOINT_URL_S3", self.endpoints.s3.clone()),
            ("AWS_ENDPOINT_URL_SQS", self.endpoints.sqs.clone()),
            ("REPORTS_TABLE", REPORTS_TABLE.to_owned()),
            ("UPLOADS_TABLE", UPLOADS_TABLE.to_owned()),
            ("TOKENS_TABLE", TOKENS_TABLE.to_owned()),
            ("BUCKET", self.bucket()),
            ("EVENTS_QUEUE_URL", self.events_queue().to_owned()),
        ]
    }

    /// The same download function, reading its files through another address of the stand-in for S3.
    pub fn files_through(&self, s3_url: &str) -> Files {
        let bucket = download_files::Bucket::new(s3_config(&sdk_config(), s3_url), self.bucket());
        Files {
            bucket,
            ..self.files.clone()
        }
    }

    /// Ends everything but requests that are being answered, and returns when it has ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Every route of the system.
pub fn service(files: &Files, publishing: &Publishing) -> Router {
    let routes = Router::new()
        .merge(list_reports::router(files.reports.clone()))
        .merge(download_files::router(files.clone()))
        .merge(publish_report::router(publishing.clone()));
    api::service(routes)
}

/// Makes a token in the database of a data folder, whether a stack is running on it or not.
pub async fn create_token_in(
    data: &std::path::Path,
    name: &str,
    org: OrganizationId,
    rights: &[Right],
) -> anyhow::Result<TokenSecret> {
    let database = data.join("dynamodb.sqlite");
    anyhow::ensure!(
        database.exists(),
        "there is no data in {}; start `local` on it first",
        data.display()
    );
    let mut tasks = JoinSet::new();
    let url = stand_ins::start_dynamodb(&mut tasks, Some(&database)).await?;
    let dynamodb = dynamodb_client(&sdk_config(), &url);
    create_token(&TokenStore::new(dynamodb, TOKENS_TABLE), name, org, rights).await
}

async fn create_token(
    tokens: &TokenStore,
    name: &str,
    org: OrganizationId,
    rights: &[Right],
) -> anyhow::Result<TokenSecret> {
    let secret = TokenSecret::generate()?;
    let token = Token {
        sha256: secret.sha256(),
        org,
        name: name.to_owned(),
        rights: BTreeSet::from_iter(rights.iter().copied()),
        created_at: timestamp(OffsetDateTime::now_utc()),
        expires_at: None,
        revoked_at: None,
    };
    tokens.put(&token).await?;
    Ok(secret)
}

fn sdk_config() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "local"),
        ))
        // Everything is on loopback: nothing loads certificates.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

fn dynamodb_client(sdk: &SdkConfig, url: &str) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::config::Builder::from(sdk)
            .endpoint_url(url)
            .build(),
    )
}

fn s3_config(sdk: &SdkConfig, url: &str) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::from(sdk)
        .endpoint_url(url)
        .force_path_style(true)
}
