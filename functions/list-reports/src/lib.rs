//! `GET /security/report/list`: what reports an organization has, by version, page by page.

mod cursor;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use shared::api::{self, ApiError, ErrorCode};
use shared::cors;
use shared::organization::OrganizationId;
use shared::query::{Query, shortened};
use shared::report::{Rating, ReportId};
use shared::report_store::{ListedReport, Order, ReportStore};
use shared::version::{Version, VersionRange};

use crate::cursor::Scope;

/// The path that this function serves.
pub const PATH: &str = "/security/report/list";
/// The query parameters that it knows.
pub const PARAMETERS: [&str; 7] = [
    "org", "version", "minver", "maxver", "limit", "cursor", "order",
];

/// The routes of this function.
pub fn router(reports: ReportStore) -> Router {
    Router::new()
        .route(PATH, cors::public(get(list), [], []))
        .with_state(reports)
}

/// A page of the list. Names and order of the fields are part of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListBody {
    organization_id: OrganizationId,
    reports: Vec<ReportBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportBody {
    project_name: String,
    id: ReportId,
    report_type: String,
    report_version: u32,
    project_version: Version,
    date: String,
    upload_date: String,
    vulnerabilities_count: u32,
    security_rating: Rating,
}

impl From<ListedReport> for ReportBody {
    fn from(report: ListedReport) -> Self {
        Self {
            project_name: report.project_name,
            id: report.id,
            report_type: report.report_type,
            report_version: report.report_version,
            project_version: report.project_version,
            date: report.date.into(),
            upload_date: report.upload_date,
            vulnerabilities_count: report.vulnerabilities_count,
            security_rating: report.security_rating,
        }
    }
}

async fn list(
    State(reports): State<ReportStore>,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let org = query.organization()?;
    let versions = version_range(&query)?;
    let limit = query.limit()?;
    let order = order(&query)?;
    let scope = Scope::new(org, &versions, order);
    let after = query
        .optional("cursor")?
        .map(|text| scope.open(text))
        .transpose()?;

    let page = reports
        .page(org, &versions, order, after.as_ref(), limit)
        .await?;

    tracing::debug!(%org, reports = page.reports.len(), read_units = page.read_units, "listed reports of {org}");
    if page.reports.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = ListBody {
        organization_id: org,
        reports: page.reports.into_iter().map(ReportBody::from).collect(),
        next_cursor: page.next.map(|position| scope.seal(&position)),
    };
    api::json(StatusCode::OK, &body)
}

fn version_range(query: &Query) -> Result<VersionRange, ApiError> {
    let exact = version(query, "version")?;
    let lowest = version(query, "minver")?;
    let highest = version(query, "maxver")?;
    if exact.is_none() && lowest.is_none() && highest.is_none() {
        let message =
            "version: is required, or minver, or maxver; minver=0-0 begins before every version";
        return Err(ApiError::new(ErrorCode::MissingParameter, message).parameter("version"));
    }
    let range = exact.into_iter().fold(VersionRange::ALL, |range, version| {
        range.at_least(version.clone()).at_most(version)
    });
    let range = lowest.into_iter().fold(range, VersionRange::at_least);
    Ok(highest.into_iter().fold(range, VersionRange::at_most))
}

fn version(query: &Query, name: &'static str) -> Result<Option<Version>, ApiError> {
    let Some(text) = query.optional(name)? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|reason| {
        // In a query string '+' means a space.
        let hint = if text.contains(' ') {
            " (a '+' must be sent as %2B)"
        } else {
            ""
        };
        let message = format!(
            "{name}: '{}' is not a Semantic Version: {reason}{hint}",
            shortened(text)
        );
        ApiError::new(ErrorCode::InvalidVersion, message).parameter(name)
    })
}

fn order(query: &Query) -> Result<Order, ApiError> {
    match query.optional("order")? {
        None | Some("desc") => Ok(Order::Descending),
        Some("asc") => Ok(Order::Ascending),
        Some(text) => {
            let message = format!("order: '{}' is neither 'asc' nor 'desc'", shortened(text));
            Err(ApiError::new(ErrorCode::InvalidOrder, message).parameter("order"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(
            values in prop::collection::vec((prop::sample::select(PARAMETERS.as_slice()), "[0-9a-zA-Z.+%-]{0,30}|.{0,10}"), 0..6),
        ) {
            let raw: String = values.iter().map(|(name, value)| format!("{name}={value}&")).collect();
            if let Ok(query) = Query::parse(Some(&raw), &PARAMETERS) {
                let _ = query.organization();
                if let Ok(limit) = query.limit() {
                    prop_assert!((1..=1000).contains(&limit));
                }
                let _ = (version_range(&query), order(&query));
            }
        }
    }
}
