//! How the program ends: one value for every way, and the exit status of each.
//!
//! It knows no command.

use std::process::ExitCode;

use signal_hook::consts::SIGPIPE;

use crate::diagnostic::Diagnostic;
use crate::terminal;

/// Some items have no value.
const INCOMPLETE: u8 = 1;
/// The spec, the input or the usage is wrong; nothing ran.
const REFUSED: u8 = 2;
/// The pool broke, or could not be started. `EX_SOFTWARE` of sysexits.h.
const BROKEN: u8 = 70;
/// Results could not be written. `EX_IOERR` of sysexits.h.
const UNWRITABLE: u8 = 74;
/// Another master has the run directory. `EX_TEMPFAIL` of sysexits.h.
const IN_USE: u8 = 75;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every item has a value.
    Complete,
    /// Some items have none; the failures and the summary say which.
    Incomplete,
    /// A signal asked to stop, and the run did.
    Signalled(i32),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Bad spec, input or usage.
    Refused(Diagnostic),
    /// The pool broke or never started.
    Broken(String),
    /// A result, a failure or a listing could not be written.
    Unwritable(String),
    /// Another master has the run directory.
    InUse(String),
    /// Whoever read our stdout has gone: there is nobody left to talk to.
    Unread,
}

impl From<procession_store::Error> for Stop {
    fn from(error: procession_store::Error) -> Stop {
        use procession_store::ErrorKind;
        let message = error.to_string();
        match error.kind() {
            ErrorKind::InUse => Stop::InUse(message),
            ErrorKind::Exists => Diagnostic::new(message)
                .help("add --resume to go on with it, or name another directory")
                .into(),
            ErrorKind::NotARun | ErrorKind::TooMany => Diagnostic::new(message).into(),
            _ => Stop::Unwritable(message),
        }
    }
}

impl From<Diagnostic> for Stop {
    fn from(refusal: Diagnostic) -> Stop {
        Stop::Refused(refusal)
    }
}

/// Says what there is to say and gives the exit status. A signal is raised again, so that a shell sees what really happened.
pub(crate) fn status(end: Result<Ending, Stop>) -> ExitCode {
    match end {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Incomplete) => ExitCode::from(INCOMPLETE),
        Ok(Ending::Signalled(signal)) => died_of(signal),
        Err(Stop::Refused(diagnostic)) => {
            terminal::say_error(&diagnostic.to_string());
            ExitCode::from(REFUSED)
        }
        Err(Stop::Broken(message)) => {
            terminal::say_error(&terminal::printable(&message));
            ExitCode::from(BROKEN)
        }
        Err(Stop::Unwritable(message)) => {
            terminal::say_error(&terminal::printable(&message));
            ExitCode::from(UNWRITABLE)
        }
        Err(Stop::InUse(message)) => {
            terminal::say_error(&terminal::printable(&message));
            ExitCode::from(IN_USE)
        }
        // A reader that leaves early, as `head` does, has what it wanted; and who waits for us learns that there was more.
        Err(Stop::Unread) => died_of(SIGPIPE),
    }
}

fn died_of(signal: i32) -> ExitCode {
    crate::signals::die_of(signal);
    // Only reached where that fails: the conventional code then.
    ExitCode::from(128 + signal as u8)
}
