//! Sources: who calls us, and what was said.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use findings::Standard;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Call;
use crate::form::{self, Form, Query};
use crate::links::{query, segment};
use crate::pages::complaint::Complaint;
use crate::pages::confirm;
use crate::pages::secrets::{self, Kind, Of};
use crate::pages::webhooks::id_of;
use crate::problem::Problem;
use crate::view::{Frame, Section, State, When, count, page, page_with};
use crate::visit::Administrator;

/// So many calls are on a page; each may have a megabyte.
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
    /// What is wrong with its server.
    trouble: &'static str,
}

/// What became of the reports of a call.
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

/// What a server has said of itself.
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

#[derive(Clone)]
struct SourceForm {
    name: String,
    kind: String,
    projects: String,
    is_enabled: bool,
    own_secret: bool,
    base_url: String,
    organization: String,
    standards: Vec<String>,
    branches: String,
    version_fallback: String,
    /// Whether a token is stored.
    has_token: bool,
}

impl SourceForm {
    fn has(&self, standard: &str) -> bool {
        self.standards.iter().any(|it| it == standard)
    }
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

#[derive(Template)]
#[template(path = "source_form.html")]
struct FormPage {
    frame: Frame,
    action: String,
    back: String,
    is_new: bool,
    form: SourceForm,
    number: String,
    tag: String,
    complaint: Option<Complaint>,
    others: Option<SourceForm>,
    standards: &'static [Standard],
}

/// What is shown with a form.
#[derive(Default)]
struct With {
    number: String,
    tag: String,
    complaint: Option<Complaint>,
    /// What others have made of it.
    others: Option<SourceForm>,
}

/// Which calls a page shows.
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

/// Asks the source's server whether reports can be made of what it has found.
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

impl SourceForm {
    fn of(source: SourceBody) -> Self {
        Self {
            name: source.name,
            kind: source.kind,
            projects: source.projects.join("\n"),
            is_enabled: source.enabled,
            own_secret: false,
            has_token: source.base_url.is_some(),
            base_url: source.base_url.unwrap_or_default(),
            organization: source.organization.unwrap_or_default(),
            standards: source.standards,
            branches: source.branches.join("\n"),
            version_fallback: source.version_fallback.unwrap_or_else(|| "date".to_owned()),
        }
    }

    /// An empty one.
    fn new() -> Self {
        Self {
            name: String::new(),
            kind: "sonarqube".to_owned(),
            projects: String::new(),
            is_enabled: true,
            own_secret: false,
            base_url: String::new(),
            organization: String::new(),
            standards: Vec::new(),
            branches: String::new(),
            version_fallback: "date".to_owned(),
            has_token: false,
        }
    }

    fn typed(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            kind: form.text("kind").to_owned(),
            projects: form.text("projects").to_owned(),
            is_enabled: form.text("enabled") == "true",
            own_secret: form.text("secret-mode") == "own",
            base_url: form.text("baseUrl").to_owned(),
            organization: form.text("organization").to_owned(),
            standards: form.all("standards").map(str::to_owned).collect(),
            branches: form.text("branches").to_owned(),
            version_fallback: form.text("versionFallback").to_owned(),
            has_token: form.text("has-token") == "true",
        }
    }

    /// What is typed of the server, of the kind that has one.
    fn server(&self, form: &Form, body: &mut Value) {
        if self.kind != "sonarqube" {
            return;
        }
        body["baseUrl"] = match self.base_url.as_str() {
            "" => Value::Null,
            url => json!(url),
        };
        let is_there = !self.base_url.is_empty();
        let given = |text: &str| match text {
            "" => Value::Null,
            text => json!(text),
        };
        // Of a server that goes, nothing is kept.
        let fields = [
            ("organization", given(&self.organization)),
            ("standards", json!(self.standards)),
            ("branches", json!(lines(&self.branches))),
            ("versionFallback", given(&self.version_fallback)),
        ];
        for (name, value) in fields {
            body[name] = if is_there { value } else { Value::Null };
        }
        if let Some(token) = form.given("token") {
            body["token"] = json!(token);
        }
    }

    fn json(&self, form: &Form, is_new: bool) -> Value {
        let mut body = json!({
            "name": self.name, "projects": lines(&self.projects), "enabled": self.is_enabled,
        });
        self.server(form, &mut body);
        if is_new {
            body["kind"] = json!(self.kind);
            if let Some(secret) = form.given("secret").filter(|_| self.own_secret) {
                let field = if self.kind == "codescoring" {
                    "token"
                } else {
                    "secret"
                };
                body[field] = json!(secret);
            }
        }
        body
    }
}

/// The lines of a text that are not empty.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|it| !it.is_empty()).collect()
}

fn form_page(
    visit: &Administrator,
    id: Option<&str>,
    form: SourceForm,
    with: With,
) -> Result<Response, Problem> {
    let list = visit.path("/sources");
    let (action, back) = match id {
        None => (format!("{list}/new"), list),
        Some(id) => (format!("{list}/{id}/edit"), format!("{list}/{id}")),
    };
    // Of CodeScoring either is typed into one field.
    let complaint = match form.kind.as_str() {
        "codescoring" => with.complaint.map(Complaint::of_secret),
        _ => with.complaint,
    };
    let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
    page_with(
        status,
        &FormPage {
            frame: visit.frame(Section::Sources),
            action,
            back,
            is_new: id.is_none(),
            form,
            number: with.number,
            tag: with.tag,
            complaint,
            others: with.others,
            standards: Standard::all(),
        },
    )
}

pub(crate) async fn new(visit: Administrator) -> Result<Response, Problem> {
    let with = With {
        number: form::new_number(),
        ..With::default()
    };
    form_page(&visit, None, SourceForm::new(), with)
}

pub(crate) async fn create(visit: Administrator, form: Form) -> Result<Response, Problem> {
    let typed = SourceForm::typed(&form);
    let number = form.number();
    let with = |complaint| With {
        number: number.clone(),
        complaint: Some(complaint),
        ..With::default()
    };
    if typed.own_secret && form.given("secret").is_none() {
        return form_page(&visit, None, typed, with(Complaint::no_secret()));
    }
    let call = Call::post("/sources").json(typed.json(&form, true));
    match visit.call(call.once(&number)).await? {
        Ok(answer) => {
            let mut source: SourceBody = answer.json()?;
            let secret = source.secret.take().or(source.token.take());
            secrets::show(&visit, &source.of(), secret, &answer, "created")
        }
        Err(refusal) => form_page(&visit, None, typed, with(Complaint::of(refusal))),
    }
}

pub(crate) async fn edit(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?.to_string();
    let answer = visit.expect(Call::get(format!("/sources/{id}"))).await?;
    let with = With {
        tag: answer.tag(),
        ..With::default()
    };
    form_page(&visit, Some(&id), SourceForm::of(answer.json()?), with)
}

pub(crate) async fn change(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    let id = id_of(&id)?.to_string();
    let of = format!("/sources/{id}");
    let typed = SourceForm::typed(&form);
    let tag = form.text("tag").to_owned();
    let call = Call::patch(&*of).json(typed.json(&form, false));
    match visit.call(call.unless_changed(Some(&tag))).await? {
        Ok(_) => {
            let done = format!("{}?done=changed", visit.path(&of));
            Ok(Redirect::to(&done).into_response())
        }
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            let now = visit.expect(Call::get(&*of)).await?;
            let with = With {
                tag: now.tag(),
                complaint: Some(Complaint::changed()),
                others: Some(SourceForm::of(now.json()?)),
                ..With::default()
            };
            form_page(&visit, Some(&id), typed, with)
        }
        Err(refusal) => {
            let with = With {
                tag,
                complaint: Some(Complaint::of(refusal)),
                ..With::default()
            };
            form_page(&visit, Some(&id), typed, with)
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
