//! The job that is handed to Slurm, read as its nodes will read it.

use super::again::parse;
use super::run_job;
use crate::cli::{Command, Submit};
use crate::diagnostic::Diagnostic;
use crate::engine::Remote;
use crate::exit::Stop;
use crate::job::Job;

/// What `slurm submit` hands on: the words that run the job on its nodes, and the job as they will read it.
pub(super) fn job(command: &Submit) -> Result<(Vec<String>, Job), Stop> {
    for (flag, help) in [
        ("--", "leave it out: all that comes is a flag of `run`"),
        ("--run-dir", "name it before `--`"),
        ("--resume", "leave it out: the script goes on with what there is"),
        ("--resume-or-start", "leave it out: the script says it itself"),
        ("--engine", "leave it out: the script starts a broker"),
        ("--shard", "say --shards before `--`"),
        ("--dry-run", "say it before `--`"),
    ] {
        if command.flags.iter().any(|word| word.split('=').next() == Some(flag)) {
            let refusal = Diagnostic::new(format!("{flag} is not for the words behind `--`"));
            return Err(refusal.help(help).into());
        }
    }
    let spec = command.spec.to_str().ok_or_else(|| Diagnostic::new("the job spec's name is not UTF-8"))?;
    let mut words = vec![spec.to_owned()];
    words.extend(command.flags.iter().cloned());
    let mut job = read(command, &words)?;
    // As many as there are cores where it will run, not here.
    if let Some(cpus) = command.cpus.filter(|_| job.pool.workers.is_none()) {
        words.extend(["--workers".to_owned(), cpus.to_string()]);
        job = read(command, &words)?;
    }
    job.engine = command.nodes.filter(|&nodes| nodes > 1).map(|_| Remote { address: String::new() });
    Ok((words, job))
}

fn read(command: &Submit, words: &[String]) -> Result<Job, Stop> {
    let dir = command.run_dir.display().to_string();
    let first = ["procession", "run", "--run-dir", &dir, "--resume-or-start"];
    let Command::Run(run) = parse(first.into_iter().chain(words.iter().map(String::as_str)))?.command else {
        return Err(Diagnostic::new("the words behind `--` are flags of `run`").into());
    };
    let store = run.store.clone();
    Ok(store.put_into(run_job(run)?, &[])?)
}
