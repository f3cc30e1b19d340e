//! Who may enter: whoever has the key that is in the data folder, and then the cookie that is made of it.

use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use sha2::{Digest as _, Sha256};

use crate::issuer::parameters::Parameters;
use crate::issuer::{DevelopmentIssuer, PATH, kept, page, random};

/// The key, as 32 hexadecimal digits, in the data folder.
pub(super) const ENTRY_FILE: &str = "issuer.enter";

/// 128 random bits. Whoever has them may sign in as anybody.
#[derive(Clone)]
pub(super) struct EntryKey(String);

impl EntryKey {
    /// The key of this data folder, or a new one without a folder.
    pub(super) fn open(data: Option<&Path>) -> anyhow::Result<Self> {
        let bytes = kept::kept(data, ENTRY_FILE, || Ok(random()?.into_bytes()))?;
        let is_key = bytes.len() == 32 && bytes.iter().all(u8::is_ascii_hexdigit);
        let text = String::from_utf8(bytes).ok().filter(|_| is_key);
        let broken = || format!("{ENTRY_FILE} has no 32 hexadecimal digits; delete it");
        Ok(Self(text.with_context(broken)?))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    fn is(&self, given: &str) -> bool {
        equal(&self.0, given)
    }

    /// What the cookie holds. The browser sends it to other ports of this machine too, and the key does not follow from it.
    fn cookie(&self) -> String {
        hex::encode(Sha256::digest(format!("{ENTRY_FILE} cookie {}", self.0)))
    }
}

impl DevelopmentIssuer {
    /// Cookies know no ports, and another stack may run on another one.
    fn cookie_name(&self) -> String {
        let port = self.host.rsplit_once(':').map_or("80", |(_, port)| port);
        format!("development-issuer-{port}")
    }

    /// Whether who calls has entered before.
    pub(super) fn has_entered(&self, headers: &HeaderMap) -> bool {
        let (name, value) = (self.cookie_name(), self.entry.cookie());
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(its_name, its_value)| its_name == name && equal(its_value, &value))
    }
}

/// `GET /enter`: with the right key, a cookie and on to the panel.
pub(super) async fn enter(
    State(issuer): State<DevelopmentIssuer>,
    RawQuery(query): RawQuery,
) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    if !parameters
        .one("key")
        .is_some_and(|key| issuer.entry.is(key))
    {
        return no_entry();
    }
    let cookie = format!(
        "{}={}; Path={PATH}; HttpOnly; SameSite=Lax",
        issuer.cookie_name(),
        issuer.entry.cookie()
    );
    let panel = Redirect::to(&format!("{}/panel/", issuer.api_url));
    ([(header::SET_COOKIE, cookie)], panel).into_response()
}

/// The page for who has not entered.
pub(super) fn no_entry() -> Response {
    page::message(
        StatusCode::FORBIDDEN,
        "Open the link of your stack first",
        "Only who can read the data folder of this stack may sign in here. Open the link to the panel that local printed \
         when it started. It is also in the file local.env of the data folder, which is .local unless you chose another.",
    )
}

fn equal(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
