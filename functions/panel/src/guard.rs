//! What every request of the panel must have, and the headers of every answer.

use std::io::Write as _;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::assets;
use crate::links::Links;
use crate::problem::Problem;
use crate::view::Frame;

/// Only our own script and style, nothing from elsewhere, and no frame around the page. Trusted Types are required: our
/// script makes no HTML from texts.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'",
);
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
);
/// Two years, as <https://hstspreload.org> asks. Subdomains are not included: the domain may belong to others.
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Smaller answers fit into one packet anyway.
const WORTH_COMPRESSING: usize = 1024;

/// Marks a page that is shown once, and must not be compressed together with what somebody else may choose (BREACH).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncompressed;

/// The frame of a page that a problem replaces.
#[derive(Clone, Debug)]
pub(crate) struct Framed(pub(crate) Frame);

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    problem: Problem,
}

/// Refuses requests that another site's page makes a browser send, makes a page of a [`Problem`], and adds the headers.
pub(crate) async fn guarded(links: Links, request: Request, next: Next) -> Response {
    let takes_gzip = takes_gzip(request.headers());
    let response = if is_own(request.method(), request.headers(), &links) {
        next.run(request).await
    } else {
        let message =
            "This request did not come from a page of the panel, and nothing was changed.";
        Problem::new(StatusCode::FORBIDDEN, "Not from here", message).into_response()
    };
    let mut response = with_page(response, &links);
    let is_compressible = response.extensions_mut().remove::<Uncompressed>().is_none();
    add_headers(response.headers_mut(), &links);
    if takes_gzip && is_compressible && is_text(response.headers()) {
        response = compressed(response).await;
    }
    response
}

/// The answer for an address without a page.
pub(crate) async fn nothing() -> Problem {
    Problem::not_found()
}

/// Whether a request may change something because one of our own pages sent it. Every GET is allowed, since links on other
/// sites lead here.
///
/// Browsers say where a request comes from (Fetch Metadata, `Sec-Fetch-Site`). Older ones send its `Origin` at least.
fn is_own(method: &Method, headers: &HeaderMap, links: &Links) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let text = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == b"same-origin",
        None => text(header::ORIGIN) == Some(links.origin().as_bytes()),
    }
}

fn with_page(mut response: Response, links: &Links) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let framed = response.extensions_mut().remove::<Framed>();
    let frame = framed.map_or_else(|| Frame::of_nobody(links), |framed| framed.0);
    let page = ProblemPage { frame, problem };
    let status = response.status();
    match page.render() {
        Ok(html) => {
            let headers = response.headers().clone();
            let mut response = (status, Html(html)).into_response();
            response.headers_mut().extend(headers);
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
        Err(error) => {
            tracing::error!("the page of a problem cannot be made: {error}");
            response
        }
    }
}

fn add_headers(headers: &mut HeaderMap, links: &Links) {
    // A file of a report has a policy of its own, which is stricter except for the frame.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert_with(|| POLICY);
    if headers.get(header::CONTENT_SECURITY_POLICY) == Some(&POLICY) {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    // A browser may keep only the style sheet and the script. Other pages and files are only for a person who is signed in,
    // and a browser shows what it has kept.
    if headers.get(header::CACHE_CONTROL) != Some(&assets::FOR_EVER) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // With no policy at all, forms of our own pages would come without their origin in browsers that send no other sign of it
    // (Fetch, "append a request `Origin` header").
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("same-origin"));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    if links.is_secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TRANSPORT);
    }
    // The API's permissions for scripts of other sites do not hold for what a cookie opens.
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        headers.remove(name);
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING);
    let accepted = accepted.iter().filter_map(|it| it.to_str().ok());
    accepted.flat_map(|it| it.split(',')).any(|it| {
        let mut parts = it.split(';').map(str::trim);
        let is_gzip = parts.next() == Some("gzip");
        is_gzip && !parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn is_text(headers: &HeaderMap) -> bool {
    let of = |name| {
        headers
            .get(name)
            .and_then(|it: &HeaderValue| it.to_str().ok())
    };
    let kind = of(header::CONTENT_TYPE).unwrap_or_default();
    let is_text = kind.starts_with("text/") || kind == "image/svg+xml";
    is_text && of(header::CONTENT_ENCODING).is_none() && of(header::ACCEPT_RANGES).is_none()
}

/// API Gateway does not compress streamed answers.
async fn compressed(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    // The page was made at once, and is short.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    head.headers
        .append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let compressed = if bytes.len() >= WORTH_COMPRESSING {
        gzip(&bytes).ok()
    } else {
        None
    };
    head.headers.remove(header::CONTENT_LENGTH);
    let Some(compressed) = compressed else {
        return Response::from_parts(head, Body::from(bytes));
    };
    let gzip = HeaderValue::from_static("gzip");
    head.headers.insert(header::CONTENT_ENCODING, gzip);
    Response::from_parts(head, Body::from(compressed))
}

fn gzip(bytes: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use web::base::BaseUrl;

    #[test]
    fn only_our_own_pages_change_anything() {
        let links = Links::new(BaseUrl("https://api.example/v1".to_owned()));
        let site = "sec-fetch-site";
        for (method, headers, own) in [
            (Method::GET, vec![(site, "cross-site")], true),
            (Method::HEAD, vec![], true),
            (Method::POST, vec![(site, "same-origin")], true),
            (Method::POST, vec![(site, "same-site")], false),
            (Method::POST, vec![(site, "cross-site")], false),
            (Method::POST, vec![(site, "none")], false),
            (
                Method::POST,
                vec![(site, "cross-site"), ("origin", "https://api.example")],
                false,
            ),
            (Method::POST, vec![("origin", "https://api.example")], true),
            (
                Method::POST,
                vec![("origin", "https://api.example:8443")],
                false,
            ),
            (Method::POST, vec![("origin", "http://api.example")], false),
            (Method::POST, vec![("origin", "null")], false),
            (Method::POST, vec![], false),
            (Method::DELETE, vec![], false),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            assert_eq!(is_own(&method, &map, &links), own, "{method} {headers:?}");
        }
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accepted, takes) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("xgzip", false),
        ] {
            let headers = HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static(accepted),
            )]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
    }
}
