//! What the functions are told by their environment. Nothing else reads it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::timeout::TimeoutConfig;

use crate::metrics::Metrics;

/// How long a service may take to begin its answer. The SDK would wait without end, also on a connection that broke while
/// the function was frozen; so it asks again. Writing a part of 8 MiB to S3 is the longest that is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

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

/// The AWS configuration of this process: region, credentials, endpoints. All of it is in the environment; neither a profile
/// nor another source of credentials is looked for.
///
/// Make one client of it for each service: each client has connections of its own, and opening one to AWS takes a function
/// longer than the request itself.
///
/// # Errors
/// There is no region.
pub async fn aws(environment: &Environment) -> anyhow::Result<SdkConfig> {
    environment.required("AWS_REGION")?;
    let timeouts = TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build();
    Ok(aws_config::from_env()
        .timeout_config(timeouts)
        // Lambda gives both by the environment. Left to itself the SDK would also prepare to look for them elsewhere.
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .load()
        .await)
}
