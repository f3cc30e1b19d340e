//! A stand-in for a server of `SonarQube`: the part of its Web API that reports are made from, as the versions have it.
//!
//! It has what an analysis has found, and answers questions about it. Where versions differ it does as each of them: which
//! parameters and which of their values there are, what is an error, and what is ignored. It knows one token.
//!
//! `POST /analyse?version=…` analyses its project anew, in which it is unlike any server, and it calls its webhook then, in which it is not.

mod answers;
mod call;
mod project;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::call::Webhook;

pub use self::project::{Analysis, Branch, FoundHotspot, FoundIssue, KnownRule, Project, Status};

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// 9.9 LTA: no bearer tokens, no impacts.
    V9_9,
    /// 10.4: impacts of three severities, and statuses of issues.
    V10_4,
    /// 2025.1: two modes, impacts of five severities.
    V2025_1 {
        /// Whether it rates by impacts.
        mqr: bool,
    },
    /// 2026.3, the same; and a rule's description is in sections only.
    V2026_3 {
        /// Whether it rates by impacts.
        mqr: bool,
    },
    /// Cloud: its version says nothing, and its calls want the organization.
    Cloud,
}

impl Edition {
    const fn version(self) -> &'static str {
        match self {
            Self::V9_9 => "9.9.8.100196",
            Self::V10_4 => "10.4.1.88267",
            Self::V2025_1 { .. } => "2025.1.0.102418",
            Self::V2026_3 { .. } => "2026.3.0.121301",
            Self::Cloud => "8.0.0.71342",
        }
    }

    /// Whether it rates by impacts on software qualities.
    pub const fn is_mqr(self) -> bool {
        matches!(
            self,
            Self::Cloud | Self::V2025_1 { mqr: true } | Self::V2026_3 { mqr: true }
        )
    }

    const fn has_bearer(self) -> bool {
        !matches!(self, Self::V9_9)
    }

    const fn has_impacts(self) -> bool {
        !matches!(self, Self::V9_9)
    }

    /// Whether issues of new rules may wait in a sandbox.
    const fn has_sandbox(self) -> bool {
        matches!(self, Self::V2026_3 { .. })
    }

    /// From 10.8 on.
    const fn has_modes(self) -> bool {
        matches!(self, Self::V2025_1 { .. } | Self::V2026_3 { .. })
    }
}

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `api/issues/search`.
    pub path: String,
    /// The decoded parameters.
    pub parameters: Vec<(String, String)>,
    /// How many requests there were before.
    pub before: usize,
}

impl Asked {
    /// A parameter; empty is as good as absent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(other, _)| other == name);
        found
            .next_back()
            .map(|(_, value)| value.as_str())
            .filter(|it| !it.is_empty())
    }

    fn values(&self, name: &str) -> Option<Vec<&str>> {
        self.parameter(name).map(|it| it.split(',').collect())
    }
}

/// As `SonarQube` writes dates.
const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");

/// What happens instead of an answer.
pub type Trouble = Box<dyn FnMut(&Asked, &mut Project) -> Option<Response> + Send>;

/// A running stand-in.
#[derive(Debug)]
pub struct StandIn {
    /// Its address.
    pub url: String,
    state: Arc<Server>,
    task: JoinHandle<()>,
}

struct Server {
    url: String,
    edition: Edition,
    inner: Mutex<Inner>,
}

struct Inner {
    token: String,
    token_expires_at: Option<String>,
    webhook: Option<Webhook>,
    project: Project,
    asked: Vec<Asked>,
    trouble: Option<Trouble>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Server")
            .field("edition", &self.edition)
            .finish_non_exhaustive()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    /// Starts one on a free port of loopback, that has this project and knows this token.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(edition: Edition, token: &str, project: Project) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("bind a port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Server {
            url: url.clone(),
            edition,
            inner: Mutex::new(Inner {
                token: token.to_owned(),
                token_expires_at: None,
                webhook: None,
                project,
                asked: Vec::new(),
                trouble: None,
            }),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move {
            // It ends with the process, or when it is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, state, task })
    }

    /// Has something happen to requests, before they are answered.
    pub fn trouble(
        &self,
        trouble: impl FnMut(&Asked, &mut Project) -> Option<Response> + Send + 'static,
    ) {
        self.state.inner().trouble = Some(Box::new(trouble));
    }

    /// Changes what was found.
    pub fn change(&self, change: impl FnOnce(&mut Project)) {
        change(&mut self.state.inner().project);
    }

    /// Has it know another token, which may expire.
    pub fn accept(&self, token: &str, expires_at: Option<&str>) {
        let mut inner = self.state.inner();
        inner.token = token.to_owned();
        inner.token_expires_at = expires_at.map(str::to_owned);
    }

    /// Enters a webhook: where it leads, and what its calls are signed with.
    pub fn enter_webhook(&self, url: &str, secret: &str) {
        self.state.inner().webhook = Some(Webhook {
            url: url.to_owned(),
            secret: secret.to_owned(),
        });
    }

    /// What its webhook says of the newest analysis of a branch: of a background task, or without one that the quality gate has changed.
    pub fn call_of(&self, branch: &str, task: Option<&str>) -> String {
        let inner = self.state.inner();
        let mut branches = inner.project.branches.iter();
        let branch = branches.find(|it| it.name == branch);
        let branch = branch.or(inner.project.branches.first());
        branch.map_or_else(String::new, |branch| {
            call::of(&self.url, &inner.project, branch, task)
        })
    }

    /// The requests until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.inner().asked.clone()
    }
}

impl Server {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that is the token: as a bearer's, or as a user without a password.
    fn accepts(&self, token: &str, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let bearer = self.edition.has_bearer() && given == format!("Bearer {token}");
        let basic = given == format!("Basic {}", STANDARD.encode(format!("{token}:")));
        bearer || basic
    }
}

/// Analyses the main branch anew, as a scanner would have it done: its first issue has been mended. Then it calls its webhook.
async fn analyse(server: &Arc<Server>, version: Option<&str>) -> Response {
    let task = Uuid::new_v4().to_string();
    let (webhook, project, body) = {
        let mut inner = server.inner();
        let Inner {
            project, webhook, ..
        } = &mut *inner;
        let Some(branch) = project.branches.first_mut() else {
            return error(404, "There is no branch");
        };
        let last = branch.analyses.first().map(|it| it.version.clone());
        let date = OffsetDateTime::now_utc().format(DATE).unwrap_or_default();
        let analysis = Analysis {
            key: Uuid::new_v4().to_string(),
            date,
            version: version.map(str::to_owned).or(last).unwrap_or_default(),
            revision: Some(Uuid::new_v4().simple().to_string()),
            build: None,
        };
        branch.analyses.insert(0, analysis);
        let open = |it: &FoundIssue| it.status == Status::Open;
        if let Some(mended) = branch.issues.iter().position(open) {
            branch.issues.remove(mended);
        }
        let body = call::of(&server.url, project, &project.branches[0], Some(&task));
        (webhook.clone(), project.key.clone(), body)
    };
    let answer = json!({"taskId": task, "project": project});
    if let Some(webhook) = webhook {
        // When the answer is gone, as a background task would.
        tokio::spawn(async move {
            match webhook.call(&project, body).await {
                Ok(status) => tracing::info!("SonarQube has called its webhook: {status}"),
                Err(error) => tracing::error!("SonarQube could not call its webhook: {error:#}"),
            }
        });
    }
    Json(answer).into_response()
}

async fn answer(
    State(server): State<Arc<Server>>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if method == Method::POST && uri.path() == "/analyse" {
        let version = parameters.iter().find(|(name, _)| name == "version");
        return analyse(&server, version.map(|(_, version)| version.as_str())).await;
    }
    let mut inner = server.inner();
    let asked = Asked {
        path: uri.path().trim_start_matches('/').to_owned(),
        parameters,
        before: inner.asked.len(),
    };
    inner.asked.push(asked.clone());
    let Inner {
        token,
        token_expires_at,
        project,
        trouble,
        ..
    } = &mut *inner;
    if let Some(trouble) = trouble
        && let Some(response) = trouble(&asked, project)
    {
        return response;
    }
    if asked.path == "api/server/version" {
        return server.edition.version().into_response();
    }
    if !server.accepts(token, &headers) {
        // As the real one answers a wrong token: with nothing.
        return match asked.path.as_str() {
            "api/authentication/validate" => Json(json!({"valid": false})).into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        };
    }
    let mut response = answers::answer(server.edition, project, &asked);
    if let Some(at) = token_expires_at.as_deref().and_then(|it| it.parse().ok()) {
        let name = HeaderName::from_static("sonarqube-authentication-token-expiration");
        response.headers_mut().insert(name, at);
    }
    response
}

/// An error in the Web API's own words.
pub fn error(status: u16, message: &str) -> Response {
    let body = json!({"errors": [{"msg": message}]}).to_string();
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap_or_default()
}
