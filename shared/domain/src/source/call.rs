//! Calls of a source, and what became of them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::import::{Import, Watched};
use super::{Source, SourceId, SourceKind};
use crate::analysis::{Analysis, AnalysisChange, AnalysisEvent, MAX_KEY, NoAnalysis};
use crate::codescoring::{self, CodescoringChange, CodescoringEvent, NoEvents};
use crate::date::{GivenDate, timestamp};
use crate::event::{Change, Event};
use crate::organization::OrganizationId;

/// How long calls are kept.
pub const RETENTION: Duration = Duration::days(30);

/// The header that counts the stacks of this product that a message came through.
pub const HOPS_HEADER: &str = "x-report-hops";
/// A call that came through this many stacks is refused. Otherwise sources and webhooks that form a ring would never stop.
pub const MAX_HOPS: u32 = 3;

crate::uuid_id! {
    /// The id of a call in its source. It is derived from what the call is about, so that a repeated call is stored once.
    #[derive(Debug)]
    CallId
}

impl CallId {
    /// The id of a call about an analysis. `SonarQube` makes one call for each background task. Calls without a task differ
    /// in their time or in their content.
    fn about(analysis: &Analysis, body: &[u8]) -> Self {
        let Some(task) = &analysis.task_id else {
            let parts = [
                Some(analysis.project.key.as_str()),
                analysis.branch_name(),
                analysis.analysed_at.as_deref(),
                analysis.changed_at.as_deref(),
            ];
            let parts = parts.map(|part| part.unwrap_or_default().as_bytes());
            return Self::of("gate", parts.into_iter().chain([body]));
        };
        Self::of("task", [task.as_bytes()])
    }

    fn of<'a>(what: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        digest.update(what);
        for part in parts {
            // With its length, so that two different lists of parts never make one text.
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let bits = digest.first_chunk().expect("it is longer");
        Self(uuid::Builder::from_custom_bytes(*bits).into_uuid())
    }
}

/// The key of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Call")]
pub struct CallKey {
    pub source: SourceId,
    pub id: CallId,
}

/// By which call something came that webhooks are to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Call")]
pub struct Arrival {
    pub org: OrganizationId,
    pub source: SourceId,
    pub call: CallId,
    pub received_at: String,
    pub hops: u32,
}

impl Arrival {
    /// When the call was stored, unless somebody has written that by hand and it is no time.
    pub fn stored_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.received_at, &Rfc3339).ok()
    }
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Webhooks are told of it.
    Accepted,
    /// It is about projects that the source leaves out, or it is a test call.
    Ignored,
    /// It could not be read.
    Refused,
    /// Nobody called: the server was asked, and it has an analysis that it never reported. Webhooks are told of its reports.
    Found,
}

impl Outcome {
    const fn accepted_if(is_told: bool) -> Self {
        match is_told {
            true => Self::Accepted,
            false => Self::Ignored,
        }
    }

    /// The outcome's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Found => "found",
        }
    }
}

/// A call as it is stored, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The source that was called.
    pub source: SourceId,
    /// Its id.
    pub id: CallId,
    /// The organization of the source.
    pub org: OrganizationId,
    /// The kind of server that calls the source.
    #[serde(default)]
    pub kind: SourceKind,
    /// When it came, in the form of [`timestamp`].
    pub received_at: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused, or what is wrong with an event while the others are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The event, when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// How many events it has, if its kind may have several.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub events: u32,
    /// The positions of the events that nobody is told of. The source leaves out their projects, they are test events, or
    /// they are not events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<u32>,
    /// The project, if the call is about one: its key, or `CodeScoring`'s name of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The branch, or the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The background task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The state of the import of its reports, if there is to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
    /// How many stacks of this product it came through before.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub hops: u32,
    /// When it expires, in Unix seconds, for DynamoDB's time to live.
    pub expires_at: i64,
}

/// An analysis that the server has not reported.
#[derive(Clone, Copy, Debug)]
pub struct Missed<'a> {
    /// The branch.
    pub of: &'a Watched,
    /// The analysis' key.
    pub analysis: &'a str,
    /// When it was made.
    pub date: &'a GivenDate,
}

/// The recorded part of a body.
struct Told {
    id: CallId,
    outcome: Outcome,
    reason: Option<String>,
    event: Option<Event>,
    events: u32,
    left_out: Vec<u32>,
    project: Option<String>,
    branch: Option<String>,
    task: Option<String>,
    import: Option<Import>,
}

impl Told {
    /// A body that cannot be read.
    fn refused(body: &[u8], reason: &impl ToString) -> Self {
        Self {
            id: CallId::of("body", [body]),
            outcome: Outcome::Refused,
            reason: Some(reason.to_string()),
            event: None,
            events: 0,
            left_out: Vec::new(),
            project: None,
            branch: None,
            task: None,
            import: None,
        }
    }

    fn of_analysis(source: &Source, body: &[u8], now: OffsetDateTime) -> Self {
        let analysis = match Analysis::read(body) {
            Ok(analysis) => analysis,
            Err(error) => return Self::refused(body, &error),
        };
        // The fields that lists show. A value that is longer than any of SonarQube's stands in the body only.
        let shown = |text: Option<&str>| {
            let text = text.filter(|text| text.chars().count() <= MAX_KEY);
            text.map(str::to_owned)
        };
        let is_included = source.includes(&analysis.project.key);
        let importing = source.importing().filter(|_| is_included);
        Self {
            id: CallId::about(&analysis, body),
            outcome: Outcome::accepted_if(is_included),
            reason: None,
            event: Some(Event::Analysis(analysis.event())),
            events: 0,
            left_out: Vec::new(),
            project: shown(Some(&analysis.project.key)),
            branch: shown(analysis.branch_name()),
            task: shown(analysis.task_id.as_deref()),
            import: importing.map(|it| it.plan(&analysis, now)),
        }
    }

    fn of_events(source: &Source, body: &[u8]) -> Self {
        let events = match codescoring::events(body) {
            Ok(events) => events,
            Err(error) => return Self::refused(body, &error),
        };
        let no_event = (0..).zip(&events).find_map(|(position, event): (u32, _)| {
            let error = event.as_ref().err()?;
            Some(format!("events[{position}] {error}"))
        });
        let is_told = |event: &Result<CodescoringEvent<'_>, _>| {
            let event = event.as_ref().ok();
            event.is_some_and(|it| !it.is_test() && source.includes_any(it.project.names()))
        };
        let left_out = (0..).zip(&events).filter(|(_, event)| !is_told(event));
        let left_out: Vec<u32> = left_out.map(|(position, _)| position).collect();
        let is_told = left_out.len() < events.len();
        let good = || events.iter().flatten();
        if let Some(reason) = &no_event
            && good().next().is_none()
        {
            return Self::refused(body, reason);
        }
        let event = good().map(|it| &it.trigger).next();
        let project = good().next().and_then(|it| it.project.name());
        let has_other_event = good().any(|it| Some(&it.trigger) != event);
        let has_other_project = good().any(|it| it.project.name() != project);
        Self {
            id: CallId::of("events", [body]),
            outcome: Outcome::accepted_if(is_told),
            reason: no_event,
            event: event
                .filter(|_| !has_other_event)
                .cloned()
                .map(Event::Codescoring),
            events: u32::try_from(events.len()).unwrap_or(u32::MAX),
            // If nobody is told of the call, all its events are left out.
            left_out: if is_told { left_out } else { Vec::new() },
            project: project.filter(|_| !has_other_project).map(str::to_owned),
            branch: None,
            task: None,
            import: None,
        }
    }
}

impl Call {
    /// The call of a source with a body that came at `now`.
    pub fn new(source: &Source, body: &[u8], hops: u32, now: OffsetDateTime) -> Self {
        let told = match source.kind {
            SourceKind::Sonarqube => Told::of_analysis(source, body, now),
            SourceKind::Codescoring => Told::of_events(source, body),
        };
        Self {
            source: source.id,
            id: told.id,
            org: source.org,
            kind: source.kind,
            received_at: timestamp(now),
            outcome: told.outcome,
            reason: told.reason,
            event: told.event,
            events: told.events,
            left_out: told.left_out,
            project: told.project,
            branch: told.branch,
            task: told.task,
            import: told.import,
            hops,
            expires_at: (now + RETENTION).unix_timestamp(),
        }
    }

    /// A call for an analysis that the server never reported. The analysis is the newest of its branch, with this key and
    /// date. Gives the call and a body, which says what `SonarQube`'s own call would say.
    pub fn found(source: &Source, missed: &Missed<'_>, now: OffsetDateTime) -> (Self, String) {
        let (date, project) = (missed.date.as_str(), &missed.of.project);
        let branch = missed.of.named();
        let body = serde_json::json!({
            "status": "SUCCESS", "analysedAt": date, "project": {"key": project},
            "branch": branch.as_ref().map(|it| serde_json::json!({"name": it.name, "isMain": it.is_main})),
        })
        .to_string();
        let call = Self {
            source: source.id,
            id: CallId::of("found", [project.as_bytes(), missed.analysis.as_bytes()]),
            org: source.org,
            kind: source.kind,
            received_at: timestamp(now),
            outcome: Outcome::Found,
            reason: None,
            event: Some(Event::Analysis(AnalysisEvent::Completed)),
            events: 0,
            left_out: Vec::new(),
            project: Some(project.clone()),
            branch: branch.and_then(|it| it.name),
            task: None,
            import: Some(Import::pending(now)),
            hops: 0,
            expires_at: (now + RETENTION).unix_timestamp(),
        };
        (call, body)
    }

    /// The call as a test of the source. Webhooks are not told of it.
    #[must_use]
    pub fn as_test(self) -> Self {
        match self.outcome {
            Outcome::Accepted => Self {
                outcome: Outcome::Ignored,
                import: None,
                ..self
            },
            Outcome::Ignored | Outcome::Refused | Outcome::Found => self,
        }
    }

    /// The call's key.
    pub fn key(&self) -> CallKey {
        CallKey {
            source: self.source,
            id: self.id,
        }
    }

    /// Whether it has expired. DynamoDB deletes expired items only later.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at <= now.unix_timestamp()
    }

    /// Whether the call itself says that it is only a test, as those of `CodeScoring` do.
    pub fn is_trial(&self) -> bool {
        matches!(&self.event, Some(Event::Codescoring(trigger)) if trigger.is_test())
    }

    /// The changes that webhooks are told of, if they are told.
    ///
    /// # Errors
    /// The call was accepted, but its body cannot be read any more. Either the rules have changed, or somebody has changed
    /// the body.
    pub fn changes(&self, body: String) -> Result<Vec<Change>, Unreadable> {
        Ok(match (self.outcome, self.kind) {
            (Outcome::Ignored | Outcome::Refused | Outcome::Found, _) => Vec::new(),
            (Outcome::Accepted, SourceKind::Sonarqube) => vec![self.analysis(body)?.into()],
            (Outcome::Accepted, SourceKind::Codescoring) => {
                self.events(&body)?.map(Change::from).collect()
            }
        })
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            org: self.org,
            source: self.source,
            call: self.id,
            received_at: self.received_at.clone(),
            hops: self.hops,
        }
    }

    fn analysis(&self, body: String) -> Result<AnalysisChange, NoAnalysis> {
        let analysis = Analysis::read(body.as_bytes())?;
        Ok(AnalysisChange {
            event: analysis.event(),
            arrival: self.arrival(),
            analysis,
            payload: body,
        })
    }

    fn events(&self, body: &str) -> Result<impl Iterator<Item = CodescoringChange>, NoEvents> {
        let events = codescoring::events(body.as_bytes())?;
        let left_out: HashSet<u32> = self.left_out.iter().copied().collect();
        let told = (0..)
            .zip(events)
            .filter(move |(position, _)| !left_out.contains(position));
        Ok(told.filter_map(|(position, event)| {
            let event = event.ok()?;
            Some(CodescoringChange {
                trigger: event.trigger,
                project: event.project,
                arrival: self.arrival(),
                position,
                text: event.text.to_owned(),
            })
        }))
    }
}

/// Why the changes of an accepted call cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum Unreadable {
    #[error(transparent)]
    Analysis(#[from] NoAnalysis),
    #[error(transparent)]
    Events(#[from] NoEvents),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::AnalysisEvent;
    use serde_json::{Value, json};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn source(projects: &[&str]) -> Source {
        serde_json::from_value(json!({
            "id": "00000000-0000-4000-8000-000000000001", "org": "00000000-0000-0000-0000-000000000001",
            "revision": 1, "kind": "sonarqube", "name": "Ours", "projects": projects, "enabled": true,
            "secret": "a secret of sixteen", "createdAt": timestamp(NOW), "updatedAt": timestamp(NOW),
        }))
        .unwrap()
    }

    fn call(body: &Value) -> Call {
        Call::new(&source(&[]), body.to_string().as_bytes(), 0, NOW)
    }

    #[test]
    fn the_same_call_has_the_same_id() {
        let of_task = json!({"taskId": "AZ1", "project": {"key": "a"}, "changedAt": "1"});
        let mut again = of_task.clone();
        again["changedAt"] = json!("2");
        assert_eq!(call(&of_task).id, call(&again).id);
        again["taskId"] = json!("AZ2");
        assert_ne!(call(&of_task).id, call(&again).id);

        let gate = json!({"project": {"key": "a"}, "branch": {"name": "b"}, "analysedAt": "1", "changedAt": "2"});
        assert_eq!(call(&gate).id, call(&gate).id);
        let changes = [
            ("project", json!({"key": "b"})),
            ("branch", json!({"name": "c"})),
            ("analysedAt", json!("2")),
            ("changedAt", json!("3")),
            ("status", json!("ERROR")),
        ];
        for (field, value) in changes {
            let mut other = gate.clone();
            other[field] = value;
            assert_ne!(call(&gate).id, call(&other).id, "{field}");
        }
    }

    #[test]
    fn a_call_is_accepted_ignored_or_refused() {
        let body = br#"{"taskId":"AZ1","project":{"key":"acme:shop"},"branch":{"name":"main"}}"#;
        let accepted = Call::new(&source(&["acme:*"]), body, 0, NOW);
        assert_eq!(accepted.outcome, Outcome::Accepted);
        assert_eq!(
            (
                accepted.project.as_deref(),
                accepted.branch.as_deref(),
                accepted.task.as_deref()
            ),
            (Some("acme:shop"), Some("main"), Some("AZ1"))
        );
        let text = String::from_utf8(body.to_vec()).unwrap();
        let [Change::Analysis(change)] = &accepted.changes(text.clone()).unwrap()[..] else {
            panic!("it is one, of an analysis");
        };
        assert_eq!(
            (change.event, &change.payload),
            (AnalysisEvent::Completed, &text)
        );
        assert_eq!(change.arrival.stored_at(), Some(NOW));

        let ignored = Call::new(&source(&["other"]), body, 0, NOW);
        assert_eq!(
            (ignored.outcome, ignored.id),
            (Outcome::Ignored, accepted.id)
        );
        assert_eq!(ignored.changes(text).unwrap(), []);
        assert!(
            accepted.changes("{}".to_owned()).is_err(),
            "it is not what it was"
        );
        let refused = Call::new(&source(&[]), b"{", 0, NOW);
        assert_eq!(refused.outcome, Outcome::Refused);
        assert!(refused.reason.unwrap().contains("not JSON"));
        assert_eq!(refused.project, None);
    }

    fn source_of_codescoring(projects: &[&str]) -> Source {
        Source {
            kind: SourceKind::Codescoring,
            ..source(projects)
        }
    }

    #[test]
    fn a_call_with_several_events_is_as_many_changes() {
        let body = r#"{"events":[{"trigger":"clones_analysis_started","payload":{"project_id":7,"project_name":"Shop"}},
            {"trigger":"test","payload":{}}, {"trigger":"sca_policy_has_been_triggered","payload":{"project_id":8}},
            {"trigger":"ml_model_user_secrets_purged","payload":{}}]}"#;
        for (projects, told) in [
            (&[][..], vec![0, 2, 3]),
            (&["Shop"], vec![0]),
            (&["7", "8"], vec![0, 2]),
            (&["Sh*", "8"], vec![0, 2]),
            (&["*"], vec![0, 2]),
            (&["Other"], vec![]),
        ] {
            let call = Call::new(&source_of_codescoring(projects), body.as_bytes(), 1, NOW);
            assert_eq!(call.outcome, Outcome::accepted_if(!told.is_empty()));
            assert_eq!((call.events, &call.event, &call.project), (4, &None, &None));
            let changes = call.changes(body.to_owned()).unwrap();
            let positions = changes.iter().map(|change| match change {
                Change::Codescoring(change) => (change.position, change.arrival.hops),
                _ => panic!("it is none of CodeScoring"),
            });
            let told = told.into_iter().map(|position| (position, 1));
            assert!(positions.eq(told), "{projects:?}");
            let stored = serde_json::to_string(&call).unwrap();
            assert_eq!(serde_json::from_str::<Call>(&stored).unwrap(), call);
        }
    }

    #[test]
    fn what_events_have_in_common_is_shown() {
        let of = |body: &str| Call::new(&source_of_codescoring(&[]), body.as_bytes(), 0, NOW);
        let one = r#"{"trigger":"t","payload":{"project_id":7,"project_name":"Shop"}}"#;
        let call = of(&format!(r#"{{"events":[{one},{one}]}}"#));
        let trigger = codescoring::Trigger::named("t");
        assert_eq!(
            (call.event, call.project, call.events),
            (
                Some(Event::Codescoring(trigger)),
                Some("Shop".to_owned()),
                2
            )
        );
        let test = of(r#"{"events":[{"trigger":"test","payload":{}}]}"#);
        assert!(test.is_trial() && test.outcome == Outcome::Ignored);
        let none = of(r#"{"events":[]}"#);
        assert!(!none.is_trial() && none.outcome == Outcome::Ignored);
        let of_some = of(&format!(r#"{{"events":[7,{one}]}}"#));
        assert_eq!(
            (of_some.outcome, of_some.reason.as_deref(), of_some.left_out),
            (Outcome::Accepted, Some("events[0] is no object"), vec![0])
        );
        let of_none = of(r#"{"events":[7]}"#);
        assert_eq!(of_none.outcome, Outcome::Refused);
        let refused = of(r#"{"taskId":"AZ1","project":{"key":"a"}}"#);
        assert_eq!(refused.outcome, Outcome::Refused);
    }
}
