//! The Lambda function `deliver-webhooks`.

use std::time::SystemTime;

use aws_lambda_events::sqs::SqsEvent;
use deliver_webhooks::{Delivering, RESERVE, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mimalloc::MiMalloc;
use outbound::sender::{Sender, SenderOptions};
use runtime::config::{self, Environment};
use runtime::telemetry;
use time::OffsetDateTime;

/// A delivery is some thousand small allocations, most of them the SDK's. With this one it takes a sixth less CPU than with the
/// C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let (dynamodb, sqs) = (
        aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_sqs::Client::new(&aws),
    );
    let plain_http = environment.switch("ALLOW_PLAIN_HTTP")?;
    let sender = Sender::new(SenderOptions::public(plain_http))?;
    let delivering = Delivering::new(&environment, &dynamodb, sqs, sender)?;
    let handle = async |event: LambdaEvent<SqsEvent>| {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let budget = left.unwrap_or_default().saturating_sub(RESERVE);
        let now = OffsetDateTime::now_utc();
        // In a box, or the compiler would have to see through the runtime and all of this at once, which is deeper than it goes.
        let handled = Box::pin(handle(&delivering, event.payload, now, budget));
        Ok::<_, Error>(handled.await)
    };
    run(service_fn(handle)).await
}
