//! What a webhook is told of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::format::Format;
use crate::event::{Change, Event};

/// How many projects a webhook may name.
pub const MAX_PROJECTS: usize = 10;

/// What a webhook is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Wanted {
    /// The projects, by their keys or by `CodeScoring`'s names; at most [`MAX_PROJECTS`]. An empty set stands for all.
    pub projects: BTreeSet<String>,
    /// The events. An empty set stands for those that the format tells of by default.
    pub events: BTreeSet<Event>,
    /// The format of its messages. Not every event has every format.
    pub format: Format,
}

/// The stored form. The first project has a field of its own, from the time when there could be only one. A version of the
/// product that reads only this field tells too little, rather than of all projects.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    projects: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    events: BTreeSet<Event>,
    #[serde(default)]
    format: Format,
}

impl From<Stored> for Wanted {
    fn from(stored: Stored) -> Self {
        let mut projects = stored.projects;
        projects.extend(stored.project);
        Self {
            projects,
            events: stored.events,
            format: stored.format,
        }
    }
}

impl From<Wanted> for Stored {
    fn from(wanted: Wanted) -> Self {
        let mut projects = wanted.projects;
        Self {
            project: projects.pop_first(),
            projects,
            events: wanted.events,
            format: wanted.format,
        }
    }
}

impl Wanted {
    /// The project, if there is exactly one.
    pub fn only_project(&self) -> Option<&str> {
        match self.projects.first() {
            Some(project) if self.projects.len() == 1 => Some(project),
            _ => None,
        }
    }

    /// Whether a change is included.
    pub fn includes(&self, change: &Change) -> bool {
        // Most webhooks name projects, and the name of an event has to be built first.
        if !self.projects.is_empty() && !change.is_of(&self.projects) {
            return false;
        }
        // `SonarQube` itself tells of that analysis, by its own call.
        if self.format == Format::Sonarqube && change.is_imported() {
            return false;
        }
        let event = change.event();
        if self.events.is_empty() {
            self.format.is_told_unasked(&event)
        } else {
            self.events.contains(&event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_project_is_stored_as_it_always_was() {
        for (projects, stored) in [
            (vec![], json!({"format": "reports"})),
            (vec!["a"], json!({"format": "reports", "project": "a"})),
            (
                vec!["a", "b"],
                json!({"format": "reports", "project": "a", "projects": ["b"]}),
            ),
        ] {
            let wanted = Wanted {
                projects: projects.into_iter().map(str::to_owned).collect(),
                ..Wanted::default()
            };
            assert_eq!(serde_json::to_value(&wanted).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Wanted>(stored).unwrap(), wanted);
        }
    }
}
