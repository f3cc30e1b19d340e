//! Analyses of projects, as `SonarQube` reports them in its webhook calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::date::GivenDate;
use crate::source::call::Arrival;

/// What can happen to an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AnalysisEvent {
    /// A background task has ended, whether it succeeded or failed. The call has a `taskId`.
    #[serde(rename = "analysis.completed")]
    Completed,
    /// Somebody has changed issues, and so the quality gate of a finished analysis. The call has no `taskId`.
    #[serde(rename = "quality_gate.changed")]
    GateChanged,
}

impl AnalysisEvent {
    /// Every event.
    pub const ALL: [Self; 2] = [Self::Completed, Self::GateChanged];

    /// The event's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "analysis.completed",
            Self::GateChanged => "quality_gate.changed",
        }
    }
}

/// The longest key of a project, in characters (`ComponentKeys` in `SonarQube`'s source).
pub const MAX_KEY: usize = 400;

/// What a call of `SonarQube` says of an analysis. It has only the fields that are used here, so fields that a version adds
/// or removes do not matter (`WebhookPayloadFactoryImpl` in `SonarQube`'s source).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The background task. A call about a quality gate has none.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub task_id: Option<String>,
    /// How the task ended: `SUCCESS` or `FAILED`.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub status: Option<String>,
    /// When the analysis was made, as the call writes it. A task that failed early has no date.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub analysed_at: Option<String>,
    /// When the event happened, as the call writes it.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub changed_at: Option<String>,
    /// The project.
    pub project: Project,
    /// The branch.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub branch: Option<Branch>,
    /// The scanner's properties whose names begin with `sonar.analysis.`.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub properties: Option<BTreeMap<String, String>>,
}

/// A project, as a call names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// Its key.
    pub key: String,
}

/// A branch, as a call names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Branch {
    /// Its name, or the key of a pull request.
    #[serde(default, deserialize_with = "crate::lenient")]
    pub name: Option<String>,
    /// Whether it is the main one.
    #[serde(default, rename = "isMain", deserialize_with = "crate::lenient")]
    pub is_main: Option<bool>,
    /// `BRANCH` or `PULL_REQUEST`; on Cloud and old servers also `LONG` or `SHORT`.
    #[serde(default, rename = "type", deserialize_with = "crate::lenient")]
    pub kind: Option<String>,
}

/// Why a body is not a call of `SonarQube`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum NoAnalysis {
    #[error("the body is not JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("project.key has more than {MAX_KEY} characters")]
    KeyTooLong,
    #[error("the body has no project.key")]
    NoProject,
}

impl Analysis {
    /// Reads the body of a call.
    pub fn read(body: &[u8]) -> Result<Self, NoAnalysis> {
        // This also refuses a body that is not UTF-8.
        let value: serde_json::Value = serde_json::from_slice(body).map_err(NoAnalysis::NoJson)?;
        let analysis: Self = serde_json::from_value(value).map_err(|_| NoAnalysis::NoProject)?;
        match analysis.project.key.as_str() {
            "" => Err(NoAnalysis::NoProject),
            key if key.chars().count() > MAX_KEY => Err(NoAnalysis::KeyTooLong),
            _ => Ok(analysis),
        }
    }

    /// The event that the call reports.
    pub fn event(&self) -> AnalysisEvent {
        match self.task_id {
            Some(_) => AnalysisEvent::Completed,
            None => AnalysisEvent::GateChanged,
        }
    }

    /// Whether the task failed. Then there is no analysis.
    pub fn has_failed(&self) -> bool {
        self.status.as_deref() == Some("FAILED")
    }

    /// Whether it is an analysis of a pull request rather than of a branch.
    pub fn is_of_pull_request(&self) -> bool {
        let kind = self.branch.as_ref().and_then(|it| it.kind.as_deref());
        kind == Some("PULL_REQUEST")
    }

    /// When the analysis was made; `None` when the text is not a date.
    pub fn date(&self) -> Option<GivenDate> {
        self.analysed_at.as_deref()?.parse().ok()
    }

    /// The branch's name; `None` for the main branch. So the question also works for an edition without branches.
    pub fn branch_unless_main(&self) -> Option<&str> {
        let is_main = self.branch.as_ref().and_then(|it| it.is_main) == Some(true);
        self.branch_name().filter(|_| !is_main)
    }

    /// The branch's name, or the key of the pull request.
    pub fn branch_name(&self) -> Option<&str> {
        self.branch.as_ref()?.name.as_deref()
    }
}

/// What identifies an analysis, however we learn of it. `SonarQube`'s own call says more of an analysis than a report that
/// somebody publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The project's key.
    pub project: &'a str,
    /// The branch; `None` when the publisher names none.
    pub branch: Option<&'a str>,
    /// Whether that is the main branch. A publisher may leave the main branch unnamed.
    pub is_main: bool,
    /// The background task.
    pub task: Option<&'a str>,
    /// When the analysis was made, in Unix seconds.
    pub date: Option<i64>,
}

impl Identity<'_> {
    /// The keys that identify the analysis, the most reliable first. Two different analyses of a project share no key.
    pub fn keys(&self) -> Vec<String> {
        let key = |parts: &[&str]| {
            let mut digest = Sha256::new();
            for part in parts.iter().chain([&self.project]) {
                digest.update(part.len().to_be_bytes());
                digest.update(part);
            }
            hex::encode(&digest.finalize()[..16])
        };
        // A task belongs to one branch, whatever its publisher calls the branch.
        let mut keys: Vec<String> = self
            .task
            .map(|task| key(&["task", task]))
            .into_iter()
            .collect();
        if let Some(date) = self.date {
            let unnamed = self.is_main.then_some(None);
            let mut branches: Vec<Option<&str>> =
                [self.branch].into_iter().chain(unnamed).collect();
            branches.dedup();
            let date = date.to_string();
            keys.extend(branches.into_iter().map(|branch| match branch {
                None => key(&["date", &date]),
                Some(branch) => key(&["date", &date, branch]),
            }));
        }
        keys
    }
}

impl Analysis {
    /// The identity of the analysis that a call is about.
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            project: &self.project.key,
            branch: self.branch_name(),
            is_main: self
                .branch
                .as_ref()
                .is_some_and(|it| it.is_main == Some(true)),
            task: self.task_id.as_deref(),
            date: self.date().map(|date| date.instant().unix_timestamp()),
        }
    }
}

/// A call that webhooks are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalysisChange {
    /// What happened.
    pub event: AnalysisEvent,
    /// By which call.
    pub arrival: Arrival,
    /// What it says.
    pub analysis: Analysis,
    /// The body, byte for byte as it came.
    pub payload: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whole() -> serde_json::Value {
        json!({
            "serverUrl": "https://sonarqube.example", "taskId": "AZT", "status": "SUCCESS",
            "analysedAt": "2026-02-10T10:51:17+0100", "revision": "c0ffee", "changedAt": "2026-02-10T10:51:18+0100",
            "project": {"key": "acme:shop", "name": "Shop", "url": "https://sonarqube.example/dashboard?id=acme:shop"},
            "branch": {"name": "main", "type": "LONG", "isMain": true, "url": "https://sonarqube.example/dashboard"},
            "qualityGate": {"name": "Sonar way", "status": "OK", "conditions": [{"metric": "m", "onLeakPeriod": true}]},
            "properties": {"sonar.analysis.build": "7"}, "unheardOf": [1],
        })
    }

    fn read(value: &serde_json::Value) -> Analysis {
        Analysis::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_call_is_read_whatever_it_lacks_but_the_project() {
        let analysis = read(&whole());
        assert_eq!(analysis.event(), AnalysisEvent::Completed);
        assert_eq!(analysis.project.key, "acme:shop");
        assert_eq!(analysis.branch_name(), Some("main"));
        for field in whole().as_object().unwrap().keys() {
            for strange in [None, Some(json!(null)), Some(json!(7)), Some(json!([[]]))] {
                let mut call = whole();
                match strange {
                    None => drop(call.as_object_mut().unwrap().remove(field)),
                    Some(strange) => call[field] = strange,
                }
                let result = Analysis::read(call.to_string().as_bytes());
                match field.as_str() {
                    "project" => assert!(matches!(result, Err(NoAnalysis::NoProject)), "{call}"),
                    "taskId" => assert_eq!(result.unwrap().event(), AnalysisEvent::GateChanged),
                    _ => assert_eq!(result.unwrap().event(), AnalysisEvent::Completed),
                }
            }
        }
        let mut call = whole();
        call["branch"]["name"] = json!(null);
        assert_eq!(read(&call).branch_name(), None);
        call["project"]["key"] = json!("");
        assert!(Analysis::read(call.to_string().as_bytes()).is_err());
    }

    #[test]
    fn what_a_publisher_may_leave_out_is_no_other_analysis() {
        let relayed = read(&whole());
        let keys = relayed.identity().keys();
        assert_eq!(
            keys.len(),
            3,
            "by task, and by date with the branch and without"
        );
        let published = Identity {
            project: "acme:shop",
            branch: None,
            is_main: false,
            task: None,
            date: Some(1_770_717_077),
        };
        let named = Identity {
            branch: Some("main"),
            ..published.clone()
        };
        let of_task = Identity {
            task: Some("AZT"),
            ..named.clone()
        };
        for identity in [&published, &named, &of_task] {
            assert!(keys.contains(&identity.keys()[0]), "{identity:?}");
        }
        for other in [
            Identity {
                project: "acme",
                ..named.clone()
            },
            Identity {
                branch: Some("other"),
                ..named.clone()
            },
            Identity {
                date: Some(1_770_717_078),
                ..named.clone()
            },
            Identity {
                task: Some("AZU"),
                date: None,
                ..named.clone()
            },
        ] {
            assert!(!keys.contains(&other.keys()[0]), "{other:?}");
        }
        let mut of_branch = whole();
        of_branch["branch"]["isMain"] = json!(false);
        let keys = read(&of_branch).identity().keys();
        assert!(keys.contains(&named.keys()[0]) && !keys.contains(&published.keys()[0]));
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        for body in [
            &b""[..],
            b"{",
            b"\xff",
            b"{}x",
            b"{\"project\": {\"key\": \"\xff\"}}",
        ] {
            assert!(matches!(Analysis::read(body), Err(NoAnalysis::NoJson(_))));
        }
        let escaped = br#"{"project":{"key":"a\u0026b"},"taskId":"\u0027"}"#;
        assert_eq!(Analysis::read(escaped).unwrap().project.key, "a&b");
    }
}
