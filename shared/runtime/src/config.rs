//! The configuration of the functions from the environment. Nothing else reads the environment.

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

/// How long an attempt at a request to DynamoDB or SQS may take. They answer within some 10 ms. A request that takes far
/// longer is lost, for example on a connection that broke while the function was frozen, and is repeated. The SDK alone would
/// wait without end.
pub const ATTEMPT: Duration = Duration::from_secs(2);
/// How many attempts a request has in total (the SDK's own number).
pub const ATTEMPTS: u32 = 3;
/// The longest pause before the second attempt, and twice as long before the third.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest time for a request to DynamoDB or SQS, with all attempts and pauses. The timeouts of functions are sums of
/// these.
pub const LONGEST_CALL: Duration = ATTEMPT
    .saturating_mul(ATTEMPTS)
    .saturating_add(BACKOFF.saturating_mul(3));
/// How long S3 may take to begin its answer. A write of a part of 8 MiB takes longest.
const OBJECTS_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The variables of a function, as template.yaml and Lambda set them.
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
    /// The variable is missing.
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
    /// The variable is missing, or has another value.
    pub fn switch(&self, name: &str) -> anyhow::Result<bool> {
        match self.required(name)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => anyhow::bail!("{name} is '{other}', neither 'true' nor 'false'"),
        }
    }

    /// The value of a variable that is a whole number, 0 or more.
    ///
    /// # Errors
    /// The variable is missing, or is not such a number.
    pub fn number(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.required(name)?;
        text.parse()
            .with_context(|| format!("read the number {name}"))
    }

    /// The value of a variable that is a number of days.
    ///
    /// # Errors
    /// The variable is missing, or is not a whole number.
    pub fn days(&self, name: &str) -> anyhow::Result<Duration> {
        let days: u32 = self
            .required(name)?
            .parse()
            .with_context(|| format!("read the number of days {name}"))?;
        Ok(Duration::from_secs(u64::from(days) * 24 * 3600))
    }

    /// Metrics on the standard output, in the name of the function that Lambda gives. Within another process there are none,
    /// since CloudWatch does not read its output.
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

/// The same configuration with longer timeouts for S3, which takes longer to read and write objects.
pub fn for_objects(aws: &SdkConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().read_timeout(OBJECTS_READ_TIMEOUT);
    // The SDK's own setting.
    let stalled = StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(5));
    aws.to_builder()
        .timeout_config(timeouts.build())
        .stalled_stream_protection(stalled.build())
        .retry_config(RetryConfig::standard())
        .build()
}

/// The AWS configuration of this process for DynamoDB and SQS: region, credentials and endpoints. All of it comes from the
/// environment; profiles and other sources of credentials are not used.
///
/// Make one client of it for each service. Each client has connections of its own, and a new connection to AWS takes a
/// function longer than the request itself.
///
/// # Errors
/// There is no region.
pub async fn aws(environment: &Environment) -> anyhow::Result<SdkConfig> {
    environment.required("AWS_REGION")?;
    Ok(settled(aws_config::from_env())
        .http_client(https())
        // Lambda gives both in the environment. By itself the SDK would also prepare to look for them elsewhere.
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .load()
        .await)
}

/// A client like the SDK's own, which also goes through a proxy that the environment names. But there is one for all
/// services. Otherwise each service would make one, and another to try whether it can be made, and each of these reads all
/// certificates of the machine. Services with the same timeouts share connections.
fn https() -> SharedHttpClient {
    let client = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
        connector.tls_provider(provider).build()
    });
    // The first request makes a new one. But the certificates are decoded now, so that the request does not wait for them.
    let components = RuntimeComponentsBuilder::new("start");
    let _ = client.validate_base_client_config(&components, &ConfigBag::base());
    http_client_fn(move |settings, components| client.http_connector(settings, components))
}

/// The settings for DynamoDB and SQS, wherever they run.
pub fn settled(loader: ConfigLoader) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT);
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(BACKOFF)
        .with_max_backoff(BACKOFF.saturating_mul(2));
    loader
        .timeout_config(timeouts.build())
        .retry_config(retries)
        // Requests and answers are small, and an attempt has a timeout of its own. Watching their speed would cost something
        // and gain nothing.
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
