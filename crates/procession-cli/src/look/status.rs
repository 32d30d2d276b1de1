//! `status`: how far a run is, and who worked on it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use procession_store::{Job, Reader, Session, Tally};
use serde_json::json;

use super::moment::moment;
use crate::cli::Status;
use crate::exit::{Ending, Stop};
use crate::failures;
use crate::output::Sink;
use crate::spec::units;
use crate::summary::counted;
use crate::terminal::printable;

/// Prints what there is to say.
pub(crate) fn status(command: &Status) -> Result<Ending, Stop> {
    let reader = Reader::open(&command.dir)?;
    let (job, sessions, tally) = (reader.job()?, reader.sessions()?, reader.tally()?);
    let holder = procession_store::holder(&command.dir);
    let text = if command.json {
        as_json(&job, &sessions, &tally, holder.as_deref())
    } else {
        as_text(&job, &sessions, &tally, holder.as_deref())
    };
    let mut stdout = Sink::stdout();
    stdout.write(text.as_bytes())?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

/// Items that have no outcome yet.
fn left(job: &Job, tally: &Tally) -> Option<u64> {
    job.selected().map(|items| items.saturating_sub(tally.items()))
}

fn as_text(job: &Job, sessions: &[Session], tally: &Tally, holder: Option<&str>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {}", printable(value));
    };
    line("job", &job.name);
    line("task", &format!("{}  {}", job.task, job.signature));
    let total = match (job.selected(), job.items, job.selection.flags()) {
        (Some(selected), Some(items), Some(flags)) => {
            format!("{selected} of {items} ({}; {flags})", job.source)
        }
        (Some(items), ..) => format!("{items} ({})", job.source),
        (None, _, flags) => {
            let flags = flags.map(|flags| format!("; {flags}")).unwrap_or_default();
            format!("not counted ({}{flags})", job.source)
        }
    };
    line("items", &total);
    let flaky = if tally.flaky > 0 { format!(" ({} flaky)", tally.flaky) } else { String::new() };
    line("values", &format!("{}{flaky}", tally.values));
    for (outcome, items) in &tally.without {
        line("without", &format!("{items} {}", failures::named(outcome).words));
    }
    if let Some(left) = left(job, tally) {
        line("to go", &left.to_string());
    }
    for session in sessions {
        line("session", &described(session, holder));
    }
    text
}

fn described(session: &Session, holder: Option<&str>) -> String {
    let Session { id, started_at, workers, .. } = session;
    let workers = counted(u64::from(*workers), "worker");
    let start = format!("{id}: {}, {workers} on {}", moment(*started_at), session.host);
    match (&session.ended_at, &session.ending) {
        (Some(end), Some(ending)) => {
            format!("{start}, {ending} after {}", units::show(span(*started_at, *end)))
        }
        _ if is_running(session, holder) => {
            let so_far = units::show(span(*started_at, SystemTime::now()));
            format!("{start}, running for {so_far} as process {}", session.pid)
        }
        _ => format!("{start}, cut off"),
    }
}

fn is_running(session: &Session, holder: Option<&str>) -> bool {
    holder.is_some_and(|holder| holder.starts_with(&format!("process {} ", session.pid)))
}

fn span(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

fn as_json(job: &Job, sessions: &[Session], tally: &Tally, holder: Option<&str>) -> String {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    };
    let session = |session: &Session| {
        let without_end = if is_running(session, holder) { "running" } else { "cut_off" };
        json!({
            "id": session.id,
            "pid": session.pid,
            "host": session.host,
            "workers": session.workers,
            "started_at": seconds(session.started_at),
            "ended_at": session.ended_at.map(seconds),
            "ending": session.ending.as_deref().unwrap_or(without_end),
        })
    };
    let without: serde_json::Map<_, _> =
        tally.without.iter().map(|(outcome, items)| (outcome.clone(), json!(items))).collect();
    let status = json!({
        "name": job.name,
        "task": job.task,
        "signature": job.signature,
        "items": job.selected(),
        "items_of_job": job.items,
        "selection": job.selection.flags(),
        "values": tally.values,
        "flaky": tally.flaky,
        "without": without,
        "left": left(job, tally),
        "running": holder.is_some(),
        "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
    });
    format!("{status:#}\n")
}
