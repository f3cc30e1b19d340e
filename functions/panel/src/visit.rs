//! The person who looks at a page, and the organization.

use std::ops::Deref;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use domain::organization::OrganizationId;
use identity::Role;
use lambda_http::request::RequestContext;

use crate::handle::Handle;
use crate::links::Links;
use crate::problem::Problem;
use crate::session::SignedIn;
use crate::view::{Frame, Section};

/// A signed-in person who looks at an organization that the person belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) who: SignedIn,
    pub(crate) org: OrganizationId,
    pub(crate) role: Role,
    pub(crate) handle: Handle,
    pub(crate) links: Links,
    /// The context of the call, for the API.
    pub(crate) context: Option<RequestContext>,
    pub(crate) host: Option<HeaderValue>,
}

/// The same for a person who may manage.
#[derive(Clone, Debug)]
pub(crate) struct Administrator(pub(crate) Visit);

impl Deref for Administrator {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

impl Visit {
    /// The frame of a page in a section.
    pub(crate) fn frame(&self, section: Section) -> Frame {
        Frame::of(self, section)
    }

    /// The path of a resource of the organization's, such as `/webhooks`.
    pub(crate) fn path(&self, path: &str) -> String {
        self.links.path(&format!("/panel/{}{path}", self.handle))
    }

    /// Goes on to the page of something of the organization's, which says that it is `done`.
    pub(crate) fn done(&self, path: &str, done: &str) -> Response {
        Redirect::to(&format!("{}?done={done}", self.path(path))).into_response()
    }

    /// Whether the person may manage.
    pub(crate) fn is_administrator(&self) -> bool {
        self.role >= Role::Administrator
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let who = parts.extensions.get::<SignedIn>().cloned();
        let who = who.ok_or_else(Problem::not_found)?;
        let Ok(links) = Links::from_request_parts(parts, state).await;
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::not_found())?;
        let given = params.iter().find(|(name, _)| *name == "handle");
        let (_, given) = given.ok_or_else(Problem::not_found)?;
        let org = who
            .identity
            .organizations()
            .find(|org| Handle::of(*org).as_str() == given)
            .ok_or_else(Problem::not_found)?;
        let role = who.identity.role_in(org).ok_or_else(Problem::not_found)?;
        Ok(Self {
            org,
            role,
            handle: Handle::of(org),
            links,
            context: parts.extensions.get::<RequestContext>().cloned(),
            host: parts.headers.get(header::HOST).cloned(),
            who,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let visit = Visit::from_request_parts(parts, state).await?;
        if visit.is_administrator() {
            Ok(Self(visit))
        } else {
            Err(Problem::forbidden())
        }
    }
}
