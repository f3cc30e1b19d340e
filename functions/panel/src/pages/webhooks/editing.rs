//! The form that creates and changes webhooks. What is typed can be tested before it is saved.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::settings::{SecretMode, WebhookForm};
use super::{Tried, WebhookBody, id_of};
use crate::api::{Answer, Call, Refusal};
use crate::form::{self, Form};
use crate::pages::complaint::Complaint;
use crate::pages::products;
use crate::pages::secrets::{self, Kind, Of};
use crate::problem::Problem;
use crate::view::{Frame, Section, page_with};
use crate::visit::Administrator;

#[derive(Template)]
#[template(path = "webhook_form.html")]
struct FormPage {
    frame: Frame,
    action: String,
    back: String,
    is_new: bool,
    form: WebhookForm,
    number: String,
    products: Vec<String>,
    complaint: Option<Complaint>,
    tried: Option<Tried>,
    tag: String,
    others: Option<WebhookForm>,
}

pub(crate) async fn new(visit: Administrator) -> Result<Response, Problem> {
    let form = WebhookForm::default();
    form_page(&visit, None, form, Shown::default()).await
}

/// What a page shows besides the form.
#[derive(Default)]
struct Shown {
    number: Option<String>,
    complaint: Option<Complaint>,
    tried: Option<Tried>,
    tag: String,
    others: Option<WebhookForm>,
}

async fn form_page(
    visit: &Administrator,
    id: Option<&str>,
    form: WebhookForm,
    shown: Shown,
) -> Result<Response, Problem> {
    let (action, back) = form::paths(visit.path("/webhooks"), id);
    let complaint = shown.complaint.as_ref();
    let status = complaint.map_or(StatusCode::OK, |it| it.status);
    page_with(
        status,
        &FormPage {
            frame: visit.frame(Section::Webhooks),
            action,
            back,
            is_new: id.is_none(),
            form,
            number: shown.number.unwrap_or_else(form::new_number),
            products: products::keys(visit).await?,
            complaint: shown.complaint,
            tried: shown.tried,
            tag: shown.tag,
            others: shown.others,
        },
    )
}

pub(crate) async fn create(visit: Administrator, form: Form) -> Result<Response, Problem> {
    let typed = WebhookForm::typed(&form, &[]);
    let number = form.number();
    let shown = |complaint, tried| Shown {
        number: Some(number.clone()),
        complaint,
        tried,
        ..Shown::default()
    };
    let complaint = match form.text("do") {
        "more" => {
            let shown = shown(None, None);
            return form_page(&visit, None, typed.with_rows(), shown).await;
        }
        "show" => return form_page(&visit, None, typed, shown(None, None)).await,
        _ => typed.complaint(&form),
    };
    if complaint.is_some() {
        let shown = shown(complaint, None);
        return form_page(&visit, None, typed, shown).await;
    }
    if form.text("do") == "test" {
        let call = Call::post("/webhooks/test").json(typed.json(&form));
        let (complaint, tried) = tried(visit.call(call).await?)?;
        return form_page(&visit, None, typed, shown(complaint, tried)).await;
    }
    let call = Call::post("/webhooks").json(typed.json(&form));
    match visit.call(call.once(&number)).await? {
        Ok(answer) if typed.wants_secret() => {
            secrets::generate(&visit, &of(answer.json()?), &number).await
        }
        Ok(answer) => created(&visit, &answer),
        Err(refusal) => {
            let complaint = Some(Complaint::of(refusal));
            form_page(&visit, None, typed, shown(complaint, None)).await
        }
    }
}

/// Shows the new secret once, if there is one.
fn created(visit: &Administrator, answer: &Answer) -> Result<Response, Problem> {
    let mut webhook: WebhookBody = answer.json()?;
    let secret = webhook.secret.take();
    secrets::show(visit, &of(webhook), secret, answer, "created")
}

fn of(webhook: WebhookBody) -> Of {
    Of {
        kind: Kind::Webhook,
        path: format!("/webhooks/{}", webhook.id),
        name: webhook.name,
    }
}

fn tried(answer: Result<Answer, Refusal>) -> Result<(Option<Complaint>, Option<Tried>), Problem> {
    match answer {
        Ok(answer) => Ok((None, Some(Tried::of(&answer)?))),
        Err(refusal) => Ok((Some(Complaint::of(refusal)), None)),
    }
}

pub(crate) async fn edit(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?.to_string();
    let answer = visit.expect(Call::get(format!("/webhooks/{id}"))).await?;
    let shown = Shown {
        tag: answer.tag(),
        ..Shown::default()
    };
    let form = WebhookForm::of(&answer.json()?);
    form_page(&visit, Some(&id), form, shown).await
}

pub(crate) async fn change(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    let id = id_of(&id)?.to_string();
    let of = format!("/webhooks/{id}");
    let now = visit.expect(Call::get(&*of)).await?;
    let current: WebhookBody = now.json()?;
    let kept: Vec<String> = current.headers.iter().map(|it| it.name.clone()).collect();
    let typed = WebhookForm::typed(&form, &kept);
    let tag = form.text("tag").to_owned();
    let shown = |complaint, tried| Shown {
        complaint,
        tried,
        tag: tag.clone(),
        ..Shown::default()
    };
    let complaint = match form.text("do") {
        "more" => {
            let (shown, typed) = (shown(None, None), typed.with_rows());
            return form_page(&visit, Some(&id), typed, shown).await;
        }
        "show" => {
            let shown = shown(None, None);
            return form_page(&visit, Some(&id), typed, shown).await;
        }
        _ => typed.complaint(&form),
    };
    if complaint.is_some() {
        let shown = shown(complaint, None);
        return form_page(&visit, Some(&id), typed, shown).await;
    }
    let body = typed.json(&form);
    if form.text("do") == "test" {
        let call = Call::post(format!("{of}/test")).json(body);
        let (complaint, tried) = tried(visit.call(call).await?)?;
        return form_page(&visit, Some(&id), typed, shown(complaint, tried)).await;
    }
    let call = Call::patch(&*of).json(body).unless_changed(Some(&tag));
    match visit.call(call).await? {
        Ok(_) => Ok(visit.done(&of, "changed")),
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            // Nothing is lost: the page shows what was typed beside what others have changed in the meantime.
            let shown = Shown {
                complaint: Some(Complaint::changed()),
                tag: now.tag(),
                others: Some(WebhookForm::of(&current)),
                ..Shown::default()
            };
            form_page(&visit, Some(&id), typed, shown).await
        }
        Err(refusal) => {
            let shown = shown(Some(Complaint::of(refusal)), None);
            form_page(&visit, Some(&id), typed, shown).await
        }
    }
}
