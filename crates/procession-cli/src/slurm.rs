//! `slurm submit`: a job as a batch job. Everything is checked here first; what the nodes are told to do is `script`'s business.

mod script;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::script::{Batch, job_name, option_name, whole_seconds};
use crate::cli::Submit;
use crate::diagnostic::Diagnostic;
use crate::engine;
use crate::exit::{Ending, Stop};
use crate::input::File;
use crate::job::{Job, refuse_files_of_runs};
use crate::output::{Sink, reason};
use crate::reproduce::quoted;
use crate::run;
use crate::summary::counted;
use crate::terminal;

/// Slurm reads no more seconds than that, and may speak a minute early.
const DRAIN_MAX: u64 = 65_535;
const EARLY: Duration = Duration::from_secs(60);

/// Options of sbatch that the scripts have themselves.
const OURS: [&str; 14] = [
    "--array",
    "-a",
    "--nodes",
    "-N",
    "--ntasks",
    "-n",
    "--ntasks-per-node",
    "--output",
    "-o",
    "--dependency",
    "-d",
    "--wrap",
    "--signal",
    "--open-mode",
];

/// A script, and what it is called in the run directory.
struct Script {
    name: &'static str,
    text: String,
}

/// Does what `slurm submit` asks for. `words` run the job, which is what they say.
pub(crate) fn submit(command: &Submit, words: Vec<String>, mut job: Job) -> Result<Ending, Stop> {
    refuse_options(command)?;
    let cannot =
        |what: &str, error: &io::Error| Stop::Broken(format!("cannot tell {what}: {}", reason(error)));
    let cwd = std::env::current_dir().map_err(|error| cannot("which directory this is", &error))?;
    let program = std::env::current_exe().map_err(|error| cannot("where this program is", &error))?;
    let run_dir = cwd.join(&command.run_dir);
    let batch = Batch {
        name: job_name(&job.name),
        program: text(&program, "this program")?,
        cwd: text(&cwd, "this directory")?,
        run_dir: text(&run_dir, "the run directory")?,
        run: words,
        results: results(command, &mut job, &run_dir),
        workers: job.pool.workers,
        cpus: command.cpus,
        memory: command.memory,
        time: command.time,
        drain: command.drain,
        options: command.sbatch.clone(),
    };
    refuse(command, &job)?;
    let scripts = scripts(command, &batch);
    if command.dry_run {
        let mut stdout = Sink::stdout();
        for script in &scripts {
            stdout.write(script.text.as_bytes())?;
        }
        stdout.flush()?;
        return Ok(Ending::Complete);
    }
    for dir in run_dirs(command) {
        if let Some(holder) = procession_store::holder(&dir) {
            return Err(Stop::InUse(format!("run directory {} is in use by {holder}", dir.display())));
        }
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
    report(command, &job, &submitted);
    Ok(Ending::Complete)
}

/// What a script can say.
fn text(path: &Path, what: &str) -> Result<String, Diagnostic> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        let shown = terminal::printable(&path.to_string_lossy());
        let refusal = Diagnostic::new(format!("no script can name {what}: {shown}"));
        refusal.help("give it a name of printable UTF-8")
    })
}

/// Refuses what Slurm would, or would do without a word.
fn refuse_options(command: &Submit) -> Result<(), Diagnostic> {
    let drain = whole_seconds(command.drain);
    if !(1..=DRAIN_MAX).contains(&drain) {
        let refusal = Diagnostic::new(format!("--drain is from 1 s to {DRAIN_MAX} s"));
        return Err(refusal.help("it is how long what runs has to finish, once the time is nearly up"));
    }
    if let Some(time) = command.time.filter(|time| *time <= command.drain + EARLY) {
        let time = time.as_secs();
        let what = format!("--time of {time} s leaves nothing to run in: the last {drain} s are --drain's");
        let help = "Slurm may say so a minute early; make --time longer, or --drain shorter";
        return Err(Diagnostic::new(what).help(help));
    }
    for option in &command.sbatch {
        let shown = terminal::printable(option);
        if !option.starts_with('-') || option.contains(char::is_control) {
            let refusal = Diagnostic::new(format!("`{shown}` is no option of sbatch"));
            return Err(refusal.help("as in --sbatch=--partition=short"));
        }
        if OURS.contains(&option_name(option)) {
            return Err(
                Diagnostic::new(format!("`{shown}` is what the script says itself")).help("leave it out")
            );
        }
    }
    Ok(())
}

/// What cannot be run there, said before anything is written.
fn refuse(command: &Submit, job: &Job) -> Result<(), Stop> {
    if job.source.file().is_some_and(File::is_read_once) {
        let refusal = Diagnostic::new("items come from standard input or a pipe, and a batch job has none");
        return Err(refusal.help("write them to a file, and name that").into());
    }
    if job.engine.is_some() {
        engine::refuse_for_agents(job)?;
    }
    let (_, items) = run::check(job)?;
    job.refuse_report()?;
    match command.shards {
        Some(shards) => Ok(refuse_shards(command, job, shards, items)?),
        None => Ok(()),
    }
}

fn refuse_shards(command: &Submit, job: &Job, shards: usize, items: Option<u64>) -> Result<(), Diagnostic> {
    if job.results.events.is_some() || job.report.is_some() {
        let refusal = Diagnostic::new("all shards would write events, or a report, to one file");
        return Err(refusal.help("leave them out; `report` draws a shard from its run directory"));
    }
    if job.part.selection.limit().is_some() {
        let refusal = Diagnostic::new("--limit would be the limit of each shard");
        return Err(refusal.help("say which items run: --select"));
    }
    let dirs = run_dirs(command);
    for path in [&job.results.file, &job.results.failures].into_iter().flatten() {
        refuse_files_of_runs(path, dirs.iter().map(PathBuf::as_path))?;
    }
    if let Some(items) = items.filter(|&items| shards as u64 > items) {
        let (shards, items) = (counted(shards as u64, "shard"), counted(items, "item"));
        return Err(Diagnostic::new(format!("{shards} for {items}: some would have nothing to do")));
    }
    let ending = format!("-of-{shards}");
    let entries = fs::read_dir(&command.run_dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| name.starts_with("1-of-") && !name.ends_with(&ending)).map_or(Ok(()), |other| {
        let dir = command.run_dir.display();
        let refusal = Diagnostic::new(format!("{dir} has the job in another number of shards ({other})"));
        Err(refusal.help("say that number, or name another run directory"))
    })
}

/// Where masters will have their run directories.
fn run_dirs(command: &Submit) -> Vec<PathBuf> {
    match command.shards {
        Some(shards) => (1..=shards).map(|i| command.run_dir.join(format!("{i}-of-{shards}"))).collect(),
        None => vec![command.run_dir.clone()],
    }
}

fn scripts(command: &Submit, batch: &Batch) -> Vec<Script> {
    let script = |name, text| Script { name, text };
    match (command.shards, command.nodes) {
        (Some(shards), _) => {
            vec![script("slurm.sh", batch.in_shards(shards)), script("merge.sh", batch.merge(shards))]
        }
        (None, Some(nodes)) if nodes > 1 => {
            vec![script("slurm.sh", batch.over_nodes(nodes, &command.broker))]
        }
        (None, _) => vec![script("slurm.sh", batch.on_one_node())],
    }
}

/// Says where values and failures go: to the job's own files, if it has some, else to the run directory. Of a job that runs in
/// one piece, what it says itself need not be said again.
fn results(command: &Submit, job: &mut Job, run_dir: &Path) -> Vec<String> {
    let (is_merged, settings) = (command.shards.is_some(), &mut job.results);
    let format = settings.format.name();
    let has_own_file = settings.file.is_some();
    let mut words = Vec::new();
    let mut say = |flag: &str, file: &mut Option<PathBuf>, name: String| {
        if file.is_none() || is_merged {
            let path = file.get_or_insert_with(|| run_dir.join(name));
            words.extend([flag.to_owned(), path.display().to_string()]);
        }
    };
    if job.reduce.is_none() || has_own_file {
        say("--output", &mut settings.file, format!("values.{format}"));
    }
    say("--failures", &mut settings.failures, "failures.jsonl".to_owned());
    if is_merged && has_own_file {
        words.extend(["--format".to_owned(), format.to_owned()]);
    }
    if is_merged && settings.indexed {
        words.push("--indexed".to_owned());
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
    let shown = script.display();
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    if let Some(job) = behind {
        command.arg(format!("--dependency=afterany:{job}"));
    }
    let output = command.arg(script).output().map_err(|error| {
        let refusal = Diagnostic::new(format!("cannot run sbatch: {}", reason(&error)));
        refusal.help(format!(
            "submit {shown} where Slurm is, or run the job here: `run` takes the same job spec"
        ))
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = terminal::printable(said.trim().trim_start_matches("sbatch: error: "));
    if !output.status.success() {
        return Err(Diagnostic::new(format!("sbatch refuses {shown}: {said}")));
    }
    if !said.is_empty() {
        terminal::say_warning(&said);
    }
    // The number, and behind a semicolon the cluster if there are several; before it what a site's own sbatch says.
    let printed = String::from_utf8_lossy(&output.stdout);
    let number = printed.trim().lines().last().and_then(|line| line.split(';').next()).unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        let printed = terminal::printable(printed.trim());
        return Err(Diagnostic::new(format!("sbatch gives {shown} no number: {printed}")));
    }
    Ok(number.to_owned())
}

fn report(command: &Submit, job: &Job, submitted: &[String]) {
    let [first, rest @ ..] = submitted else { return };
    let name = terminal::printable(&job.name);
    let what = match (command.nodes, command.shards) {
        (Some(nodes), _) => counted(nodes as u64, "node"),
        (None, shards) => counted(shards.unwrap_or(1) as u64, "shard"),
    };
    let behind = rest.first().map_or_else(String::new, |merge| format!(", and job {merge} to merge them"));
    terminal::say(&format!("{name}: submitted as job {first}: {what}{behind}"));
    let log =
        if command.shards.is_some() { format!("slurm-{first}-1.log") } else { format!("slurm-{first}.log") };
    let log = quoted(&command.run_dir.join(log).display().to_string());
    terminal::say(&terminal::printable(&format!("how far it is: squeue --job {first}; tail {log}")));
}
