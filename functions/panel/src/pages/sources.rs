//! Sources: who calls us, and what was said.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Call;
use crate::form::{self, Form, Query};
use crate::links::query;
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
    payload: Option<String>,
}

struct SourceRow {
    path: String,
    name: String,
    kind: &'static str,
    projects: String,
    is_enabled: bool,
    last_call: Option<When>,
}

struct CallRow {
    id: String,
    state: State,
    at: When,
    about: String,
    reason: String,
    task: String,
    payload: String,
}

#[derive(Clone)]
struct SourceForm {
    name: String,
    kind: String,
    projects: String,
    is_enabled: bool,
    own_secret: bool,
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
    let of = format!("/sources/{}", id_of(&id)?);
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
        rows: body.calls.into_iter().map(CallRow::of).collect(),
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

impl CallRow {
    fn of(call: CallBody) -> Self {
        let state = match call.outcome.as_str() {
            "accepted" => State::new("good", "✓", "Passed on"),
            "ignored" => State::new("held", "‖", "Left out"),
            _ => State::new("bad", "✕", "Not understood"),
        };
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
        }
    }

    fn typed(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            kind: form.text("kind").to_owned(),
            projects: form.text("projects").to_owned(),
            is_enabled: form.text("enabled") == "true",
            own_secret: form.text("secret-mode") == "own",
        }
    }

    fn json(&self, form: &Form, is_new: bool) -> Value {
        let lines = self.projects.lines().map(str::trim);
        let projects: Vec<&str> = lines.filter(|it| !it.is_empty()).collect();
        let mut body =
            json!({ "name": self.name, "projects": projects, "enabled": self.is_enabled });
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
    // Either is typed into one field.
    let complaint = with.complaint.map(Complaint::of_secret);
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
        },
    )
}

pub(crate) async fn new(visit: Administrator) -> Result<Response, Problem> {
    let form = SourceForm {
        name: String::new(),
        kind: "sonarqube".to_owned(),
        projects: String::new(),
        is_enabled: true,
        own_secret: false,
    };
    let with = With {
        number: form::new_number(),
        ..With::default()
    };
    form_page(&visit, None, form, with)
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
