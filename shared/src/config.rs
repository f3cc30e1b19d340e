//! What the functions are told by their environment. Nothing else reads it.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::timeout::TimeoutConfig;

use crate::delivery_store::DeliveryStore;
use crate::metrics::Metrics;
use crate::queue::EventsQueue;
use crate::report_store::ReportStore;
use crate::token::TokenStore;
use crate::webhook::address::AddressPolicy;
use crate::webhook::sender::{DEADLINE, Sender, SenderOptions};
use crate::webhook_store::WebhookStore;

/// How long a service may take to begin its answer. The SDK would wait without end, also on a connection that broke while
/// the function was frozen; so it asks again. Writing a part of 8 MiB to S3 is the longest that is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Where AWS's services are, and as whom the function calls them.
#[derive(Clone, Debug)]
pub struct Aws {
    /// For the clients of the other services.
    pub sdk: SdkConfig,
    /// The one client for all tables: each client has connections of its own, and opening one to AWS takes a function
    /// longer than the request itself.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

/// The AWS configuration of the function: region, credentials, endpoints. All of it is in the environment; neither a profile
/// nor another source of credentials is looked for.
pub async fn aws() -> anyhow::Result<Aws> {
    required("AWS_REGION")?;
    let timeouts = TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build();
    let sdk = aws_config::from_env()
        .timeout_config(timeouts)
        // Lambda gives both by the environment. Left to itself the SDK would also prepare to look for them elsewhere.
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .load()
        .await;
    Ok(Aws {
        dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
        sdk,
    })
}

/// The value of an environment variable that template.yaml or Lambda sets.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn required(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("read the environment variable {name}"))
}

/// Figures on the standard output, as those of the function that Lambda says this is.
pub fn metrics() -> anyhow::Result<Metrics> {
    let function = required("AWS_LAMBDA_FUNCTION_NAME")?;
    Ok(Metrics::of(function, std::io::stdout()))
}

/// The table `REPORTS_TABLE`.
pub fn report_store(aws: &Aws) -> anyhow::Result<ReportStore> {
    Ok(ReportStore::new(
        aws.dynamodb.clone(),
        required("REPORTS_TABLE")?,
    ))
}

/// The table `TOKENS_TABLE`.
pub fn token_store(aws: &Aws) -> anyhow::Result<TokenStore> {
    Ok(TokenStore::new(
        aws.dynamodb.clone(),
        required("TOKENS_TABLE")?,
    ))
}

/// The table `WEBHOOKS_TABLE`.
pub fn webhook_store(aws: &Aws) -> anyhow::Result<WebhookStore> {
    Ok(WebhookStore::new(
        aws.dynamodb.clone(),
        required("WEBHOOKS_TABLE")?,
    ))
}

/// The table `DELIVERIES_TABLE`.
pub fn delivery_store(aws: &Aws) -> anyhow::Result<DeliveryStore> {
    Ok(DeliveryStore::new(
        aws.dynamodb.clone(),
        required("DELIVERIES_TABLE")?,
    ))
}

/// What sends to webhooks: to public addresses only, and without TLS only if `ALLOW_PLAIN_HTTP` is `true`.
pub fn sender() -> anyhow::Result<Sender> {
    let plain_http = match required("ALLOW_PLAIN_HTTP")?.as_str() {
        "true" => true,
        "false" => false,
        other => anyhow::bail!("ALLOW_PLAIN_HTTP is '{other}', neither 'true' nor 'false'"),
    };
    Sender::new(SenderOptions {
        addresses: AddressPolicy::Public,
        plain_http,
        deadline: DEADLINE,
    })
}

/// A number of days.
pub fn days(name: &str) -> anyhow::Result<Duration> {
    let days: u32 = required(name)?
        .parse()
        .with_context(|| format!("read the number of days {name}"))?;
    Ok(Duration::from_secs(u64::from(days) * 24 * 3600))
}

/// The queue `EVENTS_QUEUE_URL`.
pub fn events_queue(aws: &Aws) -> anyhow::Result<EventsQueue> {
    Ok(EventsQueue::new(
        aws_sdk_sqs::Client::new(&aws.sdk),
        required("EVENTS_QUEUE_URL")?,
    ))
}
