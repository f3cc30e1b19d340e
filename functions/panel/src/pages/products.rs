//! The products of an organization.

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use crate::form::Query;
use crate::links::{query, segment};
use crate::pages::reports::{ReportBody, Row};
use crate::problem::Problem;
use crate::view::{Frame, Section, page};
use crate::visit::Visit;

/// How many products a page has. With a filter it may have up to one more reading.
const ROWS: usize = 50;
/// How many products are read at once, for a filter or a choice: the most that the API gives.
const READ: &str = "100";
/// How many times products are read for one page. The API has no filter, and a page must end.
const READINGS: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProductsBody {
    products: Vec<ProductBody>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ProductBody {
    key: String,
    pub(crate) name: String,
    pub(crate) branches: Vec<String>,
    latest: ReportBody,
}

struct ProductRow {
    name: String,
    key: String,
    path: String,
    latest: Row,
}

#[derive(Template)]
#[template(path = "products.html")]
struct ProductsPage {
    frame: Frame,
    filter: String,
    products: Vec<ProductRow>,
    /// The address of the list of all products.
    all: String,
    first: Option<String>,
    older: Option<String>,
    api: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    filter: String,
    cursor: String,
}

pub(crate) async fn list(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let filter = asked.filter.trim();
    let (products, next) = if filter.is_empty() {
        read(&visit, &ROWS.to_string(), &asked.cursor).await?
    } else {
        read_like(&visit, filter, &asked.cursor).await?
    };
    let all = visit.path("/reports");
    let with = |cursor: Option<&str>| {
        let query = query([("filter", Some(filter)), ("cursor", cursor)]);
        format!("{all}{query}")
    };
    let row = |product: ProductBody| ProductRow {
        path: format!("{all}/{}", segment(&product.key)),
        latest: Row::of(&product.latest),
        name: product.name,
        key: product.key,
    };
    page(&ProductsPage {
        frame: visit.frame(Section::Reports),
        filter: filter.to_owned(),
        products: products.into_iter().map(row).collect(),
        first: (!asked.cursor.is_empty()).then(|| with(None)),
        older: next.map(|cursor| with(Some(&cursor))),
        all: all.clone(),
        api: visit.links.base.clone(),
    })
}

/// The keys of the first products, as a choice.
pub(crate) async fn keys(visit: &Visit) -> Result<Vec<String>, Problem> {
    let (products, _) = read(visit, READ, "").await?;
    Ok(products.into_iter().map(|product| product.key).collect())
}

/// Some products, sorted by key, and where the next ones begin.
async fn read(
    visit: &Visit,
    limit: &str,
    cursor: &str,
) -> Result<(Vec<ProductBody>, Option<String>), Problem> {
    let asked = [("limit", limit), ("cursor", cursor)];
    let asked: Vec<_> = asked.into_iter().filter(|it| !it.1.is_empty()).collect();
    let answer = visit.read(list_reports::PRODUCTS, &asked).await?;
    let body = answer.map_err(Problem::from)?.read::<ProductsBody>()?;
    Ok(body.map_or_else(Default::default, |body| (body.products, body.next_cursor)))
}

/// Some products whose name or key has a text, in any letter case. There may be more even if these are few or none, since one
/// page reads only so many.
async fn read_like(
    visit: &Visit,
    filter: &str,
    cursor: &str,
) -> Result<(Vec<ProductBody>, Option<String>), Problem> {
    let text = filter.to_lowercase();
    let is_like = |product: &ProductBody| {
        [&product.name, &product.key]
            .into_iter()
            .any(|it| it.to_lowercase().contains(&text))
    };
    let (mut found, mut next) = (Vec::new(), Some(cursor.to_owned()));
    for _ in 0..READINGS {
        let (Some(cursor), true) = (&next, found.len() < ROWS) else {
            break;
        };
        let (products, after) = read(visit, READ, cursor).await?;
        found.extend(products.into_iter().filter(is_like));
        next = after;
    }
    Ok((found, next))
}

/// A product, if there is a report of it.
pub(crate) async fn find(visit: &Visit, key: &str) -> Result<ProductBody, Problem> {
    let body = match visit
        .read(list_reports::PRODUCTS, &[("project", key)])
        .await?
    {
        Ok(answer) => answer.read::<ProductsBody>()?,
        Err(refusal) if refusal.code == "invalid_project" => None,
        Err(refusal) => return Err(refusal.into()),
    };
    let product = body.and_then(|body| body.products.into_iter().next());
    product.ok_or_else(Problem::not_found)
}
