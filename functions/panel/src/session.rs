//! Sessions of people. At each request, the cookie names the session, and the issuer's JWT identifies the person.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use domain::session::{Session, SessionSecret};
use identity::sign_in::SignInError;
use identity::{Identity, VerifyError};
use lambda_http::RequestExt as _;
use store::dynamodb::Changed;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::form::{self, MAX_FORM_BYTES};
use crate::guard::Framed;
use crate::links::{Links, query};
use crate::problem::Problem;
use crate::state::{Panel, Ready};
use crate::view::Frame;
use crate::{CLIENT_VARIABLE, cookies};

/// A JWT that expires within this time is renewed before a page is made with it.
const RENEWED_BEFORE: Duration = Duration::MINUTE;
/// How often, and with which pause, a request looks whether another one has got new tokens. Together that is as long as an
/// issuer may take.
const LOOKS: u32 = 25;
const PAUSE: StdDuration = StdDuration::from_millis(200);

/// A person who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) identity: Identity,
    pub(crate) ready: Arc<Ready>,
    pub(crate) now: OffsetDateTime,
}

/// The session that a request's cookie names.
enum Found {
    Good(Box<(Session, Identity)>),
    /// It has ended, or never existed.
    None(Ended),
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nobody has signed in.
    Never,
    /// It has reached its longest life, or was not used.
    Over,
    /// The issuer no longer confirms the person's identity.
    Refused,
}

impl Ended {
    /// The reason, for the sign-in page.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Over => "over",
            Self::Refused => "refused",
        }
    }
}

#[derive(Template)]
#[template(path = "resend.html")]
struct Resend {
    frame: Frame,
    reason: &'static str,
    action: String,
    fields: Vec<(String, String)>,
    has_secrets: bool,
    sign_in: String,
}

/// Lets a person through who is signed in. Others are led to the sign-in. What they have typed is not lost: they get it back.
pub(crate) async fn signed_in(
    State(panel): State<Panel>,
    links: Links,
    mut request: Request,
    next: Next,
) -> Response {
    let now = OffsetDateTime::now_utc();
    let client = request
        .stage_variables_ref()
        .and_then(|it| it.first(CLIENT_VARIABLE));
    let ready = panel.ready(client);
    let secret = cookies::session(&links, request.headers());
    let found = async {
        let ready = ready?;
        let found = match &secret {
            None => Found::None(Ended::Never),
            Some(secret) => find(&panel, &ready, secret, now).await?,
        };
        Ok::<_, Problem>((ready, found))
    };
    let found = found.await;
    let is_form = *request.method() == Method::POST;
    match found {
        Ok((ready, Found::Good(found))) => {
            let (session, identity) = *found;
            let who = SignedIn {
                session,
                identity,
                ready,
                now,
            };
            let frame = Frame::of_path(&who, &links, request.uri().path());
            request.extensions_mut().insert(who);
            let mut response = next.run(request).await;
            // A problem with the page is shown in the same frame.
            response.extensions_mut().insert(Framed(frame));
            let unreadable =
                panel.sessions.unreadable.take() + panel.listing.reports.unreadable.take();
            panel.listing.metrics.record_unreadable(now, unreadable);
            response
        }
        Ok((_, Found::None(ended))) => {
            let mut response = if is_form {
                let reason = "Your session has ended, and nothing was changed.";
                resend(&links, request, reason, StatusCode::UNAUTHORIZED).await
            } else {
                let to = request.uri().path_and_query().map(|it| it.as_str());
                let to = links.path(to.unwrap_or_default());
                let why = query([("to", Some(to.as_str())), ("why", Some(ended.as_str()))]);
                Redirect::to(&links.path(&format!("/panel/sign-in{why}"))).into_response()
            };
            if ended != Ended::Never {
                let forgotten = cookies::set_session(&links, None);
                response.headers_mut().append(header::SET_COOKIE, forgotten);
            }
            response
        }
        Err(problem) if is_form => {
            let reason = "Your session could not be looked up, and nothing was changed.";
            resend(&links, request, reason, problem.status).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn find(
    panel: &Panel,
    ready: &Ready,
    secret: &SessionSecret,
    now: OffsetDateTime,
) -> Result<Found, Problem> {
    let Some(session) = panel.sessions.get(secret).await? else {
        return Ok(Found::None(Ended::Over));
    };
    if session.has_ended(now) || session.client != ready.client {
        panel.sessions.delete(secret).await?;
        revoke(ready, &session).await;
        return Ok(Found::None(Ended::Over));
    }
    let found = match verified(ready, &session, now).await? {
        Some(identity) if identity.expires_at - now >= RENEWED_BEFORE => {
            Found::Good(Box::new((session, identity)))
        }
        verified => renew(panel, ready, secret, session, verified, now).await?,
    };
    if let Found::Good(found) = &found
        && !found.0.is_use_noted(now)
    {
        // The session is gone: the person has signed out in another window.
        if panel.sessions.note_use(&found.0, now).await? == Changed::Lost {
            return Ok(Found::None(Ended::Over));
        }
    }
    Ok(found)
}

/// Revokes the refresh token of a session that has ended. If that fails, the token expires by itself.
pub(crate) async fn revoke(ready: &Ready, session: &Session) {
    let Some(token) = session.refresh_token.as_ref() else {
        return;
    };
    if session.client == ready.client
        && let Err(error) = ready.sign_in.revoke(token).await
    {
        tracing::warn!("a refresh token is not revoked, and expires: {error}");
    }
}

/// The person of a session, unless its JWT has expired.
async fn verified(
    ready: &Ready,
    session: &Session,
    now: OffsetDateTime,
) -> Result<Option<Identity>, Problem> {
    match ready.identity.verify(&session.id_token, now).await {
        Ok(identity) => Ok(Some(identity)),
        Err(VerifyError::Invalid(reason)) => {
            tracing::warn!("a session's JWT is not accepted any more: {reason}");
            Ok(None)
        }
        Err(VerifyError::Expired) => Ok(None),
        Err(error @ VerifyError::Unavailable(_)) => Err(error.into()),
    }
}

/// Renews a session's tokens at the issuer. One request at a time holds the lease on that. Some issuers give another refresh
/// token each time, and end everything if the old one is used again. Other requests continue with the old JWT, or wait for
/// the new one.
async fn renew(
    panel: &Panel,
    ready: &Ready,
    secret: &SessionSecret,
    session: Session,
    old: Option<Identity>,
    now: OffsetDateTime,
) -> Result<Found, Problem> {
    let Some(refresh_token) = session.refresh_token.clone() else {
        return over_unless(panel, secret, session, old, Ended::Over).await;
    };
    // This comes before the lease is claimed, since it takes a while.
    if let Err(error) = ready.sign_in.prepare().await {
        return unavailable(session, old, error);
    }
    let claim = Uuid::new_v4();
    if panel.sessions.claim_refresh(&session, claim, now).await? == Changed::Lost {
        if let Some(identity) = old {
            return Ok(Found::Good(Box::new((session, identity))));
        }
        return renewed_by_others(panel, ready, secret, &session, now).await;
    }
    match ready.sign_in.refresh(&refresh_token).await {
        Ok(tokens) => {
            let after = Session {
                id_token: tokens.id_token,
                refresh_token: tokens.refresh_token.or(Some(refresh_token)),
                refreshing_until: None,
                ..session.clone()
            };
            // The tokens are stored before they are checked, since the old refresh token may be invalid now.
            if panel.sessions.refreshed(&session, &after).await? == Changed::Lost {
                let stored = panel.sessions.get(secret).await?;
                if stored.is_none_or(|stored| stored.id_token != after.id_token) {
                    // The person has signed out in the meantime.
                    return Ok(Found::None(Ended::Over));
                }
            }
            renewed(panel, ready, secret, after, old, now).await
        }
        Err(SignInError::Refused(reason)) => {
            tracing::info!("the issuer does not renew a session: {reason}");
            panel.sessions.delete(secret).await?;
            Ok(Found::None(Ended::Refused))
        }
        Err(error @ SignInError::Unavailable(_)) => {
            panel.sessions.release_refresh(&session).await?;
            unavailable(session, old, error)
        }
    }
}

/// A session with new tokens, if they belong to the same person.
async fn renewed(
    panel: &Panel,
    ready: &Ready,
    secret: &SessionSecret,
    session: Session,
    old: Option<Identity>,
    now: OffsetDateTime,
) -> Result<Found, Problem> {
    match ready.identity.verify(&session.id_token, now).await {
        Ok(identity) if identity.subject == session.subject => {
            Ok(Found::Good(Box::new((session, identity))))
        }
        Err(error @ VerifyError::Unavailable(_)) => {
            unavailable(session, old, SignInError::Unavailable(error.into()))
        }
        other => {
            let why = other.map_or_else(|error| error.to_string(), |_| "another person".to_owned());
            tracing::warn!(
                "the issuer has renewed a session with a JWT that is not accepted: {why}"
            );
            panel.sessions.delete(secret).await?;
            Ok(Found::None(Ended::Refused))
        }
    }
}

/// A session continues with its old JWT while the JWT is valid.
fn unavailable(
    session: Session,
    old: Option<Identity>,
    error: SignInError,
) -> Result<Found, Problem> {
    match old {
        Some(identity) => {
            tracing::warn!("a session continues with its old JWT: {error}");
            Ok(Found::Good(Box::new((session, identity))))
        }
        None => Err(error.into()),
    }
}

async fn over_unless(
    panel: &Panel,
    secret: &SessionSecret,
    session: Session,
    identity: Option<Identity>,
    ended: Ended,
) -> Result<Found, Problem> {
    match identity {
        Some(identity) => Ok(Found::Good(Box::new((session, identity)))),
        None => {
            panel.sessions.delete(secret).await?;
            Ok(Found::None(ended))
        }
    }
}

async fn renewed_by_others(
    panel: &Panel,
    ready: &Ready,
    secret: &SessionSecret,
    before: &Session,
    now: OffsetDateTime,
) -> Result<Found, Problem> {
    for _ in 0..LOOKS {
        let Some(session) = panel.sessions.get(secret).await? else {
            return Ok(Found::None(Ended::Refused));
        };
        if session.id_token != before.id_token
            && let Some(identity) = verified(ready, &session, now).await?
        {
            return Ok(Found::Good(Box::new((session, identity))));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Problem::no_identity())
}

/// A page with what was typed, to be sent again.
async fn resend(
    links: &Links,
    request: Request,
    reason: &'static str,
    status: StatusCode,
) -> Response {
    let (head, body) = request.into_parts();
    let action = links.path(head.uri.path_and_query().map_or("", |it| it.as_str()));
    let typed = read(body).await;
    let is_secret = |(name, value): &(String, String)| form::is_secret(name) && !value.is_empty();
    let has_secrets = typed.iter().any(is_secret);
    // Their fields remain, empty, beside the fields that they belong to.
    let emptied = |(name, value): (String, String)| {
        let value = if form::is_secret(&name) {
            String::new()
        } else {
            value
        };
        (name, value)
    };
    let fields = typed.into_iter().map(emptied).collect();
    let page = Resend {
        frame: Frame::of_nobody(links),
        reason,
        action,
        fields,
        has_secrets,
        sign_in: links.path("/panel/sign-in"),
    };
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn read(body: Body) -> Vec<(String, String)> {
    let bytes = axum::body::to_bytes(body, MAX_FORM_BYTES).await;
    bytes.map_or_else(|_| Vec::new(), |bytes| form::pairs(&bytes))
}

/// Adds headers about cookies to a response.
pub(crate) fn with_cookies(
    mut response: Response,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
