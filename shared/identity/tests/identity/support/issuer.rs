//! An issuer on loopback, which answers as a test says and notes what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use identity::{COGNITO_GROUPS, IdentityOptions, IdentityProvider};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::NOW;
use crate::support::signing::{es256, header};

pub(crate) const AUDIENCE: &str = "reports";
pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";

/// What the issuer answers to a path.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(String),
    Status(u16),
    Redirect(&'static str),
    Never,
}

pub(crate) struct TestIssuer {
    pub(crate) url: String,
    served: Arc<Mutex<Served>>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Served {
    answers: BTreeMap<String, Answer>,
    requests: Vec<String>,
}

impl TestIssuer {
    pub(crate) async fn start(jwks: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(Served::default()));
        let shared = Arc::clone(&served);
        let service = Router::new().fallback(async move |uri: Uri| answer(&shared, &uri).await);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, service).await.unwrap() });
        let issuer = Self { url, served, tasks };
        issuer.set(DISCOVERY, issuer.configuration(&issuer.url, &issuer.url));
        issuer.set(KEYS, keys(jwks));
        issuer
    }

    pub(crate) fn provider(&self) -> IdentityProvider {
        IdentityProvider::new(options(&self.url)).unwrap()
    }

    pub(crate) fn set(&self, path: &str, answer: Answer) {
        let mut served = self.served.lock().unwrap();
        served.answers.insert(path.to_owned(), answer);
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        let served = self.served.lock().unwrap();
        served.requests.iter().filter(|uri| *uri == path).count()
    }

    pub(crate) fn configuration(&self, issuer: &str, keys_at: &str) -> Answer {
        let configuration = json!({ "issuer": issuer, "jwks_uri": format!("{keys_at}{KEYS}") });
        Answer::Body(configuration.to_string())
    }

    pub(crate) fn claims(&self) -> Value {
        self.claims_at(NOW)
    }

    pub(crate) fn claims_at(&self, now: OffsetDateTime) -> Value {
        json!({
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "someone",
            "exp": (now + Duration::minutes(5)).unix_timestamp(),
        })
    }

    /// A good token, by the key `e`.
    pub(crate) fn token(&self) -> String {
        self.token_at(NOW)
    }

    pub(crate) fn token_at(&self, now: OffsetDateTime) -> String {
        es256(&header("ES256", "e"), &self.claims_at(now))
    }

    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn answer(served: &Mutex<Served>, uri: &Uri) -> Response {
    let answer = {
        let mut served = served.lock().unwrap();
        served.requests.push(uri.to_string());
        served.answers.get(uri.path()).cloned()
    };
    match answer {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Body(text)) => text.into_response(),
        Some(Answer::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Some(Answer::Never) => std::future::pending().await,
    }
}

pub(crate) fn options(issuer: &str) -> IdentityOptions {
    IdentityOptions {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        roles_claim: COGNITO_GROUPS.to_owned(),
    }
}

pub(crate) fn keys(jwks: &[Value]) -> Answer {
    Answer::Body(json!({ "keys": jwks }).to_string())
}
