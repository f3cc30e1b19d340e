//! `GET` and `HEAD /security/report/files`: reports as one ZIP archive, streamed.

pub mod archive;
mod download;
mod manifest;
pub mod names;
mod range;

use std::collections::HashMap;
use std::time::Instant;

use access::Reading;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use domain::organization::OrganizationId;
use domain::report::{Method, Report, ReportId};
use http_body_util::BodyExt as _;
use runtime::config::Environment;
use runtime::metrics::{Metric, Metrics};
use store::reports::ReportStore;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use web::api::{ApiError, ErrorCode};
use web::query::Query;
use web::text::shortened;

use crate::archive::{Content, Entry, Object, Plan};
use crate::manifest::{Manifest, ManifestFile, ManifestReport};
use crate::range::Requested;

pub use crate::download::Bucket;

/// The path that this function serves.
pub const PATH: &str = "/security/report/files";
/// The query parameters that it knows.
pub const PARAMETERS: [&str; 3] = ["org", "reports", REPORTS_IN_BRACKETS];
/// `reports`, as PHP and others repeat a parameter. The contract has it in words only: most generators of clients would give
/// both parameters the same name.
pub const REPORTS_IN_BRACKETS: &str = "reports[]";

/// How many reports an archive may hold: as many as one `BatchGetItem` reads, and as fit into a request line.
const MAX_REPORTS: usize = 100;
/// How many bytes a response may carry. A streamed Lambda response ends at 200 MB (AWS Lambda quotas).
pub const MAX_RESPONSE_BYTES: u64 = 200_000_000;

const ZIP: &str = "application/zip";
/// The reports may be published anew at any time; asking again with the entity tag costs little.
const REVALIDATE: &str = "no-cache";
/// The header that names the reports that were asked for and not found.
const MISSING_REPORTS: HeaderName = HeaderName::from_static("x-missing-reports");

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where the reports are described.
    pub reports: ReportStore,
    /// Who may read them.
    pub reading: Reading,
    /// Where their files are.
    pub bucket: Bucket,
    /// How many bytes a response may carry; [`MAX_RESPONSE_BYTES`] on Lambda.
    pub max_response_bytes: u64,
    /// What is counted of it.
    pub metrics: Metrics,
}

impl Files {
    /// What the function works with, of these clients and by these variables.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
        s3: aws_sdk_s3::config::Builder,
    ) -> anyhow::Result<Self> {
        let table = environment.required("REPORTS_TABLE")?;
        Ok(Self {
            reports: ReportStore::new(dynamodb.clone(), table),
            reading: Reading::new(environment, dynamodb)?,
            bucket: Bucket::new(s3, environment.required("BUCKET")?),
            max_response_bytes: MAX_RESPONSE_BYTES,
            metrics: environment.metrics()?,
        })
    }
}

/// The routes of this function.
pub fn router(files: Files) -> Router {
    let understood = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::RANGE,
    ];
    let exposed = [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ETAG,
        MISSING_REPORTS,
    ];
    let routes = files.reading.routes(get(download), understood, exposed);
    Router::new().route(PATH, routes).with_state(files)
}

async fn download(
    State(files): State<Files>,
    method: HttpMethod,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let now = OffsetDateTime::now_utc();
    let org = files.reading.organization(&headers, &query, now).await?;
    let ids = report_ids(&query)?;
    let (reports, missing) = find(&files.reports, org, &ids).await?;
    let unreadable = files.reports.unreadable.take();
    files.metrics.record_unreadable(now, unreadable);
    if reports.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let plan = plan(org, &reports, &missing)?;
    let etag = HeaderValue::from_str(plan.etag()).map_err(anyhow::Error::from)?;

    if range::match_fails(&headers, plan.etag()) {
        let message = format!(
            "the archive is not the one that If-Match names; its ETag is {}",
            plan.etag()
        );
        return Err(
            ApiError::new(ErrorCode::PreconditionFailed, message).header(header::ETAG, etag)
        );
    }
    if range::none_match_fails(&headers, plan.etag()) {
        return not_modified(&plan, etag, &method);
    }

    let whole = 0..plan.length();
    // A range has a meaning for GET only (RFC 9110, section 14.2).
    let (status, part) = match range::requested(&headers, plan.length(), plan.etag()) {
        Requested::Part(part) if method == HttpMethod::GET => (StatusCode::PARTIAL_CONTENT, part),
        Requested::Unsatisfiable if method == HttpMethod::GET => {
            return Err(range_not_satisfiable(&plan));
        }
        _ => (StatusCode::OK, whole),
    };
    let length = part.end - part.start;
    if length > files.max_response_bytes {
        return Err(archive_too_large(
            &plan,
            files.max_response_bytes,
            reports.len(),
            etag,
        ));
    }

    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, ZIP)
        .header(header::CONTENT_LENGTH, length)
        .header(header::ETAG, etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, REVALIDATE)
        .header(header::CONTENT_DISPOSITION, content_disposition(&reports));
    if status == StatusCode::PARTIAL_CONTENT {
        let content_range = format!("bytes {}-{}/{}", part.start, part.end - 1, plan.length());
        response = response.header(header::CONTENT_RANGE, content_range);
    }
    if !missing.is_empty() {
        let list = missing
            .iter()
            .map(ReportId::to_string)
            .collect::<Vec<_>>()
            .join(",");
        response = response.header(MISSING_REPORTS, list);
    }
    let body = match method {
        HttpMethod::HEAD => Body::empty(),
        _ => {
            let body = download::body(files.bucket, plan.slice(part)).await?;
            measured(body, length, begun, files.metrics)
        }
    };
    Ok(response.body(body).map_err(anyhow::Error::from)?)
}

/// The same body of `length` bytes, that records the answer's figures when its first bytes are handed over. Then and not
/// at its end, which a process that has to end does not see.
fn measured(body: Body, length: u64, begun: Instant, metrics: Metrics) -> Body {
    let mut metrics = Some(metrics);
    Body::new(body.map_frame(move |frame| {
        if let Some(metrics) = metrics.take() {
            let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let figures = [
                Metric::bytes("ArchiveBytes", length),
                Metric::milliseconds("TimeToFirstByte", vec![milliseconds]),
            ];
            metrics.record(OffsetDateTime::now_utc(), &figures);
        }
        frame
    }))
}

/// Without a body, and with what a cache updates its copy by (RFC 9110, section 15.4.5).
fn not_modified(plan: &Plan, etag: HeaderValue, method: &HttpMethod) -> Result<Response, ApiError> {
    let mut response = Response::builder()
        .status(StatusCode::NOT_MODIFIED)
        // Lambda's runtime would add another one.
        .header(header::CONTENT_TYPE, ZIP)
        .header(header::ETAG, etag)
        .header(header::CACHE_CONTROL, REVALIDATE);
    if method == HttpMethod::HEAD {
        // The length of the archive or none at all; axum would say 0.
        response = response.header(header::CONTENT_LENGTH, plan.length());
    }
    Ok(response.body(Body::empty()).map_err(anyhow::Error::from)?)
}

/// The reports asked for: repeated, in one parameter separated by commas, or both; without duplicates.
fn report_ids(query: &Query) -> Result<Vec<ReportId>, ApiError> {
    let mut ids = Vec::new();
    let values = query.all("reports").chain(query.all(REPORTS_IN_BRACKETS));
    for text in values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let id = text.parse().map_err(|error| {
            let message = format!(
                "reports: '{}' is not a report's id: {error}",
                shortened(text)
            );
            ApiError::new(ErrorCode::InvalidReportId, message).parameter("reports")
        })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > MAX_REPORTS {
            let message = format!(
                "reports: at most {MAX_REPORTS} at once; ask for the others in a further request"
            );
            return Err(ApiError::new(ErrorCode::TooManyReports, message).parameter("reports"));
        }
    }
    if ids.is_empty() {
        let message = "reports: is required; the ids stand in the list of reports";
        return Err(ApiError::new(ErrorCode::MissingParameter, message).parameter("reports"));
    }
    Ok(ids)
}

/// The reports that exist, in the order of `ids`, and the ids of the others.
async fn find(
    store: &ReportStore,
    org: OrganizationId,
    ids: &[ReportId],
) -> Result<(Vec<Report>, Vec<ReportId>), ApiError> {
    let found = store.get_all(org, ids).await?;
    let mut found: HashMap<ReportId, Report> = found
        .into_iter()
        .map(|report| (report.id, report))
        .collect();
    let reports: Vec<Report> = ids.iter().filter_map(|id| found.remove(id)).collect();
    let missing = ids
        .iter()
        .filter(|id| !reports.iter().any(|report| report.id == **id))
        .copied()
        .collect();
    Ok((reports, missing))
}

fn plan(org: OrganizationId, reports: &[Report], missing: &[ReportId]) -> Result<Plan, ApiError> {
    let mut manifest = Manifest {
        organization_id: org,
        reports: Vec::with_capacity(reports.len()),
        missing,
    };
    let mut files = Vec::new();
    // So that no folder is called like the manifest.
    let mut folders = names::Taken::default();
    folders.unique(manifest::NAME, "");
    for report in reports {
        let folder = folders.unique(&names::folder(report), "");
        let mut taken = names::Taken::default();
        let mut described = ManifestReport::new(report, folder.clone());
        for file in &report.files {
            let (stem, extension) = names::file(&file.name);
            let name = taken.unique(&stem, &extension);
            files.push(Entry {
                name: format!("{folder}/{name}"),
                modified: report.metadata.date.instant(),
                method: file.method,
                crc32: file.crc32,
                size: file.size,
                compressed_size: file.payload_size,
                content: Content::Object(Object {
                    key: file.key.clone(),
                    version_id: file.version_id.clone(),
                    offset: file.payload_offset,
                }),
            });
            described.files.push(ManifestFile {
                name,
                size: file.size,
                sha256: &file.sha256,
            });
        }
        manifest.reports.push(described);
    }
    let json = Bytes::from(serde_json::to_vec_pretty(&manifest).map_err(anyhow::Error::from)?);
    let latest_upload = reports
        .iter()
        .filter_map(|report| OffsetDateTime::parse(&report.upload_date, &Rfc3339).ok())
        .max();
    let first = Entry {
        name: manifest::NAME.to_owned(),
        modified: latest_upload.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        method: Method::Stored,
        crc32: crc32fast::hash(&json),
        size: json.len() as u64,
        compressed_size: json.len() as u64,
        content: Content::Bytes(json),
    };
    Ok(Plan::new(std::iter::once(first).chain(files).collect()))
}

/// `attachment` with a name for one report, or for several; also for names that are not ASCII (RFC 6266).
fn content_disposition(reports: &[Report]) -> HeaderValue {
    let name = match reports {
        [report] => format!("{}.zip", names::folder(report)),
        _ => format!("{} security reports.zip", reports.len()),
    };
    // Neither quotes nor backslashes nor controls are left in a safe name.
    let ascii: String = name
        .chars()
        .map(|char| if char.is_ascii() { char } else { '_' })
        .collect();
    let mut value = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        value += "; filename*=UTF-8''";
        for byte in name.bytes() {
            // Of the attr-char of RFC 8187; the others among them need not be escaped, but may be.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                value.push(char::from(byte));
            } else {
                value += &format!("%{byte:02X}");
            }
        }
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

fn range_not_satisfiable(plan: &Plan) -> ApiError {
    let message = format!(
        "the range begins behind the end of the archive, which has {} bytes",
        plan.length()
    );
    let error = ApiError::new(ErrorCode::RangeNotSatisfiable, message);
    match HeaderValue::from_str(&format!("bytes */{}", plan.length())) {
        Ok(value) => error.header(header::CONTENT_RANGE, value),
        Err(_) => error,
    }
}

fn archive_too_large(plan: &Plan, limit: u64, reports: usize, etag: HeaderValue) -> ApiError {
    let fewer = if reports > 1 {
        "ask for fewer reports at once, or "
    } else {
        ""
    };
    let message = format!(
        "the archive has {} bytes, and a response at most {limit}: {fewer}get it in parts with the header \
         'Range: bytes=<first>-<last>', and 'If-Match: {}' so that the parts fit together",
        plan.length(),
        plan.etag(),
    );
    ApiError::new(ErrorCode::ArchiveTooLarge, message)
        .header(header::ETAG, etag)
        .header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(
            values in prop::collection::vec((prop::sample::select(PARAMETERS.as_slice()), "([0-9a-f-]{36},?){0,3}|.{0,10}"), 0..6),
        ) {
            let raw: String = values.iter().map(|(name, value)| format!("{name}={value}&")).collect();
            if let Ok(query) = Query::parse(Some(&raw), &PARAMETERS)
                && let Ok(ids) = report_ids(&query)
            {
                prop_assert!((1..=MAX_REPORTS).contains(&ids.len()));
            }
        }
    }
}
