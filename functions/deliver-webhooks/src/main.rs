//! The Lambda function `deliver-webhooks`.

use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsEvent;
use deliver_webhooks::{Delivering, Schedule, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use shared::config;
use time::OffsetDateTime;

/// So much of the function's time is kept for what has been begun: a delivery may take 10 s, and then it is recorded.
const RESERVE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let delivering = Delivering {
        reports: config::report_store(&aws)?,
        webhooks: config::webhook_store(&aws)?,
        deliveries: config::delivery_store(&aws)?,
        queue: config::events_queue(&aws)?,
        sender: config::sender()?,
        schedule: Schedule {
            disable_after: config::days("DISABLE_AFTER_DAYS")?,
            ..Schedule::default()
        },
        metrics: config::metrics()?,
    };
    let handle = async |event: LambdaEvent<SqsEvent>| {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let budget = left.unwrap_or_default().saturating_sub(RESERVE);
        let now = OffsetDateTime::now_utc();
        Ok::<_, Error>(handle(&delivering, event.payload, now, budget).await)
    };
    run(service_fn(handle)).await
}
