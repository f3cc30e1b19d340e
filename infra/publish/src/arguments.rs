//! The command line.

#![expect(
    clippy::doc_markdown,
    reason = "the documentation is what --help prints"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use findings::Standard;
use sonarqube::VersionFallback;

/// Security reports of what SonarQube has found, as HTML and PDF.
///
/// Tokens are taken from the environment: SONAR_TOKEN of a SonarQube user who may browse the project, PUBLISH_TOKEN of the API with
/// the right to publish.
///
/// Exit codes: 0 done, 1 refused, with the reason, 2 wrong usage, 3 the quality gate failed (with --fail-on-gate).
#[derive(Parser)]
#[command(name = "sonarqube-reports", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make reports of a project's newest analysis and publish them, or publish files that exist
    Publish(Box<Publish>),
    /// Make reports and write them to a folder
    Render(Box<Render>),
}

#[derive(Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) source: Option<Source>,
    /// The address of the API, such as `https://abc.execute-api.eu-central-1.amazonaws.com/v1`
    #[arg(long, value_name = "URL")]
    pub(crate) api_url: String,
    /// Publish this file, instead of making one; may be repeated
    #[arg(long, value_name = "FILE", requires = "metadata", conflicts_with_all = ["project", "report_task"])]
    file: Vec<PathBuf>,
    /// A JSON file with what is said of these files: projectKey, projectName, projectVersion, reportType, reportVersion, date,
    /// vulnerabilitiesCount, securityRating, and what else ReportDeclaration of infra/openapi.yaml has
    #[arg(long, value_name = "FILE", requires = "file")]
    metadata: Option<PathBuf>,
    /// End with 3 when the quality gate failed; the reports are published all the same
    #[arg(long, conflicts_with = "file")]
    pub(crate) fail_on_gate: bool,
}

/// Files that exist, and what is said of them.
pub(crate) struct Finished {
    pub(crate) file: Vec<PathBuf>,
    pub(crate) metadata: PathBuf,
}

impl Publish {
    pub(crate) fn finished(&self) -> Option<Finished> {
        let metadata = self.metadata.clone()?;
        Some(Finished {
            file: self.file.clone(),
            metadata,
        })
    }
}

#[derive(Args)]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The folder; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// End with 3 when the quality gate failed
    #[arg(long)]
    pub(crate) fail_on_gate: bool,
}

/// Where findings come from.
#[derive(Args)]
pub(crate) struct Source {
    /// The server [default: that of the report task]
    #[arg(long, value_name = "URL")]
    pub(crate) sonar_url: Option<String>,
    /// The project's key [default: that of the report task]
    #[arg(long, value_name = "KEY")]
    pub(crate) project: Option<String>,
    /// The branch [default: the main one]
    #[arg(long)]
    pub(crate) branch: Option<String>,
    /// The organization, on SonarQube Cloud
    #[arg(long, value_name = "KEY")]
    pub(crate) organization: Option<String>,
    /// A standard, such as cwe-top-25-2024; may be repeated [default: the newest edition of each]
    #[arg(long, value_name = "ID", value_parser = |id: &str| id.parse::<&'static Standard>())]
    pub(crate) standard: Vec<&'static Standard>,
    /// What to call the version when the analysis has none: refuse, date, build or property:NAME
    #[arg(long, value_name = "HOW", default_value = "date")]
    pub(crate) version_fallback: VersionFallback,
    /// A property of the analysis, for --version-fallback; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    pub(crate) property: Vec<(String, String)>,
    /// The scanner's file about its background task, which is waited for, such as .scannerwork/report-task.txt
    #[arg(long, value_name = "FILE")]
    pub(crate) report_task: Option<PathBuf>,
    /// How long to wait for it
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m")]
    pub(crate) wait: Duration,
    /// The commit that is analysed, to wait for it where the token may not ask for the task
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = [("s", 1), ("m", 60), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(seconds)
        });
    match seconds {
        Some(seconds @ 0..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("give a time up to 24h, such as 90s or 10m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "10", "-1s", "25h", "1d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
