//! The Lambda function `list-reports`.

use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run, tracing};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let service = api::service(list_reports::router(config::report_store(&aws)?));
    run(ServiceExt::<Request>::map_response(
        service,
        api::without_needless_length,
    ))
    .await
}
