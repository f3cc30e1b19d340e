//! The analyses of a branch.

use domain::date::GivenDate;

use crate::client::Client;
use crate::error::Error;
use crate::wire;

/// An analysis, as a list of analyses shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was made.
    pub date: GivenDate,
    /// Its version of the project.
    pub version: Option<String>,
}

/// The analyses of a branch, the newest first, at most `limit`. The list begins with the analyses made at `from`, a time in
/// the server's own spelling. Without a branch it is that of the main branch.
pub async fn history(
    client: &Client,
    project: &str,
    branch: Option<&str>,
    from: Option<&str>,
    limit: u16,
) -> Result<Vec<Listed>, Error> {
    let limit = limit.to_string();
    let mut parameters = vec![("project", project), ("ps", limit.as_str())];
    parameters.extend(branch.map(|it| ("branch", it)));
    parameters.extend(from.map(|it| ("from", it)));
    let found: wire::Analyses = client
        .get("api/project_analyses/search", &parameters)
        .await?;
    let listed = |analysis: wire::Analysis| Listed {
        key: analysis.key,
        date: analysis.date,
        version: analysis.project_version,
    };
    Ok(found.analyses.into_iter().map(listed).collect())
}
