//! Signing in and out.

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use domain::session::{Session, SessionSecret};
use identity::VerifyError;
use identity::sign_in::{Attempt, SignInError};
use lambda_http::RequestExt as _;
use time::OffsetDateTime;

use crate::cookies::{self, SigningIn};
use crate::form::Form;
use crate::links::Links;
use crate::problem::Problem;
use crate::session::{revoke, with_cookies};
use crate::state::Panel;
use crate::view::{Frame, page};
use crate::{CALLBACK, CLIENT_VARIABLE, ROOT, SIGNED_OUT};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    to: String,
    why: &'static str,
}

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage {
    frame: Frame,
    title: &'static str,
    address: String,
    words: &'static str,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage {
    frame: Frame,
    is_still_signed_in: bool,
}

fn parameters(raw: Option<&str>) -> Vec<(String, String)> {
    crate::form::pairs(raw.unwrap_or_default().as_bytes())
}

fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

/// The page with one button. Nobody is redirected to the issuer without a click. So there are no redirect loops, and a person
/// who has signed out stays signed out.
pub(crate) async fn ask(links: Links, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = parameters(raw.as_deref());
    let why = match parameter(&query, "why") {
        "over" => "Your session has ended. Sign in to go on where you were.",
        "refused" => "The identity provider no longer vouches for your session. Sign in again.",
        "failed" => "That sign-in was begun too long ago, or in another browser. Sign in again.",
        _ => "",
    };
    let to = links.back(parameter(&query, "to"));
    page(&SignInPage {
        frame: Frame::of_nobody(&links),
        to: to.unwrap_or_default(),
        why,
    })
}

/// Goes to the issuer by a page with a link. The policy allows forms to be sent only to ourselves, and also forbids redirects
/// from their answers to elsewhere.
pub(crate) async fn begin(
    State(panel): State<Panel>,
    links: Links,
    request: Request,
) -> Result<Response, Problem> {
    let client = client(&request);
    let ready = panel.ready(client.as_deref())?;
    let form = <Form as axum::extract::FromRequest<()>>::from_request(request, &()).await?;
    let to = links.back(form.text("to"));
    let signing_in = SigningIn {
        attempt: Attempt::new()?,
        to: to.unwrap_or_else(|| links.path(ROOT)),
    };
    let back = links.absolute(CALLBACK);
    let address = ready.sign_in.address(&signing_in.attempt, &back);
    let leave = LeavePage {
        frame: Frame::of_nobody(&links),
        title: "Signing in",
        address: address.await?.to_string(),
        words: "Go on to the identity provider",
    };
    let cookie = cookies::set_signing_in(&links, &signing_in)?;
    Ok(with_cookies(page(&leave)?, [cookie]))
}

/// The address to which the issuer returns a person with a code.
pub(crate) async fn callback(
    State(panel): State<Panel>,
    links: Links,
    request: Request,
) -> Result<Response, Problem> {
    let now = OffsetDateTime::now_utc();
    let query = parameters(request.uri().query());
    let state = parameter(&query, "state");
    let forget = cookies::forget_signing_in(&links, state);
    let Some(signing_in) = cookies::signing_in(&links, request.headers(), state) else {
        let again = links.path("/panel/sign-in?why=failed");
        return Ok(Redirect::to(&again).into_response());
    };
    let error = parameter(&query, "error");
    if !error.is_empty() {
        tracing::info!(
            "the issuer did not let somebody sign in: {}",
            web::text::shortened(error)
        );
        return Ok(with_cookies(refused()?, forget));
    }
    let ready = panel.ready(client(&request).as_deref())?;
    let attempt = &signing_in.attempt;
    let (code, back) = (parameter(&query, "code"), links.absolute(CALLBACK));
    let redeemed = ready.sign_in.redeem(code, attempt, &back);
    let tokens = match redeemed.await {
        Ok(tokens) => tokens,
        Err(SignInError::Refused(reason)) => {
            tracing::warn!("the issuer does not take a code: {reason}");
            return Ok(with_cookies(refused()?, forget));
        }
        Err(error @ SignInError::Unavailable(_)) => return Err(error.into()),
    };
    let verified = ready
        .identity
        .verify_answer(&tokens.id_token, &attempt.nonce, now);
    let identity = match verified.await {
        Ok(identity) => identity,
        Err(error @ VerifyError::Unavailable(_)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!("the issuer has answered with a JWT that is not accepted: {error}");
            return Ok(with_cookies(refused()?, forget));
        }
    };
    // This is always a new session, so that whoever knows the old cookie gains nothing.
    let secret = SessionSecret::generate()?;
    let session = Session::new(
        &secret,
        (tokens.id_token, tokens.refresh_token),
        identity.subject.clone(),
        ready.client.clone(),
        now,
    );
    panel.sessions.add(&session).await?;
    if let Some(old) = end(&panel, &links, request.headers()).await? {
        revoke(&ready, &old).await;
    }
    tracing::info!(
        subject = identity.subject,
        "{} has signed in",
        identity.subject
    );
    // The address was checked before, but the browser could have changed the cookie.
    let to = links.back(&signing_in.to);
    let to = to.unwrap_or_else(|| links.path(ROOT));
    let response = Redirect::to(&to).into_response();
    let cookie = cookies::set_session(&links, Some(&secret));
    Ok(with_cookies(response, forget.into_iter().chain([cookie])))
}

fn refused() -> Result<Response, Problem> {
    let message = "The identity provider did not let you sign in. Begin again, or ask whoever manages your account.";
    Ok(Problem::new(StatusCode::FORBIDDEN, "Not signed in", message).into_response())
}

/// Ends the session here, and leads to the issuer's sign-out.
pub(crate) async fn sign_out(
    State(panel): State<Panel>,
    links: Links,
    request: Request,
) -> Result<Response, Problem> {
    let forgotten = cookies::set_session(&links, None);
    let ended = end(&panel, &links, request.headers()).await?;
    let ready = panel.ready(client(&request).as_deref())?;
    let address = match &ended {
        None => None,
        Some(session) => {
            revoke(&ready, session).await;
            let back = links.absolute(SIGNED_OUT);
            // The session has ended here in any case.
            let address = ready.sign_in.sign_out_address(&back);
            address.await.unwrap_or_else(|error| {
                tracing::warn!("nobody can be signed out of the issuer: {error}");
                None
            })
        }
    };
    let frame = Frame::of_nobody(&links);
    let response = match address {
        Some(address) => page(&LeavePage {
            frame,
            title: "Signing out",
            address: address.to_string(),
            words: "Sign out of the identity provider too",
        })?,
        None => page(&SignedOutPage {
            frame,
            is_still_signed_in: ended.is_some(),
        })?,
    };
    Ok(with_cookies(response, [forgotten]))
}

async fn end(
    panel: &Panel,
    links: &Links,
    headers: &HeaderMap,
) -> Result<Option<Session>, Problem> {
    let Some(secret) = cookies::session(links, headers) else {
        return Ok(None);
    };
    let session = panel.sessions.get(&secret).await?;
    panel.sessions.delete(&secret).await?;
    Ok(session)
}

pub(crate) async fn signed_out(links: Links) -> Result<Response, Problem> {
    page(&SignedOutPage {
        frame: Frame::of_nobody(&links),
        is_still_signed_in: false,
    })
}

fn client(request: &Request) -> Option<String> {
    let variables = request.stage_variables_ref()?;
    variables.first(CLIENT_VARIABLE).map(str::to_owned)
}
