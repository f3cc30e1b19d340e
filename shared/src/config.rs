//! What the functions are told by their environment. Nothing else reads it.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
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

/// The AWS configuration of the function: region, credentials, endpoints.
pub async fn aws() -> SdkConfig {
    let timeouts = TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build();
    aws_config::from_env().timeout_config(timeouts).load().await
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
pub fn report_store(aws: &SdkConfig) -> anyhow::Result<ReportStore> {
    Ok(ReportStore::new(
        aws_sdk_dynamodb::Client::new(aws),
        required("REPORTS_TABLE")?,
    ))
}

/// The table `TOKENS_TABLE`.
pub fn token_store(aws: &SdkConfig) -> anyhow::Result<TokenStore> {
    Ok(TokenStore::new(
        aws_sdk_dynamodb::Client::new(aws),
        required("TOKENS_TABLE")?,
    ))
}

/// The table `WEBHOOKS_TABLE`.
pub fn webhook_store(aws: &SdkConfig) -> anyhow::Result<WebhookStore> {
    Ok(WebhookStore::new(
        aws_sdk_dynamodb::Client::new(aws),
        required("WEBHOOKS_TABLE")?,
    ))
}

/// The table `DELIVERIES_TABLE`.
pub fn delivery_store(aws: &SdkConfig) -> anyhow::Result<DeliveryStore> {
    Ok(DeliveryStore::new(
        aws_sdk_dynamodb::Client::new(aws),
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
pub fn events_queue(aws: &SdkConfig) -> anyhow::Result<EventsQueue> {
    Ok(EventsQueue::new(
        aws_sdk_sqs::Client::new(aws),
        required("EVENTS_QUEUE_URL")?,
    ))
}
