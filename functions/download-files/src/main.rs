//! The Lambda function `download-files`.

use download_files::{Bucket, Files, MAX_RESPONSE_BYTES, abort_process_on_error};
use lambda_http::tower::ServiceExt;
use lambda_http::{Error, Request, run_with_streaming_response, tracing};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let files = Files {
        reports: config::report_store(&aws)?,
        bucket: Bucket::new((&aws.sdk).into(), config::required("BUCKET")?),
        max_response_bytes: MAX_RESPONSE_BYTES,
        metrics: config::metrics()?,
    };
    let service = api::service(download_files::router(files));
    let last = |response| abort_process_on_error(api::without_needless_length(response));
    run_with_streaming_response(ServiceExt::<Request>::map_response(service, last)).await
}
