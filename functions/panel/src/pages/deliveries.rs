//! A webhook's deliveries: one delivery, and replays.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Call;
use crate::form::Form;
use crate::links::{query, segment};
use crate::pages::webhooks::{WebhookBody, id_of};
use crate::problem::Problem;
use crate::view::{Frame, Section, State, When, count, page, page_with};
use crate::visit::Administrator;

/// How many deliveries a page has.
const ROWS: &str = "50";

/// The deliveries that a page shows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    pub(crate) state: String,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) cursor: String,
    /// The action that has just been done, for the page's message.
    pub(crate) done: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveriesBody {
    pub(crate) deliveries: Vec<DeliveryBody>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryBody {
    id: String,
    state: String,
    events: Vec<String>,
    reports: u32,
    analyses: Option<u32>,
    codescoring_events: Option<u32>,
    project: Option<String>,
    created_at: String,
    due_at: Option<String>,
    attempt_count: u32,
    last_attempt: Option<LastAttempt>,
    payload: Option<String>,
    #[serde(default)]
    attempts: Vec<AttemptBody>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastAttempt {
    at: String,
    duration_ms: u64,
    status: Option<u16>,
    error: Option<String>,
}

/// An attempt, as the API shows it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptBody {
    number: u32,
    at: String,
    duration_ms: u64,
    status: Option<u16>,
    response: Option<String>,
    error: Option<ErrorBody>,
    response_error: Option<ErrorBody>,
    request_headers: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Deserialize)]
struct ErrorBody {
    message: String,
}

/// An attempt, as a page shows it.
pub(crate) struct AttemptShown {
    pub(crate) number: u32,
    pub(crate) state: State,
    pub(crate) at: When,
    pub(crate) duration_ms: u64,
    pub(crate) said: String,
    pub(crate) headers: String,
    pub(crate) response: Option<String>,
}

/// A delivery in a list.
pub(crate) struct DeliveryRow {
    pub(crate) path: String,
    pub(crate) state: State,
    pub(crate) result: String,
    pub(crate) at: When,
    pub(crate) events: String,
    pub(crate) about: String,
    pub(crate) attempts: String,
    pub(crate) duration: String,
    pub(crate) due: Option<When>,
    /// Whether it is sent automatically while its webhook is enabled.
    pub(crate) is_open: bool,
}

struct ReportLink {
    path: String,
    name: String,
    version: String,
    catalogue: String,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    frame: Frame,
    webhook: WebhookBody,
    path: String,
    id: String,
    row: DeliveryRow,
    project: String,
    reports: Vec<ReportLink>,
    attempts: Vec<AttemptShown>,
    payload: String,
    /// Why it cannot be sent again now.
    hindrance: &'static str,
    is_waiting: bool,
}

#[derive(Template)]
#[template(path = "replay.html")]
struct ReplayPage {
    frame: Frame,
    webhook: WebhookBody,
    path: String,
    states: Vec<(&'static str, &'static str, bool)>,
    since: String,
    until: String,
    counted: Option<(String, bool)>,
    error: Option<String>,
}

impl Wanted {
    /// The query for the API.
    pub(crate) fn query(&self) -> String {
        query([
            ("limit", Some(ROWS)),
            ("state", Some(&*self.state)),
            ("since", time(&self.since).as_deref()),
            ("until", time(&self.until).as_deref()),
            ("cursor", Some(&*self.cursor)),
        ])
    }

    /// The query for another page of the same list.
    pub(crate) fn page(&self, cursor: Option<&str>) -> String {
        query([
            ("state", Some(&*self.state)),
            ("since", Some(&*self.since)),
            ("until", Some(&*self.until)),
            ("cursor", cursor),
        ])
    }

    /// The states to choose from, in words.
    pub(crate) fn states(&self) -> Vec<(&'static str, &'static str, bool)> {
        STATES
            .iter()
            .map(|(state, word)| (*state, *word, self.state == *state))
            .collect()
    }
}

const STATES: [(&str, &str); 5] = [
    ("pending", "Pending"),
    ("failed", "Failed"),
    ("held", "Held"),
    ("rejected", "Rejected"),
    ("delivered", "Delivered"),
];

/// A time of a form without a zone. It is in UTC, as the form says. The API refuses any other text.
fn time(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let has_zone = text.ends_with('Z') || text.get(19..).is_some_and(|it| it.contains(['+', '-']));
    if has_zone {
        return Some(text.to_owned());
    }
    let has_seconds = text.matches(':').count() >= 2;
    Some(format!("{text}{}Z", if has_seconds { "" } else { ":00" }))
}

/// Whether a delivery in this state is sent automatically. A held one is, soon after its webhook is enabled.
fn is_open(state: &str) -> bool {
    matches!(state, "pending" | "held")
}

impl DeliveryRow {
    /// A delivery of the webhook at this path, with the end of the webhook's pause, if it is paused.
    pub(crate) fn of(delivery: DeliveryBody, webhook: &str, paused: Option<&str>) -> Self {
        let (reports, analyses) = (delivery.reports, delivery.analyses.unwrap_or_default());
        let about = match (reports, analyses, delivery.codescoring_events) {
            (_, _, Some(events)) => count(events.into(), "event", "events"),
            (0, analyses, _) if analyses > 0 => count(analyses.into(), "analysis", "analyses"),
            (reports, ..) => count(reports.into(), "report", "reports"),
        };
        let about = match &delivery.project {
            Some(project) => format!("{about} of {project}"),
            None => about,
        };
        let last = delivery.last_attempt.as_ref();
        let result = last.map(|last| match (last.status, &last.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => words_of(error).to_owned(),
            (None, None) => String::new(),
        });
        Self {
            path: format!("{webhook}/deliveries/{}", delivery.id),
            state: State::of_delivery(&delivery.state),
            result: result.unwrap_or_default(),
            at: When::of(last.map_or(&delivery.created_at, |last| &last.at)),
            events: delivery.events.join(", "),
            about,
            attempts: count(delivery.attempt_count.into(), "attempt", "attempts"),
            duration: last
                .map(|it| format!("{} ms", it.duration_ms))
                .unwrap_or_default(),
            // A due delivery waits for the end of a pause. Both times have the same form, in which texts sort by time.
            due: delivery
                .due_at
                .as_deref()
                .map(|due| When::of(due.max(paused.unwrap_or_default()))),
            is_open: is_open(&delivery.state),
        }
    }
}

/// The kind of a failure, in words.
fn words_of(kind: &str) -> &str {
    match kind {
        "dns" => "name unknown",
        "address_refused" => "address refused",
        "connect" => "no connection",
        "tls" => "no secure connection",
        "timeout" => "no answer in time",
        "body" => "answer broke off",
        other => other,
    }
}

impl AttemptShown {
    pub(crate) fn of(attempt: AttemptBody) -> Self {
        let succeeded = attempt.error.is_none();
        let said = match (&attempt.error, &attempt.response_error) {
            (Some(error), _) => error.message.clone(),
            (None, Some(error)) => format!("received; {}", error.message),
            (None, None) => "received".to_owned(),
        };
        let word = attempt.status.map(|status| status.to_string());
        let word = word.unwrap_or_else(|| "No answer".to_owned());
        let headers = attempt.request_headers.into_iter().flatten();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        Self {
            number: attempt.number,
            state: if succeeded {
                State::new("good", "✓", &word)
            } else {
                State::new("bad", "✕", &word)
            },
            at: When::of(&attempt.at),
            duration_ms: attempt.duration_ms,
            said,
            headers: headers.join("\n"),
            response: attempt.response,
        }
    }
}

/// A payload, formatted for reading. A payload that is not JSON stays unchanged.
pub(crate) fn pretty(payload: &str) -> String {
    let read: Result<Value, _> = serde_json::from_str(payload);
    let pretty = read
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| payload.to_owned())
}

pub(crate) async fn show(
    visit: Administrator,
    Path((_, id, delivery)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let delivery = id_of(&delivery)?.to_string();
    let call = Call::get(format!("{of}/deliveries/{delivery}"));
    let body: DeliveryBody = visit.expect(call).await?.json()?;
    let payload = body.payload.clone().unwrap_or_default();
    let path = visit.path(&of);
    let attempts = body.attempts.clone().into_iter().rev();
    let is_in_progress = body.state == "pending" && body.due_at.is_none() && body.attempt_count > 0;
    let hindrance = if !webhook.enabled {
        "The webhook is disabled: enabling it sends what waits."
    } else if is_in_progress {
        "It is being sent at this moment."
    } else {
        ""
    };
    page(&DeliveryPage {
        frame: visit.frame(Section::Webhooks),
        reports: report_links(&visit.path("/reports"), &payload),
        attempts: attempts.map(AttemptShown::of).collect(),
        payload: pretty(&payload),
        is_waiting: webhook.enabled && is_open(&body.state),
        hindrance,
        id: delivery,
        project: body.project.clone().unwrap_or_default(),
        row: DeliveryRow::of(body, &path, webhook.paused_until.as_deref()),
        webhook,
        path,
    })
}

/// The reports that a message in our own format tells of.
fn report_links(reports: &str, payload: &str) -> Vec<ReportLink> {
    #[derive(Deserialize)]
    struct Message {
        reports: Vec<Told>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        id: String,
        project_key: String,
        project_name: String,
        project_version: String,
        report_type: String,
        report_version: u32,
    }
    let message: Option<Message> = serde_json::from_str(payload).ok();
    let told = message.into_iter().flat_map(|message| message.reports);
    told.map(|report| ReportLink {
        path: format!(
            "{reports}/{}/{}",
            segment(&report.project_key),
            segment(&report.id)
        ),
        name: report.project_name,
        version: report.project_version,
        catalogue: format!("{} {}", report.report_type, report.report_version),
    })
    .collect()
}

pub(crate) async fn redeliver(
    visit: Administrator,
    Path((_, id, delivery)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}/deliveries/{}", id_of(&id)?, id_of(&delivery)?);
    visit.expect(Call::post(format!("{of}/redeliver"))).await?;
    Ok(Redirect::to(&visit.path(&of)).into_response())
}

pub(crate) async fn replay(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    page(&ReplayPage {
        frame: visit.frame(Section::Webhooks),
        path: visit.path(&of),
        webhook,
        states: chosen(|state| matches!(state, "failed" | "held")),
        since: String::new(),
        until: String::new(),
        counted: None,
        error: None,
    })
}

fn chosen(is_chosen: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str, bool)> {
    STATES
        .iter()
        .map(|(state, word)| (*state, *word, is_chosen(state)))
        .collect()
}

/// Counts first, and sends after a confirmation.
pub(crate) async fn replay_now(
    visit: Administrator,
    Path((_, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        #[serde(default)]
        count: u64,
        #[serde(default)]
        has_more: bool,
    }
    let of = format!("/webhooks/{}", id_of(&id)?);
    let webhook: WebhookBody = visit.expect(Call::get(&*of)).await?.json()?;
    let states: Vec<&str> = form.all("states").collect();
    let is_meant = form.text("do") == "send";
    let mut body = json!({ "states": states, "dryRun": !is_meant });
    for name in ["since", "until"] {
        if let Some(time) = time(form.text(name)) {
            body[name] = json!(time);
        }
    }
    let answer = visit
        .call(Call::post(format!("{of}/replay")).json(body))
        .await?;
    let path = visit.path(&of);
    let (counted, error, status) = match answer {
        Ok(_) if is_meant => {
            return Ok(visit.done(&of, "replayed"));
        }
        Ok(answer) => {
            let Counted {
                count: number,
                has_more,
            } = answer.json()?;
            let more = if has_more { "More than " } else { "" };
            let counted = format!("{more}{}", count(number, "delivery", "deliveries"));
            (Some((counted, number > 0)), None, StatusCode::OK)
        }
        Err(refusal) if refusal.status.is_server_error() => return Err(refusal.into()),
        Err(refusal) => (None, Some(refusal.message), refusal.status),
    };
    page_with(
        status,
        &ReplayPage {
            frame: visit.frame(Section::Webhooks),
            path,
            webhook,
            states: chosen(|state| states.contains(&state)),
            since: form.text("since").to_owned(),
            until: form.text("until").to_owned(),
            counted,
            error,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_form_is_in_utc_and_any_other_as_it_says() {
        let time = |text| time(text).unwrap_or_default();
        assert_eq!(time("2026-11-26T10:00"), "2026-11-26T10:00:00Z");
        assert_eq!(time("2026-11-26T10:00:05"), "2026-11-26T10:00:05Z");
        assert_eq!(
            time("2026-11-26T10:00:05+02:00"),
            "2026-11-26T10:00:05+02:00"
        );
        assert_eq!(time(""), "");
    }
}
