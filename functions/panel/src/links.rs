//! Addresses within the panel.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use web::base::BaseUrl;

/// The characters that need no escape in a segment of a path (RFC 3986, `pchar`), except those that HTML or a shell may
/// misread.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// The longest address to return to, in bytes. It is kept in a cookie, which may have 4,096.
const LONGEST_BACK: usize = 1500;

/// The panel's address, as it was called. Behind API Gateway a path begins with the stage, except under a custom domain. So
/// every address is made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Links {
    /// The address of the API, without a slash at the end.
    pub(crate) base: String,
    /// What precedes `/panel` in each path.
    prefix: String,
}

impl Links {
    pub(crate) fn new(base: BaseUrl) -> Self {
        let host = base.0.split_once("://").map_or("", |(_, rest)| rest);
        let prefix = host.find('/').map_or("", |slash| &host[slash..]);
        Self {
            prefix: prefix.to_owned(),
            base: base.0,
        }
    }

    /// The path of a page of the panel, such as `/panel/sign-in`.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The same as an absolute address.
    pub(crate) fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The origin, as a browser writes it.
    pub(crate) fn origin(&self) -> &str {
        self.base.strip_suffix(&self.prefix).unwrap_or(&self.base)
    }

    /// Whether the browser uses TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// A path to return to, if it is one of the panel. No other may be in an address that redirects.
    pub(crate) fn back(&self, to: &str) -> Option<String> {
        let within = to.strip_prefix(&self.prefix)?;
        // Browsers read these as dots.
        let has_hidden_dots = within.to_ascii_lowercase().contains("%2e");
        let is_ours = to.len() <= LONGEST_BACK
            && within.starts_with("/panel/")
            && !has_hidden_dots
            && to
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !within.contains("//")
            && !within
                .split(['/', '?'])
                .any(|part| matches!(part, "." | ".."));
        is_ours.then(|| to.to_owned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Links {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        BaseUrl::from_request_parts(parts, state)
            .await
            .map(Self::new)
    }
}

/// A text, encoded as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A query string of the given pairs, with its question mark; empty when there are none.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value.filter(|it| !it.is_empty()) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        query
    } else {
        format!("?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(base: &str) -> Links {
        Links::new(BaseUrl(base.to_owned()))
    }

    #[test]
    fn paths_begin_with_the_stage_where_there_is_one() {
        let with = links("https://api.example/v1");
        assert_eq!(with.path("/panel/"), "/v1/panel/");
        assert_eq!(
            with.absolute("/panel/callback"),
            "https://api.example/v1/panel/callback"
        );
        assert_eq!(
            (with.origin(), with.is_secure()),
            ("https://api.example", true)
        );
        let without = links("http://127.0.0.1:9000");
        assert_eq!(without.path("/panel/"), "/panel/");
        assert_eq!(
            (without.origin(), without.is_secure()),
            ("http://127.0.0.1:9000", false)
        );
    }

    #[test]
    fn nobody_is_led_out_of_the_panel() {
        let links = links("https://api.example/v1");
        for good in ["/v1/panel/", "/v1/panel/abc/reports?from=1.0&to=%2B"] {
            assert_eq!(links.back(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "/",
            "/panel/",
            "/v1/security/report/list",
            "//evil.example",
            "https://evil.example/v1/panel/",
            "/v1/panel/../../x",
            "/v1/panel/\\evil.example",
            "/v1/panel//evil.example",
            "/v1/panel/\r\nx: y",
            "/v1/panel/é",
            "javascript:alert(1)",
            "/v1//panel/",
            "/v1/panel/%2e%2e/security/report/list",
            "/v1/panel/.%2E/x",
            &format!("/v1/panel/{}", "x".repeat(LONGEST_BACK)),
        ] {
            assert_eq!(links.back(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_stands_in_an_address_is_escaped() {
        assert_eq!(segment("acme:shop"), "acme:shop");
        assert_eq!(segment("a/b?c#d%e"), "a%2Fb%3Fc%23d%25e");
        assert_eq!(
            query([("a", Some("1+2 &")), ("b", None), ("c", Some(""))]),
            "?a=1%2B2+%26"
        );
        assert_eq!(query([("b", None)]), "");
    }
}
