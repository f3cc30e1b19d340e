//! The form that creates and changes sources.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use findings::Standard;
use serde_json::{Value, json};

use super::{SourceBody, id_of};
use crate::api::Call;
use crate::form::{self, Form};
use crate::pages::complaint::Complaint;
use crate::pages::secrets;
use crate::problem::Problem;
use crate::view::{Frame, Section, page_with};
use crate::visit::Administrator;

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

/// What is shown with the form.
#[derive(Default)]
struct With {
    number: String,
    tag: String,
    complaint: Option<Complaint>,
    /// What others have changed in the meantime.
    others: Option<SourceForm>,
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

    /// An empty form.
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

    /// The settings of the server, for a kind of source that has one.
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
        // A server that is removed keeps no settings.
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
    let (action, back) = form::paths(visit.path("/sources"), id);
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
        Ok(_) => Ok(visit.done(&of, "changed")),
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
