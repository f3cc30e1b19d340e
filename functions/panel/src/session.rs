//! Who has signed in: a session is looked up by its cookie, and its person vouched for by the issuer's JWT, at each request.

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

/// A JWT that is good for less than this is renewed before a page is made with it.
const RENEWED_BEFORE: Duration = Duration::MINUTE;
/// So often, and with this pause, it is looked whether somebody else has got new tokens: for as long as an issuer is waited for.
const LOOKS: u32 = 25;
const PAUSE: StdDuration = StdDuration::from_millis(200);

/// Who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) identity: Identity,
    pub(crate) ready: Arc<Ready>,
    pub(crate) now: OffsetDateTime,
}

/// What there is of the session that a request says it is of.
enum Found {
    Good(Box<(Session, Identity)>),
    /// It is over, or there never was one.
    None(Ended),
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nobody has signed in.
    Never,
    /// It has lasted for as long as one may, or was not used.
    Over,
    /// The issuer does not vouch for the person any more.
    Refused,
}

impl Ended {
    /// What the sign-in page is told.
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

/// Lets through who has signed in. Others are led to where they can. What they have typed is not lost: they get it back.
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
            // If something stands in the way of the page, that is shown in the same frame.
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
        // Gone meanwhile: somebody has signed out in another window.
        if panel.sessions.note_use(&found.0, now).await? == Changed::Lost {
            return Ok(Found::None(Ended::Over));
        }
    }
    Ok(found)
}

/// Has the issuer forget the refresh token of a session that has ended. One that it does not forget expires.
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

/// Has the issuer vouch for the person again. One request at a time asks it: some issuers give another refresh token each time, and
/// whoever comes second with the old one ends everything. Others go on with the old JWT, or wait for the new one.
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
    // Before the right to ask is claimed, since it takes its time.
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
            // Stored before they are looked at: the old refresh token may be good no more.
            if panel.sessions.refreshed(&session, &after).await? == Changed::Lost {
                let stored = panel.sessions.get(secret).await?;
                if stored.is_none_or(|stored| stored.id_token != after.id_token) {
                    // Somebody has signed out meanwhile.
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

/// A session with new tokens, if they are of the same person.
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

/// A session goes on with its old JWT for as long as that is good.
fn unavailable(
    session: Session,
    old: Option<Identity>,
    error: SignInError,
) -> Result<Found, Problem> {
    match old {
        Some(identity) => {
            tracing::warn!("a session goes on with its old JWT: {error}");
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

/// A page with what was typed, to be sent once more.
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
    // Their fields stay, empty, beside the others that they belong to.
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

/// What a response has the browser do with its cookies.
pub(crate) fn with_cookies(
    mut response: Response,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
