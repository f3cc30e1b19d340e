//! The address of the API, as the caller has used it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use lambda_http::request::RequestContext;

/// The address of the API by which it was called, without a slash at the end. A function cannot get it from its
/// configuration: the API depends on its functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(pub String);

impl<S: Sync> FromRequestParts<S> for BaseUrl {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let gateway = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV1(context)) => {
                let path = context.path.as_deref().unwrap_or_default();
                context
                    .domain_name
                    .as_ref()
                    .map(|domain| behind_gateway(domain, path, parts.uri.path()))
            }
            _ => None,
        };
        let url = gateway.unwrap_or_else(|| on_its_own(&parts.headers));
        Ok(Self(url))
    }
}

/// The stage precedes the path, except under a custom domain.
fn behind_gateway(domain: &str, path: &str, resource: &str) -> String {
    let stage = path.strip_suffix(resource).unwrap_or_default();
    format!("https://{domain}{}", stage.trim_end_matches('/'))
}

fn on_its_own(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    host.map_or_else(String::new, |host| format!("http://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_address_that_was_called() {
        for (path, resource, expected) in [
            (
                "/v1/organizations/1/sources",
                "/organizations/1/sources",
                "https://api.example/v1",
            ),
            (
                "/organizations/1/sources",
                "/organizations/1/sources",
                "https://api.example",
            ),
            ("", "/organizations/1/sources", "https://api.example"),
        ] {
            assert_eq!(behind_gateway("api.example", path, resource), expected);
        }
        let headers = HeaderMap::from_iter([(header::HOST, "127.0.0.1:9000".parse().unwrap())]);
        assert_eq!(on_its_own(&headers), "http://127.0.0.1:9000");
        assert_eq!(on_its_own(&HeaderMap::new()), "");
    }
}
