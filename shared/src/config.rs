//! What the functions are told by their environment. Nothing else reads it.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

use crate::announcement::ChangeQueue;
use crate::report_store::ReportStore;
use crate::token::TokenStore;

/// How long a service may take to begin its answer. The SDK would wait without end, also on a connection that broke while
/// the function was frozen; so it asks again. Writing a part of 8 MiB to S3 is the longest that is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The AWS configuration of the function: region, credentials, endpoints.
pub async fn aws() -> SdkConfig {
    let timeouts = TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build();
    aws_config::from_env().timeout_config(timeouts).load().await
}

/// The value of an environment variable that template.yaml sets.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn required(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("read the environment variable {name}"))
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

/// The queue `EVENTS_QUEUE_URL`.
pub fn change_queue(aws: &SdkConfig) -> anyhow::Result<ChangeQueue> {
    Ok(ChangeQueue::new(
        aws_sdk_sqs::Client::new(aws),
        required("EVENTS_QUEUE_URL")?,
    ))
}
