//! The Lambda function `panel`.

use lambda_http::Error;
use outbound::sender::{Sender, SenderOptions};
use panel::Panel;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let plain_http = environment.switch("ALLOW_PLAIN_HTTP")?;
    let panel = Panel::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_s3::config::Builder::from(&config::for_objects(&aws)),
        aws_sdk_sqs::Client::new(&aws),
        Sender::new(SenderOptions::public(plain_http))?,
    )?;
    lambda::run_streaming(api::service(panel::router(panel))).await
}
