//! Runs SonarQube Reports on this machine, for trying it out and for developing against it.

mod console;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use access::Reading;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use domain::organization::OrganizationId;
use domain::report::ReportKey;
use domain::report::{Metadata, ReportId};
use domain::token::{Right, TokenSecret};
use domain::version::VersionRange;
use identity::Role;
use local::client::Publisher;
use local::{DEMO_ORGANIZATION, DemoReport, JWT_VALIDITY, Options, Stack};
use sonarqube::{Connection, Patience, Token};
use store::reports::{Order, Part};
use time::OffsetDateTime;

use crate::console::say;

/// By this file a data folder is known to be one.
const DATABASE: &str = "dynamodb.sqlite";

/// SonarQube Reports on this machine: the HTTP API over stand-ins for DynamoDB, S3 and SQS, with some demo reports.
#[derive(Parser)]
#[command(name = "local", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The port of the API on 127.0.0.1; 0 for any free one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Where reports are kept; they survive a restart
    #[arg(long, value_name = "DIR", default_value = ".local", global = true)]
    data: PathBuf,
    /// Delete what earlier runs kept, and begin anew
    #[arg(long)]
    fresh: bool,
    /// Publish no demo reports
    #[arg(long)]
    no_demo: bool,
    /// Publish reports of a project of this SonarQube instead of the demo's; the token of its user is taken from the environment (`SONAR_TOKEN`)
    #[arg(long, value_name = "URL", requires = "sonar_project")]
    sonar_url: Option<String>,
    /// The project's key
    #[arg(long, value_name = "KEY", requires = "sonar_url")]
    sonar_project: Option<String>,
    /// The organization, on SonarQube Cloud
    #[arg(long, value_name = "KEY", requires = "sonar_url")]
    sonar_organization: Option<String>,
    /// How many bytes a download may have [default: 200000000, as on Lambda]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_response_bytes: Option<u64>,
    /// For how long changes gather before webhooks are told of them, in one message where they can be
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "1s")]
    batching_window: Duration,
    /// Have reading reports take a token with the right read-reports
    #[arg(long)]
    read_by_token: bool,
    /// Let an organization have as many tokens, test calls and uploads as it likes
    #[arg(long)]
    no_limits: bool,
    /// How often webhooks that failed are tried again: an hour on AWS; try 10s, or 5m
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "1h")]
    retry_every: Duration,
    /// Make every wait between attempts of the schedules codescoring and standard, and the batching window, so many times as short
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    time_factor: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Manage the tokens of the local stack
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make a JWT of somebody with a role, as an identity provider would, and print it
    Jwt {
        /// The organization
        #[arg(long, default_value_t = DEMO_ORGANIZATION)]
        org: OrganizationId,
        /// viewer, editor, administrator or owner
        #[arg(long)]
        role: Role,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it
    Create {
        /// The organization that it is for
        #[arg(long)]
        org: OrganizationId,
        /// What it allows: publish, manage-webhooks, read-deliveries, read-reports, delete-reports or manage-sources; may be
        /// repeated
        #[arg(long = "right", required = true, value_parser = right)]
        rights: Vec<Right>,
        /// What to call it
        #[arg(long, default_value = "local")]
        name: String,
    },
}

fn right(text: &str) -> Result<Right, String> {
    let known = || Right::ALL.map(Right::as_str).join(", ");
    Right::ALL
        .into_iter()
        .find(|right| right.as_str() == text)
        .ok_or_else(|| format!("known are {}", known()))
}

/// A number and its unit, in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    units.into_iter().find_map(|(unit, milliseconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(milliseconds)
    })
}

fn interval(text: &str) -> Result<Duration, String> {
    match milliseconds(text) {
        Some(milliseconds @ 100..=86_400_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("give a time from 100ms to 24h, such as 10s, 5m or 1h".to_owned()),
    }
}

/// As long as the parameter `BatchingWindow` of a stack may be.
fn window(text: &str) -> Result<Duration, String> {
    match milliseconds(text) {
        Some(milliseconds @ 0..=60_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("give a time from 0s to 60s, such as 1s".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    console::log_to_stderr();
    let result = match arguments.command {
        None => run(arguments).await,
        Some(Command::Token {
            command: TokenCommand::Create { org, rights, name },
        }) => create_token(&arguments.data, &name, org, &rights).await,
        Some(Command::Jwt { org, role }) => create_jwt(&arguments.data, org, role),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn create_token(
    data: &Path,
    name: &str,
    org: OrganizationId,
    rights: &[Right],
) -> anyhow::Result<()> {
    say(local::create_token_in(data, name, org, rights)
        .await?
        .reveal());
    Ok(())
}

fn create_jwt(data: &Path, org: OrganizationId, role: Role) -> anyhow::Result<()> {
    let environment = fs::read_to_string(data.join("local.env")).unwrap_or_default();
    let api_url = value_of(&environment, "API_URL").with_context(|| {
        let data = data.display();
        format!("there is no stack on {data}; start `local` on it first")
    })?;
    say(&local::create_jwt_in(data, api_url, org, role)?);
    Ok(())
}

/// The value of a variable in `local.env`.
fn value_of<'a>(environment: &'a str, name: &str) -> Option<&'a str> {
    environment
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let data = &arguments.data;
    fs::create_dir_all(data)
        .with_context(|| format!("create the data folder {}", data.display()))?;
    #[cfg(unix)]
    close(data)?;
    let _lock = lock(data)?;
    if arguments.fresh {
        clear(data).with_context(|| format!("empty the data folder {}", data.display()))?;
    }

    say(&format!(
        "Starting DynamoDB, S3, SQS and the functions on data in {} …",
        data.display()
    ));
    let options = Options {
        data: Some(data.clone()),
        port: arguments.port,
        max_response_bytes: arguments.max_response_bytes,
        retry_every: Some(arguments.retry_every),
        batching_window: arguments.batching_window,
        read_by_token: arguments.read_by_token,
        no_limits: arguments.no_limits,
        time_factor: arguments.time_factor,
        ..Options::default()
    };
    let stack = Stack::start(options)
        .await
        .map_err(|error| explain(error, arguments.port))?;
    let token = publishing_token(data, &stack).await?;
    let (reports, server) = match (&arguments.sonar_url, &arguments.sonar_project) {
        (Some(url), Some(project)) => (of_a_server(&arguments, url, project).await?, None),
        _ if arguments.no_demo => (Vec::new(), None),
        _ => {
            let sources = &stack.tables.sources;
            let server = local::demo_server(sources, DEMO_ORGANIZATION, &stack.api_url).await?;
            (local::demo_reports().await?, Some(server))
        }
    };
    publish(&stack, &token, &reports).await?;
    let server_url = server.as_ref().map(|server| server.url.as_str());
    write_environment(data, &stack, &token, server_url)?;
    let welcome = welcome(data, &stack, &token, arguments.retry_every, server_url);
    say(&welcome.await?);

    wait_for_end().await?;
    say("Stopping …");
    stack.stop().await;
    Ok(())
}

/// Lets nobody but its owner into the data folder: secrets of webhooks are in its files, and reports.
///
/// Only of a folder of ours: others may have to read what else is there, and whoever means `--data /tmp` as root must not
/// close that to everybody.
#[cfg(unix)]
fn close(data: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    const OWNERS: u32 = 0o700;
    let shown = data.display();
    let read = || format!("read the data folder {shown}");
    let metadata = fs::metadata(data).with_context(read)?;
    let ours =
        tempfile::tempfile_in(data).with_context(|| format!("write to the data folder {shown}"))?;
    anyhow::ensure!(
        ours.metadata()?.uid() == metadata.uid(),
        "{shown} belongs to somebody else, who could read what is in it; choose another --data"
    );
    let mode = metadata.permissions().mode();
    if mode & 0o777 & !OWNERS == 0 {
        return Ok(());
    }
    let is_empty = fs::read_dir(data).with_context(read)?.next().is_none();
    anyhow::ensure!(
        is_empty || data.join(DATABASE).exists(),
        "others may open {shown}, which has files that are not of `local`; choose another --data, or `chmod 700` it"
    );
    fs::set_permissions(data, fs::Permissions::from_mode(OWNERS))
        .with_context(|| format!("let nobody else into the data folder {shown}"))
}

/// Two processes on one folder would not see each other's queues, and one would delete the other's data.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => anyhow::bail!(
            "{} is in use by another `local`; stop it, or choose another --data",
            data.display()
        ),
    }
}

/// Removes what earlier runs wrote, and nothing else: the folder may be a mistake, and its `s3` somebody else's.
fn clear(data: &Path) -> io::Result<()> {
    if !data.join(DATABASE).exists() {
        return Ok(());
    }
    let ignore_missing = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    ignore_missing(fs::remove_dir_all(data.join("s3")))?;
    // The database tells that the folder is ours, so it goes last.
    for name in [
        "local.env",
        "issuer.pk8",
        "issuer.enter",
        "sqs.sqlite-wal",
        "sqs.sqlite-shm",
        "sqs.sqlite",
        "dynamodb.sqlite-wal",
        "dynamodb.sqlite-shm",
        DATABASE,
    ] {
        ignore_missing(fs::remove_file(data.join(name)))?;
    }
    Ok(())
}

fn explain(error: anyhow::Error, port: u16) -> anyhow::Error {
    let kind = error
        .root_cause()
        .downcast_ref::<io::Error>()
        .map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::AddrInUse) => {
            anyhow::anyhow!("port {port} is taken; choose another one with --port")
        }
        _ => error,
    }
}

/// The token of an earlier run, so that what used it goes on working, or a new one.
async fn publishing_token(data: &Path, stack: &Stack) -> anyhow::Result<TokenSecret> {
    let environment = fs::read_to_string(data.join("local.env")).unwrap_or_default();
    let earlier = value_of(&environment, "PUBLISH_TOKEN").and_then(TokenSecret::parse);
    match earlier {
        Some(token) => Ok(token),
        None => {
            stack
                .create_token(
                    "local",
                    DEMO_ORGANIZATION,
                    &[Right::Publish, Right::ReadReports],
                )
                .await
        }
    }
}

/// What a real server has found in a project.
#[expect(
    clippy::disallowed_methods,
    reason = "on the command line everybody on the machine would see it"
)]
async fn of_a_server(
    arguments: &Arguments,
    url: &str,
    project: &str,
) -> anyhow::Result<Vec<DemoReport>> {
    let token = std::env::var("SONAR_TOKEN").context("the environment has no SONAR_TOKEN")?;
    say(&format!("Reading what {url} has found in {project}"));
    let connection = Connection {
        url: url.to_owned(),
        token: Token::new(&token)?,
        organization: arguments.sonar_organization.clone(),
        through_proxy: true,
        patience: Patience::default(),
    };
    local::reports_of(connection, project).await
}

/// Publishes what is not there yet: also what an earlier run was kept from publishing.
async fn publish(stack: &Stack, token: &TokenSecret, reports: &[DemoReport]) -> anyhow::Result<()> {
    let publisher = Publisher::new(&stack.api_url, token.clone())?;
    for (position, report) in reports.iter().enumerate() {
        let mut metadata = report.metadata.clone();
        // What is sent may be an object, and what is stored is not; an id says nothing of it.
        metadata["qualityGate"] = serde_json::Value::Null;
        let metadata: Metadata = serde_json::from_value(metadata)?;
        let key = ReportKey {
            org: DEMO_ORGANIZATION,
            id: ReportId::of(DEMO_ORGANIZATION, &metadata),
        };
        if stack.tables.reports.latest(key).await?.is_some() {
            continue;
        }
        let Metadata {
            project_name,
            project_version,
            report_type,
            ..
        } = &metadata;
        let progress = format!("report {} of {}", position + 1, reports.len());
        say(&format!(
            "Publishing {progress}: {project_name} {project_version}, {report_type}"
        ));
        publisher
            .publish(&report.metadata, &report.files()?)
            .await
            .with_context(|| format!("publish {progress}"))?;
    }
    Ok(())
}

fn write_environment(
    data: &Path,
    stack: &Stack,
    token: &TokenSecret,
    server_url: Option<&str>,
) -> anyhow::Result<()> {
    let path = data.join("local.env");
    let admin = stack.issuer.token(
        &[(DEMO_ORGANIZATION, Role::Administrator)],
        OffsetDateTime::now_utc(),
        JWT_VALIDITY,
    )?;
    let mut text = format!(
        "API_URL={}\nORG_ID={DEMO_ORGANIZATION}\nPUBLISH_TOKEN={}\nADMIN_TOKEN={admin}\nPANEL_URL={}\n",
        stack.api_url,
        token.reveal(),
        stack.issuer.enter_url(),
    );
    if let Some(url) = server_url {
        text += &format!("SONARQUBE_URL={url}\n");
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    // It holds a secret.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

async fn welcome(
    data: &Path,
    stack: &Stack,
    token: &TokenSecret,
    retry: Duration,
    server_url: Option<&str>,
) -> anyhow::Result<String> {
    let url = &stack.api_url;
    let login = match stack.listing.reading {
        Reading::Open => String::new(),
        Reading::Token(_) => format!(" -H 'Authorization: Bearer {}'", token.reveal()),
    };
    let newest = stack
        .tables
        .reports
        .page(
            DEMO_ORGANIZATION,
            Part {
                range: &VersionRange::ALL,
                order: Order::Descending,
                after: None,
                limit: 2,
            },
        )
        .await?;
    let ids: Vec<_> = newest
        .reports
        .iter()
        .map(|report| report.id.to_string())
        .collect();
    let download = match ids.as_slice() {
        [] => String::from("# there is nothing to download yet"),
        ids => format!(
            "curl -fOJ '{url}/security/report/files?org={DEMO_ORGANIZATION}&reports={}'{login}",
            ids.join(","),
        ),
    };
    let analyse = server_url.map_or_else(String::new, |url| {
        format!(
            "A SonarQube that plays along tells of its analyses. Have it make one, and reports of it come by themselves:

  curl -X POST '{url}/analyse?version=2.1.0'

"
        )
    });
    Ok(format!(
        "
SonarQube Reports answers at  {url}
  Panel: {panel}
  organization      {DEMO_ORGANIZATION}
  publishing token  {token}
  all of these, and an administrator's token, are in  {environment}

List the reports, download two of them as a ZIP archive, begin to publish one (docs/publishing.md has the other steps):

  curl '{url}/security/report/list?org={DEMO_ORGANIZATION}&minver=0'{login}
  {download}
  curl '{url}/security/report' -H 'Authorization: Bearer {token}' -d '{declaration}'

{analyse}Webhooks are delivered, retried every {retry:?}, and each attempt is a line here. docs/receivers.md has a receiver.

Ctrl-C stops it; what was published is kept in {data}.
",
        panel = stack.issuer.enter_url(),
        token = token.reveal(),
        environment = data.join("local.env").display(),
        data = data.display(),
        declaration = EXAMPLE,
    ))
}

/// The declaration of a report with one empty file.
const EXAMPLE: &str = concat!(
    r#"{"projectKey": "example", "projectName": "Example", "projectVersion": "1.0", "reportType": "CWE Top 25", "#,
    r#""reportVersion": 2024, "date": "2025-12-17T09:05:48+00:00", "vulnerabilitiesCount": 0, "securityRating": "A", "#,
    r#""files": [{"name": "report.html", "size": 0, "#,
    r#""sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#,
);

async fn wait_for_end() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
