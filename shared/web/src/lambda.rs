//! HTTP services as Lambda functions behind API Gateway.
//!
//! `lambda_runtime` asks for events, and opens a span for each. Buffered answers go through `lambda_http`. Streamed answers
//! go from here to the Runtime API, for two faults of `lambda_runtime`:
//!
//! - It leaves Nagle's algorithm on (RFC 9293, section 3.7.4), and writes the head of an answer, its prelude and each frame
//!   separately. So the second of two small writes waits until the first one is acknowledged. The acknowledgement may be
//!   delayed by half a second (RFC 1122, section 4.2.3.2), and Linux delays it by 40 ms. Here everything that is ready is one
//!   write, and no write waits.
//! - It sends an error of the body as if it were data, and then ends the answer like a complete one. Here the connection
//!   breaks.
//!
//! Some features of `lambda_http` are missing here, because nothing uses them: the context in the request's extensions, its
//! trace id in a header, and cookies apart from the other headers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Uri, header};
use axum::response::Response;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_http::tower::{Service, ServiceExt, layer};
use lambda_http::{BoxFuture, Error, LambdaEvent, request, service_fn};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, LambdaInvocation, MetadataPrelude, Runtime};
use lambda_runtime_api_client::body::Body as Posted;
use lambda_runtime_api_client::{PooledClient, build_request};

use crate::api::without_needless_length;

/// The header of an event that its answer must repeat, if the event has it.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// Runs a service with buffered answers. API Gateway waits 29 seconds for each, and Lambda takes 6 MB.
///
/// # Errors
/// The Runtime API cannot be reached any more.
///
/// # Panics
/// Without the variables that Lambda sets.
pub async fn run(service: Router) -> Result<(), Error> {
    let service =
        ServiceExt::<lambda_http::Request>::map_response(service, without_needless_length);
    lambda_http::run(service).await
}

/// Runs a service with streamed answers: up to 200 MB, for 15 minutes.
///
/// # Errors
/// The Runtime API cannot be reached any more, or the body of an answer fails. In the latter case the connection breaks, and
/// the process has to end with the error. So Lambda learns of the failure in two ways.
///
/// # Panics
/// Without the variables that Lambda sets.
pub async fn run_streaming(service: Router) -> Result<(), Error> {
    let client = PooledClient::builder().with_connector(connector());
    let streaming = Streaming {
        service,
        client: Arc::new(client.build()),
    };
    // A runtime answers with the function that it is made with. This one is never called, since the layer replaces it.
    let unused = service_fn(async |_: LambdaEvent<()>| Ok::<(), Error>(()));
    Runtime::new(unused)
        .layer(layer::layer_fn(move |_| streaming.clone()))
        .layer(TracingLayer::new())
        .run()
        .await
}

/// Makes connections on which no write waits for an acknowledgement.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// Answers an invocation with the response of a service.
#[derive(Clone, Debug)]
struct Streaming {
    service: Router,
    client: Arc<PooledClient>,
}

impl Service<LambdaInvocation> for Streaming {
    type Response = ();
    type Error = Error;
    type Future = BoxFuture<'static, Result<(), Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        Box::pin(self.clone().answer(invocation))
    }
}

impl Streaming {
    async fn answer(self, invocation: LambdaInvocation) -> Result<(), Error> {
        let mut posted = match event(&invocation.body) {
            Ok(request) => {
                let response = self.service.oneshot(request).await;
                success(
                    &invocation.context.request_id,
                    response.unwrap_or_else(|never| match never {}),
                )?
            }
            Err(error) => {
                tracing::error!("an event is no request of API Gateway: {error}");
                failure(&invocation.context.request_id, &error)?
            }
        };
        if let Some(id) = invocation.parts.headers.get(INVOCATION_ID) {
            posted.headers_mut().insert(INVOCATION_ID, id.clone());
        }
        let taken = self.client.call(posted).await.map_err(|error| {
            tracing::error!("an answer broke off: {:#}", anyhow::anyhow!(error));
            "an answer broke off, so the function ends"
        })?;
        if !taken.status().is_success() {
            // This also happens after the function's timeout, or when the caller has gone. The next event is not affected.
            tracing::error!("the Runtime API refused an answer with {}", taken.status());
        }
        // A connection can be used again only after its answer has been read.
        let _ = taken.into_body().collect().await;
        Ok(())
    }
}

fn event(bytes: &[u8]) -> Result<lambda_http::Request, Error> {
    Ok(request::from_str(std::str::from_utf8(bytes)?)?)
}

/// A streamed answer: a prelude of JSON, eight zero bytes, the body.
///
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming> and
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/response-streaming-lambda-configure.html>.
fn success(id: &str, response: Response) -> Result<Request<Posted>, Error> {
    let (mut head, body) = without_needless_length(response).into_parts();
    // Cookies have a field of their own in the prelude. Of a repeated header only one would remain.
    let cookies = head.headers.get_all(header::SET_COOKIE).iter();
    let cookies = cookies.filter_map(|it| it.to_str().ok().map(str::to_owned));
    let cookies = cookies.collect();
    head.headers.remove(header::SET_COOKIE);
    let mut prelude = MetadataPrelude {
        status_code: head.status,
        headers: head.headers,
        cookies,
    };
    let unknown = HeaderValue::from_static("application/octet-stream");
    prelude
        .headers
        .entry(header::CONTENT_TYPE)
        .or_insert(unknown);
    let mut prelude = serde_json::to_vec(&prelude)?;
    prelude.extend([0; 8]);
    let body = Answer {
        prelude: Some(prelude.into()),
        body,
    };
    Ok(post(id, "response")?
        .header(header::TRANSFER_ENCODING, "chunked")
        .header("lambda-runtime-function-response-mode", "streaming")
        .header(
            header::CONTENT_TYPE,
            "application/vnd.awslambda.http-integration-response",
        )
        .body(Posted::new(body))?)
}

fn failure(id: &str, error: &Error) -> Result<Request<Posted>, Error> {
    let diagnostic = Diagnostic {
        error_type: "InvalidEvent".to_owned(),
        error_message: error.to_string(),
    };
    Ok(post(id, "error")?
        .header("lambda-runtime-function-error-type", "unhandled")
        .body(Posted::from(serde_json::to_vec(&diagnostic)?))?)
}

fn post(id: &str, what: &str) -> Result<axum::http::request::Builder, Error> {
    let uri: Uri = format!("/2018-06-01/runtime/invocation/{id}/{what}").parse()?;
    Ok(build_request().method("POST").uri(uri))
}

/// The body of a streamed answer. Its prelude is ready at once, so it is sent together with the head and with what the
/// service has ready.
struct Answer {
    prelude: Option<Bytes>,
    body: Body,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.prelude.take() {
            Some(prelude) => Poll::Ready(Some(Ok(Frame::data(prelude)))),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }
}

#[cfg(test)]
mod tests;
