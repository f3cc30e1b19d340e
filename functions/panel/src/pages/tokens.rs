//! Tokens: listed, created, revoked.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use domain::token::Right;
use serde::Deserialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Time};

use crate::api::Call;
use crate::form::{self, Form, Query};
use crate::guard::Uncompressed;
use crate::links::query;
use crate::pages::complaint::Complaint;
use crate::pages::confirm;
use crate::pages::webhooks::id_of;
use crate::problem::Problem;
use crate::view::{Frame, Section, State, When, page, page_with};
use crate::visit::Administrator;

/// How many tokens a page has.
const ROWS: &str = "50";
/// How many are read at once to find one of them: the most that the API gives.
const READ: &str = "1000";
/// How long a token is valid unless the person says otherwise.
const USUAL_VALIDITY: Duration = Duration::days(365);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokensBody {
    tokens: Vec<TokenBody>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody {
    id: String,
    name: String,
    rights: Vec<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    token: Option<String>,
}

struct TokenRow {
    id: String,
    name: String,
    rights: String,
    last_used: Option<When>,
    expires: Option<When>,
    state: State,
    is_good: bool,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    rows: Vec<TokenRow>,
    first: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "token_form.html")]
struct FormPage {
    frame: Frame,
    name: String,
    rights: Vec<(&'static str, &'static str, bool)>,
    expires: String,
    number: String,
    complaint: Option<Complaint>,
}

#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    frame: Frame,
    name: String,
    token: Option<String>,
    is_for_builds: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    cursor: String,
    right: String,
}

pub(crate) async fn list(
    visit: Administrator,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let cursor = Some(asked.cursor.as_str()).filter(|it| !it.is_empty());
    let call = query([("limit", Some(ROWS)), ("cursor", cursor)]);
    let answer = visit.expect(Call::get(format!("/tokens{call}"))).await?;
    let body: TokensBody = answer.json()?;
    let now = domain::date::timestamp(visit.who.now);
    let here = visit.path("/tokens");
    let row = |token: TokenBody| {
        let is_expired = token.expires_at.as_ref().is_some_and(|at| *at <= now);
        let state = match (&token.revoked_at, is_expired) {
            (Some(_), _) => State::new("held", "‖", "Revoked"),
            (None, true) => State::new("bad", "✕", "Expired"),
            (None, false) => State::new("good", "✓", "Good"),
        };
        TokenRow {
            id: token.id,
            name: token.name,
            rights: token.rights.join(", "),
            last_used: token.last_used_at.as_deref().map(When::of),
            expires: token.expires_at.as_deref().map(When::of),
            is_good: token.revoked_at.is_none(),
            state,
        }
    };
    let older = body.next_cursor.as_deref();
    page(&TokensPage {
        frame: visit.frame(Section::Tokens),
        older: older.map(|cursor| format!("{here}{}", query([("cursor", Some(cursor))]))),
        first: cursor.map(|_| here.clone()),
        rows: body.tokens.into_iter().map(row).collect(),
    })
}

fn rights(is_chosen: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str, bool)> {
    let words = |right| match right {
        Right::Publish => "Publish reports: for builds",
        Right::ManageWebhooks => "Manage webhooks, and see their deliveries",
        Right::ReadDeliveries => "See deliveries, without what was sent",
        Right::ReadReports => "Read reports, where that takes a token",
        Right::DeleteReports => "Delete reports",
        Right::ManageSources => "Manage sources, and see what they were told",
    };
    Right::ALL
        .into_iter()
        .map(|right| (right.as_str(), words(right), is_chosen(right.as_str())))
        .collect()
}

pub(crate) async fn new(
    visit: Administrator,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    page(&FormPage {
        frame: visit.frame(Section::Tokens),
        name: String::new(),
        rights: rights(|right| right == asked.right),
        expires: (visit.who.now + USUAL_VALIDITY).date().to_string(),
        number: form::new_number(),
        complaint: None,
    })
}

pub(crate) async fn create(visit: Administrator, form: Form) -> Result<Response, Problem> {
    let chosen: Vec<&str> = form.all("rights").collect();
    let mut body = json!({ "name": form.text("name"), "rights": chosen });
    if let Some(expires) = form.given("expires") {
        body["expiresAt"] = json!(end_of(expires));
    }
    let number = form.number();
    let call = Call::post("/tokens").json(body).once(&number);
    match visit.call(call).await? {
        Ok(answer) => {
            let token: TokenBody = answer.json()?;
            let mut response = page(&TokenPage {
                frame: visit.frame(Section::Tokens),
                name: token.name,
                token: token.token.filter(|_| !answer.is_replayed()),
                is_for_builds: token.rights.iter().any(|it| it == Right::Publish.as_str()),
            })?;
            response.extensions_mut().insert(Uncompressed);
            Ok(response)
        }
        Err(refusal) => {
            let status = refusal.status;
            let mut complaint = Complaint::of(refusal);
            if complaint.field == "expiresAt" {
                "expires".clone_into(&mut complaint.field);
            }
            let page = FormPage {
                frame: visit.frame(Section::Tokens),
                name: form.text("name").to_owned(),
                rights: rights(|right| chosen.contains(&right)),
                expires: form.text("expires").to_owned(),
                number,
                complaint: Some(complaint),
            };
            page_with(status, &page)
        }
    }
}

/// The end of a day, in UTC. The API refuses a text that is not a day.
fn end_of(day: &str) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let end = Date::parse(day, format).ok().and_then(|day| {
        let end = day.with_time(Time::from_hms(23, 59, 59).ok()?).assume_utc();
        end.format(&Rfc3339).ok()
    });
    end.unwrap_or_else(|| day.to_owned())
}

pub(crate) async fn confirm(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?.to_string();
    let list = visit.path("/tokens");
    let token = find(&visit, &id).await?;
    confirm::page(
        &visit,
        Section::Tokens,
        format!("Revoke {}?", token.name),
        "Whatever uses it is refused from now on. It cannot be undone.",
        (format!("{list}/{id}/revoke"), "Revoke the token"),
        list,
    )
}

/// A token. The API has no path for a single one.
async fn find(visit: &Administrator, id: &str) -> Result<TokenBody, Problem> {
    let mut cursor = None::<String>;
    loop {
        let call = query([("limit", Some(READ)), ("cursor", cursor.as_deref())]);
        let body: TokensBody = visit
            .expect(Call::get(format!("/tokens{call}")))
            .await?
            .json()?;
        if let Some(token) = body.tokens.into_iter().find(|token| token.id == id) {
            return Ok(token);
        }
        cursor = Some(body.next_cursor.ok_or_else(Problem::not_found)?);
    }
}

pub(crate) async fn revoke(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let token = format!("/tokens/{}", id_of(&id)?);
    confirm::remove(&visit, token, "/tokens").await
}
