//! Problems: the reasons why a page cannot be shown.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use identity::VerifyError;
use identity::sign_in::SignInError;

/// Why a page cannot be shown. As a response it becomes a page of its own, once [`crate::guard`] adds the frame.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) message: String,
    /// The API's id of the request, which the person can tell us.
    pub(crate) request_id: Option<String>,
    /// After how many seconds another attempt is useful.
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            title,
            message: message.into(),
            request_id: None,
            retry_after: None,
        }
    }

    /// The resource does not exist, or the person may not see it.
    pub(crate) fn not_found() -> Self {
        let message = "There is nothing at this address, or nothing that you may see. It may have been deleted.";
        Self::new(StatusCode::NOT_FOUND, "Not found", message)
    }

    /// The person's role does not allow it.
    pub(crate) fn forbidden() -> Self {
        let message = "This page is for administrators of the organization. Whoever manages its members can make you one.";
        Self::new(StatusCode::FORBIDDEN, "For administrators", message)
    }

    /// The identity provider does not answer.
    pub(crate) fn no_identity() -> Self {
        let message = "The identity provider does not answer at the moment. Try again.";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Try again", message);
        problem.retry_after = Some(10);
        problem
    }
}

/// An error inside is our fault. The log has the cause.
impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(cause: E) -> Self {
        let cause = cause.into();
        if let Some(SignInError::Unavailable(_)) = cause.downcast_ref() {
            tracing::error!("the identity provider cannot be asked: {cause:#}");
            return Self::no_identity();
        }
        if let Some(VerifyError::Unavailable(_)) = cause.downcast_ref() {
            tracing::error!("the identity provider cannot be asked: {cause:#}");
            return Self::no_identity();
        }
        tracing::error!("a page failed: {cause:#}");
        let message = "Something went wrong on our side. Try again in a moment.";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            message,
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}
