//! `GET` and `HEAD /security/report/files`: reports as one streamed ZIP archive; and `/security/report/file`: one file of a
//! report.

pub mod archive;
mod download;
pub mod file;
mod manifest;
pub mod names;
mod range;
mod representation;

use std::collections::HashMap;
use std::time::Instant;

use access::Reading;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use domain::organization::OrganizationId;
use domain::report::{Method, Report, ReportId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use runtime::config::Environment;
use runtime::metrics::Metrics;
use store::reports::ReportStore;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use web::api::{ApiError, ErrorCode};
use web::query::Query;
use web::text::shortened;

use crate::archive::{Content, Entry, Object, Plan};
use crate::manifest::{Manifest, ManifestFile, ManifestReport};
use crate::representation::{Representation, What};

pub use crate::download::Bucket;

/// The path that this function serves.
pub const PATH: &str = "/security/report/files";
/// Its query parameters.
pub const PARAMETERS: [&str; 3] = ["org", "reports", REPORTS_IN_BRACKETS];
/// `reports`, as PHP and others repeat a parameter. The contract mentions it in words only, since most client generators
/// would give both parameters the same name.
pub const REPORTS_IN_BRACKETS: &str = "reports[]";

/// How many reports an archive may have: as many as one `BatchGetItem` reads, and as fit into a request line.
const MAX_REPORTS: usize = 100;
/// How many bytes a response may have. A streamed Lambda response ends at 200 MB (AWS Lambda quotas).
pub const MAX_RESPONSE_BYTES: u64 = 200_000_000;

/// The header that names the requested reports that do not exist.
const MISSING_REPORTS: HeaderName = HeaderName::from_static("x-missing-reports");

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Files {
    /// The reports.
    pub reports: ReportStore,
    /// Who may read them.
    pub reading: Reading,
    /// The bucket with their files.
    pub bucket: Bucket,
    /// How many bytes a response may have; [`MAX_RESPONSE_BYTES`] on Lambda.
    pub max_response_bytes: u64,
    /// Whether archives name their organization. Its id gives access to reports, and not every reader of an archive has it.
    pub names_organization: bool,
    /// The function's metrics.
    pub metrics: Metrics,
}

impl Files {
    /// The stores of these clients, with the names that the variables give.
    ///
    /// # Errors
    /// A variable is missing or invalid.
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
            names_organization: true,
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
    let routes = |routes| {
        let (understood, exposed) = (understood.clone(), exposed.clone());
        files.reading.routes(routes, understood, exposed)
    };
    Router::new()
        .route(PATH, routes(get(download)))
        .route(file::PATH, routes(get(file::read)))
        .with_state(files.clone())
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
    let mut response = HeaderMap::new();
    response.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/zip"),
    );
    response.insert(header::CONTENT_DISPOSITION, content_disposition(&reports));
    let archive = Representation {
        what: What::Archive(reports.len()),
        plan: plan(files.names_organization.then_some(org), &reports, &missing)?,
        headers: response,
    };
    let mut response = archive.response(&files, &method, &headers, begun).await?;
    if response.status().is_success() && !missing.is_empty() {
        let list: Vec<String> = missing.iter().map(ReportId::to_string).collect();
        let list = HeaderValue::try_from(list.join(",")).map_err(anyhow::Error::from)?;
        response.headers_mut().insert(MISSING_REPORTS, list);
    }
    Ok(response)
}

/// The requested reports without duplicates. The parameter may be repeated, have several ids separated by commas, or both.
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

fn plan(
    org: Option<OrganizationId>,
    reports: &[Report],
    missing: &[ReportId],
) -> Result<Plan, ApiError> {
    let mut manifest = Manifest {
        organization_id: org,
        reports: Vec::with_capacity(reports.len()),
        missing,
    };
    let mut files = Vec::new();
    // So that no folder has the name of the manifest.
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

/// `attachment` with a name for one report, or for several.
fn content_disposition(reports: &[Report]) -> HeaderValue {
    let name = match reports {
        [report] => format!("{}.zip", names::folder(report)),
        _ => format!("{} security reports.zip", reports.len()),
    };
    disposition("attachment", &name)
}

/// What has to be escaped in `filename*`: everything but the attr-char of RFC 8187, section 3.2.1, of which some are escaped all the same.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A disposition with a safe name, also one that is not ASCII (RFC 6266).
fn disposition(kind: &'static str, name: &str) -> HeaderValue {
    // A safe name has no quotes, backslashes or control characters.
    let ascii: String = name
        .chars()
        .map(|char| if char.is_ascii() { char } else { '_' })
        .collect();
    let mut value = format!("{kind}; filename=\"{ascii}\"");
    if ascii != name {
        let escaped = utf8_percent_encode(name, NOT_ATTR_CHAR);
        value += &format!("; filename*=UTF-8''{escaped}");
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(kind))
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
