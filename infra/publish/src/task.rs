//! The file that a scanner leaves about the background task that it has begun.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportTask {
    pub(crate) id: String,
    pub(crate) server_url: String,
    pub(crate) project_key: String,
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
    Some(ReportTask {
        id: value("ceTaskId")?,
        server_url: value("serverUrl")?,
        project_key: value("projectKey")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanners_file_is_read() {
        let text = "projectKey=acme:shop\nserverUrl=https://sonarqube.example\nserverVersion=2025.1\n\
            dashboardUrl=https://sonarqube.example/dashboard?id=acme%3Ashop\nceTaskId=AZ1\n\
            ceTaskUrl=https://sonarqube.example/api/ce/task?id=AZ1\n";
        let expected = ReportTask {
            id: "AZ1".to_owned(),
            server_url: "https://sonarqube.example".to_owned(),
            project_key: "acme:shop".to_owned(),
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("projectKey=a\n"), None);
    }
}
