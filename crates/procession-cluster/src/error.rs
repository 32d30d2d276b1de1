//! What goes wrong between a program and its broker.

use std::fmt;

/// Why a broker cannot be used, or no longer.
///
/// The message says what was tried, what the broker said, and what to do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call itself was wrong: an address, a credential, an option.
    Usage,
    /// The broker cannot be reached, or does not answer.
    Unreachable,
    /// The broker is too old, or has no JetStream.
    Unsuitable,
    /// The broker refused something that must be.
    Refused,
    /// No pool of any agent can run the job.
    Broken,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    pub(crate) fn refused(what: &str, error: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Refused, format!("{what}: {error}"))
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
