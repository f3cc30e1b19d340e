//! What is common to the AWS services.

use aws_sdk_dynamodb::error::DisplayErrorContext;

/// An error of the SDK with its causes: by itself it says only "service error".
pub fn describe<E: std::error::Error + Send + Sync + 'static>(error: E) -> anyhow::Error {
    anyhow::anyhow!("{}", DisplayErrorContext(error))
}
