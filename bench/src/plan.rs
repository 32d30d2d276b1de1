//! What is measured and what is aimed at: one table, plain data. How it is measured is in `cases` and `peers`.
//!
//! A case to come needs its rows here, a function in `cases`, and its runs in `peers`.

use crate::unit::Unit;

/// One line of the result (or several, where a row has variants).
#[derive(Debug)]
pub(crate) struct Row {
    /// The case, then what tells this row from the case's others. Measurements name it.
    pub(crate) key: &'static str,
    /// What is measured.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// The limit that it is compared with. Others may be shown beside it.
    pub(crate) limit: Option<&'static str>,
    pub(crate) targets: &'static [Target],
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The figure is at most this, in the row's unit.
    AtMost(f64),
    /// The figure is at least this, in the row's unit.
    AtLeast(f64),
    /// The figure is at most so many times the limit.
    AtMostLimitTimes(f64),
    /// The figure is above the limit by at most this, in the row's unit.
    AtMostAboveLimit(f64),
    /// The figure is at least that share of the limit.
    AtLeastLimitTimes(f64),
    /// The figure is so many times better than that peer's.
    Ahead(f64, &'static str),
}

pub(crate) const MP_POOL: &str = "mp.Pool";
pub(crate) const EXECUTOR: &str = "ProcessPoolExecutor";
pub(crate) const LOKY: &str = "loky";
pub(crate) const JOBLIB: &str = "joblib";
pub(crate) const MPIRE: &str = "mpire";
pub(crate) const PEBBLE: &str = "pebble";
pub(crate) const BILLIARD: &str = "billiard";
pub(crate) const PROCSPAWN: &str = "procspawn";
pub(crate) const GNU_PARALLEL: &str = "GNU parallel";

pub(crate) const PING_PONG: &str = "ipc-channel ping-pong";
pub(crate) const STREAM: &str = "ipc-channel stream";
pub(crate) const RAYON: &str = "rayon";
pub(crate) const SERIAL: &str = "serial";
pub(crate) const RAW_BYTES: &str = "ipc-channel bytes";
pub(crate) const MEMCPY: &str = "memcpy";
pub(crate) const FORKS: &str = "fork, exit, wait";
pub(crate) const EXECUTES: &str = "execute, exit, wait";
pub(crate) const XARGS: &str = "xargs -P";
pub(crate) const APPLY: &str = "the same without it";

use Target::{Ahead, AtLeast, AtLeastLimitTimes, AtMost, AtMostAboveLimit, AtMostLimitTimes};

const MS: f64 = 1e6;
const GB: f64 = 1e9;
const MIB: f64 = 1_048_576.0;

pub(crate) const ROWS: &[Row] = &[
    Row {
        key: "B1",
        title: "apply, round trip",
        unit: Unit::Nanoseconds,
        limit: Some(PING_PONG),
        targets: &[AtMostLimitTimes(2.0), Ahead(3.0, PROCSPAWN), Ahead(40.0, MP_POOL)],
    },
    Row {
        key: "B1 core",
        title: "the same, all on one core",
        unit: Unit::Nanoseconds,
        limit: Some(PING_PONG),
        targets: &[AtMostLimitTimes(2.0)],
    },
    Row {
        key: "B2",
        title: "apply_async, 100 k at once",
        unit: Unit::Nanoseconds,
        limit: Some(STREAM),
        targets: &[AtMost(500.0), Ahead(50.0, MP_POOL)],
    },
    Row {
        key: "B3",
        title: "map, chunk_size(1), 1 M",
        unit: Unit::Nanoseconds,
        limit: Some(STREAM),
        targets: &[AtMost(200.0), Ahead(75.0, MP_POOL)],
    },
    Row {
        key: "B4",
        title: "map, 10 M i64",
        unit: Unit::Nanoseconds,
        limit: Some(RAYON),
        targets: &[AtMost(6.0), Ahead(15.0, MP_POOL)],
    },
    Row {
        key: "B5",
        title: "imap_unordered, lazy input",
        unit: Unit::Nanoseconds,
        limit: Some(STREAM),
        targets: &[AtMost(100.0)],
    },
    Row {
        key: "B5 memory",
        title: "the same, master's peak memory",
        unit: Unit::Bytes,
        limit: None,
        targets: &[AtMost(64.0 * MIB)],
    },
    Row {
        key: "B6",
        title: "echo 1 MiB, both ways",
        unit: Unit::BytesPerSecond,
        limit: Some(RAW_BYTES),
        targets: &[AtLeastLimitTimes(0.6), Ahead(15.0, MP_POOL)],
    },
    Row {
        key: "B7",
        title: "64 MiB argument, one way",
        unit: Unit::BytesPerSecond,
        limit: Some(MEMCPY),
        targets: &[AtLeast(6.0 * GB), Ahead(6.0, MP_POOL)],
    },
    Row {
        key: "B8",
        title: "apply with shared f64s",
        unit: Unit::Nanoseconds,
        limit: Some(APPLY),
        targets: &[AtMostAboveLimit(20_000.0)],
    },
    Row {
        key: "B8 flat",
        title: "the same, largest over smallest",
        unit: Unit::TimesBest,
        limit: None,
        targets: &[AtMost(1.25)],
    },
    Row {
        key: "B9 starmap",
        title: "π by starmap, speed-up",
        unit: Unit::SpeedUp,
        limit: Some(RAYON),
        targets: &[AtLeastLimitTimes(0.97)],
    },
    Row {
        key: "B9 apply_async",
        title: "π by apply_async, speed-up",
        unit: Unit::SpeedUp,
        limit: Some(RAYON),
        targets: &[AtLeastLimitTimes(0.97)],
    },
    Row {
        key: "B10 forkserver",
        title: "start 2, a task each, close",
        unit: Unit::Nanoseconds,
        limit: Some(FORKS),
        targets: &[AtMost(2.5 * MS), Ahead(2.0, MP_POOL)],
    },
    Row {
        key: "B10 spawn",
        title: "the same, start method spawn",
        unit: Unit::Nanoseconds,
        limit: Some(EXECUTES),
        targets: &[AtMost(3.0 * MS), Ahead(2.0, MP_POOL)],
    },
    Row {
        key: "B10 crash",
        title: "crash to next task done",
        unit: Unit::Nanoseconds,
        limit: Some(FORKS),
        targets: &[AtMost(0.4 * MS)],
    },
    Row {
        key: "B11",
        title: "one item 100 × longer, makespan",
        unit: Unit::TimesBest,
        limit: Some(RAYON),
        targets: &[AtMost(1.1)],
    },
    Row {
        key: "B12",
        title: "exec true, output kept, a job",
        unit: Unit::Nanoseconds,
        limit: Some(XARGS),
        targets: &[AtMostLimitTimes(1.3), Ahead(4.0, GNU_PARALLEL)],
    },
    Row {
        key: "B13",
        title: "master's CPU time an item",
        unit: Unit::Nanoseconds,
        limit: None,
        targets: &[],
    },
    Row {
        key: "B13 flat",
        title: "the same, most over least",
        unit: Unit::TimesBest,
        limit: None,
        targets: &[AtMost(1.5)],
    },
    Row {
        key: "B14",
        title: "crashes survived, 10 % of items",
        unit: Unit::PerSecond,
        limit: Some(FORKS),
        targets: &[AtLeast(3_000.0)],
    },
];

impl Row {
    pub(crate) fn case(&self) -> &'static str {
        self.key.split(' ').next().unwrap_or(self.key)
    }
}

/// The cases, in order.
pub(crate) fn cases() -> Vec<&'static str> {
    let mut cases: Vec<_> = ROWS.iter().map(Row::case).collect();
    cases.dedup();
    cases
}

pub(crate) fn row(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_cases_lie_together() {
        let mut keys: Vec<_> = ROWS.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), ROWS.len());
        let mut once = cases();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), cases().len(), "rows of one case follow each other");
    }

    /// A target that asks for more of a cost, or compares with a limit that the row has not, is a slip.
    #[test]
    fn targets_fit_their_rows() {
        for row in ROWS {
            for target in row.targets {
                let (is_for_costs, needs_limit) = match target {
                    AtMost(_) => (Some(true), false),
                    AtLeast(_) => (Some(false), false),
                    AtMostLimitTimes(_) | AtMostAboveLimit(_) => (Some(true), true),
                    AtLeastLimitTimes(_) => (Some(false), true),
                    Ahead(..) => (None, false),
                };
                assert!(
                    is_for_costs.is_none_or(|cost| cost == row.unit.is_cost()),
                    "{}: {target:?}",
                    row.key
                );
                assert!(!needs_limit || row.limit.is_some(), "{}: {target:?}", row.key);
            }
        }
    }
}
