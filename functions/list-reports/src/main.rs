//! The Lambda function `list-reports`.

use lambda_http::Error;
use list_reports::Listing;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::{api, lambda};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let listing = Listing::new(&environment, &aws_sdk_dynamodb::Client::new(&aws))?;
    let service = api::service(list_reports::router(listing));
    lambda::run(service).await
}
