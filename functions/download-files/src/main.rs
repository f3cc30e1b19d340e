//! The Lambda function `download-files`.

use download_files::{Files, abort_process_on_error};
use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run_with_streaming_response};
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::api;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let s3 = (&config::for_objects(&aws)).into();
    let files = Files::new(&environment, &dynamodb, s3)?;
    let service = api::service(download_files::router(files));
    let last = |response| abort_process_on_error(api::without_needless_length(response));
    run_with_streaming_response(ServiceExt::<Request>::map_response(service, last)).await
}
