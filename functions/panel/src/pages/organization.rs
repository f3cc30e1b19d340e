//! The organization: its name, its id, and the person who looks at it.

use askama::Template;
use axum::Extension;
use axum::response::{IntoResponse, Redirect, Response};
use domain::organization::OrganizationId;

use crate::handle::Handle;
use crate::links::Links;
use crate::problem::Problem;
use crate::session::SignedIn;
use crate::view::{Frame, Section, name_of, organization_name, page};
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "choose.html")]
struct ChoosePage {
    frame: Frame,
    organizations: Vec<(String, String, &'static str)>,
    subject: String,
}

#[derive(Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    frame: Frame,
    name: String,
    /// For administrators only, since it gives access to reports.
    id: Option<OrganizationId>,
    api: String,
    subject: String,
    session_ends: crate::view::When,
}

/// Redirects to the person's organization, or lets the person choose between several.
pub(crate) async fn choose(
    links: Links,
    Extension(who): Extension<SignedIn>,
) -> Result<Response, Problem> {
    let path = |org| links.path(&format!("/panel/{}/reports", Handle::of(org)));
    let all: Vec<OrganizationId> = who.identity.organizations().collect();
    if let [only] = all.as_slice() {
        return Ok(Redirect::to(&path(*only)).into_response());
    }
    let role = |org| who.identity.role_in(org).map_or("", |role| role.as_str());
    let organizations = all
        .iter()
        .map(|&org| (path(org), organization_name(org), role(org)));
    let identity = &who.identity;
    page(&ChoosePage {
        frame: Frame::of_person(&links, name_of(identity)),
        organizations: organizations.collect(),
        subject: identity.subject.clone(),
    })
}

pub(crate) async fn begin(visit: Visit) -> Redirect {
    Redirect::to(&visit.path("/reports"))
}

pub(crate) async fn show(visit: Visit) -> Result<Response, Problem> {
    let ends = visit.who.session.ends_at();
    let ends = time::OffsetDateTime::from_unix_timestamp(ends)?;
    page(&OrganizationPage {
        frame: visit.frame(Section::Organization),
        name: organization_name(visit.org),
        id: visit.is_administrator().then_some(visit.org),
        api: visit.links.base.clone(),
        subject: visit.who.identity.subject.clone(),
        session_ends: crate::view::When::at(ends),
    })
}
