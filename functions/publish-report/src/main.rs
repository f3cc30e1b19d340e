//! The Lambda function `publish-report`.

use lambda_http::{Error, run_with_streaming_response, tracing};
use publish_report::{Bucket, Publishing, UploadStore};
use shared::{api, config};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = config::aws().await?;
    let publishing = Publishing {
        reports: config::report_store(&aws)?,
        uploads: UploadStore::new(aws.dynamodb.clone(), config::required("UPLOADS_TABLE")?),
        tokens: config::token_store(&aws)?,
        bucket: Bucket::new((&aws.sdk).into(), config::required("BUCKET")?),
        queue: config::events_queue(&aws)?,
    };
    // Answers are small. They are streamed because API Gateway ends a buffered call after 29 s, and large files take longer.
    run_with_streaming_response(api::service(publish_report::router(publishing))).await
}
