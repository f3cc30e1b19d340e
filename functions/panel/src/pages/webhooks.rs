//! Webhooks: listed, created, changed, tested.

pub(crate) mod editing;
pub(crate) mod rotating;
mod settings;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::api::{Answer, Call};
use crate::form::Query;
use crate::pages::confirm;
use crate::pages::deliveries::{AttemptBody, AttemptShown, DeliveriesBody, DeliveryRow, Wanted};
use crate::problem::Problem;
use crate::view::{Frame, Section, When, count, page, page_with};
use crate::visit::Administrator;

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
    pub(crate) paused_until: Option<String>,
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

/// The result of a test call.
pub(crate) struct Tried {
    pub(crate) delivered: bool,
    pub(crate) attempt: AttemptShown,
    pub(crate) payload: String,
}

/// The health of a webhook, in words.
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
    /// How many webhooks fail or are disabled, in words.
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
                DeliveryRow::of(delivery, &path, webhook.paused_until.as_deref())
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
    let paused = webhook.paused_until.as_deref();
    let rows = body.deliveries.into_iter();
    let rows: Vec<_> = rows.map(|it| DeliveryRow::of(it, &path, paused)).collect();
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
        // The answer to a POST must not be reloaded.
        is_waiting: tried.is_none() && webhook.enabled && rows.iter().any(|row| row.is_open),
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

/// An id. It must be a single segment of the API's path.
pub(crate) fn id_of(text: &str) -> Result<uuid::Uuid, Problem> {
    uuid::Uuid::parse_str(text).map_err(|_| Problem::not_found())
}

pub(crate) async fn test(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let call = Call::post(format!("/webhooks/{}/test", id_of(&id)?));
    let tried = Tried::of(&visit.expect(call).await?)?;
    shown(&visit, &id, Wanted::default(), "", Some(tried)).await
}

/// A page for whoever comes by a link to an address that only forms are sent to.
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
    Ok(visit.done(&of, done))
}

pub(crate) async fn confirm(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let path = visit.path(&of);
    let words = "Its deliveries go with it, and what waits is not sent. It cannot be undone. To stop it for a while, disable it.";
    confirm::page(
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
    let webhook = format!("/webhooks/{}", id_of(&id)?);
    confirm::remove(&visit, webhook, "/webhooks").await
}
