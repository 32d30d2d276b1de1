//! What a fault is: a deed that an item commits in its worker, and how that must be told. It knows no pools but for the
//! options that a fault needs.

use std::time::Duration;

use procession::{ErrorKind, PoolBuilder, WorkerExit};
use procession_harness::{Blame, Fate};

/// A fault that items commit.
pub(crate) struct Fault {
    /// The deed, in the worker. If it returns, the item has its value.
    pub(crate) commit: fn(),
    /// What becomes of an item that commits it, if it is never to be run again.
    pub(crate) fate: Fate,
    /// How an item that may be run again, and commits it every time, ends.
    pub(crate) again: Again,
    /// The time limit that its items have.
    pub(crate) limit: Option<Duration>,
    /// How many items that did nothing it may cost each time, as they were in the same worker.
    pub(crate) bystanders: u32,
    /// What those read.
    pub(crate) bystander: Blame,
    /// What the worker noted is gone, so items may count as begun that were not.
    pub(crate) is_overcharged: bool,
    /// It takes long, so that all verbs run at once.
    pub(crate) is_slow: bool,
    /// What a pool needs for it.
    pub(crate) options: fn(PoolBuilder) -> PoolBuilder,
}

/// What repeating does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is run again, and quarantined in the end.
    Quarantined,
    /// It is not run again: the worker lives, or its time is over.
    Never,
}

/// No exit is to be told, or any.
pub(crate) const ANY: &[WorkerExit] = &[];

/// The worker is lost, and ended so.
pub(crate) const fn lost(exits: &'static [WorkerExit], words: &'static str) -> Blame {
    Blame { kind: ErrorKind::WorkerLost, exits, words }
}

impl Fault {
    /// A deed that the worker does not survive.
    pub(crate) const fn deadly(commit: fn(), exits: &'static [WorkerExit]) -> Fault {
        Fault::told(commit, Fate::Fails(lost(exits, "worker lost")))
    }

    /// A deed that the master kills the worker for.
    pub(crate) const fn violation(commit: fn(), words: &'static str) -> Fault {
        Fault::told(commit, Fate::Fails(lost(ANY, words)))
    }

    pub(crate) const fn told(commit: fn(), fate: Fate) -> Fault {
        Fault {
            commit,
            fate,
            again: Again::Quarantined,
            limit: None,
            bystanders: 0,
            bystander: lost(ANY, "worker lost"),
            is_overcharged: false,
            is_slow: false,
            options: |builder| builder,
        }
    }

    pub(crate) const fn with_options(self, options: fn(PoolBuilder) -> PoolBuilder) -> Fault {
        Fault { options, ..self }
    }

    /// It may cost so many that did nothing, which read as `bystander`.
    pub(crate) const fn with_bystanders(self, bystanders: u32, bystander: Blame) -> Fault {
        Fault { bystanders, bystander, ..self }
    }
}
