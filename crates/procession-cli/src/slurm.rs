//! `slurm submit`: a job as a batch job. Everything is checked here first; what the nodes are told to do is `script`'s business.

mod script;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use self::script::{Batch, job_name};
use crate::cli::Submit;
use crate::diagnostic::Diagnostic;
use crate::engine;
use crate::exit::{Ending, Stop};
use crate::input::File;
use crate::job::Job;
use crate::output::{Sink, reason};
use crate::reproduce::quoted;
use crate::summary::counted;
use crate::terminal;

/// A script, and what it is called in the run directory.
struct Script {
    name: &'static str,
    text: String,
}

/// Does what `slurm submit` asks for. `job` is what its flags for `run` make of the spec.
pub(crate) fn submit(command: &Submit, job: &Job) -> Result<Ending, Stop> {
    refuse(command, job)?;
    let scripts = scripts(command, job)?;
    if command.dry_run {
        let mut stdout = Sink::stdout();
        for script in &scripts {
            stdout.write(script.text.as_bytes())?;
        }
        stdout.flush()?;
        return Ok(Ending::Complete);
    }
    if let Some(holder) = procession_store::holder(&command.run_dir) {
        let dir = command.run_dir.display();
        return Err(Stop::InUse(format!("run directory {dir} is in use by {holder}")));
    }
    let written = write(&command.run_dir, &scripts);
    written.map_err(|(path, error)| {
        Stop::Unwritable(format!("cannot write {}: {}", path.display(), reason(&error)))
    })?;
    let mut submitted: Vec<String> = Vec::new();
    for script in &scripts {
        let path = command.run_dir.join(script.name);
        let number = sbatch(&path, submitted.last()).map_err(|refusal| match submitted.last() {
            None => refusal,
            Some(first) => {
                refusal.help(format!("job {first} is submitted all the same: scancel {first} takes it back"))
            }
        })?;
        submitted.push(number);
    }
    report(command, job, &submitted);
    Ok(Ending::Complete)
}

/// What cannot be, said before anything is written.
fn refuse(command: &Submit, job: &Job) -> Result<(), Stop> {
    if job.source.file().is_some_and(File::is_read_once) {
        let refusal = Diagnostic::new("items come from standard input or a pipe, and a batch job has none");
        return Err(refusal.help("write them to a file, and name that").into());
    }
    let (_, items) = job.check()?;
    job.refuse_overwriting()?;
    if command.shards.is_some() && (job.results.events.is_some() || job.report.is_some()) {
        let refusal = Diagnostic::new("all shards would write events, or a report, to one file");
        return Err(refusal.help("leave them out; `report` draws a shard from its run directory").into());
    }
    if let (Some(shards), Some(items)) = (command.shards, items)
        && shards as u64 > items
    {
        let (shards, items) = (counted(shards as u64, "shard"), counted(items, "item"));
        return Err(Diagnostic::new(format!("{shards} for {items}: some would have nothing to do")).into());
    }
    if job.engine.is_some() {
        engine::refuse_for_agents(job)?;
    }
    for option in &command.sbatch {
        if !option.starts_with('-') || option.contains(char::is_control) {
            let refusal =
                Diagnostic::new(format!("`{}` is no option of sbatch", terminal::printable(option)));
            return Err(refusal.help("as in --sbatch=--partition=short").into());
        }
    }
    let place = command.run_dir.display().to_string();
    if place.contains(|c: char| c.is_control() || "\"\\".contains(c)) {
        let refusal = Diagnostic::new(format!("Slurm cannot write to {}", terminal::printable(&place)));
        return Err(refusal.help("name another run directory, without quotes and backslashes").into());
    }
    Ok(())
}

fn scripts(command: &Submit, job: &Job) -> Result<Vec<Script>, Stop> {
    let batch = batch(command, job)?;
    let script = |name, text| Script { name, text };
    Ok(match (command.shards, command.nodes) {
        (Some(shards), _) => {
            vec![script("slurm.sh", batch.in_shards(shards)), script("merge.sh", batch.merge(shards))]
        }
        (None, Some(nodes)) if nodes > 1 => {
            vec![script("slurm.sh", batch.over_nodes(nodes, &command.broker))]
        }
        (None, _) => vec![script("slurm.sh", batch.on_one_node())],
    })
}

fn batch(command: &Submit, job: &Job) -> Result<Batch, Stop> {
    let cannot =
        |what: &str, error: &io::Error| Stop::Broken(format!("cannot tell {what}: {}", reason(error)));
    let cwd = std::env::current_dir().map_err(|error| cannot("which directory this is", &error))?;
    let program = std::env::current_exe().map_err(|error| cannot("where this program is", &error))?;
    let run_dir = cwd.join(&command.run_dir);
    let spec = command.spec.display().to_string();
    let run = [std::slice::from_ref(&spec), &command.flags].concat();
    Ok(Batch {
        name: job_name(&job.name),
        results: results(job, command.shards.is_some(), &run_dir),
        program,
        cwd,
        run_dir,
        run,
        cpus: command.cpus,
        memory: command.memory,
        time: command.time,
        drain: command.drain,
        options: command.sbatch.clone(),
    })
}

/// Where values and failures go: to the job's own files, if it has some, else to the run directory. To run it in one piece,
/// what it says itself need not be said again.
fn results(job: &Job, is_merged: bool, run_dir: &Path) -> Vec<String> {
    let settings = &job.results;
    let mut words = Vec::new();
    let mut say = |flag: &str, own: Option<&PathBuf>, name: &str| {
        if own.is_none() || is_merged {
            let path = own.cloned().unwrap_or_else(|| run_dir.join(name));
            words.extend([flag.to_owned(), path.display().to_string()]);
        }
    };
    if job.reduce.is_none() || settings.file.is_some() {
        let ending = settings.format.name();
        say("--output", settings.file.as_ref(), &format!("values.{ending}"));
    }
    say("--failures", settings.failures.as_ref(), "failures.jsonl");
    if is_merged {
        if settings.file.is_some() {
            words.extend(["--format".to_owned(), settings.format.name().to_owned()]);
        }
        if settings.indexed {
            words.push("--indexed".to_owned());
        }
    }
    words
}

fn write(run_dir: &Path, scripts: &[Script]) -> Result<(), (PathBuf, io::Error)> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir);
    made.map_err(|error| (run_dir.to_owned(), error))?;
    for script in scripts {
        let path = run_dir.join(script.name);
        let written = fs::write(&path, &script.text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)));
        written.map_err(|error| (path, error))?;
    }
    Ok(())
}

/// Submits a script, behind another job if one is named; the number that Slurm gives it.
fn sbatch(script: &Path, behind: Option<&String>) -> Result<String, Diagnostic> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    if let Some(job) = behind {
        command.arg(format!("--dependency=afterany:{job}"));
    }
    let output = command.arg(script).output().map_err(|error| {
        let refusal = Diagnostic::new(format!("cannot run sbatch: {}", reason(&error)));
        refusal.help(format!(
            "submit {} where Slurm is, or run the job here: `run` takes the same job spec",
            script.display()
        ))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = terminal::printable(said.trim().trim_start_matches("sbatch: error: "));
        return Err(Diagnostic::new(format!("sbatch refuses {}: {said}", script.display())));
    }
    // The number, and behind a semicolon the cluster if there are several.
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.trim().split(';').next().unwrap_or_default().to_owned())
}

fn report(command: &Submit, job: &Job, submitted: &[String]) {
    let [first, rest @ ..] = submitted else { return };
    let name = terminal::printable(&job.name);
    let dir = quoted(&command.run_dir.display().to_string());
    let program = terminal::program();
    let what = match (command.nodes, command.shards) {
        (Some(nodes), _) => counted(nodes as u64, "node"),
        (None, shards) => counted(shards.unwrap_or(1) as u64, "shard"),
    };
    let behind = rest.first().map_or_else(String::new, |merge| format!(", and job {merge} to merge them"));
    terminal::say(&format!("{name}: submitted as job {first}: {what}{behind}"));
    let place = command.shards.map_or_else(|| dir.clone(), |shards| format!("{dir}/1-of-{shards}"));
    terminal::say(&terminal::printable(&format!(
        "how far it is: squeue --job {first}; {program} status {place}"
    )));
}
