//! DynamoDB, S3 and SQS for one machine, each on a loopback port of its own.

mod kept;
mod tagged;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};
use rustack_sqs_model::error::SqsError;
use rustack_sqs_model::operations::SqsOperation;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpError, HttpResponse};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_http::timeout::TimeoutBody;
use web::text::shortened;

use crate::serve::{Limits, serve};
use crate::stand_ins::kept::Kept;
use crate::stand_ins::tagged::Tagged;

/// How often expired items are deleted. DynamoDB takes days for it.
const TIME_TO_LIVE_SWEEP: Duration = Duration::from_secs(3600);

/// Where the stand-ins answer.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) dynamodb: String,
    pub(crate) s3: String,
    pub(crate) sqs: String,
}

/// Starts the three as tasks of `tasks`. Tables are in the file `database`, and what is on the queues in the file
/// `messages`, or in memory without them; objects are below `objects`.
pub(crate) async fn start(
    tasks: &mut JoinSet<()>,
    database: Option<&Path>,
    objects: &Path,
    messages: Option<&Path>,
    limits: Limits,
) -> anyhow::Result<Endpoints> {
    Ok(Endpoints {
        dynamodb: start_dynamodb(tasks, database)
            .await
            .context("start the stand-in for DynamoDB")?,
        s3: start_s3(tasks, objects, limits)
            .await
            .context("start the stand-in for S3")?,
        sqs: start_sqs(tasks, messages, limits)
            .await
            .context("start the stand-in for SQS")?,
    })
}

async fn listen() -> anyhow::Result<(TcpListener, String, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, format!("http://{address}"), address.port()))
}

pub(crate) async fn start_dynamodb(
    tasks: &mut JoinSet<()>,
    database: Option<&Path>,
) -> anyhow::Result<String> {
    let database = match database {
        Some(path) => dynoxide::Database::new(
            path.to_str()
                .context("the path of the database is not UTF-8")?,
        ),
        None => dynoxide::Database::memory(),
    };
    let database = database.map_err(|error| anyhow::anyhow!("open the database: {error}"))?;
    let (listener, url, _) = listen().await?;
    tasks.spawn(dynoxide::server::serve_on(listener, database.clone()));
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(TIME_TO_LIVE_SWEEP);
        loop {
            interval.tick().await;
            let database = database.clone();
            let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            if !matches!(swept, Ok(Ok(_))) {
                tracing::warn!("expired items could not be deleted: {swept:?}");
            }
        }
    });
    Ok(url)
}

async fn start_s3(
    tasks: &mut JoinSet<()>,
    objects: &Path,
    limits: Limits,
) -> anyhow::Result<String> {
    let files = s3s_fs::FileSystem::new(objects)
        .map_err(|error| anyhow::anyhow!("open {}: {error:?}", objects.display()))?;
    let mut service = S3ServiceBuilder::new(Tagged::new(files));
    service.set_auth(SimpleAuth::from_single(
        crate::ACCESS_KEY,
        crate::SECRET_KEY,
    ));
    let (listener, url, _) = listen().await?;
    let service = LoggedPuts {
        s3: service.build(),
        patience: limits.patience,
    };
    tasks.spawn(serve(listener, limits, service));
    Ok(url)
}

async fn start_sqs(
    tasks: &mut JoinSet<()>,
    messages: Option<&Path>,
    limits: Limits,
) -> anyhow::Result<String> {
    let (listener, url, port) = listen().await?;
    let config = SqsConfig {
        skip_signature_validation: true,
        default_region: crate::REGION.to_owned(),
        account_id: crate::ACCOUNT.to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
    };
    let queues = FairQueues(Kept::new(RustackSqs::new(config), messages)?);
    tasks.spawn(serve(
        listener,
        limits,
        SqsHttpService::new(Arc::new(queues), SqsHttpConfig::default()),
    ));
    Ok(url)
}

/// Logs the PUTs of publishers, which carry a signature in their query; the functions' own requests do not.
#[derive(Clone)]
struct LoggedPuts {
    s3: S3Service,
    /// For how long a body may not go on.
    patience: Duration,
}

impl hyper::service::Service<hyper::Request<Incoming>> for LoggedPuts {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let is_signed = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("X-Amz-Signature="));
        let line =
            is_signed.then(|| format!("{} {}", request.method(), shortened(request.uri().path())));
        let started = Instant::now();
        let request = request.map(|body| {
            if body.is_end_stream() {
                // That there is none has to be seen, and the other one does not show it.
                s3s::Body::from(body)
            } else {
                s3s::Body::http_body(TimeoutBody::new(self.patience, body))
            }
        });
        let s3 = self.s3.clone();
        Box::pin(async move {
            let response = s3.call(request).await?;
            if let Some(line) = line {
                let milliseconds = started.elapsed().as_millis();
                tracing::info!(
                    "S3: {line} {} {milliseconds} ms",
                    response.status().as_u16()
                );
            }
            Ok(response)
        })
    }
}

/// The message group of a standard queue makes it a fair queue. The stand-in, like SQS in earlier years, refuses it there,
/// and has only fair queues anyway: so it is taken away.
struct FairQueues(Kept);

impl SqsHandler for FairQueues {
    fn handle_operation(
        &self,
        operation: SqsOperation,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<hyper::Response<SqsResponseBody>, SqsError>> + Send>>
    {
        self.0
            .handle_operation(operation, without_message_groups(body))
    }
}

fn without_message_groups(body: Bytes) -> Bytes {
    let Ok(serde_json::Value::Object(mut request)) = serde_json::from_slice(&body) else {
        return body;
    };
    request.remove("MessageGroupId");
    if let Some(serde_json::Value::Array(entries)) = request.get_mut("Entries") {
        for entry in entries
            .iter_mut()
            .filter_map(serde_json::Value::as_object_mut)
        {
            entry.remove("MessageGroupId");
        }
    }
    serde_json::Value::Object(request).to_string().into()
}
