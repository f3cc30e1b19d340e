//! The Lambda function `download-files`.

use download_files::Files;
use lambda_http::Error;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let s3 = (&config::for_objects(&aws)).into();
    let files = Files::new(&environment, &dynamodb, s3)?;
    let service = api::service(download_files::router(files));
    lambda::run_streaming(service).await
}
