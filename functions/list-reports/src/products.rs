//! `GET /security/products`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::organization::OrganizationId;
use domain::product::{Latest, Product};
use domain::report::QualityGateStatus;
use domain::report::limits::is_project_key;
use domain::report::summary::Summary;
use serde::Serialize;
use store::products::Place;
use time::OffsetDateTime;
use web::api::{self, ApiError};
use web::cursor;
use web::query::Query;

use crate::Listing;
use crate::list::project;

/// The query parameters of the call.
pub const PARAMETERS: [&str; 4] = ["org", "project", "limit", "cursor"];
/// How many products a page has at most. With the largest possible products, of 50 branches with 255 characters each, a page
/// stays below the 6 MB that a buffered Lambda response may have.
const MAX_LIMIT: usize = 100;

/// A page of products. The names and the order of the fields are part of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProductsBody {
    organization_id: OrganizationId,
    products: Vec<ProductBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProductBody {
    key: String,
    name: String,
    branches: Vec<String>,
    latest: LatestBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LatestBody {
    #[serde(flatten)]
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_gate: Option<QualityGateStatus>,
}

impl From<Product> for ProductBody {
    fn from(product: Product) -> Self {
        let Latest {
            summary,
            first_upload_date: _,
            branch,
            quality_gate,
        } = product.latest;
        Self {
            key: product.key,
            name: summary.project_name.clone(),
            branches: product.branches.into_iter().map(|it| it.name).collect(),
            latest: LatestBody {
                summary,
                branch,
                quality_gate,
            },
        }
    }
}

pub(crate) async fn products(
    State(listing): State<Listing>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(raw.as_deref(), &PARAMETERS)?;
    let now = OffsetDateTime::now_utc();
    let org = listing.reading.organization(&headers, &query, now).await?;
    let limit = query.limit_up_to(MAX_LIMIT)?;
    let scope = cursor::Scope::new(&serde_json::json!(["products", org]));
    let after = query.optional("cursor")?;
    let after =
        after.map(|text| scope.open(text, |key| is_project_key(key).then(|| key.to_owned())));
    let after = after.transpose()?;

    let products = &listing.products;
    let (page, has_more) = match project(&query)? {
        None => products.page(org, after.as_deref(), limit).await?,
        Some(key) => match products.get(org, key).await? {
            Place::Of(product) => (vec![*product], false),
            Place::Empty | Place::Unreadable => (Vec::new(), false),
        },
    };

    let unreadable = products.unreadable.take();
    listing.metrics.record_unreadable(now, unreadable);
    let Some(last) = page.last() else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let body = ProductsBody {
        organization_id: org,
        next_cursor: has_more.then(|| scope.seal(&last.key)),
        products: page.into_iter().map(ProductBody::from).collect(),
    };
    api::json(StatusCode::OK, &body)
}
