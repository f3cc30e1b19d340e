//! The errors of a store.

use std::fmt;

use domain::organization::loggable;

/// A service of AWS failed, or what it has stored cannot be read. It is never the caller's fault.
///
/// The text says what was being done and why it failed, with all causes, since no caller handles one cause differently from
/// another. It is for logs, so it has no organization's id.
#[derive(Debug)]
pub struct Error {
    text: String,
    is_unreadable: bool,
}

/// The result of a store.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this reason.
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self {
            text: loggable(&reason.to_string()).into_owned(),
            is_unreadable: false,
        }
    }

    /// An error with the reason why a stored item cannot be read.
    #[cfg(feature = "tables")]
    pub(crate) fn unreadable(reason: impl fmt::Display) -> Self {
        Self {
            is_unreadable: true,
            ..Self::new(reason)
        }
    }

    /// Whether a stored item cannot be read. Then it does not help to ask again before somebody repairs the item.
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Adds what was being done.
    pub(crate) fn during(self, operation: impl fmt::Display) -> Self {
        Self {
            is_unreadable: self.is_unreadable,
            ..Self::new(format_args!("{operation}: {self}"))
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// An error of the SDK with its causes. By itself it says only "service error".
///
/// It does not use `Debug`, as the SDK's own `DisplayErrorContext` does. That shows the whole answer of the service, and the
/// answer repeats the request.
pub fn describe<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |it| it.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    Error::new(causes.join(": "))
}

#[cfg(feature = "tables")]
impl From<serde_dynamo::Error> for Error {
    fn from(error: serde_dynamo::Error) -> Self {
        Self::new(error)
    }
}

impl From<aws_smithy_types::error::operation::BuildError> for Error {
    fn from(error: aws_smithy_types::error::operation::BuildError) -> Self {
        describe(error)
    }
}

impl From<std::num::TryFromIntError> for Error {
    fn from(error: std::num::TryFromIntError) -> Self {
        Self::new(error)
    }
}

/// Adds what was being done to an error.
pub(crate) trait Context<T> {
    /// Puts `operation` before the reason.
    fn context(self, operation: impl fmt::Display) -> Result<T>;

    /// The same, with a text that is made only when it is needed.
    fn with_context<D: fmt::Display>(self, operation: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, operation: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().during(operation))
    }

    fn with_context<D: fmt::Display>(self, operation: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().during(operation()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, operation: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(operation))
    }

    fn with_context<D: fmt::Display>(self, operation: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::new(operation()))
    }
}
