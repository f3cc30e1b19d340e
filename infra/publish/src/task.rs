//! The file that a scanner leaves about the background task that it has begun.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use url::Url;

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportTask {
    pub(crate) id: String,
    pub(crate) server_url: String,
    pub(crate) project_key: String,
    /// The branch, unless it is the main one or the edition knows none.
    pub(crate) branch: Option<String>,
    pub(crate) pull_request: Option<String>,
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> anyhow::Result<ReportTask> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("read {shown}; has the scanner run before, in this folder?"))?;
    parse(&text).with_context(|| format!("{shown} is not as a scanner writes it"))
}

/// Lines of `name=value`.
fn parse(text: &str) -> Option<ReportTask> {
    let lines: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let value = |name: &str| lines.get(name).map(|it| it.trim().to_owned());
    // Which branch it is stands in the address of its page only.
    let dashboard = value("dashboardUrl").and_then(|it| Url::parse(&it).ok());
    let of_dashboard = |name: &str| {
        let mut pairs = dashboard.as_ref()?.query_pairs();
        pairs
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.into_owned())
    };
    Some(ReportTask {
        id: value("ceTaskId")?,
        server_url: value("serverUrl")?,
        project_key: value("projectKey")?,
        branch: of_dashboard("branch"),
        pull_request: of_dashboard("pullRequest"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanners_file_is_read() {
        let text = "projectKey=acme:shop\nserverUrl=https://sonarqube.example\nserverVersion=2025.1\n\
            dashboardUrl=https://sonarqube.example/dashboard?id=acme%3Ashop&branch=release%2F1\nceTaskId=AZ1\n\
            ceTaskUrl=https://sonarqube.example/api/ce/task?id=AZ1\n";
        let expected = ReportTask {
            id: "AZ1".to_owned(),
            server_url: "https://sonarqube.example".to_owned(),
            project_key: "acme:shop".to_owned(),
            branch: Some("release/1".to_owned()),
            pull_request: None,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("projectKey=a\n"), None);
    }
}
