//! `merge`: the parts of a job, each in a run directory of its own, written as one run would have written them.
//!
//! Everything is looked at before anything is written, and then again item by item: no more is in memory than one item of each
//! directory.

mod coverage;
mod output;

use std::path::{Path, PathBuf};

use procession_store::{Item, Job, Query, Reader};

use self::coverage::{Coverage, Merged};
use self::output::Output;
use super::printed;
use crate::cli::Merge;
use crate::diagnostic::Diagnostic;
use crate::exec;
use crate::exit::{Ending, Stop};
use crate::job::{ResultSettings, is_same_file, overwritten, refuse_files_of_runs};
use crate::summary::counted;
use crate::terminal;

/// A part of the job, as its run directory has it.
struct Part<'a> {
    dir: &'a Path,
    reader: &'a Reader,
    job: Job,
}

/// Writes the values and failures of all parts in the order of their items.
pub(crate) fn merge(command: &Merge) -> Result<Ending, Stop> {
    let mut settings = ResultSettings { failures: command.failures.clone(), ..ResultSettings::default() };
    command.values.adjust(&mut settings)?;
    refuse_overwriting(&settings, &command.dirs)?;
    let readers = command.dirs.iter().map(|dir| open(dir)).collect::<Result<Vec<_>, _>>()?;
    // Before the moment is fixed: what nobody writes to any more is all there then.
    let busy = command.dirs.iter().find_map(|dir| Some((dir.display(), procession_store::holder(dir)?)));
    let _moments = readers.iter().map(Reader::hold).collect::<Result<Vec<_>, _>>()?;
    let parts = command.dirs.iter().zip(&readers);
    let parts = parts.map(|(dir, reader)| Ok(Part { dir, reader, job: reader.job()? }));
    let parts: Vec<Part<'_>> = parts.collect::<Result<_, Stop>>()?;
    let job = one_job(&parts)?;
    if let Some((dir, holder)) = busy.filter(|_| !command.partial) {
        return Err(Stop::InUse(format!(
            "run directory {dir} is in use by {holder} (help: wait for its end, or add --partial to merge what there is so far)"
        )));
    }
    let coverage = Coverage::of(&parts)?;
    if let Some(lack) = coverage.lack(&parts) {
        if !command.partial {
            let help = "name the directories of what is missing, go on with what is unfinished, or add --partial to merge what \
                        there is";
            return Err(Diagnostic::new(lack).help(help).into());
        }
        terminal::say_warning(&terminal::printable(&lack));
    }
    let mut output = Output::open(job, &settings)?;
    output.begin()?;
    let mut queries = readers.iter().map(Reader::items).collect::<Result<Vec<_>, _>>()?;
    let answers = queries.iter_mut().map(Query::ask).collect::<Result<Vec<_>, _>>()?;
    let mut merged = Merged::new(answers, |item: &Item| item.index)?;
    let mut last = None;
    let are_commands = exec::are_commands(&job.task);
    while let Some((part, item)) = merged.next()? {
        // Where parts overlap they have the same.
        if last.replace(item.index) != Some(item.index) {
            let record = if are_commands { printed::record(&readers[part], &item)? } else { None };
            output.take(item, record)?;
        }
    }
    let tally = output.finish(coverage.missing())?;
    let name = terminal::printable(&job.name);
    terminal::say(&format!("{name}: {tally} from {}", counted(parts.len() as u64, "part")));
    Ok(if tally.failures() > 0 || coverage.missing() > 0 { Ending::Incomplete } else { Ending::Complete })
}

/// Opens a run directory. Of several it has to be said which cannot be.
fn open(dir: &Path) -> Result<Reader, Stop> {
    Reader::open(dir).map_err(|error| match (Stop::from(error), dir.display().to_string()) {
        (Stop::Refused(refusal), name) if !refusal.headline().contains(&name) => {
            Diagnostic::new(format!("{name}: {}", refusal.plain_headline())).into()
        }
        (stop, _) => stop,
    })
}

/// Refuses outputs that are one file, or files that a run directory consists of.
fn refuse_overwriting(settings: &ResultSettings, dirs: &[PathBuf]) -> Result<(), Diagnostic> {
    let (values, failures) = (settings.file.as_deref(), settings.failures.as_deref());
    if failures == Some(Path::new("-")) {
        return Err(Diagnostic::new("failures go to a file: stdout is for results").help("name a file"));
    }
    if let (Some(values), Some(failures)) = (values, failures)
        && is_same_file(values, failures)
    {
        return Err(overwritten(values, "values and failures go to the same file"));
    }
    let dirs = || dirs.iter().map(PathBuf::as_path);
    values.into_iter().chain(failures).try_for_each(|path| refuse_files_of_runs(path, dirs()))
}

/// The job that all are parts of.
fn one_job<'a>(parts: &'a [Part<'_>]) -> Result<&'a Job, Diagnostic> {
    let (first, others) = parts.split_first().ok_or_else(|| Diagnostic::new("no run directories"))?;
    let reduced = |job: &Job| job.reduce.clone().unwrap_or_else(|| "nothing".to_owned());
    let items = |job: &Job| job.items.map_or_else(|| "not counted".to_owned(), |items| items.to_string());
    for other in others {
        let pairs = [
            ("the task is", first.job.task.clone(), other.job.task.clone()),
            ("the task's signature is", first.job.signature.clone(), other.job.signature.clone()),
            ("reduce is", reduced(&first.job), reduced(&other.job)),
            ("the number of items is", items(&first.job), items(&other.job)),
        ];
        let differing = pairs.into_iter().find(|(_, there, here)| there != here);
        let what = match differing {
            Some((what, there, here)) => format!("{what} `{here}`, and `{there}` there"),
            None if first.job.input != other.job.input => {
                "its items have other arguments, or another order".to_owned()
            }
            None => continue,
        };
        let (there, here) = (first.dir.display(), other.dir.display());
        let refusal = Diagnostic::new(format!("the run in {here} is not of the job of {there}: {what}"));
        return Err(refusal.help("merge puts together the parts of one job"));
    }
    Ok(&first.job)
}
