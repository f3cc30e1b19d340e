//! The only style sheet and the only script. Their names contain a digest, so a browser may keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

const STYLE: &str = include_str!("../assets/panel.css");
const SCRIPT: &str = include_str!("../assets/panel.js");

/// How long the style sheet is, in bytes.
pub const STYLE_BYTES: usize = STYLE.len();
/// How long the script is, in bytes.
pub const SCRIPT_BYTES: usize = SCRIPT.len();

/// How many digits of the digest are in a name.
const DIGITS: usize = 16;

/// The content under these names never changes.
pub(crate) const FOR_EVER: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

static STYLE_NAME: LazyLock<String> = LazyLock::new(|| name("panel", STYLE, "css"));
static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| name("panel", SCRIPT, "js"));

fn name(stem: &str, content: &str, extension: &str) -> String {
    let digest = hex::encode(Sha256::digest(content));
    format!("{stem}-{}.{extension}", &digest[..DIGITS])
}

/// The path of the style sheet.
pub(crate) fn style() -> String {
    format!("/panel/assets/{}", *STYLE_NAME)
}

/// The path of the script.
pub(crate) fn script() -> String {
    format!("/panel/assets/{}", *SCRIPT_NAME)
}

pub(crate) async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let (content, kind) = if name == *STYLE_NAME {
        (STYLE, "text/css; charset=utf-8")
    } else if name == *SCRIPT_NAME {
        (SCRIPT, "text/javascript; charset=utf-8")
    } else {
        return Err(Problem::not_found());
    };
    let kind = HeaderValue::from_static(kind);
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, FOR_EVER),
    ];
    Ok((headers, content).into_response())
}
