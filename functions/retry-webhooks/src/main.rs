//! The Lambda function `retry-webhooks`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use retry_webhooks::{Retrying, round};
use serde_json::Value;
use shared::config;
use time::OffsetDateTime;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let retrying = Retrying {
        reports: config::report_store(&aws)?,
        webhooks: config::webhook_store(&aws)?,
        deliveries: config::delivery_store(&aws)?,
        queue: config::events_queue(&aws)?,
        metrics: config::metrics()?,
    };
    let handle = |_: LambdaEvent<Value>| async {
        let round = round(&retrying, OffsetDateTime::now_utc()).await;
        // An error makes Lambda try again soon, which does no harm, and shows in the function's metrics.
        match round.failed + round.swept.failed {
            0 => Ok(()),
            failed => Err(Error::from(format!(
                "{failed} parts of the round failed; the log says which"
            ))),
        }
    };
    run(service_fn(handle)).await
}
