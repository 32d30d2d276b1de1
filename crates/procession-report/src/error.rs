//! Why there is no report: a kind to act on, and a sentence.

use std::io;
use std::path::Path;

/// Why a report or a trace could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no run there, or one of another program or version.
    NotARun,
    /// The run cannot be read.
    Unreadable,
    /// The file cannot be written.
    Unwritable,
}

impl Error {
    /// `what` is `report` or `trace`.
    pub(crate) fn unwritable(what: &str, path: &Path, error: io::Error) -> Error {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        Error {
            kind: ErrorKind::Unwritable,
            message: format!("cannot write {what} {}: {reason}", path.display()),
            source: Some(Box::new(error)),
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<procession_store::Error> for Error {
    fn from(error: procession_store::Error) -> Error {
        let kind = match error.kind() {
            procession_store::ErrorKind::NotARun => ErrorKind::NotARun,
            _ => ErrorKind::Unreadable,
        };
        Error { kind, message: error.to_string(), source: Some(Box::new(error)) }
    }
}
