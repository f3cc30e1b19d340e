//! The limits of a report's fields, whoever sets them.

use super::{GateCondition, Metadata};

/// The longest project key in characters (`SonarQube`).
pub const MAX_PROJECT_KEY: usize = 400;
/// The longest project name in characters (`SonarQube`'s web API).
pub const MAX_PROJECT_NAME: usize = 500;
/// The longest branch name in characters (`SonarQube`).
pub const MAX_BRANCH: usize = 255;
/// The longest address, in characters; the same as for a webhook's.
pub const MAX_URL: usize = 512;
/// How many conditions of a quality gate are kept.
pub const MAX_CONDITIONS: usize = 100;
/// How many characters of each text of a quality gate are kept.
pub const MAX_GATE_TEXT: usize = 200;
/// The longest other text, in characters. `SonarQube` allows 100 for the revision and 40 for a task.
pub const MAX_TEXT: usize = 100;
/// How many properties a report may have.
pub const MAX_PROPERTIES: usize = 100;
/// The longest name of a property, in characters.
pub const MAX_PROPERTY_KEY: usize = 200;
/// The longest value of a property, in characters.
pub const MAX_PROPERTY_VALUE: usize = 1000;

/// Whether a text is a project key by `SonarQube`'s rule: letters, digits, `-`, `_`, `.` and `:`, and at least one that is
/// not a digit. The key goes into a header of webhooks, so it must have no other characters.
pub fn is_project_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    // All of these are ASCII, so a byte is a character.
    (1..=MAX_PROJECT_KEY).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The beginning of a text, at most this many characters.
pub fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

impl GateCondition {
    /// The condition with its texts cut to what is kept.
    #[must_use]
    pub fn cut(self) -> Self {
        let kept = |text: String| cut(&text, MAX_GATE_TEXT);
        Self {
            metric: kept(self.metric),
            operator: kept(self.operator),
            value: self.value.map(kept),
            status: kept(self.status),
            error_threshold: self.error_threshold.map(kept),
        }
    }
}

impl Metadata {
    /// Checks the limits of each field. What a publisher declares is checked field by field. This function is for reports
    /// that are made here from what others say.
    ///
    /// # Errors
    /// Names the first field that is wrong, for a reader.
    pub fn check(&self) -> Result<(), String> {
        let text = |name: &str, text: &str, max: usize| match text.chars().count() {
            _ if text.chars().any(char::is_control) => {
                Err(format!("the {name} has control characters"))
            }
            0 => Err(format!("there is no {name}")),
            length if length > max => Err(format!(
                "the {name} has {length} characters, and may have {max}"
            )),
            _ => Ok(()),
        };
        let optional = |name: &str, value: Option<&String>, max: usize| {
            value.map_or(Ok(()), |value| text(name, value, max))
        };
        if !is_project_key(&self.project_key) {
            return Err("the project's key is none that a report can have".to_owned());
        }
        text("project's name", &self.project_name, MAX_PROJECT_NAME)?;
        text("report's type", &self.report_type, MAX_TEXT)?;
        optional("branch", self.branch.as_ref(), MAX_BRANCH)?;
        optional("revision", self.scm_revision.as_ref(), MAX_TEXT)?;
        optional("task", self.task_id.as_ref(), MAX_TEXT)?;
        if let Some(origin) = &self.origin {
            optional("server's address", origin.server_url.as_ref(), MAX_URL)?;
            // It contains the project's key, which may be as long.
            optional(
                "project's address",
                origin.project_url.as_ref(),
                MAX_URL + MAX_PROJECT_KEY,
            )?;
        }
        for (name, value) in &self.properties {
            optional(
                name,
                Some(value).filter(|it| !it.is_empty()),
                MAX_PROPERTY_VALUE,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_said_of_a_report_has_limits() {
        let good = json!({
            "projectKey": "acme:shop", "projectName": "Shop", "projectVersion": "1.0", "reportType": "CWE Top 25",
            "reportVersion": 2024, "date": "2026-03-05T23:30:00+0100", "vulnerabilitiesCount": 0, "securityRating": "A",
            "branch": "main", "scmRevision": "c0ffee", "properties": {"a": "", "b": "c"},
            "origin": {"serverUrl": "https://a", "projectUrl": "https://a/b"},
        });
        let check = |value: &Value| {
            serde_json::from_value::<Metadata>(value.clone())
                .unwrap()
                .check()
        };
        assert_eq!(check(&good), Ok(()));
        for (field, value, said) in [
            ("projectKey", json!("a b"), "key"),
            ("projectKey", json!("77"), "key"),
            ("projectName", json!(""), "there is no project's name"),
            (
                "projectName",
                json!("n".repeat(501)),
                "501 characters, and may have 500",
            ),
            ("projectName", json!("a\nb"), "control"),
            ("branch", json!("b".repeat(256)), "branch has 256"),
            ("scmRevision", json!("r".repeat(101)), "revision"),
            (
                "properties",
                json!({"p": "x".repeat(1001)}),
                "the p has 1001",
            ),
            (
                "origin",
                json!({"serverUrl": "u".repeat(513)}),
                "server's address",
            ),
        ] {
            let mut other = good.clone();
            other[field] = value;
            let error = check(&other).unwrap_err();
            assert!(error.contains(said), "{field}: {error}");
        }
    }
}
