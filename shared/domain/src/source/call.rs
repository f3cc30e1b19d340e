//! Calls of a source, and what came of them.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use super::{Source, SourceId};
use crate::analysis::{Analysis, AnalysisChange, AnalysisEvent, MAX_KEY};
use crate::date::timestamp;
use crate::organization::OrganizationId;

/// How long calls are kept.
pub const RETENTION: Duration = Duration::days(30);

/// The header that says through how many stacks of this product a message has come.
pub const HOPS_HEADER: &str = "x-report-hops";
/// A call that has come through so many is not taken: sources and webhooks that lead in a ring would go on for ever.
pub const MAX_HOPS: u32 = 3;

crate::uuid_id! {
    /// The id of a call in its source: it follows from what the call is about, so that the same call is stored once.
    #[derive(Debug)]
    CallId
}

impl CallId {
    /// The id of a call about an analysis. `SonarQube` makes one call for each background task; those without a task differ in
    /// time, or in what they say.
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
            // With its length, so that no two lists of parts are one text.
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

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Webhooks are told of it.
    Accepted,
    /// It is about a project that the source leaves out, or was a test call.
    Ignored,
    /// It could not be read.
    Refused,
}

impl Outcome {
    /// The outcome's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// A call as it is stored, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Whom it called.
    pub source: SourceId,
    /// Its id.
    pub id: CallId,
    /// Whose source that is.
    pub org: OrganizationId,
    /// When it came, in the form of [`timestamp`].
    pub received_at: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<AnalysisEvent>,
    /// The key of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The branch, or the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The background task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Through how many stacks of this product it has come before.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub hops: u32,
    /// When it is forgotten, in Unix seconds, as DynamoDB wants it for its time to live.
    pub expires_at: i64,
}

impl Call {
    /// What a body that came at `now` is to a source.
    pub fn new(source: &Source, body: &[u8], hops: u32, now: OffsetDateTime) -> Self {
        let analysis = Analysis::read(body);
        let id = match &analysis {
            Ok(analysis) => CallId::about(analysis, body),
            Err(_) => CallId::of("body", [body]),
        };
        let (outcome, reason) = match &analysis {
            Ok(analysis) if source.includes(&analysis.project.key) => (Outcome::Accepted, None),
            Ok(_) => (Outcome::Ignored, None),
            Err(error) => (Outcome::Refused, Some(error.to_string())),
        };
        let analysis = analysis.ok();
        // What lists show. What is longer than any of SonarQube's stands in the body only.
        let of = |field: fn(&Analysis) -> Option<&str>| {
            let text = analysis.as_ref().and_then(field);
            let text = text.filter(|text| text.chars().count() <= MAX_KEY);
            text.map(str::to_owned)
        };
        Self {
            source: source.id,
            id,
            org: source.org,
            received_at: timestamp(now),
            outcome,
            reason,
            event: analysis.as_ref().map(Analysis::event),
            project: of(|it| Some(&it.project.key)),
            branch: of(Analysis::branch_name),
            task: of(|it| it.task_id.as_deref()),
            hops,
            expires_at: (now + RETENTION).unix_timestamp(),
        }
    }

    /// The same, if it was made to try a source out: webhooks are told of none of these.
    #[must_use]
    pub fn as_test(self) -> Self {
        match self.outcome {
            Outcome::Accepted => Self {
                outcome: Outcome::Ignored,
                ..self
            },
            Outcome::Ignored | Outcome::Refused => self,
        }
    }

    /// The call's key.
    pub fn key(&self) -> CallKey {
        CallKey {
            source: self.source,
            id: self.id,
        }
    }

    /// Whether its time is over, though DynamoDB may not have deleted it yet.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at <= now.unix_timestamp()
    }

    /// The change that webhooks are told of, if they are.
    pub fn change(&self, body: String) -> Option<AnalysisChange> {
        if self.outcome != Outcome::Accepted {
            return None;
        }
        let analysis = Analysis::read(body.as_bytes()).ok()?;
        Some(AnalysisChange {
            event: analysis.event(),
            org: self.org,
            source: self.source,
            call: self.id,
            received_at: self.received_at.clone(),
            hops: self.hops,
            analysis,
            payload: body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let change = accepted.change(text.clone()).unwrap();
        assert_eq!(
            (change.event, &change.payload),
            (AnalysisEvent::Completed, &text)
        );
        assert_eq!(change.stored_at(), Some(NOW));

        let ignored = Call::new(&source(&["other"]), body, 0, NOW);
        assert_eq!(
            (ignored.outcome, ignored.id),
            (Outcome::Ignored, accepted.id)
        );
        assert_eq!(ignored.change(text), None);
        let refused = Call::new(&source(&[]), b"{", 0, NOW);
        assert_eq!(refused.outcome, Outcome::Refused);
        assert!(refused.reason.unwrap().contains("not JSON"));
        assert_eq!(refused.project, None);
    }
}
