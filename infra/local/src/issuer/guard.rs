//! What all endpoints share that are for the issuer's owner only.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::issuer::{DevelopmentIssuer, page};

/// Refuses who calls by another name of this machine, and keeps answers out of caches, frames and other people's logs.
///
/// By a name of their own that leads to loopback (DNS rebinding) others could read what their pages must not.
pub(super) async fn guard(
    State(issuer): State<DevelopmentIssuer>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = if is_own_host(&request, &issuer.host) {
        next.run(request).await
    } else {
        page::message(
            StatusCode::FORBIDDEN,
            "This is not the address of the issuer",
            &format!("It answers at {} only.", issuer.url),
        )
    };
    harden(response.headers_mut(), &issuer.api_url);
    response
}

/// A request says its host in the header, in its target, or in both.
fn is_own_host(request: &Request, host: &str) -> bool {
    let is_own = |given: &[u8]| given.eq_ignore_ascii_case(host.as_bytes());
    let target = request.uri().authority();
    let headers = request.headers().get_all(header::HOST);
    let mut said = target
        .map(|it| it.as_str().as_bytes())
        .into_iter()
        .chain(headers.iter().map(HeaderValue::as_bytes))
        .peekable();
    said.peek().is_some() && said.all(is_own)
}

fn harden(headers: &mut HeaderMap, api_url: &str) {
    // Chromium asks `form-action` also where the answer to a form leads, which is the panel.
    let policy = format!(
        "default-src 'none'; style-src '{}'; form-action 'self' {api_url}; frame-ancestors 'none'; base-uri 'none'",
        page::style_hash()
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
