//! The Lambda function `receive-events`.

use lambda_http::Error;
use receive_events::Receiving;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let receiving = Receiving::new(
        &environment,
        &aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_sqs::Client::new(&aws),
    )?;
    lambda::run(api::service(receive_events::router(receiving))).await
}
