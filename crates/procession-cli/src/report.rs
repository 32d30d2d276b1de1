//! `report` and `--report`: a run as a page and as a trace.
//!
//! It says where they are; what is in them is `procession-report`'s business.

use std::path::Path;

use procession_report::{Error, ErrorKind};

use crate::cli::Report;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::job::{Job, ReportSettings, RunDirSettings, refuse_files_of_runs};
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
    for path in page.iter().chain(&command.trace) {
        refuse_files_of_runs(path, [command.dir.as_path()])?;
    }
    if let Some(page) = page {
        write(&command.dir, &page)?;
        say(&page);
    }
    if let Some(trace) = &command.trace {
        procession_report::write_trace(&command.dir, trace)?;
        terminal::say(&terminal::printable(&format!("trace: {}", trace.display())));
    }
    Ok(Ending::Complete)
}

/// Draws the page of a run that is over, if one is asked for. `ended` says how it ended, and what comes of both is returned.
pub(crate) fn follow(job: &Job, is_loud: bool, ended: Result<Ending, Stop>) -> Result<Ending, Stop> {
    let (Some(ReportSettings { path, .. }), Some(RunDirSettings { path: run_dir, .. })) =
        (&job.report, &job.run_dir)
    else {
        return ended;
    };
    // What was refused has not begun.
    if matches!(ended, Err(Stop::Refused(_) | Stop::InUse(_))) {
        return ended;
    }
    match (write(run_dir, path), ended) {
        (Ok(()), ended) => {
            if is_loud {
                say(path);
            }
            ended
        }
        (Err(stop), Ok(Ending::Complete | Ending::Incomplete)) => Err(stop),
        // How the run itself came to its end is the first thing to tell.
        (Err(stop), ended @ (Ok(Ending::Signalled(_)) | Err(_))) => {
            if let Stop::Unwritable(what) = stop {
                terminal::say_warning(&terminal::printable(&what));
            }
            ended
        }
    }
}

fn say(page: &Path) {
    terminal::say(&terminal::printable(&format!("report: {}", page.display())));
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
