//! `sonarqube-reports`: makes security reports of what `SonarQube` has found, and publishes them. For CI, where the server can be
//! reached.

mod arguments;
mod progress;
mod task;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use domain::report::QualityGateStatus;
use domain::token::TokenSecret;
use findings::{Assessment, Printed, Standard};
use publish::client::{File, Publisher};
use publish::report::{files, metadata};
use publish::steady::{self, Retries};
use serde_json::Value;
use sonarqube::{Client, Connection, Patience, Request, Scanned, Task, Token, pull};
use time::OffsetDateTime;

use crate::arguments::{Arguments, Command, Finished, Publish, Render, Source};
use crate::progress::{Bars, say};
use crate::task::ReportTask;

/// What the process ends with.
enum Done {
    All,
    GateFailed,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    progress::log();
    let done = match arguments.command {
        Command::Publish(publish) => publish_reports(*publish).await,
        Command::Render(render) => render_reports(*render).await,
    };
    match done {
        Ok(Done::All) => ExitCode::SUCCESS,
        Ok(Done::GateFailed) => {
            say("The quality gate failed.");
            ExitCode::from(3)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A secret of the environment: on the command line everybody on the machine would see it.
#[expect(
    clippy::disallowed_methods,
    reason = "a command has no other configuration"
)]
fn secret(name: &str) -> anyhow::Result<String> {
    let value = std::env::var(name).ok().filter(|it| !it.trim().is_empty());
    value.with_context(|| format!("the environment has no {name}"))
}

async fn publish_reports(arguments: Publish) -> anyhow::Result<Done> {
    let token = secret("PUBLISH_TOKEN")?;
    let token = TokenSecret::parse(token.trim()).context("PUBLISH_TOKEN is no token of the API")?;
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config()?)
        // What the API or S3 takes longest for is to complete large files: minutes, in which it says nothing.
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(900))
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let api_url = arguments.api_url.trim_end_matches('/');
    let publisher = Publisher::through(http, api_url, token);
    if let Some(Finished { file, metadata }) = arguments.finished() {
        let metadata = fs::read_to_string(&metadata)
            .with_context(|| format!("read {}", metadata.display()))?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("read the metadata as JSON")?;
        anyhow::ensure!(metadata.is_object(), "the metadata is no JSON object");
        let files: Vec<File> = file
            .iter()
            .map(|path| read(path))
            .collect::<anyhow::Result<_>>()?;
        publish_one(&publisher, &metadata, &files).await?;
        return Ok(Done::All);
    }
    let source = arguments
        .source
        .context("either --project or --file is needed")?;
    let assessments = assessments(&source).await?;
    let now = OffsetDateTime::now_utc();
    // All are made before the first is published.
    let made: Vec<(Value, Vec<File>)> = assessments
        .iter()
        .map(|assessment| Ok((metadata(assessment, now)?, files(assessment)?)))
        .collect::<anyhow::Result<_>>()?;
    for (metadata, files) in &made {
        publish_one(&publisher, metadata, files).await?;
    }
    gate(&assessments, arguments.fail_on_gate)
}

async fn publish_one(
    publisher: &Publisher,
    metadata: &Value,
    files: &[File],
) -> anyhow::Result<()> {
    let answer = steady::publish(publisher, metadata, files, Retries::default()).await?;
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    say(&format!(
        "Published {} {}: {} {}, revision {}, {} open, rating {}",
        text(&metadata["projectName"]),
        text(&metadata["projectVersion"]),
        text(&metadata["reportType"]),
        text(&metadata["reportVersion"]),
        text(&answer["revision"]),
        text(&metadata["vulnerabilitiesCount"]),
        text(&metadata["securityRating"]),
    ));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    let name = path.file_name().and_then(|it| it.to_str());
    Ok(File {
        name: name
            .with_context(|| format!("{shown} has no name"))?
            .to_owned(),
        bytes: fs::read(path).with_context(|| format!("read {shown}"))?,
    })
}

async fn render_reports(arguments: Render) -> anyhow::Result<Done> {
    let assessments = assessments(&arguments.source).await?;
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    for assessment in &assessments {
        for file in files(assessment)? {
            let ending = file.name.rsplit('.').next().unwrap_or_default();
            let path = out.join(format!("{}.{ending}", assessment.standard.id));
            fs::write(&path, &file.bytes).with_context(|| format!("write {}", path.display()))?;
            say(&format!("Wrote {}", path.display()));
        }
    }
    gate(&assessments, arguments.fail_on_gate)
}

/// Whether the quality gate ends the build. One that is not known does not let it pass.
fn gate(assessments: &[Assessment], fails: bool) -> anyhow::Result<Done> {
    if !fails {
        return Ok(Done::All);
    }
    for assessment in assessments {
        let gate = assessment.subject.gate.as_ref();
        let gate = gate.context("SonarQube does not tell the quality gate")?;
        if gate.status == QualityGateStatus::Error {
            return Ok(Done::GateFailed);
        }
    }
    Ok(Done::All)
}

/// What the server has found.
async fn assessments(source: &Source) -> anyhow::Result<Vec<Assessment>> {
    let task = source.report_task.as_deref().map(task::read).transpose()?;
    let of_task = task.as_ref();
    let url = source
        .sonar_url
        .clone()
        .or_else(|| of_task.map(|it| it.server_url.clone()));
    let project = source
        .project
        .clone()
        .or_else(|| of_task.map(|it| it.project_key.clone()));
    let project = project.context("which project? Give --project, or --report-task")?;
    let token = secret("SONAR_TOKEN")?;
    let client = Client::new(Connection {
        url: url.context("which server? Give --sonar-url, or --report-task")?,
        token: Token::new(&token)?,
        organization: source.organization.clone(),
        through_proxy: true,
        patience: Patience::default(),
    })?;
    let (mut branch, mut analysis) = (source.branch.clone(), None);
    if let Some(task) = of_task {
        let scanned = wait(&client, source, &project, task).await?;
        if let Some(number) = scanned.pull_request {
            anyhow::bail!("the analysis is of pull request {number}, and reports are of branches");
        }
        if let (Some(asked), Some(of_task)) = (&branch, &scanned.branch) {
            anyhow::ensure!(
                asked == of_task,
                "the analysis is of branch {of_task}, not of {asked}"
            );
        }
        branch = branch.or(scanned.branch);
        analysis = scanned.analysis;
    }
    let standards = match source.standard.as_slice() {
        [] => Standard::newest(),
        named => named.to_vec(),
    };
    let request = Request {
        project,
        branch,
        analysis,
        standards,
        fallback: source.version_fallback.clone(),
        properties: source.property.iter().cloned().collect(),
        printed: Printed::DEFAULT,
    };
    let bars = Bars::new();
    let analysed = pull(&client, &request, &|step, done, of| {
        bars.show(&step, done, of)
    })
    .await?;
    Ok(analysed.assessments)
}

/// Waits for the analysis that the scanner has begun.
async fn wait(
    client: &Client,
    source: &Source,
    project: &str,
    task: &ReportTask,
) -> anyhow::Result<Scanned> {
    say("Waiting for the analysis");
    let done = match sonarqube::wait_for_task(client, &task.id, source.wait).await {
        Err(error @ sonarqube::Error::Forbidden { .. }) => {
            let revision = source.revision.as_deref().with_context(|| {
                format!("{error}. To wait without it, give the commit that is analysed: --revision")
            })?;
            if task.pull_request.is_some() {
                return Ok(Scanned {
                    pull_request: task.pull_request.clone(),
                    ..Scanned::default()
                });
            }
            let branch = task.branch.as_deref();
            sonarqube::wait_for_revision(client, project, branch, revision, source.wait).await?
        }
        other => other?,
    };
    match done {
        Task::Succeeded(scanned) => Ok(scanned),
        Task::Failed(why) => anyhow::bail!("the analysis failed: {why}"),
        Task::Unfinished => anyhow::bail!(
            "the analysis is not there after {:?}; wait longer by --wait",
            source.wait
        ),
    }
}
