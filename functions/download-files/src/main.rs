//! The Lambda function `download-files`.

use download_files::{Bucket, Files, MAX_RESPONSE_BYTES};
use lambda_http::{Error, run_with_streaming_response, tracing};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await;
    let files = Files {
        reports: config::report_store(&aws)?,
        bucket: Bucket::new((&aws).into(), config::required("BUCKET")?),
        max_response_bytes: MAX_RESPONSE_BYTES,
    };
    let service = api::service(download_files::router(files));
    run_with_streaming_response(download_files::abort_process_on_error(service)).await
}
