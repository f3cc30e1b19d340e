//! Waits until an analysis is complete.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::error::Error;
use crate::wire;

/// The pause between two requests. A background task takes seconds to minutes.
const PAUSE: Duration = Duration::from_secs(3);

/// The result of a background task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// It made an analysis.
    Succeeded(Scanned),
    /// It made none. The text says why, if that is known.
    Failed(String),
    /// It was not done in the given time.
    Unfinished,
}

/// What a background task analysed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The key of the analysis.
    pub analysis: Option<String>,
    /// The branch, in editions with branches.
    pub branch: Option<String>,
    /// The pull request, if it analysed one.
    pub pull_request: Option<String>,
}

/// Waits for the background task that a scanner has begun. That requires the permission to analyse the project.
/// [`wait_for_revision`] requires only the permission to browse it.
///
/// # Errors
/// [`Error::Forbidden`] without that permission.
pub async fn wait_for_task(client: &Client, task: &str, within: Duration) -> Result<Task, Error> {
    let end = Instant::now() + within;
    loop {
        let wire::AskedTask { task } = client.get("api/ce/task", &[("id", task)]).await?;
        match task.status.as_str() {
            "SUCCESS" => {
                return Ok(Task::Succeeded(Scanned {
                    analysis: task.analysis_id,
                    branch: task.branch,
                    pull_request: task.pull_request,
                }));
            }
            "FAILED" | "CANCELED" => {
                let why = task.error_message.unwrap_or(task.status);
                return Ok(Task::Failed(client.said(&why)));
            }
            _ if Instant::now() + PAUSE > end => return Ok(Task::Unfinished),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits until the newest analysis of a branch is of this revision of the source code.
pub async fn wait_for_revision(
    client: &Client,
    project: &str,
    branch: Option<&str>,
    revision: &str,
    within: Duration,
) -> Result<Task, Error> {
    let end = Instant::now() + within;
    let mut parameters = vec![("project", project), ("ps", "1")];
    parameters.extend(branch.map(|it| ("branch", it)));
    loop {
        let found: wire::Analyses = client
            .get("api/project_analyses/search", &parameters)
            .await?;
        let newest = found.analyses.first();
        if newest.is_some_and(|it| it.revision.as_deref() == Some(revision)) {
            return Ok(Task::Succeeded(Scanned {
                analysis: newest.map(|it| it.key.clone()),
                branch: branch.map(str::to_owned),
                pull_request: None,
            }));
        }
        if Instant::now() + PAUSE > end {
            return Ok(Task::Unfinished);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
