//! Webhooks: listed, made, changed, tried out.

pub(crate) mod settings;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use crate::api::{Answer, Call, Refusal};
use crate::form::{self, Form, Query};
use crate::guard::Uncompressed;
use crate::links::query;
use crate::pages::deliveries::{AttemptBody, AttemptShown, DeliveriesBody, DeliveryRow, Wanted};
use crate::problem::Problem;
use crate::view::{Frame, Section, When, count, page, page_with};
use crate::visit::Administrator;

use settings::{Complaint, SecretMode, WebhookForm};

/// How many webhooks an organization may have, and how many for all projects (the API's own limits).
const MOST: usize = 1000;
const MOST_FOR_ALL_PROJECTS: usize = 10;

#[derive(Deserialize)]
struct WebhooksBody {
    webhooks: Vec<WebhookBody>,
}

/// A webhook, as the API shows it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookBody {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) has_secret: bool,
    pub(crate) previous_secret_until: Option<String>,
    pub(crate) has_token: bool,
    #[serde(default)]
    pub(crate) projects: Vec<String>,
    #[serde(default)]
    pub(crate) events: Vec<String>,
    pub(crate) headers: Vec<HeaderBody>,
    pub(crate) format: String,
    pub(crate) schedule: String,
    pub(crate) enabled: bool,
    disabled_reason: Option<String>,
    disabled_at: Option<String>,
    failing_since: Option<String>,
    paused_until: Option<String>,
    latest_delivery: Option<crate::pages::deliveries::DeliveryBody>,
    pub(crate) secret: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct HeaderBody {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct TestBody {
    delivered: bool,
    payload: String,
    attempt: AttemptBody,
}

/// What came of a test call.
pub(crate) struct Tried {
    pub(crate) delivered: bool,
    pub(crate) attempt: AttemptShown,
    pub(crate) payload: String,
}

/// How a webhook does, in words.
pub(crate) struct Health {
    words: &'static str,
    reason: &'static str,
    since: Option<When>,
    until: Option<When>,
}

struct WebhookRow {
    id: String,
    name: String,
    url: String,
    projects: String,
    events: String,
    is_enabled: bool,
    health: Option<Health>,
    latest: Option<DeliveryRow>,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    rows: Vec<WebhookRow>,
    all: usize,
    /// How many fail or are disabled, in words.
    trouble: String,
    for_all: usize,
    only_in_trouble: bool,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    frame: Frame,
    webhook: WebhookBody,
    path: String,
    projects: String,
    events: String,
    health: Option<Health>,
    previous_secret_until: Option<When>,
    asked: Wanted,
    error: Option<String>,
    rows: Vec<DeliveryRow>,
    first: Option<String>,
    older: Option<String>,
    notice: &'static str,
    tried: Option<Tried>,
    is_waiting: bool,
}

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

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    title: String,
    words: &'static str,
    action: String,
    button: &'static str,
    back: String,
}

impl Health {
    fn of(webhook: &WebhookBody) -> Option<Self> {
        let reason = match webhook.disabled_reason.as_deref() {
            Some("administrator") => "an administrator has disabled it",
            Some("gone") => "its receiver has answered that it wants no more messages (410)",
            Some("no_success") => "nothing has succeeded for days",
            Some("retries_exhausted") => {
                "a delivery has failed as often as its schedule has it tried"
            }
            _ => "",
        };
        let time = |text: &Option<String>| text.as_deref().map(When::of);
        if !webhook.enabled {
            return Some(Self {
                words: "Disabled",
                reason,
                since: time(&webhook.disabled_at),
                until: None,
            });
        }
        let until = time(&webhook.paused_until);
        let since = time(&webhook.failing_since);
        if until.is_none() && since.is_none() {
            return None;
        }
        Some(Self {
            words: if until.is_some() { "Paused" } else { "Failing" },
            reason: "",
            since,
            until,
        })
    }
}

impl WebhookBody {
    /// Its projects, in words.
    fn projects(&self) -> String {
        if self.projects.is_empty() {
            "All projects".to_owned()
        } else {
            self.projects.join(", ")
        }
    }

    fn events(&self) -> String {
        if self.events.is_empty() {
            "The usual events".to_owned()
        } else {
            self.events.join(", ")
        }
    }

    fn is_in_trouble(&self) -> bool {
        !self.enabled || self.failing_since.is_some()
    }
}

impl Tried {
    fn of(answer: &Answer) -> Result<Self, Problem> {
        let body: TestBody = answer.json()?;
        Ok(Self {
            delivered: body.delivered,
            attempt: AttemptShown::of(body.attempt),
            payload: crate::pages::deliveries::pretty(&body.payload),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Narrowed {
    show: String,
}

pub(crate) async fn list(
    visit: Administrator,
    Query(narrowed): Query<Narrowed>,
) -> Result<Response, Problem> {
    let answer = visit.expect(Call::get("/webhooks")).await?;
    let WebhooksBody { webhooks } = answer.json()?;
    let only_in_trouble = narrowed.show == "trouble";
    let here = visit.path("/webhooks");
    let disabled = webhooks.iter().filter(|it| !it.enabled).count();
    let failing = webhooks
        .iter()
        .filter(|it| it.enabled && it.failing_since.is_some());
    let failing = failing.count();
    let for_all = webhooks.iter().filter(|it| it.projects.is_empty()).count();
    let all = webhooks.len();
    let rows = webhooks
        .iter()
        .filter(|it| !only_in_trouble || it.is_in_trouble())
        .map(|webhook| WebhookRow {
            id: webhook.id.clone(),
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            projects: webhook.projects(),
            events: webhook.events(),
            is_enabled: webhook.enabled,
            health: Health::of(webhook),
            latest: webhook.latest_delivery.clone().map(|delivery| {
                let path = format!("{here}/{}", webhook.id);
                DeliveryRow::of(delivery, &path)
            }),
        });
    page(&WebhooksPage {
        frame: visit.frame(Section::Webhooks),
        rows: rows.collect(),
        all,
        trouble: trouble(failing, disabled),
        for_all,
        only_in_trouble,
    })
}

fn trouble(failing: usize, disabled: usize) -> String {
    let parts = [
        (failing, "webhook is failing", "webhooks are failing"),
        (disabled, "webhook is disabled", "webhooks are disabled"),
    ];
    let parts = parts.iter().filter(|(number, ..)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, one, many)| count(*number as u64, one, many))
        .collect();
    parts.join(", ")
}

pub(crate) async fn show(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Wanted>,
) -> Result<Response, Problem> {
    shown(&visit, &id, asked, "", None).await
}

async fn shown(
    visit: &Administrator,
    id: &str,
    asked: Wanted,
    notice: &'static str,
    tried: Option<Tried>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let path = visit.path(&of);
    let call = Call::get(format!("{of}/deliveries{}", asked.query()));
    let (body, error) = match visit.call(call).await? {
        Ok(answer) => (answer.json::<DeliveriesBody>()?, None),
        Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => {
            (DeliveriesBody::default(), Some(refusal.message))
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let older = body.next_cursor.as_deref();
    let older = older.map(|cursor| format!("{path}{}", asked.page(Some(cursor))));
    let first = (!asked.cursor.is_empty()).then(|| format!("{path}{}", asked.page(None)));
    let rows = body.deliveries.into_iter();
    let rows: Vec<_> = rows.map(|it| DeliveryRow::of(it, &path)).collect();
    let status = match (&error, &tried) {
        (Some(_), _) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    let notice = match asked.done.as_str() {
        _ if !notice.is_empty() => notice,
        "created" => "The webhook is created.",
        "changed" => "The changes are saved.",
        "enabled" => "The webhook is enabled. What it has missed is sent now.",
        "disabled" => "The webhook is disabled. What happens now waits until it is enabled.",
        "replayed" => "The deliveries are sent again, one after the other.",
        _ => "",
    };
    let page = WebhookPage {
        frame: visit.frame(Section::Webhooks),
        projects: webhook.projects(),
        events: webhook.events(),
        health: Health::of(&webhook),
        previous_secret_until: webhook.previous_secret_until.as_deref().map(When::of),
        // What a POST has answered must not be sent again.
        is_waiting: tried.is_none() && webhook.enabled && rows.iter().any(|row| row.is_pending),
        webhook,
        path,
        asked,
        error,
        rows,
        first,
        older,
        notice,
        tried,
    };
    page_with(status, &page)
}

/// An id is one segment of the API's path, and nothing else.
pub(crate) fn id_of(text: &str) -> Result<uuid::Uuid, Problem> {
    uuid::Uuid::parse_str(text).map_err(|_| Problem::not_found())
}

pub(crate) async fn new(visit: Administrator) -> Result<Response, Problem> {
    let form = WebhookForm::default();
    form_page(&visit, None, form, Shown::default(), StatusCode::OK).await
}

/// What a page with the form shows besides.
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
    status: StatusCode,
) -> Result<Response, Problem> {
    let list = visit.path("/webhooks");
    let (action, back) = match id {
        None => (format!("{list}/new"), list),
        Some(id) => (format!("{list}/{id}/edit"), format!("{list}/{id}")),
    };
    page_with(
        status,
        &FormPage {
            frame: visit.frame(Section::Webhooks),
            action,
            back,
            is_new: id.is_none(),
            form,
            number: shown.number.unwrap_or_else(form::new_number),
            products: products(visit).await?,
            complaint: shown.complaint,
            tried: shown.tried,
            tag: shown.tag,
            others: shown.others,
        },
    )
}

/// The keys of some products, to be chosen from.
async fn products(visit: &Administrator) -> Result<Vec<String>, Problem> {
    #[derive(Deserialize)]
    struct Body {
        products: Vec<Product>,
    }
    #[derive(Deserialize)]
    struct Product {
        key: String,
    }
    let answer = visit
        .read(list_reports::PRODUCTS, &[("limit", "100")])
        .await?;
    let body = answer.map_err(Problem::from)?.read::<Body>()?;
    let products = body.map(|body| body.products).unwrap_or_default();
    Ok(products.into_iter().map(|product| product.key).collect())
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
            return form_page(&visit, None, typed.with_rows(), shown, StatusCode::OK).await;
        }
        "show" => return form_page(&visit, None, typed, shown(None, None), StatusCode::OK).await,
        _ => typed.complaint(&form),
    };
    if complaint.is_some() {
        let shown = shown(complaint, None);
        return form_page(&visit, None, typed, shown, StatusCode::BAD_REQUEST).await;
    }
    if form.text("do") == "test" {
        let call = Call::post("/webhooks/test").json(typed.json(&form));
        let (complaint, tried) = tried(visit.call(call).await?)?;
        let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
        return form_page(&visit, None, typed, shown(complaint, tried), status).await;
    }
    let call = Call::post("/webhooks").json(typed.json(&form));
    match visit.call(call.once(&number)).await? {
        Ok(answer) if typed.wants_secret() => created_and_signed(&visit, &answer, &number).await,
        Ok(answer) => created(&visit, &answer),
        Err(refusal) => {
            let status = refusal.status;
            let complaint = Some(Complaint::of(refusal));
            form_page(&visit, None, typed, shown(complaint, None), status).await
        }
    }
}

/// The same where the API gives a secret only to who asks for one.
async fn created_and_signed(
    visit: &Administrator,
    answer: &Answer,
    number: &str,
) -> Result<Response, Problem> {
    let webhook: WebhookBody = answer.json()?;
    let of = format!("/webhooks/{}", webhook.id);
    let call = Call::post(format!("{of}/secret"))
        .json(json!({}))
        .once(number);
    let answer = visit.expect(call).await?;
    let Rotated { secret } = answer.json()?;
    secret_page(
        visit,
        "webhook",
        &webhook.name,
        visit.path(&of),
        secret,
        &answer,
    )
}

#[derive(Deserialize)]
struct Rotated {
    secret: Option<String>,
}

/// Shows the secret, if there is one to be shown, once.
fn created(visit: &Administrator, answer: &Answer) -> Result<Response, Problem> {
    let webhook: WebhookBody = answer.json()?;
    let path = format!("{}/{}", visit.path("/webhooks"), webhook.id);
    if webhook.secret.is_none() {
        return Ok(Redirect::to(&format!("{path}?done=created")).into_response());
    }
    secret_page(
        visit,
        "webhook",
        &webhook.name,
        path,
        webhook.secret,
        answer,
    )
}

fn secret_page(
    visit: &Administrator,
    what: &'static str,
    name: &str,
    path: String,
    secret: Option<String>,
    answer: &Answer,
) -> Result<Response, Problem> {
    let section = if what == "webhook" {
        Section::Webhooks
    } else {
        Section::Sources
    };
    let mut response = page(&SecretPage {
        frame: visit.frame(section),
        what,
        name: name.to_owned(),
        again: format!("{path}/secret"),
        back: path,
        // Whoever reloads the page sends the same form again, and is answered the same.
        secret: secret.filter(|_| !answer.is_replayed()),
        has_snippets: what == "webhook",
    })?;
    response.extensions_mut().insert(Uncompressed);
    Ok(response)
}

/// The same for a source.
pub(crate) fn secret_of_source(
    visit: &Administrator,
    name: &str,
    path: String,
    secret: Option<String>,
    answer: &Answer,
) -> Result<Response, Problem> {
    secret_page(visit, "source", name, path, secret, answer)
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
    form_page(&visit, Some(&id), form, shown, StatusCode::OK).await
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
            return form_page(&visit, Some(&id), typed, shown, StatusCode::OK).await;
        }
        "show" => {
            let shown = shown(None, None);
            return form_page(&visit, Some(&id), typed, shown, StatusCode::OK).await;
        }
        _ => typed.complaint(&form),
    };
    if complaint.is_some() {
        let shown = shown(complaint, None);
        return form_page(&visit, Some(&id), typed, shown, StatusCode::BAD_REQUEST).await;
    }
    let body = typed.json(&form);
    if form.text("do") == "test" {
        let call = Call::post(format!("{of}/test")).json(body);
        let (complaint, tried) = tried(visit.call(call).await?)?;
        let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
        return form_page(&visit, Some(&id), typed, shown(complaint, tried), status).await;
    }
    let call = Call::patch(&*of).json(body).unless_changed(Some(&tag));
    match visit.call(call).await? {
        Ok(_) => {
            let done = format!("{}?done=changed", visit.path(&of));
            Ok(Redirect::to(&done).into_response())
        }
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            // Nothing is lost: what was typed, and what others have made of it meanwhile, stand side by side.
            let shown = Shown {
                complaint: Some(Complaint::changed()),
                tag: now.tag(),
                others: Some(WebhookForm::of(&current)),
                ..Shown::default()
            };
            let status = StatusCode::PRECONDITION_FAILED;
            form_page(&visit, Some(&id), typed, shown, status).await
        }
        Err(refusal) => {
            let status = refusal.status;
            let shown = shown(Some(Complaint::of(refusal)), None);
            form_page(&visit, Some(&id), typed, shown, status).await
        }
    }
}

pub(crate) async fn test(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let call = Call::post(format!("/webhooks/{}/test", id_of(&id)?));
    let tried = Tried::of(&visit.expect(call).await?)?;
    shown(&visit, &id, Wanted::default(), "", Some(tried)).await
}

/// An address that only forms are sent to, for who has come to it otherwise.
pub(crate) async fn elsewhere(
    visit: Administrator,
    Path(named): Path<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let of = |wanted: &str| named.iter().find(|(name, _)| name == wanted);
    let (_, id) = of("id").ok_or_else(Problem::not_found)?;
    let webhook = format!("{}/{}", visit.path("/webhooks"), id_of(id)?);
    let path = match of("delivery") {
        Some((_, delivery)) => format!("{webhook}/deliveries/{}", id_of(delivery)?),
        None => webhook,
    };
    Ok(Redirect::to(&path).into_response())
}

pub(crate) async fn enable(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    switch(&visit, &id, "enable", "enabled").await
}

pub(crate) async fn disable(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    switch(&visit, &id, "disable", "disabled").await
}

async fn switch(
    visit: &Administrator,
    id: &str,
    what: &str,
    done: &str,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(id)?);
    visit.expect(Call::post(format!("{of}/{what}"))).await?;
    let path = format!("{}{}", visit.path(&of), query([("done", Some(done))]));
    Ok(Redirect::to(&path).into_response())
}

pub(crate) async fn secret(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    rotate_page(&visit, &webhook, visit.path(&of), form::new_number(), None)
}

fn rotate_page(
    visit: &Administrator,
    webhook: &WebhookBody,
    path: String,
    number: String,
    complaint: Option<Complaint>,
) -> Result<Response, Problem> {
    let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
    page_with(
        status,
        &RotatePage {
            frame: visit.frame(Section::Webhooks),
            name: webhook.name.clone(),
            path,
            number,
            is_webhook: true,
            complaint,
        },
    )
}

pub(crate) async fn rotate(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let body = match form.given("secret") {
        Some(secret) => json!({ "secret": secret }),
        None => json!({}),
    };
    let number = form.number();
    let call = Call::post(format!("{of}/secret")).json(body).once(&number);
    let answer = visit.call(call).await?;
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let path = visit.path(&of);
    match answer {
        Ok(answer) => {
            let Rotated { secret } = answer.json()?;
            if secret.is_none() {
                return Ok(Redirect::to(&format!("{path}?done=changed")).into_response());
            }
            secret_page(&visit, "webhook", &webhook.name, path, secret, &answer)
        }
        Err(refusal) => {
            let complaint = Some(Complaint::of(refusal));
            rotate_page(&visit, &webhook, path, number, complaint)
        }
    }
}

/// The page before a source's secret is replaced.
pub(crate) fn rotate_source(
    visit: &Administrator,
    name: &str,
    path: String,
    complaint: Option<Complaint>,
) -> Result<Response, Problem> {
    let complaint = complaint.map(Complaint::of_secret);
    let status = complaint.as_ref().map_or(StatusCode::OK, |it| it.status);
    page_with(
        status,
        &RotatePage {
            frame: visit.frame(Section::Sources),
            name: name.to_owned(),
            path,
            number: form::new_number(),
            is_webhook: false,
            complaint,
        },
    )
}

/// A page that asks whether something is meant.
pub(crate) fn confirm_page(
    visit: &Administrator,
    section: Section,
    title: String,
    words: &'static str,
    (action, button): (String, &'static str),
    back: String,
) -> Result<Response, Problem> {
    page(&ConfirmPage {
        frame: visit.frame(section),
        title,
        words,
        action,
        button,
        back,
    })
}

pub(crate) async fn confirm(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let path = visit.path(&of);
    let words = "Its deliveries go with it, and what waits is not sent. It cannot be undone. To stop it for a while, disable it.";
    confirm_page(
        &visit,
        Section::Webhooks,
        format!("Delete {}?", webhook.name),
        words,
        (format!("{path}/delete"), "Delete the webhook"),
        path,
    )
}

pub(crate) async fn delete(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let call = Call::delete(format!("/webhooks/{}", id_of(&id)?));
    match visit.call(call).await? {
        Ok(_) => {}
        // Whoever has asked twice has got what he wanted.
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(Redirect::to(&visit.path("/webhooks")).into_response())
}
