//! What there is to read: `GET /security/report/list`, an organization's reports by version, and `GET /security/products`, its
//! products. Both page by page.

mod cursor;
mod list;
mod products;

use access::Reading;
use axum::Router;
use axum::routing::get;
use runtime::config::Environment;
use runtime::metrics::Metrics;
use store::products::ProductStore;
use store::reports::ReportStore;

pub use crate::list::PARAMETERS;
pub use crate::products::PARAMETERS as PRODUCTS_PARAMETERS;

/// The path of the list.
pub const PATH: &str = "/security/report/list";
/// The path of the products.
pub const PRODUCTS: &str = "/security/products";

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What there is to list.
    pub reports: ReportStore,
    /// What these are of.
    pub products: ProductStore,
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
        let table = |name| environment.required(name);
        Ok(Self {
            reports: ReportStore::new(dynamodb.clone(), table("REPORTS_TABLE")?),
            products: ProductStore::new(dynamodb.clone(), table("PRODUCTS_TABLE")?),
            reading: Reading::new(environment, dynamodb)?,
            metrics: environment.metrics()?,
        })
    }
}

/// The routes of this function.
pub fn router(listing: Listing) -> Router {
    let reading = &listing.reading;
    Router::new()
        .route(PATH, reading.routes(get(list::list), [], []))
        .route(PRODUCTS, reading.routes(get(products::products), [], []))
        .with_state(listing)
}
