//! The lists: `GET /security/report/list`, an organization's reports by version, and `GET /security/products`, its products.
//! Both have pages.

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

/// The stores and clients of the function.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The reports.
    pub reports: ReportStore,
    /// The products.
    pub products: ProductStore,
    /// Who may read.
    pub reading: Reading,
    /// The function's metrics.
    pub metrics: Metrics,
}

impl Listing {
    /// The stores of this client, with the names that the variables give.
    ///
    /// # Errors
    /// A variable is missing or invalid.
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
