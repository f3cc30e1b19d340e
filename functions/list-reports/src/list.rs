//! `GET /security/report/list`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::organization::OrganizationId;
use domain::report::limits::is_project_key;
use domain::version::{Version, VersionRange};
use serde::Serialize;
use store::reports::{Filter, Order, Page, Part};
use time::OffsetDateTime;
use web::api::{self, ApiError, ErrorCode};
use web::query::Query;
use web::text::shortened;

use crate::Listing;
use crate::cursor::Scope;

/// The query parameters of the list.
pub const PARAMETERS: [&str; 10] = [
    "org", "version", "minver", "maxver", "project", "branch", "type", "limit", "cursor", "order",
];

/// How many reports of one product a page has at most, whatever `limit` says. With the largest possible reports, of 20 files
/// each, a page stays below the 6 MB that a buffered Lambda response may have.
const MAX_OF_PRODUCT: usize = 300;

/// A page of the list. The list of one product has more fields for each report. The names and the order of the fields are
/// part of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListBody<T> {
    organization_id: OrganizationId,
    reports: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) async fn list(
    State(listing): State<Listing>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let now = OffsetDateTime::now_utc();
    let reports = &listing.reports;
    let org = listing.reading.organization(&headers, &query, now).await?;
    let product = product(&query)?;
    let versions = version_range(&query, product.is_some())?;
    let limit = query.limit()?;
    let order = order(&query)?;
    let scope = Scope::new(org, &versions, order, product);
    let after = query
        .optional("cursor")?
        .map(|text| scope.open(text))
        .transpose()?;
    let part = Part {
        range: &versions,
        order,
        after: after.as_ref(),
        limit,
    };

    let response = match product {
        None => body(org, reports.page(org, part).await?, &scope),
        Some((key, filter)) => {
            let part = Part {
                limit: limit.min(MAX_OF_PRODUCT),
                ..part
            };
            let page = reports.page_of_product(org, key, filter, part);
            body(org, page.await?, &scope)
        }
    };
    let unreadable = reports.unreadable.take();
    listing.metrics.record_unreadable(now, unreadable);
    response
}

fn body<T: Serialize>(
    org: OrganizationId,
    page: Page<T>,
    scope: &Scope,
) -> Result<Response, ApiError> {
    let organization = org.digest();
    tracing::debug!(
        organization,
        reports = page.reports.len(),
        read_units = page.read_units,
        "listed reports of {organization}",
    );
    // A page that found too few reports may be empty without being the last.
    if page.reports.is_empty() && page.next.is_none() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = ListBody {
        organization_id: org,
        reports: page.reports,
        next_cursor: page.next.map(|position| scope.seal(&position)),
    };
    api::json(StatusCode::OK, &body)
}

/// The requested product, and the filter on its reports.
fn product(query: &Query) -> Result<Option<(&str, Filter<'_>)>, ApiError> {
    let filter = Filter {
        branch: query.optional("branch")?,
        catalogue: query.optional("type")?,
    };
    let Some(key) = project(query)? else {
        let with = [("branch", filter.branch), ("type", filter.catalogue)];
        return match with.iter().find(|(_, value)| value.is_some()) {
            None => Ok(None),
            Some((name, _)) => {
                let message = format!("project: is required with {name}");
                Err(ApiError::new(ErrorCode::MissingParameter, message).parameter("project"))
            }
        };
    };
    Ok(Some((key, filter)))
}

/// The requested project.
pub(crate) fn project(query: &Query) -> Result<Option<&str>, ApiError> {
    let Some(key) = query.optional("project")? else {
        return Ok(None);
    };
    if is_project_key(key) {
        return Ok(Some(key));
    }
    let message = format!("project: '{}' is not a project's key", shortened(key));
    Err(ApiError::new(ErrorCode::InvalidProject, message).parameter("project"))
}

/// The requested versions. A list of one product may have all versions, but a list of all products may not.
fn version_range(query: &Query, may_be_all: bool) -> Result<VersionRange, ApiError> {
    let exact = version(query, "version")?;
    let lowest = version(query, "minver")?;
    let highest = version(query, "maxver")?;
    if exact.is_none() && lowest.is_none() && highest.is_none() && !may_be_all {
        let message = "version: is required, or minver, or maxver, or project; minver=0-0 begins before every version";
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
        // In a query string, '+' means a space.
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

    /// A version more often than not.
    const NEARLY_A_VERSION: &str = "[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(-rc[0-9]|[.x])?";

    /// A parameter whose value is right more often than not, or is whatever somebody sends.
    fn parameter() -> impl Strategy<Value = (&'static str, String)> {
        let versions = prop::sample::select(["version", "minver", "maxver"].as_slice());
        let filters = prop::sample::select(["branch", "type"].as_slice());
        prop_oneof![
            (Just("org"), "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
            (Just("order"), "asc|desc|up"),
            (Just("limit"), "[0-9]{1,4}"),
            (Just("project"), "[a-z0-9:. ]{1,6}"),
            (filters, "[a-z]{1,6}"),
            (versions, NEARLY_A_VERSION),
            (
                prop::sample::select(PARAMETERS.as_slice()),
                "[0-9a-zA-Z.+%-]{0,30}|.{0,10}"
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_stands_there(values in prop::collection::vec(parameter(), 0..5)) {
            let raw: String = values.iter().map(|(name, value)| format!("{name}={value}&")).collect();
            let Ok(query) = Query::parse(Some(&raw), &PARAMETERS) else { return Ok(()) };
            let all = |name: &str| query.all(name).collect::<Vec<_>>();
            if let Ok(org) = query.organization() {
                prop_assert_eq!(all("org"), [org.to_string()]);
            }
            if let Ok(limit) = query.limit() {
                prop_assert!((1..=1000).contains(&limit));
                prop_assert!(all("limit").iter().all(|text| text.parse() == Ok(limit)));
            }
            match order(&query) {
                Ok(Order::Ascending) => prop_assert_eq!(all("order"), ["asc"]),
                Ok(Order::Descending) => prop_assert!(matches!(all("order")[..], [] | ["desc"])),
                Err(error) if all("order").len() > 1 => prop_assert_eq!(error.code(), ErrorCode::DuplicateParameter),
                Err(error) => prop_assert_eq!(error.code(), ErrorCode::InvalidOrder),
            }
            if let Ok(product) = product(&query) {
                let (key, filter) = product.unzip();
                prop_assert_eq!(all("project"), Vec::from_iter(key));
                prop_assert!(key.is_none_or(is_project_key));
                let filter = filter.map(|it| (it.branch, it.catalogue)).unwrap_or_default();
                prop_assert_eq!(all("branch"), Vec::from_iter(filter.0));
                prop_assert_eq!(all("type"), Vec::from_iter(filter.1));
            }
        }

        #[test]
        fn a_range_holds_what_lies_between_its_bounds(
            low in prop::option::of(NEARLY_A_VERSION),
            high in prop::option::of(NEARLY_A_VERSION),
            between in "[0-9]{1,2}(\\.[0-9]{1,2}){0,2}",
        ) {
            let given = [("minver", &low), ("maxver", &high)];
            let given = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
            let raw = given.collect::<Vec<_>>().join("&");
            let query = Query::parse(Some(&raw), &PARAMETERS).unwrap();
            let bound = |text: &Option<String>| text.as_ref().map(|text| text.parse::<Version>()).transpose();
            match (bound(&low), bound(&high), version_range(&query, false)) {
                (Ok(None), Ok(None), range) => prop_assert_eq!(range.unwrap_err().code(), ErrorCode::MissingParameter),
                (Ok(low), Ok(high), range) => {
                    let between: Version = between.parse().unwrap();
                    let key = format!("{}/", between.sort_key());
                    let holds = range.unwrap().key_bounds().is_some_and(|(from, to)| from <= key && key <= to);
                    let lies_between = low.is_none_or(|low| low <= between) && high.is_none_or(|high| between <= high);
                    prop_assert_eq!(holds, lies_between, "{} {}", raw, between);
                }
                (_, _, range) => prop_assert_eq!(range.unwrap_err().code(), ErrorCode::InvalidVersion),
            }
        }
    }
}
