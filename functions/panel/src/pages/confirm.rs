//! The question before something is deleted for good.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::api::Call;
use crate::problem::Problem;
use crate::view::{self, Frame, Section};
use crate::visit::Administrator;

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    title: String,
    words: &'static str,
    action: String,
    button: &'static str,
    back: String,
}

/// A page that asks for confirmation.
pub(crate) fn page(
    visit: &Administrator,
    section: Section,
    title: String,
    words: &'static str,
    (action, button): (String, &'static str),
    back: String,
) -> Result<Response, Problem> {
    view::page(&ConfirmPage {
        frame: visit.frame(section),
        title,
        words,
        action,
        button,
        back,
    })
}

/// Makes the API delete something, and continues to `list`. A second request succeeds too, since the result is the same.
pub(crate) async fn remove(
    visit: &Administrator,
    thing: String,
    list: &str,
) -> Result<Response, Problem> {
    match visit.call(Call::delete(thing)).await? {
        Ok(_) => {}
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(Redirect::to(&visit.path(list)).into_response())
}
