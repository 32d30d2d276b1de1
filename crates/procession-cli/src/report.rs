//! `report`: a run as a page and as a trace.
//!
//! It says where they are; what is in them is `procession-report`'s business.

use std::path::Path;

use procession_report::{Error, ErrorKind};

use crate::cli::Report;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::terminal;

/// The page's name in the run directory, unless another is asked for.
const PAGE: &str = "report.html";

/// Does what `report` asks for.
pub(crate) fn report(command: &Report) -> Result<Ending, Stop> {
    let page = match (&command.output, &command.trace) {
        (Some(page), _) => Some(page.clone()),
        (None, None) => Some(command.dir.join(PAGE)),
        (None, Some(_)) => None,
    };
    if let Some(page) = page {
        write(&command.dir, &page)?;
        terminal::say(&terminal::printable(&format!("report: {}", page.display())));
    }
    if let Some(trace) = &command.trace {
        procession_report::write_trace(&command.dir, trace)?;
        terminal::say(&terminal::printable(&format!("trace: {}", trace.display())));
    }
    Ok(Ending::Complete)
}

/// Writes the page of a run.
pub(crate) fn write(run_dir: &Path, page: &Path) -> Result<(), Stop> {
    Ok(procession_report::write(run_dir, page)?)
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::NotARun => Diagnostic::new(message).into(),
            _ => Stop::Unwritable(message),
        }
    }
}
