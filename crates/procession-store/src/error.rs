//! Why a run directory cannot be used: a kind to act on, and a sentence.

use std::io;

/// What is wrong with a run directory.
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
    /// There is a run already where a new one was to begin.
    Exists,
    /// There is no run there, or one of another program or version.
    NotARun,
    /// There are more items than it has room for.
    TooMany,
    /// Another master has it.
    InUse,
    /// The disk is full, the directory cannot be written, or reading or writing failed.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    /// `what` is what could not be done, such as `cannot create run directory X`.
    pub(crate) fn io(what: &str, error: io::Error) -> Error {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        Error { kind: ErrorKind::Io, message: format!("{what}: {reason}"), source: Some(Box::new(error)) }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same, for another who must hear of it.
    pub(crate) fn duplicate(&self) -> Error {
        Error { kind: self.kind, message: self.message.clone(), source: None }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let reason = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => "no space left on the device".to_owned(),
            Some(rusqlite::ErrorCode::ReadOnly) => "it cannot be written".to_owned(),
            _ => error.to_string(),
        };
        Error {
            kind: ErrorKind::Io,
            message: format!("the run store: {reason}"),
            source: Some(Box::new(error)),
        }
    }
}
