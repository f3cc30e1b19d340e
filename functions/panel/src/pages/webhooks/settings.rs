//! A webhook's settings, as a form has them.

use axum::http::StatusCode;
use domain::event::Event;
use domain::webhook::format::Format;
use domain::webhook::schedule::Schedule;
use serde_json::{Value, json};

use super::WebhookBody;
use crate::api::Refusal;
use crate::form::Form;

/// How many headers a webhook may have.
const MOST_HEADERS: usize = 10;
/// So many empty rows for headers there are at first.
const EMPTY_ROWS: usize = 1;

/// A webhook's settings, as they are typed.
#[derive(Clone, Debug)]
pub(crate) struct WebhookForm {
    pub(crate) name: String,
    pub(crate) url: String,
    /// One in each line.
    pub(crate) projects: String,
    pub(crate) format: String,
    pub(crate) schedule: String,
    /// Whether events are chosen, and not the usual ones.
    pub(crate) chooses_events: bool,
    pub(crate) events: Vec<String>,
    pub(crate) headers: Vec<HeaderRow>,
    pub(crate) has_secret: bool,
    pub(crate) has_token: bool,
    /// Whether a secret of one's own was typed. It is not shown again.
    pub(crate) own_secret: bool,
}

/// A row for a header.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderRow {
    pub(crate) name: String,
    /// Whether there is a value already, which stays as it is if none is typed.
    pub(crate) is_kept: bool,
}

/// What was wrong, and where.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) status: StatusCode,
    /// The field, by the id that it has in the page; empty for none.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Default for WebhookForm {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            projects: String::new(),
            format: Format::default().as_str().to_owned(),
            schedule: Schedule::default().as_str().to_owned(),
            chooses_events: false,
            events: Vec::new(),
            headers: vec![HeaderRow::default(); EMPTY_ROWS],
            has_secret: false,
            has_token: false,
            own_secret: false,
        }
    }
}

impl WebhookForm {
    /// Those of a webhook.
    pub(crate) fn of(webhook: &WebhookBody) -> Self {
        let kept = |header: &super::HeaderBody| HeaderRow {
            name: header.name.clone(),
            is_kept: true,
        };
        Self {
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            projects: webhook.projects.join("\n"),
            format: webhook.format.clone(),
            schedule: webhook.schedule.clone(),
            chooses_events: !webhook.events.is_empty(),
            events: webhook.events.clone(),
            headers: webhook.headers.iter().map(kept).collect(),
            has_secret: webhook.has_secret,
            has_token: webhook.has_token,
            own_secret: false,
        }
        .with_rows()
    }

    /// What was typed. `kept` are the names of the headers that there are.
    pub(crate) fn typed(form: &Form, kept: &[String]) -> Self {
        let headers = form.all("header-name").map(str::trim);
        let headers = headers
            .filter(|name| !name.is_empty())
            .map(|name| HeaderRow {
                name: name.to_owned(),
                is_kept: kept.iter().any(|it| it.eq_ignore_ascii_case(name)),
            });
        let mut typed = Self {
            name: form.text("name").to_owned(),
            url: form.text("url").to_owned(),
            projects: form.text("projects").to_owned(),
            format: form.text("format").to_owned(),
            schedule: form.text("schedule").to_owned(),
            chooses_events: form.text("events-mode") == "these",
            events: form.all("events").map(str::to_owned).collect(),
            headers: headers.collect(),
            has_secret: form.text("has-secret") == "true",
            has_token: form.text("has-token") == "true",
            own_secret: form.text("secret-mode") == "own",
        };
        if typed.headers.is_empty() {
            typed.headers.push(HeaderRow::default());
        }
        typed
    }

    /// The same with a further row for a header.
    pub(crate) fn with_rows(mut self) -> Self {
        if self.headers.len() < MOST_HEADERS {
            self.headers.push(HeaderRow::default());
        }
        self
    }

    pub(crate) fn may_have_rows(&self) -> bool {
        self.headers.len() < MOST_HEADERS
    }

    /// Every format, and what it is called here.
    pub(crate) fn formats(&self) -> [(&'static str, &'static str); 3] {
        Format::ALL.map(|format| {
            let words = match format {
                Format::Reports => "Reports: our own, for who wants to know of reports",
                Format::Sonarqube => "SonarQube's: for who knows its webhooks",
                Format::Codescoring => "CodeScoring's: for who knows its webhooks",
            };
            (format.as_str(), words)
        })
    }

    /// Every schedule, and what it is called here.
    pub(crate) fn schedules(&self) -> [(&'static str, &'static str); 3] {
        [Schedule::Hourly, Schedule::Standard, Schedule::Codescoring].map(|schedule| {
            let words = match schedule {
                Schedule::Hourly => "Every hour, until it succeeds",
                Schedule::Standard => "At growing intervals, from 5 seconds to a day, and then no more",
                Schedule::Codescoring => "As CodeScoring does: seven times within four days, and then the webhook is disabled",
            };
            (schedule.as_str(), words)
        })
    }

    /// The events that there are to choose from.
    pub(crate) fn all_events(&self) -> Vec<(String, bool)> {
        let format = Format::ALL
            .into_iter()
            .find(|it| it.as_str() == self.format);
        let format = format.unwrap_or_default();
        Event::all()
            .filter(|event| {
                format.takes(event) || self.events.iter().any(|it| it == event.as_str())
            })
            .map(|event| {
                let is_chosen = self.events.iter().any(|it| it == event.as_str());
                (event.as_str().to_owned(), is_chosen)
            })
            .collect()
    }

    /// What the API is sent: all of it for a new webhook, the changes of `current`.
    pub(crate) fn json(&self, form: &Form, current: Option<&WebhookBody>) -> Value {
        let projects: Vec<&str> = self
            .projects
            .split([',', '\n', ' '])
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        let names = form.all("header-name").map(str::trim);
        let values = form.all("header-value");
        let headers = names.zip(values).filter(|(name, _)| !name.is_empty());
        let headers: Vec<Value> = headers
            .map(|(name, value)| match value.trim() {
                "" => json!({ "name": name }),
                value => json!({ "name": name, "value": value }),
            })
            .collect();
        let mut body = json!({
            "name": self.name,
            "url": self.url,
            "projects": projects,
            "events": if self.chooses_events { json!(self.events) } else { Value::Null },
            "format": self.format,
            "schedule": self.schedule,
            "headers": headers,
        });
        if let Some(secret) = form
            .given("secret")
            .filter(|_| self.own_secret || current.is_some())
        {
            body["secret"] = json!(secret);
        }
        if let Some(token) = form.given("token") {
            body["token"] = json!(token);
        } else if self.has_token && self.format != Format::Codescoring.as_str() {
            body["token"] = Value::Null;
        }
        body
    }
}

impl Complaint {
    /// What the API has refused.
    pub(crate) fn of(refusal: Refusal) -> Self {
        let parameter = refusal.parameter.unwrap_or_default();
        let end = parameter.find(['[', '.']).unwrap_or(parameter.len());
        let field = match &parameter[..end] {
            "project" => "projects",
            field => field,
        };
        // The message begins with the field's name for programs; here it stands beside the field.
        let message = refusal.message;
        let said = message
            .strip_prefix(&parameter)
            .and_then(|rest| rest.strip_prefix(": "))
            .filter(|_| !parameter.is_empty())
            .unwrap_or(&message);
        Self {
            status: refusal.status,
            field: field.to_owned(),
            message: said.to_owned(),
            request_id: refusal.request_id,
        }
    }

    /// Somebody else has changed it.
    pub(crate) fn changed() -> Self {
        Self {
            status: StatusCode::PRECONDITION_FAILED,
            field: String::new(),
            message: "Somebody else has changed this meanwhile. Below is what you have typed, and what is stored now; saving again replaces that.".to_owned(),
            request_id: None,
        }
    }

    /// Whether it is about a field.
    pub(crate) fn is_about(&self, field: &str) -> bool {
        self.field == field
    }
}
