//! The errors of making a PDF.

use krilla::configure::ConfigurationError;
use krilla::error::KrillaError;

/// How many broken rules an error names. One bad font can break a rule once for each glyph.
const NAMED_RULES: usize = 5;

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a font, or not of a kind that can be embedded.
    #[error("font {0} cannot be read")]
    Font(usize),
    /// The first font lacks characters that every other character can be written with.
    #[error("the first font has no glyph for '{0}'")]
    Ascii(char),
    /// A glyph came from a font that is not ours, which would be a mistake in this crate.
    #[error("text was shaped with an unknown font")]
    UnknownFont,
    /// A paragraph has more spans than can be numbered.
    #[error("a paragraph has {0} spans")]
    TooManySpans(usize),
    /// A page, a picture or a link has no extent.
    #[error("{0} has no extent")]
    Extent(&'static str),
    /// The standards asked for exclude each other.
    #[error("standards exclude each other: {0}")]
    Standards(String),
    /// Two attachments have the same name, or a MIME type is not valid.
    #[error("attachment '{0}' cannot be embedded")]
    Attachment(String),
    /// The document breaks rules of PDF/A or PDF/UA, or is beyond a limit of PDF.
    #[error("PDF cannot be written: {0}")]
    Export(String),
}

impl From<ConfigurationError> for Error {
    fn from(error: ConfigurationError) -> Self {
        Self::Standards(format!("{error:?}"))
    }
}

impl From<KrillaError> for Error {
    /// krilla's own message says only how many rules were broken, not which.
    fn from(error: KrillaError) -> Self {
        let KrillaError::Validation(broken) = &error else {
            return Self::Export(error.to_string());
        };
        let mut rules = broken
            .iter()
            .take(NAMED_RULES)
            .map(|(rule, _)| format!("{rule:?}"))
            .collect::<Vec<_>>()
            .join("; ");
        if broken.len() > NAMED_RULES {
            rules.push_str(&format!("; and {} more", broken.len() - NAMED_RULES));
        }
        Self::Export(rules)
    }
}
