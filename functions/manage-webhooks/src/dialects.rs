//! Other spellings of what may be done with webhooks: those of products whose clients people have already. A dialect has paths,
//! parameters, answers and errors of its own, and not a rule: these are in [`crate::webhooks::operations`] and
//! [`crate::settings`].

pub(crate) mod codescoring;
pub(crate) mod sonarqube;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use domain::date::sonar_date;
use web::api::Wording;

use crate::access::TokenExpiry;

/// How one of them says things.
#[derive(Clone)]
pub(crate) struct Dialect {
    /// The token of a request, which our own API knows as a bearer token: `None` where there is none, and an empty one where it
    /// cannot be one of ours.
    token: fn(&HeaderMap) -> Option<String>,
    /// How errors are told.
    wording: Wording,
    /// The header that says when the token expires by which somebody asks.
    expiry: Option<HeaderName>,
}

/// Speaks a dialect: leads the login to where our own API has it, and has errors told as the dialect tells them.
pub(crate) async fn speaking(
    State(dialect): State<Dialect>,
    mut request: Request,
    next: Next,
) -> Response {
    // A text that no header can have is no token of ours.
    let token = (dialect.token)(request.headers());
    let token = token.map(|it| Some(it).filter(|it| is_visible(it)).unwrap_or_default());
    let bearer = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    match bearer {
        Some(bearer) => request.headers_mut().insert(header::AUTHORIZATION, bearer),
        None => request.headers_mut().remove(header::AUTHORIZATION),
    };
    let expiry = TokenExpiry::default();
    request.extensions_mut().insert(expiry.clone());
    let mut response = next.run(request).await;
    if let Some(name) = dialect.expiry
        && let Some(at) = expiry.noted()
        && let Ok(at) = HeaderValue::try_from(sonar_date(at))
    {
        response.headers_mut().insert(name, at);
    }
    response.extensions_mut().insert(dialect.wording);
    response
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What stands behind the name of a scheme of authentication, if the request has that one (RFC 9110, section 11.4).
fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let is_wanted = scheme.eq_ignore_ascii_case(wanted);
    is_wanted.then(|| credentials.trim())
}
