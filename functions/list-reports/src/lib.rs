//! `GET /security/report/list`: what reports an organization has, by version, page by page.

mod cursor;

use access::Reading;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::organization::OrganizationId;
use domain::report::summary::Summary;
use domain::version::{Version, VersionRange};
use runtime::config::Environment;
use runtime::metrics::Metrics;
use serde::Serialize;
use store::reports::{Order, ReportStore};
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode};
use web::query::Query;
use web::text::shortened;

use crate::cursor::Scope;

/// The path that this function serves.
pub const PATH: &str = "/security/report/list";
/// The query parameters that it knows.
pub const PARAMETERS: [&str; 7] = [
    "org", "version", "minver", "maxver", "limit", "cursor", "order",
];

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What there is to list.
    pub reports: ReportStore,
    /// Who may.
    pub reading: Reading,
    /// What is counted of it.
    pub metrics: Metrics,
}

impl Listing {
    /// What the function works with, of this client and by these variables.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn new(
        environment: &Environment,
        dynamodb: &aws_sdk_dynamodb::Client,
    ) -> anyhow::Result<Self> {
        let table = environment.required("REPORTS_TABLE")?;
        Ok(Self {
            reports: ReportStore::new(dynamodb.clone(), table),
            reading: Reading::new(environment, dynamodb)?,
            metrics: environment.metrics()?,
        })
    }
}

/// The routes of this function.
pub fn router(listing: Listing) -> Router {
    Router::new()
        .route(PATH, listing.reading.routes(get(list), [], []))
        .with_state(listing)
}

/// A page of the list. Names and order of the fields are part of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListBody {
    organization_id: OrganizationId,
    reports: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list(
    State(listing): State<Listing>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let now = OffsetDateTime::now_utc();
    let Listing {
        reports,
        reading,
        metrics,
    } = &listing;
    let org = reading.organization(&headers, &query, now).await?;
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

    metrics.record_unreadable(now, reports.unreadable.take());
    let organization = org.digest();
    tracing::debug!(
        organization,
        reports = page.reports.len(),
        read_units = page.read_units,
        "listed reports of {organization}",
    );
    if page.reports.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = ListBody {
        organization_id: org,
        reports: page.reports,
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
            "{name}: '{}' is not a version: {reason}{hint}",
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
