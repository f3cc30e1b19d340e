//! Publishing a report in two steps. The first declares it, and gives an address for each file. The second completes it,
//! after the files are uploaded.

mod bucket;
mod completion;
mod declaration;
mod state;
mod upload;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use domain::date::timestamp;
use domain::organization::OrganizationId;
use domain::report::{Metadata, ReportId};
use idempotency::{Attempt, Begun, Keyed, Scope};
use serde::Serialize;
use store::dynamodb::Changed;
use time::{Duration, OffsetDateTime, Time, UtcOffset};
use web::api::{self, ApiError, ErrorCode};
use web::base::BaseUrl;
use web::json;

use crate::bucket::PRESIGNED_VALIDITY;
use crate::declaration::Declaration;
use crate::upload::{DeclaredFile, Upload, UploadId};

pub use crate::bucket::Bucket;
pub use crate::state::Publishing;
pub use crate::upload::{UploadLimits, UploadStore};

/// The path of the first step.
pub const BEGIN_PATH: &str = "/security/report";
/// The path of the last step.
pub const COMPLETE_PATH: &str = "/security/report/uploads/{uploadId}/complete";

/// The largest body of the first step, in bytes. It becomes part of an item of DynamoDB, which may have 400 KB.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// The routes of this function.
pub fn router(publishing: Publishing) -> Router {
    Router::new()
        .route(BEGIN_PATH, post(begin))
        .route(COMPLETE_PATH, post(complete))
        .with_state(publishing)
}

/// The answer to the first step.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadBody {
    upload_id: UploadId,
    report_id: ReportId,
    /// Until when the upload can be completed.
    expires_at: String,
    files: Vec<FileBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileBody {
    name: String,
    /// Where to PUT the file.
    url: String,
    /// The headers to send, exactly.
    headers: serde_json::Map<String, serde_json::Value>,
    /// Until when the address is valid.
    expires_at: String,
}

async fn begin(
    State(publishing): State<Publishing>,
    BaseUrl(api_url): BaseUrl,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let now = OffsetDateTime::now_utc();
    let token = publishing.authorize(&headers, now).await?;
    let body = json::bytes(body, MAX_BODY_BYTES).await?;
    let caller = token.id.to_string();
    let scope = Scope {
        org: token.org,
        caller: &caller,
    };
    let begun = publishing.idempotency.begin(scope, &keyed, &body, now);
    let upload = match begun.await? {
        Begun::First(attempt) => {
            let upload = begin_first(&publishing, token.org, &body, &api_url, &attempt, now).await;
            attempt.settle(upload).await?
        }
        // The addresses of the first answer are valid for minutes only, so the repeated answer has new ones.
        Begun::Again(id) => {
            let upload = publishing.uploads.get(id).await?;
            upload.with_context(|| format!("upload {id} was begun, but does not exist"))?
        }
    };
    let body = upload_body(&publishing, &upload, now).await?;
    api::json(StatusCode::CREATED, &body)
}

async fn begin_first(
    publishing: &Publishing,
    org: OrganizationId,
    body: &[u8],
    api_url: &str,
    attempt: &Attempt,
    now: OffsetDateTime,
) -> Result<Upload, ApiError> {
    let declaration = Declaration::parse(json::parse_object(body)?, api_url)?;
    if declaration.org.is_some_and(|of| of != org) {
        let message = "organizationId: the bearer token is of another organization";
        return Err(
            ApiError::new(ErrorCode::WrongOrganization, message).parameter("organizationId")
        );
    }
    let bytes = declaration.files.iter().map(|file| file.size).sum();
    let counted = publishing
        .uploads
        .count(org, bytes, now, publishing.limits)
        .await?;
    if counted == Changed::Lost {
        return Err(too_many_uploads(publishing.limits, now));
    }
    let upload = Upload::new(org, declaration.metadata, declaration.files, now);
    let kept = attempt.keeping(&upload.id)?;
    if publishing.uploads.put(&upload, kept).await? == Changed::Lost {
        return Err(attempt.lost());
    }
    tracing::debug!(upload = %upload.id, report = %upload.report_id, "began upload {} of report {}", upload.id, upload.report_id);
    Ok(upload)
}

async fn upload_body(
    publishing: &Publishing,
    upload: &Upload,
    now: OffsetDateTime,
) -> Result<UploadBody, ApiError> {
    let mut files = Vec::with_capacity(upload.files.len());
    for (position, file) in upload.files.iter().enumerate() {
        let put = publishing
            .uploaded
            .presign(upload.id, position, file)
            .await?;
        files.push(FileBody {
            name: file.name.clone(),
            url: put.uri().to_owned(),
            headers: put
                .headers()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            expires_at: timestamp(now + PRESIGNED_VALIDITY),
        });
    }
    Ok(UploadBody {
        upload_id: upload.id,
        report_id: upload.report_id,
        expires_at: timestamp(upload.expires_at()?),
        files,
    })
}

fn too_many_uploads(limits: UploadLimits, now: OffsetDateTime) -> ApiError {
    let message = format!(
        "an organization may begin {} uploads of {} bytes in all on a day (UTC); go on tomorrow",
        limits.uploads_per_day, limits.bytes_per_day
    );
    let of_day = now
        .to_offset(UtcOffset::UTC)
        .time()
        .duration_since(Time::MIDNIGHT);
    let left = Duration::DAY - of_day;
    ApiError::new(ErrorCode::TooManyUploads, message).header(
        header::RETRY_AFTER,
        HeaderValue::from(left.whole_seconds() + 1),
    )
}

/// The answer to the last step: the report as this upload made it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublishedBody<'a> {
    organization_id: OrganizationId,
    id: ReportId,
    revision: u64,
    #[serde(flatten)]
    metadata: &'a Metadata,
    upload_date: &'a str,
    files: &'a [DeclaredFile],
}

async fn complete(
    State(publishing): State<Publishing>,
    upload_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let now = OffsetDateTime::now_utc();
    let token = publishing.authorize(&headers, now).await?;
    // An upload of another organization counts as nonexistent, and so does one whose id is not even text.
    let not_found = || ApiError::new(ErrorCode::UploadNotFound, "there is no such upload");
    let id = upload_id
        .ok()
        .and_then(|Path(id)| id.parse().ok())
        .ok_or_else(not_found)?;
    let upload = publishing
        .uploads
        .get(id)
        .await?
        .filter(|upload| upload.org == token.org)
        .ok_or_else(not_found)?;

    let completed = completion::complete(&publishing, &upload, now).await?;

    let metadata = upload.metadata.public();
    let body = PublishedBody {
        organization_id: upload.org,
        id: upload.report_id,
        revision: completed.revision,
        metadata: &metadata,
        upload_date: &completed.upload_date,
        files: &upload.files,
    };
    api::json(
        if completed.is_new || completed.revision == 1 {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        },
        &body,
    )
}
