//! The stores and clients of the function.

use axum::http::HeaderMap;
use domain::token::{Right, Token};
use idempotency::Idempotency;
use publishing::{Publisher, ReportFiles};
use runtime::config::Environment;
use store::queue::EventsQueue;
use store::tokens::TokenStore;
use time::OffsetDateTime;
use web::api::ApiError;

use crate::bucket::Bucket;
use crate::upload::{UploadLimits, UploadStore};

/// In bytes.
const GIGABYTE: u64 = 1_000_000_000;

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// Our own tokens.
    pub tokens: TokenStore,
    /// The answers that are kept for repeated requests.
    pub idempotency: Idempotency,
    /// The daily limits of uploads.
    pub limits: UploadLimits,
    /// The uploads.
    pub uploads: UploadStore,
    /// The bucket with uploaded files.
    pub uploaded: Bucket,
    /// Where the files of reports are written.
    pub files: ReportFiles,
    /// Stores revisions of reports, and announces them.
    pub publisher: Publisher,
}

impl Publishing {
    /// The stores of these clients, with the names that the variables give.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        s3: aws_sdk_s3::config::Builder,
        sqs: aws_sdk_sqs::Client,
    ) -> anyhow::Result<Self> {
        let required = |name| environment.required(name);
        let bucket = required("BUCKET")?;
        let queue = EventsQueue::new(sqs, required("EVENTS_QUEUE_URL")?);
        let client = aws_sdk_s3::Client::from_conf(s3.clone().build());
        Ok(Self {
            tokens: TokenStore::new(dynamodb.clone(), required("TOKENS_TABLE")?),
            idempotency: Idempotency::new(environment, dynamodb)?,
            limits: UploadLimits {
                uploads_per_day: environment.number("UPLOADS_PER_DAY")?,
                bytes_per_day: environment
                    .number("UPLOAD_GIGABYTES_PER_DAY")?
                    .saturating_mul(GIGABYTE),
            },
            uploads: UploadStore::new(dynamodb.clone(), required("UPLOADS_TABLE")?),
            uploaded: Bucket::new(client.clone(), s3, bucket.clone()),
            files: ReportFiles::new(client, bucket),
            publisher: Publisher::new(dynamodb, queue, required)?,
        })
    }

    /// The token of a request, if it is valid and has the right to publish.
    ///
    /// # Errors
    /// `missing_token`, `invalid_token`, `revoked_token` or `expired_token` (401), `insufficient_right` (403).
    pub(crate) async fn authorize(
        &self,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Result<Token, ApiError> {
        access::authorize(&self.tokens, headers, Right::Publish, now).await
    }
}
