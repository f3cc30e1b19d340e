//! Findings as documents: a page of HTML, and PDF. Both say the same, and the same findings make the same bytes: nothing is in
//! them that depends on when, where or how often they are made.
//!
//! Texts of findings come from elsewhere. They are shown as text, whatever is in them, and a character that nobody would see is
//! written as its number.

mod content;
mod html;
mod metadata;
mod paper;

pub use html::{escaped, html};
pub use metadata::{TooMany, metadata};
pub use paper::pdf;
pub use pdf::Error as PdfError;

use findings::Assessment;

/// Both, with the names that they have in a report.
///
/// # Errors
/// The PDF cannot be written.
pub fn files(assessment: &Assessment) -> Result<[(&'static str, Vec<u8>); 2], PdfError> {
    Ok([
        ("report.html", html(assessment).into_bytes()),
        ("report.pdf", pdf(assessment)?),
    ])
}

#[cfg(test)]
mod samples;
