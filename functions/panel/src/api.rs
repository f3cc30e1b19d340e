//! Calls of the API, in this process and with the person's own token.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use idempotency::{IDEMPOTENCY_KEY, REPLAYED};
use lambda_http::request::RequestContext;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::problem::Problem;
use crate::visit::Visit;

/// The largest answer of the API, which is held as a whole. An answer that Lambda buffers ends at 6 MB anyway.
const MAX_ANSWER_BYTES: usize = 8_000_000;

/// A call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    number: Option<&'a str>,
    revision: Option<&'a str>,
}

/// An answer with a 2xx.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

/// An answer with another status.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) parameter: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    code: String,
    message: String,
    #[serde(default)]
    parameter: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
}

impl<'a> Call<'a> {
    /// A call that reads.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A call that starts an action.
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A call that changes something.
    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// A call that deletes something.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            number: None,
            revision: None,
        }
    }

    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds the idempotency key by which the API recognizes a repetition.
    pub(crate) fn once(mut self, number: &'a str) -> Self {
        self.number = Some(number);
        self
    }

    /// Adds the precondition that the resource still has this entity tag.
    pub(crate) fn unless_changed(mut self, revision: Option<&'a str>) -> Self {
        self.revision = revision;
        self
    }
}

impl Answer {
    /// The content of the answer; `None` without a body.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        if self.body.is_empty() {
            return Ok(None);
        }
        // The message of serde might repeat a part of a secret.
        let read = serde_json::from_slice(&self.body);
        read.map(Some).map_err(|error| {
            let place = (error.line(), error.column());
            anyhow::anyhow!("an answer of the API is not what it was, at {place:?}").into()
        })
    }

    /// The content of an answer that must have a body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let read = self.read()?;
        read.ok_or_else(|| anyhow::anyhow!("an answer of the API has no body").into())
    }

    /// Its entity tag.
    pub(crate) fn tag(&self) -> String {
        let tag = self.headers.get(header::ETAG);
        let tag = tag.and_then(|it| it.to_str().ok());
        tag.unwrap_or_default().to_owned()
    }

    /// Whether the API repeated the answer of an earlier call.
    pub(crate) fn is_replayed(&self) -> bool {
        self.headers.contains_key(REPLAYED)
    }
}

impl Visit {
    /// Calls the API about a resource of the organization, such as `/webhooks`.
    ///
    /// # Errors
    /// Our own failures. The inner error is the API's refusal.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Result<Answer, Refusal>, Problem> {
        let path = format!("/organizations/{}{}", self.org, call.path);
        let mut request = self.request(call.method, &path)?;
        let bearer = format!("Bearer {}", self.who.session.id_token);
        let mut bearer = HeaderValue::try_from(bearer)?;
        bearer.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, bearer);
        if let Some(number) = call.number {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(number)?);
        }
        if let Some(revision) = call.revision.filter(|it| !it.is_empty()) {
            headers.insert(header::IF_MATCH, HeaderValue::try_from(revision)?);
        }
        if let Some(body) = call.body {
            *request.body_mut() = Body::from(serde_json::to_vec(&body)?);
        }
        answer(self.send(request).await).await
    }

    /// The same for a page that has nothing to say about a refusal.
    pub(crate) async fn expect(&self, call: Call<'_>) -> Result<Answer, Problem> {
        self.call(call).await?.map_err(Problem::from)
    }

    /// Reads an organization's reports. `path` comes first, then the organization, then the query.
    pub(crate) async fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Result<Answer, Refusal>, Problem> {
        let request = self.reading(path, query)?;
        answer(self.send(request).await).await
    }

    /// The request for such a read.
    pub(crate) fn reading(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Request<Body>, Problem> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("org", &self.org.to_string())
            .extend_pairs(query)
            .finish();
        self.request(Method::GET, &format!("{path}?{query}"))
    }

    /// Sends a request to the API.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        let ready = &self.who.ready;
        let is_archive = request.uri().path() == download_files::PATH;
        let api = if is_archive && !self.is_administrator() {
            &ready.anonymous
        } else {
            &ready.api
        };
        let answered = api.clone().oneshot(request).await;
        answered.unwrap_or_else(|never| match never {})
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<Body>, Problem> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())?;
        if let Some(host) = &self.host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        if let Some(RequestContext::ApiGatewayV1(context)) = &self.context {
            // The API must see the address under which the panel was called, including what precedes its path.
            let mut context = context.clone();
            let bare = path.split('?').next().unwrap_or_default();
            context.path = Some(self.links.path(bare));
            let context = RequestContext::ApiGatewayV1(context);
            request.extensions_mut().insert(context);
        }
        Ok(request)
    }
}

pub(crate) async fn answer(response: Response) -> Result<Result<Answer, Refusal>, Problem> {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await?;
    if head.status.is_success() {
        return Ok(Ok(Answer {
            headers: head.headers,
            body,
        }));
    }
    let envelope: Envelope = serde_json::from_slice(&body)?;
    let retry_after = head.headers.get(header::RETRY_AFTER);
    Ok(Err(Refusal {
        status: head.status,
        code: envelope.code,
        message: envelope.message,
        parameter: envelope.parameter,
        request_id: envelope.request_id,
        retry_after: retry_after
            .and_then(|it| it.to_str().ok())
            .and_then(|it| it.parse().ok()),
    }))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let title = match refusal.status {
            StatusCode::NOT_FOUND => return Self::not_found(),
            StatusCode::FORBIDDEN => return Self::forbidden(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Try again",
            status if status.is_server_error() => "Something went wrong",
            _ => "That does not work",
        };
        Self {
            request_id: refusal.request_id,
            retry_after: refusal.retry_after,
            ..Self::new(refusal.status, title, refusal.message)
        }
    }
}
