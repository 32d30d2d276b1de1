//! What a user would take instead, each in a process of its own that prints its figures as JSON lines.
//!
//! A peer that is not there is no failure: the report says what it needs.

pub(crate) mod commands;
mod limited;
mod procspawn;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use limited::run_limited;
pub(crate) use python::Python;

use crate::cases::WORKERS;
use crate::plan::{BILLIARD, EXECUTOR, GNU_PARALLEL, JOBLIB, LOKY, MP_POOL, MPIRE, PEBBLE, PROCSPAWN};
use crate::results::{By, Measurement};
use crate::run::Scale;

/// A peer that takes longer in one case hangs.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Which peers run which case, with how many items: as many as take about half a second. A peer is left out of a case
/// that it has no verb for, or that it would not survive.
const RUNS: &[(&str, &[(&str, u64)])] = &[
    (
        "B1",
        &[
            (PROCSPAWN, 10_000),
            (MP_POOL, 3_000),
            (EXECUTOR, 4_000),
            (LOKY, 3_000),
            (PEBBLE, 5_000),
            (BILLIARD, 3_000),
            (MPIRE, 1_500),
        ],
    ),
    (
        "B2",
        &[
            (PROCSPAWN, 10_000),
            (MP_POOL, 12_000),
            (EXECUTOR, 4_000),
            (LOKY, 3_000),
            (PEBBLE, 4_000),
            (BILLIARD, 12_000),
            (MPIRE, 2_000),
        ],
    ),
    (
        "B3",
        &[
            (MP_POOL, 30_000),
            (EXECUTOR, 6_000),
            (LOKY, 4_000),
            (JOBLIB, 3_000),
            (MPIRE, 8_000),
            (PEBBLE, 6_000),
            (BILLIARD, 30_000),
        ],
    ),
    (
        "B4",
        &[
            (MP_POOL, 2_000_000),
            (EXECUTOR, 1_000_000),
            (LOKY, 500_000),
            (JOBLIB, 100_000),
            (MPIRE, 100_000),
            (PEBBLE, 100_000),
            (BILLIARD, 2_000_000),
        ],
    ),
    ("B5", &[(MP_POOL, 2_000_000), (BILLIARD, 2_000_000), (JOBLIB, 100_000)]),
    (
        "B6",
        &[
            (PROCSPAWN, 60),
            (MP_POOL, 60),
            (EXECUTOR, 60),
            (LOKY, 40),
            (PEBBLE, 60),
            (BILLIARD, 60),
            (MPIRE, 60),
        ],
    ),
    ("B7", &[(PROCSPAWN, 2), (MP_POOL, 4), (EXECUTOR, 4), (LOKY, 2), (PEBBLE, 4), (BILLIARD, 4), (MPIRE, 4)]),
    (
        "B10",
        &[(PROCSPAWN, 30), (MP_POOL, 20), (EXECUTOR, 12), (LOKY, 2), (PEBBLE, 3), (BILLIARD, 1), (MPIRE, 2)],
    ),
    // Microseconds an item; there are always as many as in the case.
    ("B11", &[(MP_POOL, 200), (JOBLIB, 200)]),
    ("B12", &[(GNU_PARALLEL, 400), (MP_POOL, 400), (JOBLIB, 400)]),
    ("B14", &[(PEBBLE, 100)]),
];

/// The peers that are there, and what the others need.
pub(crate) struct Peers {
    python: Result<python::Python, String>,
    procspawn: Result<PathBuf, String>,
}

/// What a peer prints for each figure.
#[derive(Deserialize)]
struct Line {
    row: String,
    #[serde(default)]
    variant: String,
    value: f64,
}

impl Peers {
    /// Installs and builds in `directory` what these cases need of peers.
    pub(crate) fn prepare(directory: &Path, cases: &[&str]) -> Peers {
        let is_asked = |is_wanted: fn(&str) -> bool| {
            cases.iter().any(|case| runs(case).iter().any(|(peer, _)| is_wanted(peer)))
        };
        let python = match is_asked(is_python) {
            true => python::Python::prepare(directory),
            false => Err("no case asks for it".to_owned()),
        };
        let procspawn = match is_asked(|peer| peer == PROCSPAWN) {
            true => procspawn::build(directory),
            false => Err("no case asks for it".to_owned()),
        };
        Peers { python, procspawn }
    }

    /// The peers of a case, in turn.
    pub(crate) fn of_case(case: &str) -> impl Iterator<Item = &'static str> {
        runs(case).iter().map(|&(peer, _)| peer)
    }

    /// One pass of one peer. An error says what the peer needs, or what went wrong with it.
    pub(crate) fn measure(&self, peer: &str, case: &str, scale: Scale) -> Result<Vec<Measurement>, String> {
        let full = runs(case).iter().find(|(name, _)| *name == peer).map_or(0, |&(_, items)| items);
        let items = if case == "B11" { full } else { scale.of(full, full.div_ceil(5)) };
        let mut command = match peer {
            GNU_PARALLEL => return commands::parallel(items, WORKERS).map(|figure| vec![figure]),
            PROCSPAWN => Command::new(self.procspawn.as_ref().map_err(String::clone)?),
            _ => self.python.as_ref().map_err(String::clone)?.peer(peer),
        };
        command.args([case, &items.to_string(), &WORKERS.to_string()]);
        let output = run_limited(&mut command, RUN_LIMIT)?;
        let figures = output.lines().map(|line| {
            let Line { row, variant, value } =
                serde_json::from_str(line).map_err(|error| format!("`{line}` is no figure: {error}"))?;
            Ok(Measurement { row, variant, by: By::Peer(peer.to_owned()), value })
        });
        figures.collect()
    }

    /// What is measured of Python, with versions.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let mut versions = self.python.as_ref().map(python::Python::versions).unwrap_or_default();
        if self.procspawn.is_ok() {
            versions.push((PROCSPAWN.to_owned(), procspawn::VERSION.to_owned()));
        }
        versions
    }
}

fn runs(case: &str) -> &'static [(&'static str, u64)] {
    RUNS.iter().find(|(name, _)| *name == case).map_or(&[], |(_, runs)| runs)
}

fn is_python(peer: &str) -> bool {
    peer != PROCSPAWN && peer != GNU_PARALLEL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, Target};

    #[test]
    fn every_peer_that_a_target_names_is_run() {
        for row in plan::ROWS {
            for target in row.targets {
                if let Target::Ahead(_, peer) = target {
                    assert!(Peers::of_case(row.case()).any(|name| name == *peer), "{}: {peer}", row.key);
                }
            }
        }
        assert!(RUNS.iter().all(|(case, _)| plan::cases().contains(case)), "a case is not planned");
    }

    #[test]
    fn a_peer_that_is_missing_says_what_it_needs() {
        let peers =
            Peers { python: Err("needs python3".to_owned()), procspawn: Err("needs cargo".to_owned()) };
        let scale = Scale { quick: true };
        assert_eq!(peers.measure(MP_POOL, "B1", scale), Err("needs python3".to_owned()));
        assert_eq!(peers.measure(PROCSPAWN, "B1", scale), Err("needs cargo".to_owned()));
        assert!(peers.versions().is_empty());
    }
}
