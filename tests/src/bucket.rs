//! A bucket in memory, that answers as a test wants it to.

use std::fmt;

use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use hyper::Response;

/// A request for `length` bytes of an object from `offset` on.
#[derive(Clone, Debug)]
pub struct Get {
    /// The last part of the object's key.
    pub key: String,
    /// In bytes.
    pub offset: usize,
    /// In bytes.
    pub length: usize,
    /// The entity tag that the object must have.
    pub if_match: Option<String>,
}

/// The configuration of a client whose every request is a GET of a range, and answered by `answer`.
pub fn in_memory(answer: impl Fn(Get) -> Response<SdkBody> + Send + Sync + 'static) -> Builder {
    let connector = SharedHttpConnector::new(InMemory(answer));
    Builder::default()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
}

/// Answers instead of connecting. The SDK has such a connector too, but with a feature by which all of the SDK would be
/// compiled once more, and deployed.
struct InMemory<F>(F);

impl<F: Fn(Get) -> Response<SdkBody> + Send + Sync> HttpConnector for InMemory<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().unwrap();
        let text = |name: &str| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let range = text("range").unwrap();
        let (first, last) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let key = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let answer = (self.0)(Get {
            key,
            offset: first,
            length: last + 1 - first,
            if_match: text("if-match"),
        });
        HttpConnectorFuture::ready(Ok(answer.try_into().unwrap()))
    }
}

impl<F> fmt::Debug for InMemory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").finish_non_exhaustive()
    }
}

/// The answer with a part of an object.
pub fn found(length: usize, etag: &str, body: SdkBody) -> Response<SdkBody> {
    Response::builder()
        .status(206)
        .header("content-length", length)
        .header("etag", etag)
        .body(body)
        .unwrap()
}

/// The answer with an error.
pub fn failed(status: u16) -> Response<SdkBody> {
    Response::builder()
        .status(status)
        .body(SdkBody::empty())
        .unwrap()
}
