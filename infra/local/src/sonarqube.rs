//! A stand-in for a server of `SonarQube`: the part of its Web API that reports are made from, as the versions have it.
//!
//! It has what an analysis has found, and answers questions about it. Where versions differ it does as each of them: which
//! parameters and which of their values there are, what is an error, and what is ignored. It knows one token.

mod answers;
mod project;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

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
    edition: Edition,
    token: String,
    inner: Mutex<Inner>,
}

struct Inner {
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
            edition,
            token: token.to_owned(),
            inner: Mutex::new(Inner {
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
    fn accepts(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let bearer = self.edition.has_bearer() && given == format!("Bearer {}", self.token);
        let basic = reqwest::Client::new()
            .get("http://127.0.0.1")
            .basic_auth(&self.token, Some(""))
            .build();
        let basic = basic.is_ok_and(|it| {
            it.headers().get(header::AUTHORIZATION) == headers.get(header::AUTHORIZATION)
        });
        bearer || basic
    }
}

async fn answer(
    State(server): State<Arc<Server>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let parameters = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut inner = server.inner();
    let asked = Asked {
        path: uri.path().trim_start_matches('/').to_owned(),
        parameters,
        before: inner.asked.len(),
    };
    inner.asked.push(asked.clone());
    let Inner {
        project, trouble, ..
    } = &mut *inner;
    if let Some(trouble) = trouble
        && let Some(response) = trouble(&asked, project)
    {
        return response;
    }
    if asked.path == "api/server/version" {
        return server.edition.version().into_response();
    }
    if !server.accepts(&headers) {
        // As the real one answers a wrong token: with nothing.
        return StatusCode::UNAUTHORIZED.into_response();
    }
    answers::answer(server.edition, project, &asked)
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
