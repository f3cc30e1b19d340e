//! The pages of the issuer.

use std::fmt::Write as _;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use documents::escaped;
use sha2::{Digest as _, Sha256};

use crate::issuer::PATH;
use crate::issuer::person::Person;

const STYLE: &str = "\
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}\
main{max-width:36rem;margin:10vh auto;padding:0 1rem}\
button{display:block;width:100%;margin:.75rem 0;padding:.75rem;font:inherit;text-align:start}";

/// The style as a content security policy allows it.
pub(super) fn style_hash() -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE)))
}

/// A page that says one thing.
pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let body = format!("<p>{}</p>", escaped(text));
    (status, Html(page(title, &body))).into_response()
}

/// The page that asks as whom to sign in. Its form carries these parameters on.
pub(super) fn sign_in(parameters: &[(&str, &str)]) -> Response {
    let mut body = format!(
        "<p>This is the issuer for development. Choose what you are in the demo organization. Nobody has no role in it.</p>\n\
         <form method=\"post\" action=\"{PATH}/authorize\">\n"
    );
    for (name, value) in parameters {
        let (name, value) = (escaped(name), escaped(value));
        let _ = writeln!(
            body,
            r#"<input type="hidden" name="{name}" value="{value}">"#
        );
    }
    for person in Person::ALL {
        let (name, label) = (person.name(), person.label());
        let _ = writeln!(
            body,
            r#"<button type="submit" id="{name}" name="role" value="{name}">{label}</button>"#
        );
    }
    body.push_str("</form>");
    Html(page("Sign in as", &body)).into_response()
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"#
    )
}
