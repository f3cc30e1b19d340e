//! What the functions are told by their environment. Nothing else reads it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{ConfigLoader, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpClient as _, SharedHttpClient, http_client_fn};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;

use crate::metrics::Metrics;

/// How long a request to DynamoDB or SQS may take. They answer within some 10 ms; what takes longer by far is lost, for
/// example on a connection that broke while the function was frozen, and is asked for again. The SDK would wait without end.
pub const ATTEMPT: Duration = Duration::from_secs(2);
/// How often it is asked in all (the SDK's own number).
pub const ATTEMPTS: u32 = 3;
/// The longest pause before the second attempt, and twice as long before the third.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest that a request to DynamoDB or SQS is waited for, with all attempts and pauses. Timeouts of functions are sums
/// of these.
pub const LONGEST_CALL: Duration = ATTEMPT
    .saturating_mul(ATTEMPTS)
    .saturating_add(BACKOFF.saturating_mul(3));
/// How long S3 may take to begin its answer. Writing a part of 8 MiB is the longest that is waited for.
const OBJECTS_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// What a function is told: the variables that template.yaml and Lambda set.
#[derive(Clone, Debug)]
pub struct Environment(Source);

#[derive(Clone, Debug)]
enum Source {
    Process,
    Given(HashMap<String, String>),
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self(Source::Process)
    }

    /// These variables and no others, for functions that run within another process.
    pub fn given<N: Into<String>>(variables: impl IntoIterator<Item = (N, String)>) -> Self {
        let variables = variables.into_iter();
        Self(Source::Given(
            variables
                .map(|(name, value)| (name.into(), value))
                .collect(),
        ))
    }

    /// The value of a variable.
    ///
    /// # Errors
    /// There is none.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn required(&self, name: &str) -> anyhow::Result<String> {
        match &self.0 {
            Source::Process => std::env::var(name).map_err(anyhow::Error::from),
            Source::Given(variables) => variables.get(name).cloned().context("it is not given"),
        }
        .with_context(|| format!("read the environment variable {name}"))
    }

    /// The value of a variable that is `true` or `false`.
    ///
    /// # Errors
    /// There is none, or it is neither.
    pub fn switch(&self, name: &str) -> anyhow::Result<bool> {
        match self.required(name)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => anyhow::bail!("{name} is '{other}', neither 'true' nor 'false'"),
        }
    }

    /// The value of a variable that is a number, not below 0.
    ///
    /// # Errors
    /// There is none, or it is no whole number.
    pub fn number(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.required(name)?;
        text.parse()
            .with_context(|| format!("read the number {name}"))
    }

    /// The value of a variable that is a number of days.
    ///
    /// # Errors
    /// There is none, or it is no whole number.
    pub fn days(&self, name: &str) -> anyhow::Result<Duration> {
        let days: u32 = self
            .required(name)?
            .parse()
            .with_context(|| format!("read the number of days {name}"))?;
        Ok(Duration::from_secs(u64::from(days) * 24 * 3600))
    }

    /// Figures on the standard output, as those of the function that Lambda says this is; none within another process,
    /// whose output no CloudWatch reads.
    ///
    /// # Errors
    /// The function has no name.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        if let Source::Given(_) = self.0 {
            return Ok(Metrics::off());
        }
        let function = self.required("AWS_LAMBDA_FUNCTION_NAME")?;
        Ok(Metrics::of(function, std::io::stdout()))
    }
}

/// The same configuration for S3, which takes its time to read and write objects.
pub fn for_objects(aws: &SdkConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().read_timeout(OBJECTS_READ_TIMEOUT);
    // As the SDK has it by itself.
    let stalled = StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(5));
    aws.to_builder()
        .timeout_config(timeouts.build())
        .stalled_stream_protection(stalled.build())
        .retry_config(RetryConfig::standard())
        .build()
}

/// The AWS configuration of this process, for DynamoDB and SQS: region, credentials, endpoints. All of it is in the
/// environment; neither a profile nor another source of credentials is looked for.
///
/// Make one client of it for each service: each client has connections of its own, and opening one to AWS takes a function
/// longer than the request itself.
///
/// # Errors
/// There is no region.
pub async fn aws(environment: &Environment) -> anyhow::Result<SdkConfig> {
    environment.required("AWS_REGION")?;
    Ok(settled(aws_config::from_env())
        .http_client(https())
        // Lambda gives both by the environment. Left to itself the SDK would also prepare to look for them elsewhere.
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .load()
        .await)
}

/// A client as the SDK makes it by itself, also in that it goes through a proxy that the environment names, but one for all
/// services. Each would make another, and one more to try whether it can be made; and each of these reads through all of the
/// machine's certificates. Connections are shared by what has the same timeouts.
fn https() -> SharedHttpClient {
    let client = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
        connector.tls_provider(provider).build()
    });
    // The first request makes one anew. But the certificates are decoded now, so that it does not wait for them.
    let components = RuntimeComponentsBuilder::new("start");
    let _ = client.validate_base_client_config(&components, &ConfigBag::base());
    http_client_fn(move |settings, components| client.http_connector(settings, components))
}

/// Settings for DynamoDB and SQS, wherever they are.
pub fn settled(loader: ConfigLoader) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT);
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(BACKOFF)
        .with_max_backoff(BACKOFF.saturating_mul(2));
    loader
        .timeout_config(timeouts.build())
        .retry_config(retries)
        // Requests and answers are small, and an attempt has an end of its own: to watch how fast they come costs each of them
        // something for nothing.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_at_dynamodb_ends_soon_and_one_at_s3_later() {
        let environment = Environment::given([("AWS_REGION", "eu-central-1".to_owned())]);
        let aws = aws(&environment).await.unwrap();
        let timeouts = aws.timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT));
        let retries = aws.retry_config().unwrap();
        assert_eq!(retries.max_attempts(), ATTEMPTS);
        let pauses = retries.initial_backoff() + retries.max_backoff();
        assert_eq!(ATTEMPT * ATTEMPTS + pauses, LONGEST_CALL);

        let objects = for_objects(&aws);
        let timeouts = objects.timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), None);
        assert_eq!(timeouts.read_timeout(), Some(OBJECTS_READ_TIMEOUT));
    }
}
