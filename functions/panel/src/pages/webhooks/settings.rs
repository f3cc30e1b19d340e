//! A webhook's settings in a form.

use axum::http::StatusCode;
use domain::event::Event;
use domain::webhook::format::Format;
use domain::webhook::schedule::Schedule;
use serde_json::{Value, json};

use super::WebhookBody;
use crate::form::Form;
use crate::pages::complaint::Complaint;

/// How many headers a webhook may have.
const MOST_HEADERS: usize = 10;
/// How many empty rows for headers a form has at first.
const EMPTY_ROWS: usize = 1;

/// A webhook's settings as they are typed.
#[derive(Clone, Debug)]
pub(crate) struct WebhookForm {
    pub(crate) name: String,
    pub(crate) url: String,
    /// One in each line.
    pub(crate) projects: String,
    pub(crate) format: String,
    pub(crate) schedule: String,
    /// Whether events are chosen instead of the usual ones.
    pub(crate) chooses_events: bool,
    pub(crate) events: Vec<String>,
    pub(crate) headers: Vec<HeaderRow>,
    pub(crate) has_secret: bool,
    pub(crate) has_token: bool,
    /// The source of a new webhook's secret.
    pub(crate) secret: SecretMode,
    /// The fields that were typed and are not shown again: `token`, `secret`, and names of headers. They have to be typed
    /// again before the form is sent. Otherwise the stored settings would differ from the tested ones.
    pub(crate) retype: Vec<String>,
}

/// The source of a new webhook's secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SecretMode {
    /// It is generated.
    #[default]
    Generate,
    /// It is typed.
    Own,
    /// There is none: messages are not signed.
    None,
}

impl SecretMode {
    fn of(text: &str) -> Self {
        match text {
            "own" => Self::Own,
            "none" => Self::None,
            _ => Self::Generate,
        }
    }
}

/// A row for a header.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderRow {
    pub(crate) name: String,
    /// Whether a value is stored. It is kept if no other is typed.
    pub(crate) is_kept: bool,
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
            secret: SecretMode::default(),
            retype: Vec::new(),
        }
    }
}

impl WebhookForm {
    /// The settings of a webhook.
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
            secret: SecretMode::default(),
            retype: Vec::new(),
        }
        .with_rows()
    }

    /// The settings that were typed. `kept` are the names of the stored headers.
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
            secret: SecretMode::of(form.text("secret-mode")),
            retype: retype(form),
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

    /// Whether a field has to be typed again.
    pub(crate) fn is_retyped(&self, name: &str) -> bool {
        self.retype.iter().any(|it| it == name)
    }

    pub(crate) fn may_have_rows(&self) -> bool {
        self.headers.len() < MOST_HEADERS
    }

    /// Every format, and its name in the panel.
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

    /// Every schedule, and its name in the panel.
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

    /// The events to choose from.
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

    /// The body for the API, for a new webhook and for a change.
    pub(crate) fn json(&self, form: &Form) -> Value {
        let projects: Vec<&str> = self
            .projects
            .split([',', '\n', ' '])
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        let headers: Vec<Value> = headers(form)
            .map(|(name, value)| match value {
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
            .filter(|_| self.secret == SecretMode::Own)
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

/// The names of headers and their typed values, which may be empty.
fn headers(form: &Form) -> impl Iterator<Item = (&str, &str)> {
    let values = form.all("header-value").chain(std::iter::repeat(""));
    let names = form.all("header-name").map(str::trim);
    let headers = names.zip(values.map(str::trim));
    headers.filter(|(name, _)| !name.is_empty())
}

/// The fields that were typed, now or before, and are not shown again.
fn retype(form: &Form) -> Vec<String> {
    let fields = ["token", "secret"].into_iter();
    let fields = fields.filter(|field| form.given(field).is_some());
    let named = headers(form).filter(|(_, value)| !value.is_empty());
    let typed = fields.chain(named.map(|(name, _)| name));
    let before = form.all("retype");
    let mut retype: Vec<String> = typed.chain(before).map(str::to_owned).collect();
    retype.sort();
    retype.dedup();
    retype
}

impl WebhookForm {
    /// The faults that can be found before the API is asked.
    pub(crate) fn complaint(&self, form: &Form) -> Option<Complaint> {
        let wrong = |field: &str, message: String| {
            Some(Complaint {
                status: StatusCode::BAD_REQUEST,
                field: field.to_owned(),
                message,
                request_id: None,
            })
        };
        if !self.chooses_events && !self.events.is_empty() {
            let message = "some are ticked, and the usual ones are chosen: choose 'only these', or untick them";
            return wrong("events", message.to_owned());
        }
        let is_empty = |name: &str| match name {
            "token" | "secret" => form.given(name).is_none(),
            name => headers(form).any(|(it, value)| it == name && value.is_empty()),
        };
        let again = form.all("retype").find(|name| is_empty(name));
        if let Some(name) = again {
            let field = match name {
                "token" | "secret" => name,
                _ => "headers",
            };
            let message =
                format!("what you have typed for {name} is not kept in this page: type it again");
            return wrong(field, message);
        }
        if self.secret == SecretMode::Own && form.given("secret").is_none() {
            return Some(Complaint::no_secret());
        }
        if self.secret == SecretMode::None && self.format == Format::Reports.as_str() {
            let message = "messages of this format are always signed";
            return wrong("secret", message.to_owned());
        }
        None
    }

    /// Whether to generate a secret that the API does not generate by itself.
    pub(crate) fn wants_secret(&self) -> bool {
        let format = Format::ALL
            .into_iter()
            .find(|it| it.as_str() == self.format);
        self.secret == SecretMode::Generate && format.is_some_and(|it| !it.needs_secret())
    }
}
