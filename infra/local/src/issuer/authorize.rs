//! The authorization endpoint, where one says as whom to sign in, and the end of a session.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use time::OffsetDateTime;
use url::form_urlencoded;
use web::api::ApiError;

use crate::issuer::grants::{Code, SignIn};
use crate::issuer::parameters::Parameters;
use crate::issuer::person::Person;
use crate::issuer::{DevelopmentIssuer, entry, page, random};

/// A request of the panel, checked. Its other parameters are constants.
struct Asked<'a> {
    scope: &'a str,
    redirect_uri: &'a str,
    challenge: &'a str,
    state: &'a str,
    nonce: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads a request. The error says what is wrong with it.
    fn read(parameters: &'a Parameters, callback: &str) -> Result<Self, &'static str> {
        let is = |name, expected| parameters.one(name) == Some(expected);
        if !is("client_id", DevelopmentIssuer::PANEL_CLIENT) {
            return Err("client_id: there is no such client.");
        }
        let redirect_uri = parameters
            .one("redirect_uri")
            .filter(|uri| *uri == callback)
            .ok_or("redirect_uri: this is not the client's.")?;
        if !is("response_type", "code") {
            return Err("response_type: must be code.");
        }
        let scope = parameters
            .one("scope")
            .filter(|scope| scope.split(' ').any(|one| one == "openid"))
            .ok_or("scope: must contain openid.")?;
        if !is("code_challenge_method", "S256") {
            return Err("code_challenge_method: must be S256.");
        }
        let challenge = parameters
            .one("code_challenge")
            .filter(|challenge| is_challenge(challenge))
            .ok_or("code_challenge: must have 43 characters of base64url.")?;
        let state = parameters.one("state").ok_or("state: is required.")?;
        let nonce = parameters.one("nonce").ok_or("nonce: is required.")?;
        Ok(Self {
            scope,
            redirect_uri,
            challenge,
            state,
            nonce,
        })
    }

    /// As parameters, for the form.
    fn parameters(&self) -> [(&'static str, &'a str); 8] {
        [
            ("response_type", "code"),
            ("client_id", DevelopmentIssuer::PANEL_CLIENT),
            ("redirect_uri", self.redirect_uri),
            ("scope", self.scope),
            ("state", self.state),
            ("nonce", self.nonce),
            ("code_challenge", self.challenge),
            ("code_challenge_method", "S256"),
        ]
    }
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// `GET /authorize`: asks as whom to sign in.
pub(super) async fn ask(
    State(issuer): State<DevelopmentIssuer>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    if !issuer.has_entered(&headers) {
        return entry::no_entry();
    }
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    match Asked::read(&parameters, &issuer.callback()) {
        Ok(asked) => page::sign_in(&asked.parameters()),
        Err(wrong) => refused(wrong),
    }
}

/// `POST /authorize`: makes a code for who signed in, and goes back to the panel with it.
pub(super) async fn sign_in(
    State(issuer): State<DevelopmentIssuer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if !issuer.has_entered(&headers) {
        return Ok(entry::no_entry());
    }
    // The cookie comes also with forms of pages at other ports.
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
    {
        return Ok(page::message(
            StatusCode::FORBIDDEN,
            "This form is not the issuer's",
            "Another page has sent it. Sign in from the panel.",
        ));
    }
    let parameters = Parameters::parse(&body);
    let asked = match Asked::read(&parameters, &issuer.callback()) {
        Ok(asked) => asked,
        Err(wrong) => return Ok(refused(wrong)),
    };
    let Some(person) = parameters.one("role").and_then(Person::named) else {
        return Ok(refused("role: there is no such role."));
    };
    let code = random()?;
    let granted = Code {
        sign_in: SignIn {
            person,
            at: OffsetDateTime::now_utc(),
        },
        redirect_uri: asked.redirect_uri.to_owned(),
        challenge: asked.challenge.to_owned(),
        nonce: asked.nonce.to_owned(),
    };
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", asked.state)
        .finish();
    issuer.grants().add_code(code, granted);
    let callback = format!("{}?{query}", asked.redirect_uri);
    Ok(Redirect::to(&callback).into_response())
}

/// `GET /logout`: goes back to the panel. Whoever has entered stays, and so can sign in again.
///
/// There is no session here that `id_token_hint` could be about.
pub(super) async fn sign_out(
    State(issuer): State<DevelopmentIssuer>,
    RawQuery(query): RawQuery,
) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    if let Some(client) = parameters.one("client_id")
        && client != DevelopmentIssuer::PANEL_CLIENT
    {
        return refused("client_id: there is no such client.");
    }
    let panel = format!("{}/panel/", issuer.api_url);
    match parameters.one("post_logout_redirect_uri") {
        Some(uri) if uri == panel || uri == format!("{panel}signed-out") => {
            Redirect::to(uri).into_response()
        }
        _ => refused("post_logout_redirect_uri: this is not the client's."),
    }
}

/// Wrong requests lead nowhere: their addresses are not to be trusted.
fn refused(wrong: &str) -> Response {
    page::message(
        StatusCode::BAD_REQUEST,
        "The issuer does not understand this request",
        wrong,
    )
}
