//! The jobs of a broker as a command: they are listed, and forgotten.

use std::time::SystemTime;

use procession_cluster::{Cluster, JobSummary};
use serde_json::json;

use super::stop;
use crate::cli;
use crate::exit::{Ending, Stop};
use crate::moment::moment;
use crate::output::Sink;
use crate::spec::units;
use crate::summary::counted;
use crate::terminal;

/// Lists what a broker has, or deletes some of it.
pub(crate) fn jobs(command: &cli::Jobs) -> Result<Ending, Stop> {
    let cluster = Cluster::connect(&command.engine).map_err(|error| stop(&error))?;
    for name in &command.forget {
        cluster.forget(name).map_err(|error| stop(&error))?;
        terminal::say(&format!("job {name} is forgotten"));
    }
    if command.forget.is_empty() {
        let mut stdout = Sink::stdout();
        let jobs = cluster.jobs().map_err(|error| stop(&error))?;
        if jobs.is_empty() && !command.json {
            terminal::say("the broker has no jobs");
        }
        for job in jobs {
            let line = if command.json { as_json(&job) } else { as_text(&job) };
            stdout.write(line.as_bytes())?;
            stdout.write(b"\n")?;
        }
        stdout.flush()?;
    }
    Ok(Ending::Complete)
}

fn as_text(job: &JobSummary) -> String {
    let JobSummary { name, task, since, has_master, waiting, handed_out, answers, bytes, .. } = job;
    let task = terminal::printable(task.as_deref().unwrap_or("its task is not known"));
    let master = if *has_master { "its master is there" } else { "no master is connected" };
    let (waiting, answers) = (counted(*waiting, "chunk"), counted(*answers, "answer"));
    let since = since.map_or(String::new(), |since| format!("; since {}", moment(since)));
    format!(
        "{name}  {task}: {master}; {waiting} waiting, {handed_out} handed out, {answers}, {}{since}",
        units::show_memory(*bytes)
    )
}

fn as_json(job: &JobSummary) -> String {
    let since = job.since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
    json!({
        "job": job.name,
        "task": job.task,
        "since": since.map(|since| since.as_secs_f64()),
        "has_master": job.has_master,
        "chunks_waiting": job.waiting,
        "chunks_handed_out": job.handed_out,
        "answers": job.answers,
        "bytes": job.bytes,
    })
    .to_string()
}
