//! The Lambda function `list-reports`.

use lambda_http::{Error, run, tracing};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await;
    run(api::service(list_reports::router(config::report_store(
        &aws,
    )?)))
    .await
}
