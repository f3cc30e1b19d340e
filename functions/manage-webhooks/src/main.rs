//! The Lambda function `manage-webhooks`.

use lambda_http::Error;
use manage_webhooks::Managing;
use outbound::sender::{Sender, SenderOptions};
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let plain_http = environment.switch("ALLOW_PLAIN_HTTP")?;
    let sender = Sender::new(SenderOptions::public(plain_http))?;
    let managing = Managing::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_s3::Client::new(&config::for_objects(&aws)),
        aws_sdk_sqs::Client::new(&aws),
        sender,
    )?;
    let service = api::service(manage_webhooks::router(managing));
    lambda::run(service).await
}
