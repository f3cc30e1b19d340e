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

/// A delivery makes some thousand small allocations, most of them in the SDK. This allocator takes a sixth less CPU than the
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
        // Boxed: otherwise the compiler would exceed its recursion limit on the runtime and this future together.
        let handled = Box::pin(handle(&delivering, event.payload, now, budget));
        Ok::<_, Error>(handled.await)
    };
    run(service_fn(handle)).await
}
