//! The Lambda function `publish-report`.

use lambda_http::Error;
use publish_report::Publishing;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let publishing = Publishing::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        (&config::for_objects(&aws)).into(),
        aws_sdk_sqs::Client::new(&aws),
    )?;
    // Answers are small. They are streamed because API Gateway ends a buffered call after 29 s, and large files take longer.
    lambda::run_streaming(api::service(publish_report::router(publishing))).await
}
