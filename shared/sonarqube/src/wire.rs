//! The answers of the Web API, with the fields that are used. Unknown fields are ignored, and fields that a version lacks are
//! optional.

use serde::Deserialize;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorMessage>,
}

#[derive(Deserialize)]
struct ErrorMessage {
    msg: String,
}

/// The whole message of a server's error; empty when there is none, or when it is not the server's own.
pub(crate) fn message(body: &[u8]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let messages: Vec<String> = errors.into_iter().map(|error| error.msg).collect();
    messages.join("; ")
}

#[derive(Deserialize)]
pub(crate) struct Paging {
    pub(crate) total: u64,
}

#[derive(Deserialize)]
pub(crate) struct Issues {
    pub(crate) paging: Paging,
    #[serde(default)]
    pub(crate) issues: Vec<Issue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issue {
    pub(crate) key: String,
    pub(crate) rule: String,
    pub(crate) component: String,
    pub(crate) project: String,
    #[serde(default)]
    pub(crate) severity: Option<String>,
    #[serde(default)]
    pub(crate) impacts: Vec<Impact>,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) creation_date: String,
    #[serde(default)]
    pub(crate) resolution: Option<String>,
    #[serde(default)]
    pub(crate) issue_status: Option<String>,
    #[serde(default)]
    pub(crate) comments: Vec<Comment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Impact {
    pub(crate) software_quality: String,
    pub(crate) severity: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comment {
    #[serde(default)]
    pub(crate) markdown: String,
    #[serde(default)]
    pub(crate) created_at: String,
}

#[derive(Deserialize)]
pub(crate) struct Hotspots {
    pub(crate) paging: Paging,
    #[serde(default)]
    pub(crate) hotspots: Vec<Hotspot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hotspot {
    pub(crate) key: String,
    pub(crate) component: String,
    pub(crate) project: String,
    #[serde(default)]
    pub(crate) rule_key: String,
    pub(crate) vulnerability_probability: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) resolution: Option<String>,
    #[serde(default)]
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) creation_date: String,
}

/// One hotspot, with its comments.
#[derive(Deserialize)]
pub(crate) struct ShownHotspot {
    #[serde(default)]
    pub(crate) comment: Vec<Comment>,
}

#[derive(Deserialize)]
pub(crate) struct Analyses {
    #[serde(default)]
    pub(crate) analyses: Vec<Analysis>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Analysis {
    pub(crate) key: String,
    pub(crate) date: domain::date::GivenDate,
    #[serde(default)]
    pub(crate) project_version: Option<String>,
    #[serde(default)]
    pub(crate) build_string: Option<String>,
    #[serde(default)]
    pub(crate) revision: Option<String>,
}

/// The answer to the first request of the web pages. It is an internal call.
#[derive(Deserialize)]
pub(crate) struct Global {
    #[serde(default)]
    pub(crate) edition: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Validated {
    pub(crate) valid: bool,
}

#[derive(Deserialize)]
pub(crate) struct Components {
    pub(crate) paging: Paging,
}

#[derive(Deserialize)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Branch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Branch {
    pub(crate) name: String,
    pub(crate) is_main: bool,
}

#[derive(Deserialize)]
pub(crate) struct Measured {
    pub(crate) component: MeasuredComponent,
}

#[derive(Deserialize)]
pub(crate) struct MeasuredComponent {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) measures: Vec<Measure>,
}

#[derive(Deserialize)]
pub(crate) struct Measure {
    pub(crate) metric: String,
    #[serde(default)]
    pub(crate) value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gate {
    pub(crate) project_status: ProjectStatus,
}

#[derive(Deserialize)]
pub(crate) struct ProjectStatus {
    pub(crate) status: domain::report::QualityGateStatus,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    pub(crate) status: String,
    pub(crate) metric_key: String,
    #[serde(default)]
    pub(crate) comparator: String,
    #[serde(default)]
    pub(crate) error_threshold: Option<String>,
    #[serde(default)]
    pub(crate) actual_value: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Mode {
    pub(crate) mode: String,
}

#[derive(Deserialize)]
pub(crate) struct ShownRule {
    pub(crate) rule: Rule,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(default)]
    pub(crate) name: String,
    /// Before 2025.1.
    #[serde(default)]
    pub(crate) html_desc: Option<String>,
    /// From 9.5 on.
    #[serde(default)]
    pub(crate) description_sections: Vec<Section>,
}

#[derive(Deserialize)]
pub(crate) struct Section {
    pub(crate) key: String,
    pub(crate) content: String,
}

#[derive(Deserialize)]
pub(crate) struct Settings {
    #[serde(default)]
    pub(crate) settings: Vec<Setting>,
}

#[derive(Deserialize)]
pub(crate) struct Setting {
    #[serde(default)]
    pub(crate) value: String,
}

/// A quality profile that analysed the project, in the metric `quality_profiles`.
#[derive(Deserialize)]
pub(crate) struct Profile {
    pub(crate) key: String,
}

/// The result of a search for rules. Servers before 10.0 have no `paging` here, and newer ones will lose `total`.
#[derive(Deserialize)]
pub(crate) struct Rules {
    #[serde(default)]
    paging: Option<Paging>,
    #[serde(default)]
    total: u64,
    #[serde(default)]
    pub(crate) rules: Vec<FoundRule>,
}

impl Rules {
    pub(crate) fn total(&self) -> u64 {
        self.paging.as_ref().map_or(self.total, |it| it.total)
    }
}

#[derive(Deserialize)]
pub(crate) struct FoundRule {
    pub(crate) key: String,
}

#[derive(Deserialize)]
pub(crate) struct AskedTask {
    pub(crate) task: Task,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Task {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) error_message: Option<String>,
    #[serde(default)]
    pub(crate) analysis_id: Option<String>,
    #[serde(default)]
    pub(crate) branch: Option<String>,
    #[serde(default)]
    pub(crate) pull_request: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::said;

    #[test]
    fn of_an_error_only_the_servers_own_words_are_shown() {
        let errors =
            br#"{"errors":[{"msg":"The 'component' parameter\u001b[2J is missing"},{"msg":"b"}]}"#;
        assert_eq!(
            said(&message(errors)),
            "The 'component' parameter [2J is missing; b"
        );
        assert_eq!(message(b""), "");
        assert_eq!(message(b"<html>Log in</html>"), "");
    }
}
