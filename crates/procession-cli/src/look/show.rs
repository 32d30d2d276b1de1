//! `show`: everything that is known of one item.

use std::fmt::Write as _;

use procession_store::{Item, Printed, Reader};

use super::printed;
use crate::cli::Show;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::failures;
use crate::moment::moment;
use crate::output::Sink;
use crate::spec::units;
use crate::terminal::printable;

/// Prints a field a line; what has several lines comes last.
pub(crate) fn show(command: &Show) -> Result<Ending, Stop> {
    let reader = Reader::open(&command.dir)?;
    let job = reader.job()?;
    let Some(item) = reader.item(command.item)? else {
        let what = match job.items {
            Some(items) if command.item >= items => {
                format!("there is no item {}: the job has {items}, counted from 0", command.item)
            }
            _ if !job.selection.contains(command.item) => {
                format!("item {} is none of this run's, which has those of {}", command.item, job.selection)
            }
            _ => format!("item {} has no outcome yet", command.item),
        };
        return Err(Diagnostic::new(what).into());
    };
    let mut stdout = Sink::stdout();
    let printed = reader.printed(item.index)?;
    stdout.write(described(&item, printed.as_ref()).as_bytes())?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

fn described(item: &Item, printed: Option<&Printed>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<9} {}", printable(&value));
        }
    };
    line("item", Some(item.index.to_string()));
    let words = match (item.is_ok(), item.is_flaky) {
        (true, false) => "value",
        (true, true) => "value (flaky)",
        (false, _) => failures::named(&item.outcome).words,
    };
    line("outcome", Some(words.to_owned()));
    line("attempts", Some(item.attempts.to_string()));
    line("args", item.args.clone());
    line("value", item.value.clone());
    line("error", item.error.clone());
    line("worker", item.slot.map(|slot| slot.to_string()));
    line("pid", item.pid.map(|pid| pid.to_string()));
    line("started", item.started_at.map(moment));
    line("ran", item.wall.map(units::show));
    line("cpu", item.cpu.map(units::show));
    line("peak rss", item.peak_rss.map(units::show_size));
    line("exit", item.exit.map(|exit| exit.to_string()));
    line("signal", item.signal.map(|signal| signal.to_string()));
    line("reproduce", item.reproduce.clone());
    // What is kept of all that a command printed has the end of its stderr in it, too.
    let stderr = item.stderr_tail.as_ref().filter(|_| printed.is_none_or(|all| all.stderr.is_empty()));
    for (name, lines) in [("backtrace", item.backtrace.as_ref()), ("stderr", stderr)] {
        if let Some(lines) = lines {
            let _ = writeln!(text, "{name}:");
            for line in lines.lines() {
                let _ = writeln!(text, "    {}", printable(line));
            }
        }
    }
    text.push_str(&printed.map(printed::described).unwrap_or_default());
    text
}
