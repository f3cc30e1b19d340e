//! What is sent, an archive or a file. Its length, its entity tag and all its ranges are known before its first byte.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use runtime::metrics::{Metric, Metrics};
use time::OffsetDateTime;
use web::api::{ApiError, ErrorCode};

use crate::archive::Plan;
use crate::range::Requested;
use crate::{Files, download, range};

/// A report may be published again at any time. A request with the entity tag costs little.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// What is represented.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// An archive of this many reports.
    Archive(usize),
    /// A file.
    File,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::File => "file",
        }
    }

    const fn too_large(self) -> ErrorCode {
        match self {
            Self::Archive(_) => ErrorCode::ArchiveTooLarge,
            Self::File => ErrorCode::ResponseTooLarge,
        }
    }
}

/// A representation (RFC 9110, section 3.2).
pub(crate) struct Representation {
    /// What it represents.
    pub(crate) what: What,
    /// Its bytes.
    pub(crate) plan: Plan,
    /// Its headers for a client, with the media type at least.
    pub(crate) headers: HeaderMap,
}

impl Representation {
    /// The answer to a request that began at `begun`, or the part of it that `Range` asks for.
    pub(crate) async fn response(
        self,
        files: &Files,
        method: &Method,
        request: &HeaderMap,
        begun: Instant,
    ) -> Result<Response, ApiError> {
        let (plan, what) = (&self.plan, self.what.name());
        let etag = HeaderValue::from_str(plan.etag()).map_err(anyhow::Error::from)?;
        if range::match_fails(request, plan.etag()) {
            let message = format!(
                "the {what} is not the one that If-Match names; its ETag is {}",
                plan.etag()
            );
            return Err(
                ApiError::new(ErrorCode::PreconditionFailed, message).header(header::ETAG, etag)
            );
        }
        if range::none_match_fails(request, plan.etag()) {
            return self.not_modified(etag, method);
        }

        // A range has a meaning for GET only (RFC 9110, section 14.2).
        let (status, part) = match range::requested(request, plan.length(), plan.etag()) {
            Requested::Part(part) if method == Method::GET => (StatusCode::PARTIAL_CONTENT, part),
            Requested::Unsatisfiable if method == Method::GET => {
                return Err(self.range_not_satisfiable());
            }
            _ => (StatusCode::OK, 0..plan.length()),
        };
        let length = part.end - part.start;
        if length > files.max_response_bytes {
            return Err(self.too_large(files.max_response_bytes, etag));
        }
        let content_range = format!(
            "bytes {}-{}/{}",
            part.start,
            part.end.saturating_sub(1),
            plan.length()
        );
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => {
                let body = download::body(files.bucket.clone(), plan.slice(part)).await?;
                measured(body, length, begun, files.metrics.clone())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        *headers = self.headers;
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::ETAG, etag);
        headers.insert(header::ACCEPT_RANGES, BYTES);
        headers.insert(header::CACHE_CONTROL, REVALIDATE);
        if status == StatusCode::PARTIAL_CONTENT {
            let value = HeaderValue::try_from(content_range).map_err(anyhow::Error::from)?;
            headers.insert(header::CONTENT_RANGE, value);
        }
        Ok(response)
    }

    /// The answer without a body, with the headers that update a cached copy (RFC 9110, section 15.4.5).
    fn not_modified(mut self, etag: HeaderValue, method: &Method) -> Result<Response, ApiError> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        // Lambda's runtime would add another media type.
        for name in [header::CONTENT_TYPE, header::CONTENT_SECURITY_POLICY] {
            if let Some(value) = self.headers.remove(&name) {
                headers.insert(name, value);
            }
        }
        headers.insert(header::ETAG, etag);
        headers.insert(header::CACHE_CONTROL, REVALIDATE);
        if method == Method::HEAD {
            // The length of the representation or none; axum would set 0.
            headers.insert(header::CONTENT_LENGTH, self.plan.length().into());
        }
        Ok(response)
    }

    fn range_not_satisfiable(&self) -> ApiError {
        let (what, length) = (self.what.name(), self.plan.length());
        let message =
            format!("the range begins behind the end of the {what}, which has {length} bytes");
        let error = ApiError::new(ErrorCode::RangeNotSatisfiable, message);
        match HeaderValue::from_str(&format!("bytes */{length}")) {
            Ok(value) => error.header(header::CONTENT_RANGE, value),
            Err(_) => error,
        }
    }

    fn too_large(&self, limit: u64, etag: HeaderValue) -> ApiError {
        let (what, length) = (self.what.name(), self.plan.length());
        let fewer = match self.what {
            What::Archive(2..) => "ask for fewer reports at once, or ",
            What::Archive(_) | What::File => "",
        };
        let message = format!(
            "the {what} has {length} bytes, and a response at most {limit}: {fewer}get it in parts with the header \
             'Range: bytes=<first>-<last>', and 'If-Match: {}' so that the parts fit together",
            self.plan.etag(),
        );
        ApiError::new(self.what.too_large(), message)
            .header(header::ETAG, etag)
            .header(header::ACCEPT_RANGES, BYTES)
    }
}

/// The same body of `length` bytes. It records the answer's metrics when its first bytes are handed over. At its end would be
/// too late: a process that has to end does not see it.
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
