//! Findings as documents: a page of HTML, and a PDF. Both have the same content. The same findings make the same bytes:
//! nothing in them depends on when, where or how often they are made.
//!
//! The texts of findings come from others. They are shown as text, whatever they contain, and an invisible character is
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

/// Both files, with the names that they have in a report.
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
