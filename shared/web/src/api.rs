//! What every HTTP function shares: the error envelope, the request's id and the access log.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use lambda_http::request::RequestContext;
use serde::Serialize;
use uuid::Uuid;

use crate::text::shortened;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:ident $code:literal,)*) => {
        /// What went wrong, for programs. Codes are stable: the meaning of a code never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it stands in the envelope.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status of a response with this code.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

error_codes! {
    /// A required query parameter is absent.
    MissingParameter = BAD_REQUEST "missing_parameter",
    /// The call has no such query parameter.
    UnknownParameter = BAD_REQUEST "unknown_parameter",
    /// A query parameter that takes one value is given twice.
    DuplicateParameter = BAD_REQUEST "duplicate_parameter",
    /// Not the id of an organization.
    InvalidOrganization = BAD_REQUEST "invalid_organization",
    /// Not a version with a known place in the order.
    InvalidVersion = BAD_REQUEST "invalid_version",
    /// Not a number from 1 to 1000.
    InvalidLimit = BAD_REQUEST "invalid_limit",
    /// Neither `asc` nor `desc`.
    InvalidOrder = BAD_REQUEST "invalid_order",
    /// Not a cursor that this query gave.
    InvalidCursor = BAD_REQUEST "invalid_cursor",
    /// Not the id of a report.
    InvalidReportId = BAD_REQUEST "invalid_report_id",
    /// More reports than one archive may contain.
    TooManyReports = BAD_REQUEST "too_many_reports",
    /// More bytes than one response may carry.
    ArchiveTooLarge = PAYLOAD_TOO_LARGE "archive_too_large",
    /// The file has more bytes than a response may have.
    ResponseTooLarge = PAYLOAD_TOO_LARGE "response_too_large",
    /// The range begins after the end.
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE "range_not_satisfiable",
    /// If-Match names another state of the resource.
    PreconditionFailed = PRECONDITION_FAILED "precondition_failed",
    /// There is no bearer token.
    MissingToken = UNAUTHORIZED "missing_token",
    /// Not one of our tokens.
    InvalidToken = UNAUTHORIZED "invalid_token",
    /// A token that was revoked.
    RevokedToken = UNAUTHORIZED "revoked_token",
    /// A token that has expired.
    ExpiredToken = UNAUTHORIZED "expired_token",
    /// A call that is not signed with the secret of a source, or not for an existing source.
    InvalidSignature = UNAUTHORIZED "invalid_signature",
    /// A token without the right that the call needs.
    InsufficientRight = FORBIDDEN "insufficient_right",
    /// A token of another organization.
    WrongOrganization = FORBIDDEN "wrong_organization",
    /// The body is not a JSON object.
    InvalidJson = BAD_REQUEST "invalid_json",
    /// The body is larger than allowed.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large",
    /// A required field is absent.
    MissingField = BAD_REQUEST "missing_field",
    /// The object has no such field.
    UnknownField = BAD_REQUEST "unknown_field",
    /// A field of the wrong type or outside its limits.
    InvalidField = BAD_REQUEST "invalid_field",
    /// Not a date with a time and an offset.
    InvalidDate = BAD_REQUEST "invalid_date",
    /// Not a project's key.
    InvalidProject = BAD_REQUEST "invalid_project",
    /// Not a rating from A to E.
    InvalidRating = BAD_REQUEST "invalid_rating",
    /// Not a count.
    InvalidCount = BAD_REQUEST "invalid_count",
    /// A report without files.
    NoFiles = BAD_REQUEST "no_files",
    /// More files than a report may have.
    TooManyFiles = BAD_REQUEST "too_many_files",
    /// Not the plain name of an HTML or PDF file.
    InvalidFileName = BAD_REQUEST "invalid_file_name",
    /// Two files with the same name.
    DuplicateFileName = BAD_REQUEST "duplicate_file_name",
    /// A file larger than allowed.
    FileTooLarge = BAD_REQUEST "file_too_large",
    /// Not a SHA-256 in hexadecimal digits.
    InvalidSha256 = BAD_REQUEST "invalid_sha256",
    /// The token's organization has no such upload.
    UploadNotFound = NOT_FOUND "upload_not_found",
    /// The upload was not completed in time.
    UploadExpired = GONE "upload_expired",
    /// A declared file was not uploaded.
    FileMissing = CONFLICT "file_missing",
    /// An uploaded file has another size than declared.
    FileSizeMismatch = CONFLICT "file_size_mismatch",
    /// An uploaded file has other bytes than declared.
    FileChecksumMismatch = CONFLICT "file_checksum_mismatch",
    /// Others changed the same resource at the same moment, several times.
    Conflict = CONFLICT "conflict",
    /// Not a URL that a webhook may have.
    InvalidUrl = BAD_REQUEST "invalid_url",
    /// A URL whose address is not public, or that lacks TLS where TLS is required.
    AddressRefused = BAD_REQUEST "address_refused",
    /// Not a secret that a webhook may have.
    InvalidSecret = BAD_REQUEST "invalid_secret",
    /// Not a header that a webhook may have.
    InvalidHeader = BAD_REQUEST "invalid_header",
    /// Not the name of an event.
    InvalidEvent = BAD_REQUEST "invalid_event",
    /// Not the name of a right.
    InvalidRight = BAD_REQUEST "invalid_right",
    /// Not the name of a delivery's state.
    InvalidState = BAD_REQUEST "invalid_state",
    /// The caller's role does not allow the call.
    InsufficientRole = FORBIDDEN "insufficient_role",
    /// A message of ours that calls ourselves.
    Loop = FORBIDDEN "loop",
    /// The caller belongs to no such organization.
    OrganizationNotFound = NOT_FOUND "organization_not_found",
    /// The organization has no such webhook.
    WebhookNotFound = NOT_FOUND "webhook_not_found",
    /// The webhook has no such delivery.
    DeliveryNotFound = NOT_FOUND "delivery_not_found",
    /// The organization has no such token.
    TokenNotFound = NOT_FOUND "token_not_found",
    /// The organization has no such source.
    SourceNotFound = NOT_FOUND "source_not_found",
    /// The organization already has the most sources allowed.
    TooManySources = CONFLICT "too_many_sources",
    /// The organization has no such report.
    ReportNotFound = NOT_FOUND "report_not_found",
    /// The report has no file with this name.
    FileNotFound = NOT_FOUND "file_not_found",
    /// The organization already has the most webhooks allowed.
    TooManyWebhooks = CONFLICT "too_many_webhooks",
    /// The organization has made the most test calls allowed in a minute.
    TooManyTests = TOO_MANY_REQUESTS "too_many_tests",
    /// The organization already has the most tokens allowed.
    TooManyTokens = CONFLICT "too_many_tokens",
    /// The organization has made the most uploads, or uploaded the most bytes, allowed in a day.
    TooManyUploads = TOO_MANY_REQUESTS "too_many_uploads",
    /// The most secrets allowed already sign for this webhook.
    TooManySecrets = CONFLICT "too_many_secrets",
    /// The webhook is disabled.
    WebhookDisabled = CONFLICT "webhook_disabled",
    /// Somebody is trying the delivery.
    DeliveryInProgress = CONFLICT "delivery_in_progress",
    /// Not a valid idempotency key.
    InvalidIdempotencyKey = BAD_REQUEST "invalid_idempotency_key",
    /// The first request with this idempotency key is being carried out.
    IdempotencyKeyInUse = CONFLICT "idempotency_key_in_use",
    /// The first request with this idempotency key had another body.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused",
    /// The identity provider cannot be reached.
    IdentityUnavailable = SERVICE_UNAVAILABLE "identity_unavailable",
    /// No such path.
    NotFound = NOT_FOUND "not_found",
    /// The path has no such method.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed",
    /// Our fault.
    InternalError = INTERNAL_SERVER_ERROR "internal_error",
}

/// An error answer. Its response is the error envelope, once [`service`] has added the request's id.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    parameter: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<Arc<anyhow::Error>>,
}

impl ApiError {
    /// An error with a message for the developer of the client.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            parameter: None,
            headers: Vec::new(),
            cause: None,
        }
    }

    /// Names the query parameter or the field that is wrong.
    #[must_use]
    pub fn parameter(mut self, parameter: impl Into<String>) -> Self {
        self.parameter = Some(parameter.into());
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What went wrong.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The message for the developer of the client.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The query parameter or the field that is wrong.
    pub fn named(&self) -> Option<&str> {
        self.parameter.as_deref()
    }
}

/// How errors are written where the envelope is not used: some routes speak as another product does. It is added to the
/// extensions of responses.
#[derive(Clone, Copy, Debug)]
pub struct Wording(pub fn(&ApiError) -> Worded);

/// An error in another form than the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worded {
    /// The status, which may differ from that of the code.
    pub status: StatusCode,
    /// The body. It may be empty.
    pub json: Vec<u8>,
}

/// An error inside is our fault: a store's error, or one of `anyhow`. The caller learns no more than that, and the log has
/// the chain of causes.
///
/// So `?` makes any error ours. An error that is the caller's fault must be turned into an [`ApiError::new`] before.
impl<E: Into<anyhow::Error>> From<E> for ApiError {
    fn from(cause: E) -> Self {
        let message =
            "Something went wrong on our side. Try again; if it persists, tell us the requestId.";
        Self {
            cause: Some(Arc::new(cause.into())),
            ..Self::new(ErrorCode::InternalError, message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The complete service of some routes. It adds the access log and the error envelope, even for unknown paths and methods.
pub fn service(routes: Router) -> Router {
    routes
        .fallback(async |request: Request| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("there is nothing at {}", shortened(request.uri().path())),
            )
        })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(envelope_and_log))
}

/// The answer to a method that a path does not have.
pub(crate) async fn method_not_allowed(request: Request) -> ApiError {
    let message = format!(
        "{} has no method {}",
        shortened(request.uri().path()),
        request.method()
    );
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

/// The last step on Lambda: removes a `Content-Length` from a 204, where none is allowed, and a wrong one from a 304 (RFC
/// 9110, section 8.6). The router adds `0` to both. A server of hyper's removes it, but Lambda's runtime does not.
pub(crate) fn without_needless_length(mut response: Response) -> Response {
    let status = response.status();
    let is_zero = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length == "0");
    if is_zero && matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    request_id: &'a str,
}

async fn envelope_and_log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    // The pattern instead of the path, and no query: an organization's id gives access to its reports.
    let path = match request.extensions().get::<MatchedPath>() {
        Some(pattern) => pattern.as_str().to_owned(),
        None => "(no route)".to_owned(),
    };

    let mut response = next.run(request).await;

    // A browser must not take a text in an answer for a page.
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let error = response.extensions_mut().remove::<ApiError>();
    if let Some(error) = &error {
        response = render(error, &request_id, response);
    }
    let status = response.status();
    let milliseconds = started.elapsed().as_millis();
    let code = error.as_ref().map_or("", |error| error.code.as_str());
    if let Some(cause) = error.as_ref().and_then(|error| error.cause.as_deref()) {
        tracing::error!(request_id, "request {request_id} failed: {cause:#}");
    }
    tracing::info!(
        request_id, %method, path, status = status.as_u16(), milliseconds, code,
        "{method} {path} {} {code}{}{milliseconds} ms", status.as_u16(), if code.is_empty() { "" } else { " " },
    );
    response
}

fn render(error: &ApiError, request_id: &str, mut response: Response) -> Response {
    let json = match response.extensions_mut().remove::<Wording>() {
        Some(Wording(of)) => {
            let worded = of(error);
            *response.status_mut() = worded.status;
            worded.json
        }
        None => {
            let envelope = Envelope {
                code: error.code.as_str(),
                message: &error.message,
                parameter: error.parameter.as_deref(),
                request_id,
            };
            serde_json::to_vec(&envelope).expect("strings are always JSON")
        }
    };
    let headers = response.headers_mut();
    headers.extend(error.headers.iter().cloned());
    if !json.is_empty() {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
    *response.body_mut() = Body::from(json);
    response
}

/// API Gateway's id of the request, which is also in API Gateway's access log; outside API Gateway a random id.
fn request_id(request: &Request) -> String {
    match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        _ => None,
    }
    .unwrap_or_else(|| Uuid::new_v4().to_string())
}

/// A response with this status and `json` as body.
pub fn json(status: StatusCode, json: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(json).map_err(anyhow::Error::from)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_error_has_a_code_of_its_own() {
        let codes: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(
            ErrorCode::ALL
                .iter()
                .all(|code| code.status().is_client_error() || code.status().is_server_error())
        );
    }
}
