//! The panel's cookies.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use domain::session::{LONGEST, SessionSecret};
use identity::sign_in::Attempt;
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::links::Links;

/// With TLS, only this host can set a cookie with this prefix, and only for the whole host (RFC 6265bis, section 4.1.3.2).
const PREFIX: &str = "__Host-";
const SESSION: &str = "session";
const LOGIN: &str = "login-";
/// How many characters of an attempt's state distinguish it from others of the same browser.
const STATE_CHARACTERS: usize = 8;
/// How long somebody may take to sign in.
const SIGNING_IN: Duration = Duration::minutes(10);

/// What the browser keeps during a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SigningIn {
    pub(crate) attempt: Attempt,
    /// The page to show after it.
    pub(crate) to: String,
}

/// The session that a request's cookie names.
pub(crate) fn session(links: &Links, headers: &HeaderMap) -> Option<SessionSecret> {
    find(headers, &name(links, SESSION)).and_then(|text| SessionSecret::parse(&text))
}

/// The header that makes the browser keep a session's cookie, or delete it.
pub(crate) fn set_session(links: &Links, secret: Option<&SessionSecret>) -> HeaderValue {
    let value = secret.map(SessionSecret::reveal);
    set(links, name(links, SESSION), value, LONGEST)
}

/// The sign-in that the browser began with this state.
pub(crate) fn signing_in(links: &Links, headers: &HeaderMap, state: &str) -> Option<SigningIn> {
    let text = find(headers, &login_name(links, state)?)?;
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    let signing_in: SigningIn = serde_json::from_slice(&json).ok()?;
    // The browser wrote both, so the comparison reveals nothing.
    (signing_in.attempt.state == state).then_some(signing_in)
}

/// The header that makes the browser keep a sign-in.
pub(crate) fn set_signing_in(links: &Links, signing_in: &SigningIn) -> anyhow::Result<HeaderValue> {
    let name = login_name(links, &signing_in.attempt.state)
        .ok_or_else(|| anyhow::anyhow!("a state is long enough"))?;
    let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(signing_in)?);
    Ok(set(links, name, Some(&value), SIGNING_IN))
}

/// The header that makes the browser delete a sign-in.
pub(crate) fn forget_signing_in(links: &Links, state: &str) -> Option<HeaderValue> {
    Some(set(links, login_name(links, state)?, None, SIGNING_IN))
}

/// `SameSite=Lax`: a strict cookie would not be sent when somebody returns from the issuer or follows a link in a message.
/// The module `guard` checks requests that change something.
fn set(links: &Links, name: String, value: Option<&str>, validity: Duration) -> HeaderValue {
    let cookie = Cookie::build((name, value.unwrap_or_default()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(links.is_secure())
        .max_age(if value.is_some() {
            validity
        } else {
            Duration::ZERO
        });
    // We make the names and the values ourselves.
    HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""))
}

fn find(headers: &HeaderMap, name: &str) -> Option<String> {
    let given = headers.get_all(header::COOKIE);
    let given = given.iter().filter_map(|it| it.to_str().ok());
    given
        .flat_map(Cookie::split_parse)
        .flatten()
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

fn login_name(links: &Links, state: &str) -> Option<String> {
    let state = state.get(..STATE_CHARACTERS)?;
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    state
        .bytes()
        .all(is_ours)
        .then(|| name(links, &format!("{LOGIN}{state}")))
}

fn name(links: &Links, name: &str) -> String {
    if links.is_secure() {
        return format!("{PREFIX}{name}");
    }
    // Cookies ignore ports, and several stacks may run on one machine.
    match links.origin().rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}-{port}")
        }
        _ => name.to_owned(),
    }
}
