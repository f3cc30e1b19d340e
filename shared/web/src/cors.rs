//! Which calls the scripts of other web sites may make (Fetch standard, "CORS protocol").

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use axum::routing::MethodRouter;
use tower_http::cors::{Any, CorsLayer, Vary};

use crate::api::method_not_allowed;

/// How long a browser need not ask again. Chromium keeps no answer for longer, Firefox would for a day (MDN,
/// "Access-Control-Max-Age").
const PREFLIGHT_VALIDITY: Duration = Duration::from_secs(2 * 3600);

/// Routes of one path with public data. Any web site's script may call them and read the answers, errors among them.
///
/// Scripts may send the headers `allowed_headers`, and see `exposed_headers` beside those that they always see. Nobody's
/// credentials are sent along, and none would make a difference.
pub fn public<S: Clone + Send + Sync + 'static>(
    routes: MethodRouter<S>,
    allowed_headers: impl IntoIterator<Item = HeaderName>,
    exposed_headers: impl IntoIterator<Item = HeaderName>,
) -> MethodRouter<S> {
    // Many clients send it with every request, also with those that have no content.
    let content_type = [header::CONTENT_TYPE];
    let layer = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers(Vec::from_iter(
            content_type.into_iter().chain(allowed_headers),
        ))
        .expose_headers(Vec::from_iter(exposed_headers))
        .max_age(PREFLIGHT_VALIDITY)
        // Whoever asks, these headers are the same, so a cache need not keep answers apart.
        .vary(Vary::list([]));
    // The fallback of all routes would stand outside of the layer.
    routes.fallback(method_not_allowed).layer(layer)
}
