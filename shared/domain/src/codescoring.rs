//! The events that `CodeScoring` reports by its webhooks (its documentation, "Webhooks").

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::analysis::MAX_KEY;
use crate::source::call::Arrival;

/// The header with the token. The token alone proves who calls.
pub const TOKEN_HEADER: &str = "x-codescoring-authentication";
/// `CodeScoring` gathers the events of this period into one call.
pub const WINDOW: Duration = Duration::from_secs(5);
/// How many events a call may have. `CodeScoring` gathers failed calls into one, and 10,000 of the shortest events are a
/// megabyte.
pub const MAX_EVENTS: usize = 10_000;
/// The largest event, in bytes: as large as a call of `SonarQube`. A usual event has some hundred bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// What precedes the trigger in the name of the event.
const PREFIX: &str = "codescoring.";
/// The trigger of a test call.
const TEST: &str = "test";
/// The trigger that replaces one whose name is not valid.
const UNKNOWN: &str = "unknown";
/// The longest name of a trigger, in characters. The longest known name has 43.
const MAX_TRIGGER: usize = 100;

/// The documented triggers.
pub const TRIGGERS: [&str; 31] = [
    "sca_policy_has_been_triggered",
    "osa_policy_has_been_triggered",
    "project_sca_analysis_started",
    "project_sca_analysis_finished",
    "project_sca_analysis_cancelled",
    "project_sca_analysis_failed",
    "container_image_sca_analysis_started",
    "container_image_sca_analysis_finished",
    "container_image_sca_analysis_cancelled",
    "container_image_sca_analysis_failed",
    "clones_analysis_started",
    "clones_analysis_finished",
    "clones_analysis_cancelled",
    "clones_analysis_failed",
    "authors_analysis_started",
    "authors_analysis_finished",
    "authors_analysis_failed",
    "authors_analysis_cancelled",
    "cloning_of_repository_started",
    "cloning_of_repository_finished",
    "cloning_of_repository_failed",
    "project_secrets_analysis_started",
    "project_secrets_analysis_finished",
    "project_secrets_analysis_cancelled",
    "project_secrets_analysis_failed",
    "ml_model_user_secrets_training_run_started",
    "ml_model_user_secrets_training_run_finished",
    "ml_model_user_secrets_training_run_cancelled",
    "ml_model_user_secrets_training_run_failed",
    "ml_model_user_secrets_accepted",
    "ml_model_user_secrets_purged",
];

/// Something that can happen in `CodeScoring`, named by its trigger. New versions of `CodeScoring` add triggers, so a trigger
/// need not be a known one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trigger(String);

/// The text is not the name of an event of `CodeScoring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not begin with '{PREFIX}'")]
pub struct NoTrigger;

impl Trigger {
    /// Every documented trigger.
    pub fn all() -> impl Iterator<Item = Self> {
        TRIGGERS.into_iter().map(Self::named)
    }

    /// The trigger with this name. A name has letters, digits, `_`, `-` and `.`, since it stands in a header and in lists of
    /// names. Any other text becomes the trigger `unknown`, so that the event is not lost.
    pub fn named(name: &str) -> Self {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_name = (1..=MAX_TRIGGER).contains(&name.len()) && name.chars().all(is_letter);
        Self(format!("{PREFIX}{}", if is_name { name } else { UNKNOWN }))
    }

    /// The name of the event: `codescoring.` and the trigger.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trigger, as `CodeScoring` calls it.
    pub fn name(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// Whether it is the trigger of a test call.
    pub(crate) fn is_test(&self) -> bool {
        self.name() == TEST
    }
}

impl TryFrom<String> for Trigger {
    type Error = NoTrigger;

    fn try_from(text: String) -> Result<Self, NoTrigger> {
        match text.starts_with(PREFIX) {
            true => Ok(Self(text)),
            false => Err(NoTrigger),
        }
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> Self {
        trigger.0
    }
}

/// The project of an event, if the event has one. Most projects have a name and a number, some only a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Project {
    #[serde(rename = "project_name", default, deserialize_with = "name")]
    name: Option<String>,
    #[serde(rename = "project_id", default, deserialize_with = "id")]
    id: Option<String>,
}

impl Project {
    /// The names that identify the project, the name first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name, &self.id].into_iter().flatten().map(|it| &**it)
    }

    /// The project's name.
    pub fn name(&self) -> Option<&str> {
        self.names().next()
    }
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = crate::lenient(deserializer)?;
    Ok(text.and_then(shown))
}

fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id: Option<Id> = crate::lenient(deserializer)?;
    Ok(id.and_then(|id| match id {
        Id::Number(number) => Some(number.to_string()),
        Id::Text(text) => shown(text),
    }))
}

/// Drops a longer text. It can match no filter, and would fill lists.
fn shown(text: String) -> Option<String> {
    let is_good = !text.is_empty() && text.chars().count() <= MAX_KEY;
    is_good.then_some(text)
}

/// The id of a project: a number today, perhaps not always.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// An event of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodescoringEvent<'a> {
    /// What happened.
    pub trigger: Trigger,
    /// The project.
    pub project: Project,
    /// The event as it stands in the call, a JSON object.
    pub text: &'a str,
}

impl CodescoringEvent<'_> {
    /// Whether it is an event of a test call, which reports nothing.
    pub fn is_test(&self) -> bool {
        self.trigger.is_test()
    }
}

/// Why a body is not a call of `CodeScoring`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum NoEvents {
    #[error("the body is not UTF-8")]
    NoText,
    #[error("the body is not JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("the body has no array 'events'")]
    NoArray,
    #[error("the body has {0} events and may have {MAX_EVENTS}")]
    TooMany(usize),
}

/// Why an element of a call cannot be passed on as an event. The call's other events are passed on, since each repeat of the
/// call would have the same fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum NoEvent {
    #[error("is no object")]
    NoObject,
    #[error("has more than {MAX_EVENT_BYTES} bytes")]
    TooLarge,
}

/// Reads the body of a call. Of each event it reads only the trigger and the project. Both may be missing.
pub fn events(body: &[u8]) -> Result<Vec<Result<CodescoringEvent<'_>, NoEvent>>, NoEvents> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let text = std::str::from_utf8(body).map_err(|_| NoEvents::NoText)?;
    // serde would take an array for the fields in their order.
    if text.trim_start().starts_with('[') {
        return Err(NoEvents::NoArray);
    }
    let Body { events } = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => NoEvents::NoArray,
        _ => NoEvents::NoJson(error),
    })?;
    if events.len() > MAX_EVENTS {
        return Err(NoEvents::TooMany(events.len()));
    }
    Ok(events.into_iter().map(|it| event(it.get())).collect())
}

fn event(text: &str) -> Result<CodescoringEvent<'_>, NoEvent> {
    #[derive(Default, Deserialize)]
    struct Event<'a> {
        #[serde(default, deserialize_with = "crate::lenient")]
        trigger: Option<String>,
        // The payload as it stands: whatever it holds, the trigger is known.
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    if !text.starts_with('{') {
        return Err(NoEvent::NoObject);
    }
    if text.len() > MAX_EVENT_BYTES {
        return Err(NoEvent::TooLarge);
    }
    let event: Event<'_> = serde_json::from_str(text).unwrap_or_default();
    let payload = event.payload.map(RawValue::get);
    // serde would take an array for the fields in their order.
    let payload = payload.filter(|payload| payload.starts_with('{'));
    let project = payload.and_then(|payload| serde_json::from_str(payload).ok());
    Ok(CodescoringEvent {
        trigger: Trigger::named(&event.trigger.unwrap_or_default()),
        project: project.unwrap_or_default(),
        text,
    })
}

/// An event that webhooks are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodescoringChange {
    /// What happened.
    pub trigger: Trigger,
    /// The project.
    pub project: Project,
    /// By which call.
    pub arrival: Arrival,
    /// Where the event stands in the call, from 0.
    pub position: u32,
    /// The event as it stands in the call.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_for_its_trigger_and_project_and_kept_as_it_is() {
        let body = r#" {"more": 1, "events":[ {"trigger" : "test","payload":{}},
            {"created_at":"x","trigger":"project_sca_analysis_finished","payload":{"project_id":7,"project_name":"Shop\u0026"}},
            {"trigger":"new_one","payload":{"project_id":8,"project_name":""}}, {"trigger":["a"],"payload":["b", 9]}, {},
            {"trigger":"of_text","payload":{"project_id":"A7"}} ]}"#;
        let events = events(body.as_bytes()).unwrap();
        let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
        let read: Vec<_> = events
            .iter()
            .map(|it| (it.trigger.as_str(), it.project.names().collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            read,
            [
                ("codescoring.test", vec![]),
                (
                    "codescoring.project_sca_analysis_finished",
                    vec!["Shop&", "7"]
                ),
                ("codescoring.new_one", vec!["8"]),
                ("codescoring.unknown", vec![]),
                ("codescoring.unknown", vec![]),
                ("codescoring.of_text", vec!["A7"]),
            ]
        );
        assert!(events[0].is_test() && !events[1].is_test());
        assert_eq!(events[0].text, r#"{"trigger" : "test","payload":{}}"#);
    }

    #[test]
    fn a_name_that_could_not_stand_in_a_header_is_unknown() {
        let longest = "a".repeat(MAX_TRIGGER);
        for name in ["a", "A-1_b.c", &longest] {
            assert_eq!(Trigger::named(name).name(), name);
        }
        let longer = "a".repeat(MAX_TRIGGER + 1);
        for name in ["", "a b", "a,b", "ä", "a\n", &longer] {
            assert_eq!(Trigger::named(name).name(), UNKNOWN, "{name:?}");
        }
    }

    #[test]
    fn what_is_no_call_says_why() {
        let many = |count| format!("{{\"events\":[{}]}}", vec!["{}"; count].join(","));
        let large = |length| {
            let frame = r#"{"a":""}"#.len();
            format!(
                r#"{{"events":[{{}},{{"a":"{}"}}]}}"#,
                "a".repeat(length - frame)
            )
        };
        assert_eq!(
            events(many(MAX_EVENTS).as_bytes()).unwrap().len(),
            MAX_EVENTS
        );
        let of = |body: &str| events(body.as_bytes()).unwrap().pop().unwrap().map(|_| ());
        assert_eq!(of(&large(MAX_EVENT_BYTES)), Ok(()));
        assert_eq!(of(&large(MAX_EVENT_BYTES + 1)), Err(NoEvent::TooLarge));
        assert_eq!(of(r#"{"events":[{},[]]}"#), Err(NoEvent::NoObject));
        for (body, reason) in [
            ("", "the body is not JSON"),
            ("{\"events\":[}", "the body is not JSON"),
            ("{}", "no array 'events'"),
            ("[[{}]]", "no array 'events'"),
            (r#"{"events":{}}"#, "no array 'events'"),
            (&many(MAX_EVENTS + 1), "10001 events and may have 10000"),
        ] {
            let error = events(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(matches!(
            events(b"{\"events\":[\"\xff\"]}"),
            Err(NoEvents::NoText)
        ));
        let deep = format!(
            r#"{{"events":[{{"trigger":"t","payload":{}1{}}}]}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let [Ok(deep)] = &events(deep.as_bytes()).unwrap()[..] else {
            panic!("it is one");
        };
        assert_eq!((deep.trigger.name(), deep.project.name()), ("t", None));
    }
}
