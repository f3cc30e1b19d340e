//! Findings as documents: a page of HTML, and PDF. Both say the same, and the same findings make the same bytes: nothing is in
//! them that depends on when, where or how often they are made.
//!
//! Texts of findings come from elsewhere. They are shown as text, whatever is in them, and a character that nobody would see is
//! written as its number.

mod content;
mod html;
mod paper;

pub use html::html;
pub use paper::pdf;
pub use pdf::Error as PdfError;

#[cfg(test)]
mod samples;
