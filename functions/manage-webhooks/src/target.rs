//! The resource that a path names.

use std::str::FromStr;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use domain::delivery::DeliveryId;
use domain::organization::OrganizationId;
use domain::report::ReportId;
use domain::source::SourceId;
use domain::token::TokenId;
use domain::webhook::WebhookId;
use web::api::{ApiError, ErrorCode};

/// The ids in a path. One that is no id names nothing; but who may not even look must not learn that, so it is not an error
/// until somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    organization: Option<OrganizationId>,
    webhook: Option<WebhookId>,
    delivery: Option<DeliveryId>,
    token: Option<TokenId>,
    report: Option<ReportId>,
    source: Option<SourceId>,
}

impl Target {
    pub(crate) fn of(request: &Parts) -> Self {
        let pattern = request.extensions.get::<MatchedPath>();
        let pattern = pattern.map(MatchedPath::as_str).unwrap_or_default();
        // The path is not decoded, since an id needs no escapes. A segment that is not text does not hide the other ones.
        let names = pattern.split('/').zip(request.uri.path().split('/'));
        let names: Vec<(&str, &str)> = names.collect();
        Self {
            organization: id(&names, "{organizationId}"),
            webhook: id(&names, "{webhookId}"),
            delivery: id(&names, "{deliveryId}"),
            token: id(&names, "{tokenId}"),
            report: id(&names, "{reportId}"),
            source: id(&names, "{sourceId}"),
        }
    }

    pub(crate) fn organization(&self) -> Result<OrganizationId, ApiError> {
        self.organization.ok_or_else(organization_not_found)
    }

    pub(crate) fn webhook(&self) -> Result<WebhookId, ApiError> {
        self.webhook.ok_or_else(webhook_not_found)
    }

    pub(crate) fn delivery(&self) -> Result<DeliveryId, ApiError> {
        self.delivery.ok_or_else(delivery_not_found)
    }

    pub(crate) fn token(&self) -> Result<TokenId, ApiError> {
        self.token.ok_or_else(token_not_found)
    }

    pub(crate) fn source(&self) -> Result<SourceId, ApiError> {
        self.source.ok_or_else(source_not_found)
    }

    pub(crate) fn report(&self) -> Result<ReportId, ApiError> {
        self.report.ok_or_else(report_not_found)
    }
}

/// No answer reveals which organizations exist. To a caller that does not belong to an organization, it does not exist.
pub(crate) fn organization_not_found() -> ApiError {
    let message = "there is no such organization, or you have no part in it";
    ApiError::new(ErrorCode::OrganizationNotFound, message)
}

pub(crate) fn webhook_not_found() -> ApiError {
    ApiError::new(ErrorCode::WebhookNotFound, "there is no such webhook")
}

pub(crate) fn delivery_not_found() -> ApiError {
    let message = "there is no such delivery; deliveries are kept for 30 days";
    ApiError::new(ErrorCode::DeliveryNotFound, message)
}

pub(crate) fn token_not_found() -> ApiError {
    ApiError::new(ErrorCode::TokenNotFound, "there is no such token")
}

pub(crate) fn source_not_found() -> ApiError {
    ApiError::new(ErrorCode::SourceNotFound, "there is no such source")
}

pub(crate) fn report_not_found() -> ApiError {
    ApiError::new(ErrorCode::ReportNotFound, "there is no such report")
}

fn id<T: FromStr>(names: &[(&str, &str)], name: &str) -> Option<T> {
    let (_, text) = names.iter().find(|(of, _)| *of == name)?;
    text.parse().ok()
}
