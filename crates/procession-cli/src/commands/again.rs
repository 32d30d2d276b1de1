//! Command lines that nobody types as they stand: that of a run that is gone on with, and words for a command that runs later.

use std::fs;
use std::path::Path;

use clap::error::ErrorKind;

use super::{conduct_job, exec_job, map_job, run_job, starmap_job};
use crate::cli::{Cli, Command, Retry};
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::failures::UNKNOWN;
use crate::job::{Job, RunDirSettings, Typed};
use crate::{cli, output};

/// Goes on with a run, and forgets some of its outcomes first: by the command line that began it, in its directory.
pub(super) fn retry(command: &Retry) -> Result<Ending, Stop> {
    let path = fs::canonicalize(&command.dir).unwrap_or_else(|_| command.dir.clone());
    let job = procession_store::Reader::open(&path)?.job()?;
    let is_elsewhere = std::env::current_dir().map_or(true, |here| here != job.cwd);
    let typed = Typed { argv: job.argv, cwd: job.cwd, is_elsewhere };
    std::env::set_current_dir(&typed.cwd).map_err(|error| {
        let (cwd, reason) = (typed.cwd.display(), output::reason(&error));
        Diagnostic::new(format!("the run was begun in {cwd}, where nobody can go now: {reason}"))
    })?;
    let words = typed.with(&command.flags);
    let again = parse(words.iter().map(String::as_str))?;
    let forget = command.outcomes(&path)?;
    let (conduct, store, job) = match again.command {
        Command::Run(command) => (command.conduct, command.store.clone(), run_job(command)?),
        Command::Map(command) => (command.conduct, command.store.clone(), map_job(command)?),
        Command::Starmap(command) => (command.conduct, command.store.clone(), starmap_job(command)?),
        Command::Exec(mut command) => {
            command.store.resume = true;
            (command.conduct, command.store.clone(), exec_job(command)?)
        }
        _ => return Err(Diagnostic::new("the run was begun by a command that cannot be resumed").into()),
    };
    let accept_changes = store.accept_changes;
    let run_dir = RunDirSettings { path, resume: true, or_start: false, accept_changes, forget, typed };
    conduct_job(Job { run_dir: Some(run_dir), report: store.report().or(job.report), ..job }, conduct)
}

/// Reads a command line that nobody has typed as it stands.
pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Cli, Diagnostic> {
    cli::parse_from(words).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Diagnostic::new("a command that is run later says nothing of itself")
                .help("ask for --help alone");
        }
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let mut tip = None;
        for line in lines.take_while(|line| !line.starts_with("Usage:")) {
            match line.strip_prefix("tip: ") {
                Some(line) => tip = Some(line.to_owned()),
                None => what = format!("{what} {line}"),
            }
        }
        let refusal = Diagnostic::new(what);
        match tip {
            Some(tip) => refusal.help(tip),
            None => refusal,
        }
    })
}

impl Retry {
    /// The names of the outcomes to forget: of everything without a value, unless some are named.
    fn outcomes(&self, path: &Path) -> Result<Vec<String>, Stop> {
        let tally = procession_store::Reader::open(path)?.tally()?;
        let wanted = |outcome: &str| {
            let names = [(self.quarantined, "quarantined"), (self.unknown, UNKNOWN.id)];
            let is_named = names.iter().any(|(is_wanted, name)| *is_wanted && *name == outcome);
            let is_any = self.failed || !(self.quarantined || self.unknown);
            // What may have run is not run again because something else failed.
            is_named || (is_any && outcome != UNKNOWN.id)
        };
        let outcomes = tally.without.into_iter().map(|(outcome, _)| outcome);
        let mut outcomes: Vec<String> = outcomes.filter(|outcome| wanted(outcome)).collect();
        // What a killed master left is only known to be that once its run goes on.
        if self.unknown && !outcomes.iter().any(|outcome| outcome == UNKNOWN.id) {
            outcomes.push(UNKNOWN.id.to_owned());
        }
        Ok(outcomes)
    }
}
