//! `/panel/…`: an organization's reports, webhooks, sources and tokens in the browser.
//!
//! Each page is made from the API's answers. The routers of three other functions run in this process, and the panel calls
//! them like any client, with the person's own token. So the panel decides nothing that the API does not decide. The browser
//! holds only a cookie. The issuer's tokens stay here, in the table of sessions.
//!
//! Every page works without scripts, and its whole state is in its address.

mod api;
mod assets;
mod cookies;
mod form;
mod guard;
mod handle;
mod links;
mod pages;
mod problem;
mod session;
mod state;
mod trend;
mod view;
mod visit;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};

pub use crate::assets::{SCRIPT_BYTES, STYLE_BYTES};
pub use crate::handle::Handle;
pub use crate::state::Panel;

use crate::links::Links;
use crate::pages::webhooks::{editing, rotating};
use crate::pages::{
    deliveries, organization, products, reports, sign_in, sources, tokens, webhooks,
};

/// The stage variable that names the issuer's client as which people sign in. A variable of the function's environment would
/// be a circular dependency: the client names the API's address, and the API names its functions.
pub const CLIENT_VARIABLE: &str = "PanelClientId";

/// The first page.
pub const ROOT: &str = "/panel/";
/// The path to which the issuer returns people after a sign-in.
pub const CALLBACK: &str = "/panel/callback";
/// The path to which the issuer returns people after a sign-out.
pub const SIGNED_OUT: &str = "/panel/signed-out";

async fn begin(links: Links) -> Redirect {
    Redirect::to(&links.path(ROOT))
}

/// The routes of this function.
pub fn router(panel: Panel) -> Router {
    let of_organization = Router::new()
        .route("/panel/", get(organization::choose))
        .route("/panel/{handle}", get(organization::begin))
        .route("/panel/{handle}/reports", get(products::list))
        .route("/panel/{handle}/reports/{key}", get(reports::product))
        .route("/panel/{handle}/reports/{key}/{id}", get(reports::report))
        .route(
            "/panel/{handle}/reports/{key}/{id}/files/{name}",
            get(reports::file),
        )
        .route("/panel/{handle}/files", get(reports::archive))
        .route("/panel/{handle}/webhooks", get(webhooks::list))
        .route(
            "/panel/{handle}/webhooks/new",
            get(editing::new).post(editing::create),
        )
        .route("/panel/{handle}/webhooks/{id}", get(webhooks::show))
        .route(
            "/panel/{handle}/webhooks/{id}/edit",
            get(editing::edit).post(editing::change),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/secret",
            get(rotating::ask).post(rotating::replace),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/delete",
            get(webhooks::confirm).post(webhooks::delete),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/enable",
            get(webhooks::elsewhere).post(webhooks::enable),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/disable",
            get(webhooks::elsewhere).post(webhooks::disable),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/test",
            get(webhooks::elsewhere).post(webhooks::test),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/replay",
            get(deliveries::replay).post(deliveries::replay_now),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/deliveries/{delivery}",
            get(deliveries::show),
        )
        .route(
            "/panel/{handle}/webhooks/{id}/deliveries/{delivery}/redeliver",
            get(webhooks::elsewhere).post(deliveries::redeliver),
        )
        .route("/panel/{handle}/sources", get(sources::list))
        .route(
            "/panel/{handle}/sources/new",
            get(sources::editing::new).post(sources::editing::create),
        )
        .route("/panel/{handle}/sources/{id}", get(sources::show))
        .route(
            "/panel/{handle}/sources/{id}/edit",
            get(sources::editing::edit).post(sources::editing::change),
        )
        .route("/panel/{handle}/sources/{id}/check", post(sources::check))
        .route(
            "/panel/{handle}/sources/{id}/secret",
            get(sources::secret).post(sources::rotate),
        )
        .route(
            "/panel/{handle}/sources/{id}/delete",
            get(sources::confirm).post(sources::delete),
        )
        .route("/panel/{handle}/tokens", get(tokens::list))
        .route(
            "/panel/{handle}/tokens/new",
            get(tokens::new).post(tokens::create),
        )
        .route(
            "/panel/{handle}/tokens/{id}/revoke",
            get(tokens::confirm).post(tokens::revoke),
        )
        .route("/panel/{handle}/organization", get(organization::show))
        .route("/panel/{handle}/{*rest}", get(guard::nothing))
        .route_layer(from_fn_with_state(panel.clone(), session::signed_in));
    let open = Router::new()
        .route("/panel/sign-in", get(sign_in::ask).post(sign_in::begin))
        .route(CALLBACK, get(sign_in::callback))
        .route("/panel/sign-out", post(sign_in::sign_out))
        .route(SIGNED_OUT, get(sign_in::signed_out))
        .route("/panel/assets/{name}", get(assets::serve));
    Router::new()
        .route("/", get(begin))
        .route("/panel", get(begin))
        .merge(of_organization)
        .merge(open)
        .layer(from_fn(guard::guarded))
        .with_state(panel)
}
