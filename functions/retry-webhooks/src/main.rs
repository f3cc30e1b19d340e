//! The Lambda function `retry-webhooks`.

use std::time::SystemTime;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use retry_webhooks::{RESERVE, Retrying, round};
use runtime::config::{self, Environment};
use runtime::telemetry;
use serde_json::Value;
use time::OffsetDateTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let (dynamodb, sqs) = (
        aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_sqs::Client::new(&aws),
    );
    let retrying = Retrying::new(&environment, &dynamodb, sqs)?;
    let retrying = &retrying;
    let handle = async |event: LambdaEvent<Value>| {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let budget = left.unwrap_or_default().saturating_sub(RESERVE);
        // Boxed: otherwise the compiler would exceed its recursion limit on the runtime and this future together.
        let round = Box::pin(round(retrying, OffsetDateTime::now_utc(), budget)).await;
        // An error makes Lambda try again soon, which does no harm. It also shows in the function's metrics.
        match round.failed + round.swept.failed {
            0 => Ok(()),
            failed => Err(Error::from(format!(
                "{failed} parts of the round failed; the log says which"
            ))),
        }
    };
    run(service_fn(handle)).await
}
