//! Reports: those of a product, one report, and its files.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use domain::report::summary::Summary;
use domain::report::{QualityGateStatus, Report, ReportId};
use domain::version::Version;
use serde::Deserialize;

use crate::api::Refusal;
use crate::form::{Query, pairs};
use crate::links::{query, segment};
use crate::pages::products;
use crate::problem::Problem;
use crate::state::Panel;
use crate::trend::{Point, Trend};
use crate::view::{Frame, Section, State as Shown, When, count, page, page_with};
use crate::visit::Visit;

/// How many versions fit into a plot, and into a page of the table.
const ROWS: &str = "50";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportsBody {
    reports: Vec<ReportBody>,
    next_cursor: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportBody {
    #[serde(flatten)]
    summary: Summary,
    branch: Option<String>,
    quality_gate: Option<QualityGateStatus>,
    #[serde(default)]
    files: Vec<FileBody>,
}

#[derive(Clone, Deserialize)]
struct FileBody {
    name: String,
}

/// A row of a table of reports.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) catalogue: String,
    pub(crate) branch: String,
    pub(crate) count: u32,
    pub(crate) rating: String,
    pub(crate) gate: Option<Shown>,
    pub(crate) date: When,
    pub(crate) html: Option<String>,
    pub(crate) pdf: Option<String>,
}

#[derive(Template)]
#[template(path = "product.html")]
struct ProductPage {
    frame: Frame,
    name: String,
    key: String,
    path: String,
    asked: Asked,
    branches: Vec<String>,
    catalogues: Vec<String>,
    error: Option<(String, String)>,
    rows: Vec<Row>,
    trend: Option<Trend>,
    is_mixed: bool,
    first: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    frame: Frame,
    name: String,
    product: String,
    path: String,
    row: Row,
    published: When,
    revision: u64,
    commit: String,
    properties: Vec<(String, String)>,
    files: Vec<(String, bool)>,
}

/// The query of a product's page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    from: String,
    to: String,
    branch: String,
    #[serde(rename = "type")]
    catalogue: String,
    cursor: String,
}

impl From<&Report> for ReportBody {
    fn from(report: &Report) -> Self {
        let files = report.files.iter();
        Self {
            summary: report.summary(),
            branch: report.metadata.branch.clone(),
            quality_gate: report.metadata.quality_gate,
            files: files
                .map(|file| FileBody {
                    name: file.name.clone(),
                })
                .collect(),
        }
    }
}

impl Row {
    pub(crate) fn of(report: &ReportBody) -> Self {
        let summary = &report.summary;
        let file = |ending: &str| {
            let names = report.files.iter().map(|file| file.name.as_str());
            let mut of_kind = names.filter(|name| has_ending(name, ending));
            of_kind.next().map(segment)
        };
        Self {
            id: summary.id.to_string(),
            version: summary.project_version.to_string(),
            catalogue: format!("{} {}", summary.report_type, summary.report_version),
            branch: report.branch.clone().unwrap_or_default(),
            count: summary.vulnerabilities_count,
            rating: summary.security_rating.as_str().to_owned(),
            gate: report.quality_gate.and_then(Shown::of_gate),
            date: When::at(summary.date.instant()),
            html: file(".html").or_else(|| file(".htm")),
            pdf: file(".pdf"),
        }
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.len() > ending.len()
        && name.is_char_boundary(name.len() - ending.len())
        && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending)
}

pub(crate) async fn product(
    visit: Visit,
    Path((_, key)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let product = products::find(&visit, &key).await?;
    let given = [
        ("minver", asked.from.trim()),
        ("maxver", asked.to.trim()),
        ("branch", &asked.branch),
        ("type", &asked.catalogue),
        ("cursor", &asked.cursor),
    ];
    let mut call = vec![("project", key.as_str()), ("limit", ROWS)];
    call.extend(given.into_iter().filter(|(_, value)| !value.is_empty()));
    let (body, error) = match visit.read(list_reports::PATH, &call).await? {
        Ok(answer) => (answer.read::<ReportsBody>()?, None),
        // What was typed remains, and so do the reports.
        Err(refusal) if wrong_version(&refusal).is_some() => {
            let all = [("project", key.as_str()), ("limit", ROWS)];
            let all = visit.read(list_reports::PATH, &all).await?;
            let all = all.map_err(Problem::from)?.read::<ReportsBody>()?;
            (all, wrong_version(&refusal))
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (reports, next) = body.map_or_else(Default::default, |it| (it.reports, it.next_cursor));
    let rows: Vec<Row> = reports.iter().map(Row::of).collect();
    let status = if error.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let path = format!("{}/{}", visit.path("/reports"), segment(&key));
    let with = |cursor: Option<&str>| {
        let query = query([
            ("from", Some(asked.from.trim())),
            ("to", Some(asked.to.trim())),
            ("branch", Some(&*asked.branch)),
            ("type", Some(&*asked.catalogue)),
            ("cursor", cursor),
        ]);
        format!("{path}{query}")
    };
    let first = (!asked.cursor.is_empty()).then(|| with(None));
    let older = next.map(|cursor| with(Some(&cursor)));
    let page = ProductPage {
        frame: visit.frame(Section::Reports),
        name: product.name,
        key,
        branches: values(product.branches.iter(), &asked.branch),
        catalogues: values(rows.iter().map(|row| &row.catalogue), &asked.catalogue),
        error,
        trend: trend(&rows),
        is_mixed: rows
            .iter()
            .any(|row| row.catalogue != rows[0].catalogue || row.branch != rows[0].branch),
        rows,
        first,
        older,
        path,
        asked,
    };
    page_with(status, &page)
}

/// The field with an invalid version, and the reason.
fn wrong_version(refusal: &Refusal) -> Option<(String, String)> {
    let field = match refusal.parameter.as_deref()? {
        "minver" => "from",
        "maxver" => "to",
        _ => return None,
    };
    let message = refusal
        .message
        .split_once(": ")
        .map_or("", |(_, rest)| rest);
    // That part is for people who write addresses.
    let message = message.split(" (a '+'").next().unwrap_or_default();
    Some((field.to_owned(), message.to_owned()))
}

/// The values to choose from, without duplicates, and with the chosen one.
fn values<'a>(all: impl Iterator<Item = &'a String>, chosen: &str) -> Vec<String> {
    let mut values: Vec<String> = all.filter(|it| !it.is_empty()).cloned().collect();
    if !chosen.is_empty() {
        values.push(chosen.to_owned());
    }
    values.sort();
    values.dedup();
    values
}

/// The plot, the oldest version first. The table begins with the newest.
fn trend(rows: &[Row]) -> Option<Trend> {
    let is_prerelease = |version: &str| {
        let version: Option<Version> = version.parse().ok();
        let release = version.as_ref().map(|it| it.as_str());
        release.is_some_and(|it| it.split('+').next().is_some_and(|it| it.contains('-')))
    };
    let point = |row: &Row| Point {
        version: row.version.clone(),
        count: row.count,
        rating: row.rating.clone(),
        is_prerelease: is_prerelease(&row.version),
    };
    Trend::of(&rows.iter().rev().map(point).collect::<Vec<_>>())
}

pub(crate) async fn report(
    State(panel): State<Panel>,
    visit: Visit,
    Path((_, key, id)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let report = find(&panel, &visit, &key, &id).await?;
    let metadata = &report.metadata;
    let file =
        |file: &domain::report::StoredFile| (file.name.clone(), has_ending(&file.name, ".pdf"));
    let files: Vec<(String, bool)> = report.files.iter().map(file).collect();
    let product = format!("{}/{}", visit.path("/reports"), segment(&key));
    page(&ReportPage {
        frame: visit.frame(Section::Reports),
        name: metadata.project_name.clone(),
        path: format!("{product}/{}", report.id),
        product,
        row: Row::of(&ReportBody::from(&report)),
        published: When::of(&report.upload_date),
        revision: report.revision,
        commit: metadata.scm_revision.clone().unwrap_or_default(),
        properties: metadata.properties.clone().into_iter().collect(),
        files,
    })
}

async fn find(panel: &Panel, visit: &Visit, key: &str, id: &str) -> Result<Report, Problem> {
    let id: ReportId = id.parse().map_err(|_| Problem::not_found())?;
    let found = panel.listing.reports.get_all(visit.org, &[id]).await?;
    let report = found.into_iter().next();
    report
        .filter(|report| report.metadata.project_key == key)
        .ok_or_else(Problem::not_found)
}

/// One file as the API sends it: a page in a sandbox.
pub(crate) async fn file(
    visit: Visit,
    headers: HeaderMap,
    Path((_, _, id, name)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let asked = [("report", id.as_str()), ("name", name.as_str())];
    passed_on(&visit, headers, download_files::file::PATH, &asked).await
}

/// The files of reports as an archive.
pub(crate) async fn archive(
    visit: Visit,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let asked = pairs(raw.unwrap_or_default().as_bytes());
    let ids = asked.iter().filter(|(name, _)| name == "reports");
    let ids: Vec<&str> = ids.map(|(_, id)| id.as_str()).collect();
    if ids.is_empty() {
        let message =
            "Choose the reports first: there is a box in front of each. Then download them.";
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "No reports chosen",
            message,
        ));
    }
    if ids.len() > MOST_IN_ARCHIVE {
        let message = format!(
            "You have chosen {}, and one archive holds {MOST_IN_ARCHIVE} at the most. Download them in parts.",
            count(ids.len() as u64, "report", "reports")
        );
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "Too many reports",
            message,
        ));
    }
    let ids = ids.join(",");
    let asked = [("reports", ids.as_str())];
    let response = passed_on(&visit, headers, download_files::PATH, &asked).await?;
    if response.status() == StatusCode::NO_CONTENT {
        return Err(Problem::not_found());
    }
    Ok(response)
}

/// The API's own limit.
const MOST_IN_ARCHIVE: usize = 100;

/// The headers about what a browser already has.
const CONDITIONS: [HeaderName; 5] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

async fn passed_on(
    visit: &Visit,
    headers: HeaderMap,
    path: &str,
    asked: &[(&str, &str)],
) -> Result<Response, Problem> {
    let mut request = visit.reading(path, asked)?;
    for name in CONDITIONS {
        if let Some(value) = headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let response = visit.send(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let is_about_a_range = matches!(
        response.status(),
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED
    );
    if !is_error || is_about_a_range {
        return Ok(response);
    }
    match crate::api::answer(response).await? {
        Err(refusal) => Err(refusal.into()),
        Ok(_) => Err(Problem::not_found()),
    }
}
