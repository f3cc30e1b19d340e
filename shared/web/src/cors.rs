//! The calls that scripts of other web sites may make (Fetch standard, "CORS protocol").

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use axum::routing::MethodRouter;
use tower_http::cors::{Any, CorsLayer, Vary};

use crate::api::method_not_allowed;

/// How long a browser may cache the answer. Chromium caches no answer for longer, and Firefox would for a day (MDN,
/// "Access-Control-Max-Age").
const PREFLIGHT_VALIDITY: Duration = Duration::from_secs(2 * 3600);

/// The routes of one path with public data. Scripts of any web site may call them and read the answers, including errors.
///
/// Scripts may send the headers `allowed_headers`. They may read `exposed_headers` besides the headers that they can always
/// read. No credentials are sent, and they would make no difference.
pub fn public<S: Clone + Send + Sync + 'static>(
    routes: MethodRouter<S>,
    allowed_headers: impl IntoIterator<Item = HeaderName>,
    exposed_headers: impl IntoIterator<Item = HeaderName>,
) -> MethodRouter<S> {
    // Many clients send it with every request, even with one without content.
    let content_type = [header::CONTENT_TYPE];
    let layer = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers(Vec::from_iter(
            content_type.into_iter().chain(allowed_headers),
        ))
        .expose_headers(Vec::from_iter(exposed_headers))
        .max_age(PREFLIGHT_VALIDITY)
        // These headers do not depend on the caller, so a cache need not keep answers apart.
        .vary(Vary::list([]));
    // The fallback of all routes would be outside the layer.
    routes.fallback(method_not_allowed).layer(layer)
}
