//! Sources and their calls.

pub(crate) mod editing;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use crate::api::Call;
use crate::form::{Form, Query};
use crate::links::{query, segment};
use crate::pages::confirm;
use crate::pages::secrets::{self, Kind, Of};
use crate::pages::webhooks::id_of;
use crate::problem::Problem;
use crate::view::{Frame, Section, State, When, count, page};
use crate::visit::Administrator;

/// How many calls a page has. Each may have a megabyte.
const CALLS: &str = "20";

#[derive(Deserialize)]
struct SourcesBody {
    sources: Vec<SourceBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceBody {
    id: String,
    kind: String,
    name: String,
    projects: Vec<String>,
    enabled: bool,
    url: String,
    previous_secret_until: Option<String>,
    last_call_at: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    base_url: Option<String>,
    organization: Option<String>,
    #[serde(default)]
    standards: Vec<String>,
    #[serde(default)]
    branches: Vec<String>,
    version_fallback: Option<String>,
    import: Option<StandingBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StandingBody {
    state: String,
    reason: Option<String>,
    next_try_at: Option<String>,
    answered_at: Option<String>,
    token_expires_at: Option<String>,
    is_token_expiring: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckBody {
    ok: bool,
    problem: Option<String>,
    token_expires_at: Option<String>,
    projects: Option<u64>,
    edition: Option<String>,
    version: Option<String>,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportBody {
    state: String,
    #[serde(default)]
    reports: Vec<String>,
    reason: Option<String>,
    next_try_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallsBody {
    calls: Vec<CallBody>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallBody {
    id: String,
    received_at: String,
    outcome: String,
    reason: Option<String>,
    event: Option<String>,
    event_count: Option<u64>,
    project: Option<String>,
    branch: Option<String>,
    task_id: Option<String>,
    import: Option<ImportBody>,
    payload: Option<String>,
}

struct SourceRow {
    path: String,
    name: String,
    kind: &'static str,
    projects: String,
    is_enabled: bool,
    last_call: Option<When>,
    /// The trouble with its server.
    trouble: &'static str,
}

/// The import of a call.
struct ImportRow {
    state: State,
    reports: Vec<Made>,
    reason: String,
    next_try: Option<When>,
}

/// A report that was made.
struct Made {
    path: String,
    number: usize,
}

/// The server of a source.
struct Server {
    url: String,
    organization: String,
    standards: String,
    branches: String,
    version_fallback: String,
    state: State,
    reason: String,
    next_try: Option<When>,
    answered: Option<When>,
    token_expires: Option<When>,
    is_token_expiring: bool,
}

/// A server's answers to a check.
struct CheckedServer {
    is_good: bool,
    problem: String,
    projects: String,
    version: String,
    mode: &'static str,
    token_expires: Option<When>,
}

struct CallRow {
    id: String,
    state: State,
    at: When,
    about: String,
    reason: String,
    task: String,
    import: Option<ImportRow>,
    payload: String,
}

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    frame: Frame,
    rows: Vec<SourceRow>,
}

#[derive(Template)]
#[template(path = "source.html")]
struct SourcePage {
    frame: Frame,
    path: String,
    name: String,
    url: String,
    kind: &'static str,
    projects: String,
    is_enabled: bool,
    is_codescoring: bool,
    last_call: Option<When>,
    previous_secret_until: Option<When>,
    server: Option<Server>,
    checked: Option<CheckedServer>,
    rows: Vec<CallRow>,
    first: Option<String>,
    older: Option<String>,
    notice: &'static str,
}

/// The calls that a page shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    cursor: String,
    done: String,
}

fn words_of(kind: &str) -> &'static str {
    match kind {
        "codescoring" => "CodeScoring",
        _ => "SonarQube",
    }
}

fn projects(projects: &[String]) -> String {
    if projects.is_empty() {
        "All projects".to_owned()
    } else {
        projects.join(", ")
    }
}

pub(crate) async fn list(visit: Administrator) -> Result<Response, Problem> {
    let answer = visit.expect(Call::get("/sources")).await?;
    let SourcesBody { sources } = answer.json()?;
    let here = visit.path("/sources");
    let row = |source: SourceBody| SourceRow {
        path: format!("{here}/{}", source.id),
        kind: words_of(&source.kind),
        projects: projects(&source.projects),
        is_enabled: source.enabled,
        last_call: source.last_call_at.as_deref().map(When::of),
        trouble: match source.import.as_ref() {
            Some(import) if import.state == "unauthorized" => {
                "Its server does not accept the token"
            }
            Some(import) if import.state == "unreachable" => "Its server cannot be reached",
            Some(import) if import.is_token_expiring => "The token of its server expires soon",
            _ => "",
        },
        name: source.name,
    };
    page(&SourcesPage {
        frame: visit.frame(Section::Sources),
        rows: sources.into_iter().map(row).collect(),
    })
}

pub(crate) async fn show(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Wanted>,
) -> Result<Response, Problem> {
    shown(&visit, &id, asked, None).await
}

/// Asks the source's server whether reports can be imported.
pub(crate) async fn check(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let call = Call::post(format!("/sources/{}/check", id_of(&id)?));
    let checked: CheckBody = visit.expect(call).await?.json()?;
    let checked = CheckedServer {
        is_good: checked.ok,
        problem: checked.problem.unwrap_or_default(),
        projects: checked
            .projects
            .map_or_else(String::new, |number| count(number, "project", "projects")),
        version: [checked.edition, checked.version]
            .into_iter()
            .flatten()
            .collect::<Vec<String>>()
            .join(" "),
        mode: match checked.mode.as_deref() {
            Some("mqr") => "by impact (MQR)",
            Some(_) => "by type (Standard Experience)",
            None => "",
        },
        token_expires: checked.token_expires_at.as_deref().map(When::of),
    };
    shown(&visit, &id, Wanted::default(), Some(checked)).await
}

async fn shown(
    visit: &Administrator,
    id: &str,
    asked: Wanted,
    checked: Option<CheckedServer>,
) -> Result<Response, Problem> {
    let of = format!("/sources/{}", id_of(id)?);
    let source: SourceBody = visit.expect(Call::get(&*of)).await?.json()?;
    let page_of = |cursor: Option<&str>| query([("limit", Some(CALLS)), ("cursor", cursor)]);
    let cursor = Some(asked.cursor.as_str()).filter(|it| !it.is_empty());
    let call = Call::get(format!("{of}/calls{}", page_of(cursor)));
    let body: CallsBody = visit.expect(call).await?.json()?;
    let path = visit.path(&of);
    let older = body.next_cursor.as_deref();
    page(&SourcePage {
        frame: visit.frame(Section::Sources),
        older: older.map(|cursor| format!("{path}{}", query([("cursor", Some(cursor))]))),
        first: cursor.map(|_| path.clone()),
        kind: words_of(&source.kind),
        projects: projects(&source.projects),
        is_enabled: source.enabled,
        is_codescoring: source.kind == "codescoring",
        last_call: source.last_call_at.as_deref().map(When::of),
        previous_secret_until: source.previous_secret_until.as_deref().map(When::of),
        rows: body
            .calls
            .into_iter()
            .map(|call| CallRow::of(call, visit))
            .collect(),
        server: Server::of(&source),
        checked,
        name: source.name,
        url: source.url,
        notice: match asked.done.as_str() {
            "created" => "The source is created.",
            "changed" => "The changes are saved.",
            _ => "",
        },
        path,
    })
}

impl Server {
    fn of(source: &SourceBody) -> Option<Self> {
        let url = source.base_url.clone()?;
        let standing = source.import.as_ref()?;
        let or = |texts: &[String], none: &str| match texts {
            [] => none.to_owned(),
            texts => texts.join(", "),
        };
        Some(Self {
            url,
            organization: source.organization.clone().unwrap_or_default(),
            standards: or(&source.standards, "The newest edition of each"),
            branches: or(&source.branches, "The main branch of each project"),
            version_fallback: source.version_fallback.clone().unwrap_or_default(),
            state: match standing.state.as_str() {
                "working" => State::new("good", "✓", "Answers"),
                "unauthorized" => State::new("bad", "✕", "Does not accept the token"),
                "unreachable" => State::new("bad", "✕", "Cannot be reached"),
                _ => State::new("held", "‖", "Not asked yet"),
            },
            reason: standing.reason.clone().unwrap_or_default(),
            next_try: standing.next_try_at.as_deref().map(When::of),
            answered: standing.answered_at.as_deref().map(When::of),
            token_expires: standing.token_expires_at.as_deref().map(When::of),
            is_token_expiring: standing.is_token_expiring,
        })
    }
}

impl ImportRow {
    fn of(import: ImportBody, project: &str, visit: &Administrator) -> Self {
        let state = match import.state.as_str() {
            "pending" => State::new("held", "‖", "To be made"),
            "published" => State::new("good", "✓", "Published"),
            "superseded" => State::new("held", "‖", "Overtaken"),
            "skipped" => State::new("held", "‖", "Not wanted"),
            "not_found" => State::new("bad", "✕", "Not found"),
            "unauthorized" => State::new("bad", "✕", "Not allowed"),
            _ => State::new("bad", "✕", "Failed"),
        };
        let made = |(place, id): (usize, &String)| Made {
            path: visit.path(&format!("/reports/{}/{id}", segment(project))),
            number: place + 1,
        };
        Self {
            state,
            reports: import.reports.iter().enumerate().map(made).collect(),
            reason: import.reason.unwrap_or_default(),
            next_try: import.next_try_at.as_deref().map(When::of),
        }
    }
}

impl CallRow {
    fn of(call: CallBody, visit: &Administrator) -> Self {
        let state = match call.outcome.as_str() {
            "found" => State::new("good", "✓", "Found, without a call"),
            "accepted" => State::new("good", "✓", "Passed on"),
            "ignored" => State::new("held", "‖", "Left out"),
            _ => State::new("bad", "✕", "Not understood"),
        };
        let project = call.project.as_deref().unwrap_or_default();
        let import = call.import.map(|it| ImportRow::of(it, project, visit));
        let event = call.event.unwrap_or_default();
        let events = call
            .event_count
            .map(|number| count(number, "event", "events"));
        let parts = [Some(event), events, call.project, call.branch];
        let parts: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|it| !it.is_empty())
            .collect();
        Self {
            id: call.id,
            state,
            at: When::of(&call.received_at),
            about: parts.join(" · "),
            reason: call.reason.unwrap_or_default(),
            task: call.task_id.unwrap_or_default(),
            import,
            payload: crate::pages::deliveries::pretty(&call.payload.unwrap_or_default()),
        }
    }
}

pub(crate) async fn confirm(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/sources/{}", id_of(&id)?);
    let source: SourceBody = visit.expect(Call::get(&*of)).await?.json()?;
    let path = visit.path(&of);
    let words = "Whatever calls its address afterwards is refused, and what it has said is not shown any more. It cannot be undone.";
    confirm::page(
        &visit,
        Section::Sources,
        format!("Delete {}?", source.name),
        words,
        (format!("{path}/delete"), "Delete the source"),
        path,
    )
}

pub(crate) async fn delete(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let source = format!("/sources/{}", id_of(&id)?);
    confirm::remove(&visit, source, "/sources").await
}

pub(crate) async fn secret(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let source = source(&visit, &id).await?;
    secrets::ask(&visit, &source.of())
}

pub(crate) async fn rotate(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    let source = source(&visit, &id).await?;
    secrets::replace(&visit, &source.of(), &form).await
}

async fn source(visit: &Administrator, id: &str) -> Result<SourceBody, Problem> {
    let call = Call::get(format!("/sources/{}", id_of(id)?));
    visit.expect(call).await?.json()
}

impl SourceBody {
    fn of(&self) -> Of {
        Of {
            kind: match self.kind.as_str() {
                "codescoring" => Kind::SourceWithToken,
                _ => Kind::Source,
            },
            name: self.name.clone(),
            path: format!("/sources/{}", self.id),
        }
    }
}
