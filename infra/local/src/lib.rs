//! The whole system in one process: the functions' own routers behind one listener, over stand-ins for DynamoDB, S3 and
//! SQS. `cargo run -p local` runs it for people; the tests run it for themselves.

mod aws;
mod definition;
mod demo;
mod issuer;
mod policy;
mod pump;
mod serve;
pub mod sonarqube;
mod stand_ins;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use deliver_webhooks::Delivering;
use domain::organization::OrganizationId;
use domain::token::{Right, Token, TokenSecret};
use download_files::Files;
use hyper_util::service::TowerToHyperService;
use identity::Role;
use import_analysis::Importing;
use lambda_http::RequestExt as _;
use list_reports::Listing;
use manage_webhooks::Managing;
use outbound::address::AddressPolicy;
use outbound::sender::{DEADLINE, Sender, SenderOptions};
use panel::Panel;
use publish_report::Publishing;
use receive_events::Receiving;
use retry_webhooks::Retrying;
use runtime::config::Environment;
use store::tokens::TokenStore;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_http::timeout::RequestBodyTimeout;
use web::api;

use crate::aws::{dynamodb_config, sdk_config};
use crate::definition::{Definition, bucket_name};
use crate::pump::{Consumer, Pump};
use crate::serve::{Limits, PATIENCE, serve};
use crate::stand_ins::Endpoints;

pub use crate::aws::{Clients, Tables};
pub use crate::demo::{DemoReport, reports as demo_reports, reports_of, serve as demo_server};
pub use crate::issuer::DevelopmentIssuer;
pub use crate::policy::{Permission, Policies};
pub use publish::client;

/// The organization that owns the demo reports.
pub const DEMO_ORGANIZATION: OrganizationId = OrganizationId::new(uuid::Uuid::from_u128(1));

/// How long a JWT of the development issuer is good.
pub const JWT_VALIDITY: time::Duration = time::Duration::days(30);

/// Whose log is not the system's: the stand-ins warn of what they refuse. Who asked them says so where it matters.
pub const STAND_INS: [&str; 5] = [
    "dynoxide",
    "s3s",
    "s3s_fs",
    "rustack_sqs_core",
    "rustack_sqs_http",
];

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";
const ACCESS_KEY: &str = "local";
/// Whoever reaches the loopback ports may do anything anyway.
const SECRET_KEY: &str = "local-secret";

/// How a stack is started.
#[derive(Debug)]
pub struct Options {
    /// Where reports, and what is to be told of them, survive a restart; without it everything ends with the stack.
    pub data: Option<PathBuf>,
    /// The port of the API on loopback; 0 for any free one.
    pub port: u16,
    /// How many bytes a download may have, instead of Lambda's limit.
    pub max_response_bytes: Option<u64>,
    /// How often what is due goes back on the queue. Without it there are neither rounds nor deliveries, unless
    /// [`Stack::deliver`] makes them.
    pub retry_every: Option<Duration>,
    /// How many times as short the waits of schedules are, and the time in which changes gather.
    pub time_factor: u32,
    /// For how long changes gather before webhooks are told of them.
    pub batching_window: Duration,
    /// Whether reading reports takes a token with the right to.
    pub read_by_token: bool,
    /// Whether an organization may have as many tokens, test calls and uploads as it likes.
    pub no_limits: bool,
    /// How long a delivery may take.
    pub delivery_deadline: Duration,
    /// For how long a client of the API, or of the stand-in for S3, may say nothing when it is its turn.
    pub patience: Duration,
    /// How long an ID token of the panel is good: the first one after a sign-in, and those that follow.
    pub id_tokens: Option<(time::Duration, time::Duration)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            port: 0,
            max_response_bytes: None,
            retry_every: None,
            time_factor: 1,
            batching_window: Duration::from_secs(1),
            read_by_token: false,
            no_limits: false,
            delivery_deadline: DEADLINE,
            patience: PATIENCE,
            id_tokens: None,
        }
    }
}

/// A running system. It ends when dropped, and so do the requests that are being answered.
#[derive(Debug)]
pub struct Stack {
    /// Where the API answers, without a slash at the end.
    pub api_url: String,
    /// What the function that lists works with.
    pub listing: Listing,
    /// What the download function works with.
    pub files: Files,
    /// What the publishing function works with.
    pub publishing: Publishing,
    /// What the function for administrators works with.
    pub managing: Managing,
    /// What the function for browsers works with.
    pub panel: Panel,
    /// What the function that sources call works with.
    pub receiving: Receiving,
    /// What the function works with that makes reports of what the servers of sources have found.
    pub importing: Importing,
    /// What the function that delivers works with.
    pub delivering: Delivering,
    /// What the hourly function works with.
    pub retrying: Retrying,
    /// Who issues administrators' tokens.
    pub issuer: DevelopmentIssuer,
    /// With what each function calls the stand-ins, by its logical id: they let it do what its policy allows.
    pub clients: BTreeMap<String, Clients>,
    /// What the functions may do, and what they have done.
    pub policies: Policies,
    /// The tables as nobody's policy limits them.
    pub tables: Tables,
    /// A client of the stand-in for DynamoDB that may do anything.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// A client of the stand-in for S3 that may do anything.
    pub s3: aws_sdk_s3::Client,
    /// A client of the stand-in for SQS that may do anything.
    pub sqs: aws_sdk_sqs::Client,
    /// The URLs of the queues by logical id.
    pub queues: BTreeMap<String, String>,
    definition: &'static Definition,
    environment: Vec<(&'static str, String)>,
    /// Dropping it ends the tasks.
    tasks: JoinSet<()>,
    /// Dropping it removes what a stack without a data folder wrote.
    _temporary: Option<TempDir>,
}

// The names that the functions get from their environment.
const REPORTS_TABLE: &str = "ReportsTable";
const PRODUCTS_TABLE: &str = "ProductsTable";
const UPLOADS_TABLE: &str = "UploadsTable";
const TOKENS_TABLE: &str = "TokensTable";
const IDEMPOTENCY_TABLE: &str = "IdempotencyTable";
const WEBHOOKS_TABLE: &str = "WebhooksTable";
const DELIVERIES_TABLE: &str = "DeliveriesTable";
const SESSIONS_TABLE: &str = "SessionsTable";
const SOURCES_TABLE: &str = "SourcesTable";
const CALLS_TABLE: &str = "CallsTable";
const BUCKET: &str = "ReportsBucket";
const IMPORTS_TABLE: &str = "ImportsTable";
const EVENTS_QUEUE: &str = "EventsQueue";
const IMPORTS_QUEUE: &str = "ImportsQueue";

impl Stack {
    /// Starts everything, and returns when it answers.
    ///
    /// # Errors
    /// A port that is taken, a data folder that cannot be used.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        // First of all: a port that is taken should not cost anybody a database.
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)))
            .await
            .with_context(|| format!("listen on port {}", options.port))?;
        let api_url = format!("http://{}", listener.local_addr()?);

        let temporary = if options.data.is_none() {
            Some(TempDir::new()?)
        } else {
            None
        };
        let folder = options
            .data
            .as_deref()
            .or(temporary.as_ref().map(TempDir::path))
            .context("a stack has a folder")?;
        let objects = folder.join("s3");
        std::fs::create_dir_all(&objects)
            .with_context(|| format!("create {}", objects.display()))?;
        let kept = |name: &str| options.data.as_ref().map(|folder| folder.join(name));
        let (database, messages) = (kept("dynamodb.sqlite"), kept("sqs.sqlite"));

        let mut tasks = JoinSet::new();
        let limits = Limits::with(options.patience);
        let endpoints = stand_ins::start(
            &mut tasks,
            database.as_deref(),
            &objects,
            messages.as_deref(),
            limits,
        )
        .await?;
        let sdk = sdk_config();
        let all = Clients::unrestricted(&sdk, &endpoints);
        let tables = all.tables();
        let (dynamodb, sqs) = (all.dynamodb, all.sqs);
        let s3 = aws_sdk_s3::Client::from_conf(all.s3.build());

        let definition = Definition::read()?;
        definition.create_tables(&dynamodb).await?;
        definition.create_buckets(&s3).await?;
        let queues = definition.create_queues(&sqs).await?;
        let queue = |name: &'static str| {
            let url = queues.get(name).cloned();
            url.with_context(|| format!("template.yaml has no {name}"))
        };
        let (events, imports) = (queue(EVENTS_QUEUE)?, queue(IMPORTS_QUEUE)?);

        let holds = |condition: &str| match condition {
            "ReadsByToken" => Some(options.read_by_token),
            _ => None,
        };
        let policies = Policies::read(definition, holds)?;
        let clients: BTreeMap<String, Clients> = policies
            .of_functions()
            .map(|(id, policy)| (id.to_owned(), Clients::under(policy, &sdk, &endpoints)))
            .collect();
        let of = |function: &str| {
            let clients = clients.get(function);
            clients.with_context(|| format!("template.yaml has no {function}"))
        };
        let mut issuer = DevelopmentIssuer::open(&api_url, options.data.as_deref())?;
        if let Some((first, later)) = options.id_tokens {
            issuer = issuer.with_validity(first, later);
        }
        let environment = environment(
            &endpoints,
            &[&events, &imports],
            &issuer,
            options.read_by_token,
        );
        let given = |function: &str| given(definition, &environment, function);
        // Receivers on this machine are what somebody who tries it has.
        let sender = Sender::new(SenderOptions {
            addresses: AddressPolicy::PublicAndLoopback,
            plain_http: given("DeliverWebhooks")?.switch("ALLOW_PLAIN_HTTP")?,
            deadline: options.delivery_deadline,
        })?;
        // Each function works with clients of its own, with which comes its policy, and by the variables that it is given.
        let (env, its) = (given("ListReports")?, of("ListReports")?);
        let listing = Listing::new(&env, &its.dynamodb)?;
        let (env, its) = (given("DownloadFiles")?, of("DownloadFiles")?);
        let mut files = Files::new(&env, &its.dynamodb, its.s3.clone())?;
        if let Some(max) = options.max_response_bytes {
            files.max_response_bytes = max;
        }
        let (env, its) = (given("PublishReport")?, of("PublishReport")?);
        let mut publishing = Publishing::new(&env, &its.dynamodb, its.s3.clone(), its.sqs.clone())?;
        let (env, its) = (given("ManageWebhooks")?, of("ManageWebhooks")?);
        let mut managing = Managing::new(
            &env,
            &its.dynamodb,
            aws_sdk_s3::Client::from_conf(its.s3.clone().build()),
            its.sqs.clone(),
            sender.clone(),
        )?;
        if options.no_limits {
            publishing.limits.uploads_per_day = u64::MAX;
            publishing.limits.bytes_per_day = u64::MAX;
            (managing.max_tokens, managing.max_tests) = (u64::MAX, u64::MAX);
        }
        let (env, its) = (given("Panel")?, of("Panel")?);
        let (s3_of_panel, sqs_of_panel) = (its.s3.clone(), its.sqs.clone());
        let mut panel = Panel::new(
            &env,
            &its.dynamodb,
            s3_of_panel,
            sqs_of_panel,
            sender.clone(),
        )?;
        if options.no_limits {
            (panel.managing.max_tokens, panel.managing.max_tests) = (u64::MAX, u64::MAX);
        }
        let (env, its) = (given("ReceiveEvents")?, of("ReceiveEvents")?);
        let receiving = Receiving::new(&env, &its.dynamodb, its.sqs.clone())?;
        let (env, its) = (given("ImportAnalysis")?, of("ImportAnalysis")?);
        let importing = Importing::new(
            &env,
            &its.dynamodb,
            aws_sdk_s3::Client::from_conf(its.s3.clone().build()),
            its.sqs.clone(),
            sender.clone(),
        )?;
        let (env, its) = (given("DeliverWebhooks")?, of("DeliverWebhooks")?);
        let mut delivering = Delivering::new(&env, &its.dynamodb, its.sqs.clone(), sender)?;
        if let Some(round) = options.retry_every {
            delivering.limits.round = round;
        }
        delivering.limits.time_factor = options.time_factor;
        let (env, its) = (given("RetryWebhooks")?, of("RetryWebhooks")?);
        let mut retrying = Retrying::new(&env, &its.dynamodb, its.sqs.clone())?;
        if let Some(every) = options.retry_every {
            retrying.interval = every;
            let pump = |queue, consumer| Pump {
                sqs: sqs.clone(),
                queue,
                consumer,
            };
            let window = options.batching_window / options.time_factor.max(1);
            let delivering = pump(events, Consumer::Delivering(delivering.clone()));
            tasks.spawn(delivering.run(window));
            let importing = pump(imports, Consumer::Importing(importing.clone()));
            tasks.spawn(importing.run(Duration::ZERO));
            tasks.spawn(pump::rounds(retrying.clone(), every));
        }
        let functions = Functions {
            listing: &listing,
            files: &files,
            publishing: &publishing,
            managing: &managing,
            receiving: &receiving,
            panel: &panel,
        };
        let service = service(&functions).merge(issuer.router());
        let service = RequestBodyTimeout::new(service, limits.patience);
        tasks.spawn(serve(listener, limits, TowerToHyperService::new(service)));
        Ok(Self {
            api_url,
            listing,
            files,
            publishing,
            managing,
            panel,
            receiving,
            importing,
            delivering,
            retrying,
            issuer,
            clients,
            policies,
            tables,
            dynamodb,
            s3,
            sqs,
            queues,
            definition,
            environment,
            tasks,
            _temporary: temporary,
        })
    }

    /// What the functions that are called by HTTP work with.
    pub fn functions(&self) -> Functions<'_> {
        Functions {
            listing: &self.listing,
            files: &self.files,
            publishing: &self.publishing,
            managing: &self.managing,
            receiving: &self.receiving,
            panel: &self.panel,
        }
    }

    /// The URL of the queue of report changes.
    pub fn events_queue(&self) -> &str {
        &self.queues[EVENTS_QUEUE]
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> String {
        bucket_name(BUCKET)
    }

    /// Makes a token.
    pub async fn create_token(
        &self,
        name: &str,
        org: OrganizationId,
        rights: &[Right],
    ) -> anyhow::Result<TokenSecret> {
        create_token(&self.tables.tokens, name, org, rights).await
    }

    /// Delivers what is on the queue, as if it were `now`, until there is nothing on it. Gives the number of messages.
    pub async fn deliver(&self, now: OffsetDateTime) -> anyhow::Result<usize> {
        let consumer = Consumer::Delivering(self.delivering.clone());
        self.drain(self.events_queue(), consumer, now).await
    }

    /// The URL of the queue of sources that are to be looked after.
    pub fn imports_queue(&self) -> &str {
        &self.queues[IMPORTS_QUEUE]
    }

    /// Looks after the sources on the queue, as if it were `now`, until there is nothing on it. Gives the number of messages.
    pub async fn import(&self, now: OffsetDateTime) -> anyhow::Result<usize> {
        let consumer = Consumer::Importing(self.importing.clone());
        self.drain(self.imports_queue(), consumer, now).await
    }

    async fn drain(
        &self,
        queue: &str,
        consumer: Consumer,
        now: OffsetDateTime,
    ) -> anyhow::Result<usize> {
        let pump = Pump {
            sqs: self.sqs.clone(),
            queue: queue.to_owned(),
            consumer,
        };
        pump.drain(now).await
    }

    /// The function that makes reports of what the servers of sources have found, working with these clients.
    pub fn importing_with(&self, clients: &Clients) -> anyhow::Result<Importing> {
        let Clients { dynamodb, s3, sqs } = clients.clone();
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        let sender = self.importing.sender.clone();
        let environment = self.given("ImportAnalysis")?;
        let importing = Importing::new(&environment, &dynamodb, s3, sqs, sender)?;
        Ok(Importing {
            patience: self.importing.patience,
            index_lag: self.importing.index_lag,
            ..importing
        })
    }

    /// The publishing function, working with these clients.
    pub fn publishing_with(&self, clients: &Clients) -> anyhow::Result<Publishing> {
        let Clients { dynamodb, s3, sqs } = clients.clone();
        Publishing::new(&self.given("PublishReport")?, &dynamodb, s3, sqs)
    }

    /// The function for administrators, working with these clients.
    pub fn managing_with(&self, clients: &Clients) -> anyhow::Result<Managing> {
        let Clients { dynamodb, s3, sqs } = clients.clone();
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        let sender = self.managing.sender.clone();
        Managing::new(&self.given("ManageWebhooks")?, &dynamodb, s3, sqs, sender)
    }

    /// The function for browsers, working with these clients.
    pub fn panel_with(&self, clients: &Clients) -> anyhow::Result<Panel> {
        let Clients { dynamodb, s3, sqs } = clients.clone();
        let sender = self.panel.managing.sender.clone();
        Panel::new(&self.given("Panel")?, &dynamodb, s3, sqs, sender)
    }

    /// The function that sources call, working with these clients.
    pub fn receiving_with(&self, clients: &Clients) -> anyhow::Result<Receiving> {
        let Clients { dynamodb, sqs, .. } = clients.clone();
        Receiving::new(&self.given("ReceiveEvents")?, &dynamodb, sqs)
    }

    /// The delivering function, working with these clients.
    pub fn delivering_with(&self, clients: &Clients) -> anyhow::Result<Delivering> {
        let Clients { dynamodb, sqs, .. } = clients.clone();
        let sender = self.delivering.sender.clone();
        let mut delivering =
            Delivering::new(&self.given("DeliverWebhooks")?, &dynamodb, sqs, sender)?;
        delivering.limits = self.delivering.limits;
        Ok(delivering)
    }

    /// The hourly function, working with these clients.
    pub fn retrying_with(&self, clients: &Clients) -> anyhow::Result<Retrying> {
        let Clients { dynamodb, sqs, .. } = clients.clone();
        let retrying = Retrying::new(&self.given("RetryWebhooks")?, &dynamodb, sqs)?;
        Ok(Retrying {
            interval: self.retrying.interval,
            ..retrying
        })
    }

    fn given(&self, function: &str) -> anyhow::Result<Environment> {
        given(self.definition, &self.environment, function)
    }

    /// The environment in which a function's binary works with this stack, except for the Lambda runtime's part.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    /// The same download function, reading its files through another address of the stand-in for S3.
    pub fn files_through(&self, s3_url: &str) -> Files {
        let config = self.clients["DownloadFiles"]
            .s3
            .clone()
            .endpoint_url(s3_url);
        let bucket = download_files::Bucket::new(config, self.bucket());
        Files {
            bucket,
            ..self.files.clone()
        }
    }

    /// Ends everything, and returns when it has ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// What the functions that are called by HTTP work with.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are those of Stack")]
pub struct Functions<'a> {
    pub listing: &'a Listing,
    pub files: &'a Files,
    pub publishing: &'a Publishing,
    pub managing: &'a Managing,
    pub receiving: &'a Receiving,
    pub panel: &'a Panel,
}

/// Every route of the system.
pub fn service(functions: &Functions<'_>) -> Router {
    let panel = panel::router(functions.panel.clone()).layer(map_request(with_stage));
    let routes = Router::new()
        .merge(list_reports::router(functions.listing.clone()))
        .merge(download_files::router(functions.files.clone()))
        .merge(publish_report::router(functions.publishing.clone()))
        .merge(manage_webhooks::router(functions.managing.clone()))
        .merge(receive_events::router(functions.receiving.clone()))
        .merge(panel);
    api::service(routes)
}

/// A request with the variable that the stage has on AWS.
async fn with_stage(request: Request) -> Request {
    let client = DevelopmentIssuer::PANEL_CLIENT.to_owned();
    let variables = HashMap::from([(panel::CLIENT_VARIABLE.to_owned(), client)]);
    request.with_stage_variables(variables)
}

/// The variables that template.yaml gives a function.
fn given(
    definition: &Definition,
    environment: &[(&'static str, String)],
    function: &str,
) -> anyhow::Result<Environment> {
    let names = definition.variables(function)?;
    let its = environment.iter().filter(|(name, _)| names.contains(name));
    Ok(Environment::given(its.cloned()))
}

/// What template.yaml tells the functions by their environment, all of them together, and where the stand-ins are.
fn environment(
    endpoints: &Endpoints,
    [events, imports]: &[&String; 2],
    issuer: &DevelopmentIssuer,
    read_by_token: bool,
) -> Vec<(&'static str, String)> {
    let identity = issuer.options();
    let reading = if read_by_token { "token" } else { "open" };
    vec![
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoints.dynamodb.clone()),
        ("AWS_ENDPOINT_URL_S3", endpoints.s3.clone()),
        ("AWS_ENDPOINT_URL_SQS", endpoints.sqs.clone()),
        ("REPORTS_TABLE", REPORTS_TABLE.to_owned()),
        ("PRODUCTS_TABLE", PRODUCTS_TABLE.to_owned()),
        ("UPLOADS_TABLE", UPLOADS_TABLE.to_owned()),
        ("TOKENS_TABLE", TOKENS_TABLE.to_owned()),
        ("IDEMPOTENCY_TABLE", IDEMPOTENCY_TABLE.to_owned()),
        ("WEBHOOKS_TABLE", WEBHOOKS_TABLE.to_owned()),
        ("DELIVERIES_TABLE", DELIVERIES_TABLE.to_owned()),
        ("SESSIONS_TABLE", SESSIONS_TABLE.to_owned()),
        ("SOURCES_TABLE", SOURCES_TABLE.to_owned()),
        ("CALLS_TABLE", CALLS_TABLE.to_owned()),
        ("IMPORTS_TABLE", IMPORTS_TABLE.to_owned()),
        ("BUCKET", bucket_name(BUCKET)),
        ("READING", reading.to_owned()),
        ("OIDC_ISSUER", identity.issuer),
        ("OIDC_AUDIENCE", identity.audience),
        ("OIDC_ROLES_CLAIM", identity.roles_claim),
        ("PANEL_CLIENT_SECRET", String::new()),
        ("ALLOW_PLAIN_HTTP", "true".to_owned()),
        ("DISABLE_AFTER_DAYS", "5".to_owned()),
        ("EVENTS_QUEUE_URL", events.to_string()),
        ("IMPORTS_QUEUE_URL", imports.to_string()),
        ("TOKENS_PER_ORGANIZATION", "100".to_owned()),
        ("UPLOADS_PER_DAY", "10000".to_owned()),
        ("UPLOAD_GIGABYTES_PER_DAY", "100".to_owned()),
    ]
}

/// Makes a JWT of the development issuer of a data folder, for the API at this URL.
pub fn create_jwt_in(
    data: &Path,
    api_url: &str,
    org: OrganizationId,
    role: Role,
) -> anyhow::Result<String> {
    DevelopmentIssuer::open(api_url, Some(data))?.token(
        &[(org, role)],
        OffsetDateTime::now_utc(),
        JWT_VALIDITY,
    )
}

/// Makes a token in the database of a data folder, whether a stack is running on it or not.
pub async fn create_token_in(
    data: &Path,
    name: &str,
    org: OrganizationId,
    rights: &[Right],
) -> anyhow::Result<TokenSecret> {
    let database = data.join("dynamodb.sqlite");
    anyhow::ensure!(
        database.exists(),
        "there is no data in {}; start `local` on it first",
        data.display()
    );
    let mut tasks = JoinSet::new();
    let url = stand_ins::start_dynamodb(&mut tasks, Some(&database)).await?;
    let dynamodb =
        aws_sdk_dynamodb::Client::from_conf(dynamodb_config(&sdk_config(), &url).build());
    create_token(&TokenStore::new(dynamodb, TOKENS_TABLE), name, org, rights).await
}

async fn create_token(
    tokens: &TokenStore,
    name: &str,
    org: OrganizationId,
    rights: &[Right],
) -> anyhow::Result<TokenSecret> {
    let now = OffsetDateTime::now_utc();
    let (token, secret) = Token::new(org, name, rights.iter().copied(), None, now)?;
    // Whoever has the database is not held to a number.
    tokens.add(&token, u64::MAX, None).await?;
    Ok(secret)
}
