//! Secrets of webhooks and sources: replaced, and shown once.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::api::{Answer, Call};
use crate::form::{self, Form};
use crate::guard::Uncompressed;
use crate::pages::complaint::Complaint;
use crate::problem::Problem;
use crate::view::{Frame, Section, page, page_with};
use crate::visit::Administrator;

/// The resource that has the secret.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    pub(crate) kind: Kind,
    /// What it is called.
    pub(crate) name: String,
    /// Its path in the API, within the organization.
    pub(crate) path: String,
}

/// The kind of resource, as far as pages differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Webhook,
    /// A source with a secret.
    Source,
    /// A source with a token.
    SourceWithToken,
}

#[derive(Deserialize)]
struct Rotated {
    secret: Option<String>,
    token: Option<String>,
}

#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    frame: Frame,
    what: &'static str,
    name: String,
    back: String,
    secret: Option<String>,
    again: String,
    has_snippets: bool,
}

#[derive(Template)]
#[template(path = "rotate.html")]
struct RotatePage {
    frame: Frame,
    name: String,
    path: String,
    number: String,
    is_webhook: bool,
    complaint: Option<Complaint>,
}

impl Kind {
    fn section(self) -> Section {
        match self {
            Self::Webhook => Section::Webhooks,
            Self::Source | Self::SourceWithToken => Section::Sources,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Source | Self::SourceWithToken => "source",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Webhook | Self::Source => "secret",
            Self::SourceWithToken => "token",
        }
    }
}

/// Shows a secret once. Without a secret it continues to the resource's page, which says that this is `done`.
pub(crate) fn show(
    visit: &Administrator,
    of: &Of,
    secret: Option<String>,
    answer: &Answer,
    done: &str,
) -> Result<Response, Problem> {
    let path = visit.path(&of.path);
    if secret.is_none() {
        return Ok(visit.done(&of.path, done));
    }
    let mut response = page(&SecretPage {
        frame: visit.frame(of.kind.section()),
        what: of.kind.what(),
        name: of.name.clone(),
        again: format!("{path}/secret"),
        back: path,
        // A reload of the page sends the same form again, and gets the same answer.
        secret: secret.filter(|_| !answer.is_replayed()),
        has_snippets: of.kind == Kind::Webhook,
    })?;
    response.extensions_mut().insert(Uncompressed);
    Ok(response)
}

/// The page before a secret is replaced.
pub(crate) fn ask(visit: &Administrator, of: &Of) -> Result<Response, Problem> {
    ask_again(visit, of, form::new_number(), None)
}

fn ask_again(
    visit: &Administrator,
    of: &Of,
    number: String,
    complaint: Option<Complaint>,
) -> Result<Response, Problem> {
    let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
    let page = RotatePage {
        frame: visit.frame(of.kind.section()),
        name: of.name.clone(),
        path: visit.path(&of.path),
        number,
        is_webhook: of.kind == Kind::Webhook,
        complaint,
    };
    page_with(status, &page)
}

/// Replaces a secret by a typed one or, if none is typed, by a generated one.
pub(crate) async fn replace(
    visit: &Administrator,
    of: &Of,
    form: &Form,
) -> Result<Response, Problem> {
    let body = match form.given("secret") {
        Some(secret) => json!({ of.kind.field(): secret }),
        None => json!({}),
    };
    let number = form.number();
    let call = Call::post(format!("{}/secret", of.path)).json(body);
    match visit.call(call.once(&number)).await? {
        Ok(answer) => {
            let Rotated { secret, token } = answer.json()?;
            show(visit, of, secret.or(token), &answer, "changed")
        }
        Err(refusal) => {
            let complaint = Complaint::of(refusal).of_secret();
            ask_again(visit, of, number, Some(complaint))
        }
    }
}

/// Generates a secret for a new webhook, for a format in which the API makes one only on request.
pub(crate) async fn generate(
    visit: &Administrator,
    of: &Of,
    number: &str,
) -> Result<Response, Problem> {
    let call = Call::post(format!("{}/secret", of.path)).json(json!({}));
    let answer = visit.expect(call.once(number)).await?;
    let Rotated { secret, .. } = answer.json()?;
    show(visit, of, secret, &answer, "created")
}
