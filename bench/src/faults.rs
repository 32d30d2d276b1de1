//! What the pool and its peers do when an item goes wrong: the same hundred items, the same fault, side by side.
//!
//! Each is a fresh process, and what it leaves behind is ended with its process group.

mod ours;
pub(crate) mod survived;

use std::error::Error;
use std::fmt::{Display, Write};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peers::{Python, run_limited};
use crate::plan::{EXECUTOR, LOKY, MP_POOL, PEBBLE};
use crate::{machine, run};

pub(crate) use ours::commit;

/// Items of which one goes wrong.
const ITEMS: usize = 100;

/// What has no outcome by then is said to hang.
const HANG: Duration = Duration::from_secs(10);

/// For a process that does not even count what hangs.
const LIMIT: Duration = Duration::from_secs(30);

const PEERS: &[&str] = &[MP_POOL, EXECUTOR, LOKY, PEBBLE];

/// Each with what is said of it.
const FAULTS: &[(&str, &str)] = &[
    ("none", "nothing"),
    ("raises", "it raises, panics"),
    ("no-encoding", "its result cannot be encoded"),
    ("segfault", "segmentation fault"),
    ("abort", "`abort()`"),
    ("killed", "its process is killed (`SIGKILL`)"),
    ("exit-0", "`_exit(0)`"),
    ("exit-1", "`_exit(1)`"),
    ("closes", "it closes all descriptors"),
    ("tenth", "every tenth item: segmentation fault"),
    ("idle-killed", "an idle worker was killed before"),
    ("loops", "it never ends; limit 1 s where there is one"),
    ("stopped", "its process is stopped; limit 1 s where there is one"),
];

/// How the items are handed in.
const VERBS: &[(&str, &str)] = &[
    ("calls", "A hundred single calls (`apply_async`, `submit`, `schedule`)"),
    ("stream", "An ordered map, read item by item (`imap`, `map`)"),
];

/// What came of the items.
#[derive(Debug, Deserialize, Serialize)]
struct Outcomes {
    values: usize,
    /// Values that are not the item's.
    wrong: usize,
    /// Items that ended with an error.
    failures: usize,
    /// Items that had no outcome when the time was up.
    never: usize,
    seconds: f64,
    /// The kind of the first error.
    says: String,
}

impl Outcomes {
    /// `99 values, 1 WorkerLost, 12 ms`
    fn cell(&self) -> String {
        let mut cell = format!("{} values", self.values);
        if self.wrong > 0 {
            let _ = write!(cell, ", **{} wrong**", self.wrong);
        }
        if self.failures > 0 {
            let _ = write!(cell, ", {} `{}`", self.failures, self.says);
        }
        if self.never > 0 {
            let _ = write!(cell, ", **{} never**", self.never);
        } else {
            let _ = write!(cell, ", {:.0} ms", self.seconds * 1e3);
        }
        cell
    }
}

/// Prints the tables, and writes them into a document between its marks.
pub(crate) fn compare(document: Option<&Path>) -> Result<ExitCode, Box<dyn Error>> {
    let python = Python::prepare(&run::directory()?);
    let mut facts = machine::facts();
    match &python {
        Ok(python) => facts.extend(python.versions()),
        Err(need) => eprintln!("skipped: the peers: {need}"),
    }
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut tables = format!("\n{}.\n", facts.join(" · "));
    for (verb, title) in VERBS {
        let _ = writeln!(tables, "\n{title}:\n\n| one of {ITEMS} items | ours | {} |", PEERS.join(" | "));
        let _ = writeln!(tables, "|{}", "---|".repeat(PEERS.len() + 2));
        for (fault, words) in FAULTS {
            eprintln!("{verb}: {words}");
            let mut ours = Command::new(std::env::current_exe()?);
            ours.args(["fault", verb, fault]);
            let mut cells = vec![outcome(&mut ours)];
            for peer in PEERS {
                cells.push(match &python {
                    Ok(python) => {
                        let seconds = HANG.as_secs().to_string();
                        outcome(python.faulty(peer).args([verb, fault, seconds.as_str()]))
                    }
                    Err(_) => "not measured".to_owned(),
                });
            }
            let _ = writeln!(tables, "| {words} | {} |", cells.join(" | "));
        }
    }
    tables.push('\n');
    print!("{tables}");
    write_between_marks(document, "peers", &tables)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes into a document, if there is one to be written into.
fn write_between_marks(document: Option<&Path>, name: &str, text: &str) -> Result<(), String> {
    let Some(path) = document else { return Ok(()) };
    let named = |error: &dyn Display| format!("{}: {error}", path.display());
    let before = fs::read_to_string(path).map_err(|error| named(&error))?;
    let filled = crate::report::between_marks(&before, name, text).map_err(|error| named(&error))?;
    fs::write(path, filled).map_err(|error| named(&error))
}

fn outcome(command: &mut Command) -> String {
    let outcomes = run_limited(command, LIMIT).and_then(|line| {
        serde_json::from_str(&line).map_err(|error| format!("what it printed is no outcome: {error}"))
    });
    match outcomes {
        Ok(outcomes) => Outcomes::cell(&outcomes),
        Err(error) => format!("**ended**: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_what_is_worth_saying() {
        let line = r#"{"values": 99, "wrong": 0, "failures": 1, "never": 0, "seconds": 0.0124, "says": "WorkerLost"}"#;
        let outcomes: Outcomes = serde_json::from_str(line).expect("as the peers print it");
        assert_eq!(outcomes.cell(), "99 values, 1 `WorkerLost`, 12 ms");
        let hangs = Outcomes { failures: 0, never: 1, ..outcomes };
        assert_eq!(hangs.cell(), "99 values, **1 never**");
    }
}
