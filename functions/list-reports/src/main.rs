//! The Lambda function `list-reports`.

use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run};
use list_reports::Listing;
use runtime::config::{self, Environment};
use runtime::telemetry;
use web::api;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let environment = Environment::of_process();
    let aws = config::aws(&environment).await?;
    let listing = Listing::new(&environment, &aws_sdk_dynamodb::Client::new(&aws))?;
    let service = api::service(list_reports::router(listing));
    run(ServiceExt::<Request>::map_response(
        service,
        api::without_needless_length,
    ))
    .await
}
