//! `GET` and `HEAD /security/report/file`: one file of a report, for viewing.
//!
//! *Invariant:* a page that CI published runs without anybody's rights. Its policy puts it into a sandbox without scripts,
//! and lets it load nothing.

use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, header};
use axum::response::Response;
use domain::report::{Method, ReportId, StoredFile};
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};
use web::query::Query;
use web::text::shortened;

use crate::archive::{Object, Plan};
use crate::representation::{Representation, What};
use crate::{Files, disposition, names};

/// The path of this operation.
pub const PATH: &str = "/security/report/file";
/// Its query parameters.
pub const PARAMETERS: [&str; 3] = ["org", "report", "name"];

/// The trailer of a gzip member: CRC-32 and size, four bytes each (RFC 1952, section 2.3.1).
const GZIP_TRAILER: u64 = 8;

/// Styles and pictures may be in the page itself, since a report is one file.
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
);
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

pub(crate) async fn read(
    State(files): State<Files>,
    method: HttpMethod,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let now = OffsetDateTime::now_utc();
    let org = files.reading.organization(&headers, &query, now).await?;
    let id = report_id(&query)?;
    let name = query.required("name")?;
    let found = files.reports.get_all(org, &[id]).await?;
    let unreadable = files.reports.unreadable.take();
    files.metrics.record_unreadable(now, unreadable);
    let report = found.into_iter().next().ok_or_else(|| {
        let message = format!("report: there is no report {id}");
        ApiError::new(ErrorCode::ReportNotFound, message).parameter("report")
    })?;
    let file = report.files.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| {
        let names: Vec<&str> = report.files.iter().map(|file| &*file.name).collect();
        let message = format!(
            "name: the report has no file '{}'; it has {}",
            shortened(name),
            names.join(", ")
        );
        ApiError::new(ErrorCode::FileNotFound, message).parameter("name")
    })?;
    let representation = Representation {
        what: What::File,
        plan: plan(file),
        headers: described(file),
    };
    representation
        .response(&files, &method, &headers, begun)
        .await
}

/// The whole object: a PDF unchanged, a page as the stored gzip member.
fn plan(file: &StoredFile) -> Plan {
    let trailer = match file.method {
        Method::Stored => 0,
        Method::Deflated => GZIP_TRAILER,
    };
    let object = Object {
        key: file.key.clone(),
        version_id: file.version_id.clone(),
        offset: 0,
    };
    Plan::of_object(object, file.payload_offset + file.payload_size + trailer)
}

fn described(file: &StoredFile) -> HeaderMap {
    let (stem, extension) = names::file(&file.name);
    let is_pdf = extension.eq_ignore_ascii_case(".pdf");
    // The page itself declares its character set. No browser shows a PDF in a sandbox.
    let (media_type, kind) = match is_pdf {
        true => ("application/pdf", "attachment"),
        false => ("text/html", "inline"),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if file.method == Method::Deflated {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let name = format!("{stem}{extension}");
    headers.insert(header::CONTENT_DISPOSITION, disposition(kind, &name));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        CROSS_ORIGIN_RESOURCE_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers
}

fn report_id(query: &Query) -> Result<ReportId, ApiError> {
    let text = query.required("report")?;
    text.parse().map_err(|error| {
        let message = format!(
            "report: '{}' is not a report's id: {error}",
            shortened(text)
        );
        ApiError::new(ErrorCode::InvalidReportId, message).parameter("report")
    })
}
