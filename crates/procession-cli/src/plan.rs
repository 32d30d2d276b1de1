//! `--dry-run`: what a job would do, in a few lines, with nothing started. A broker is asked whether it is there.

use std::fmt::Write as _;
use std::time::Duration;

use erased_serde::Serializer as Erased;

use crate::engine::{self, Agents};
use crate::exec;
use crate::exit::{Ending, Stop};
use crate::job::{Job, PoolSettings};
use crate::output::{Format, Sink};
use crate::spec::units;
use crate::terminal;

/// Rows shown.
const ROWS: usize = 3;
/// A row is shown up to here, in characters.
const ROW_WIDTH: usize = 100;

/// Checks the whole input and prints the plan.
pub(crate) fn show(job: &Job) -> Result<Ending, Stop> {
    if job.results.streams.is_some() {
        return exec::show(job);
    }
    let (all, total) = job.check()?;
    job.refuse_overwriting()?;
    job.refuse_mixing()?;
    engine::refuse_local_settings(job)?;
    // A broker that cannot be used is as wrong as an input that cannot be read.
    let workers = match (Agents::connect(job)?, &job.engine) {
        (Some(_), Some(remote)) => format!("those of agents, by {}", remote.address),
        _ => job.pool.workers().to_string(),
    };
    job.caution().iter().for_each(|caution| terminal::say_warning(caution));
    let mut plan = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(plan, "{name:<9} {value}");
    };
    line("job", &job.name);
    line("task", &format!("{}  {}", job.task.path(), job.task.signature()));
    line("call", job.call.name());
    line("items", &items(job, all, total));
    line("workers", &workers);
    let limits = limits(&job.pool);
    if !limits.is_empty() {
        line("limits", &limits.join(", "));
    }
    let rows = rows(job, total)?;
    job.remark();
    for row in rows {
        line("row", &row);
    }
    line("output", &output(job));
    if let Some(path) = &job.results.failures {
        line("failures", &path.display().to_string());
    }
    if let Some(report) = &job.report {
        line("report", &report.path.display().to_string());
    }
    let mut stdout = Sink::stdout();
    stdout.write(plan.as_bytes())?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

fn items(job: &Job, all: Option<u64>, total: Option<u64>) -> String {
    let selection = &job.part.selection;
    let of = if selection.is_whole() { String::new() } else { format!("; {selection}") };
    match (total, all) {
        (Some(total), Some(all)) if !selection.is_whole() => {
            format!("{total} of {all} ({}{of})", job.source.describe())
        }
        (Some(total), _) => format!("{total} ({})", job.source.describe()),
        (None, _) => format!("not counted ({}{of})", job.source.describe()),
    }
}

/// What each worker is kept to.
fn limits(pool: &PoolSettings) -> Vec<String> {
    let size =
        |name: &str, bytes: Option<u64>| bytes.map(|bytes| format!("{name} {}", units::show_size(bytes)));
    let time =
        |name: &str, limit: Option<Duration>| limit.map(|limit| format!("{name} {}", units::show(limit)));
    let limits = [
        time("timeout", pool.timeout),
        time("deadline", pool.deadline),
        time("grace", pool.grace),
        pool.max_attempts.map(|attempts| format!("max_attempts {attempts}")),
        size("memory_limit", pool.memory_limit),
        size("max_rss", pool.max_rss),
        pool.max_tasks_per_worker.map(|items| format!("max_tasks_per_worker {items}")),
        pool.nice.map(|increment| format!("nice {increment}")),
        pool.cpu_affinity.as_ref().map(|cores| format!("cpu_affinity {cores:?}")),
    ];
    limits.into_iter().flatten().chain(pool.policies.words()).collect()
}

fn rows(job: &Job, total: Option<u64>) -> Result<Vec<String>, Stop> {
    let mut shown = Vec::new();
    for row in job.rows()?.take(ROWS) {
        shown.push(match row {
            Ok(payload) => {
                let mut json = Vec::new();
                let mut serializer = serde_json::Serializer::new(&mut json);
                let written =
                    job.task.decode_args(payload.as_bytes(), &mut <dyn Erased>::erase(&mut serializer));
                match written {
                    Ok(()) => cut(&String::from_utf8_lossy(&json)),
                    Err(error) => format!("not sayable in JSON: {error}"),
                }
            }
            Err(refusal) => format!("invalid: {}", refusal.headline()),
        });
    }
    if total.is_some_and(|total| total > ROWS as u64) {
        shown.push("…".to_owned());
    }
    Ok(shown)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ROW_WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn output(job: &Job) -> String {
    let results = &job.results;
    let format =
        Format::NAMES.iter().find(|(_, format)| *format == results.format).map_or("", |(name, _)| name);
    let order = if results.unordered { "completion" } else { "input" };
    let values = |to: &str| format!("{format} to {to}, in {order} order");
    match (job.reduce, &results.file) {
        (None, None) => values("stdout"),
        (None, Some(path)) => values(&path.display().to_string()),
        (Some(reduction), None) => format!("{} to stdout", reduction.name()),
        (Some(reduction), Some(path)) => {
            format!("{} to stdout; {}", reduction.name(), values(&path.display().to_string()))
        }
    }
}
