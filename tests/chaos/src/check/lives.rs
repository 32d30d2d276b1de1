//! The processes of an episode: what each started last, what hit it, how it ended.

use std::collections::{HashMap, HashSet};

use procession::WorkerExit;

use crate::evidence::{Evidence, Fault};
use crate::ledger::Start;
use crate::plan::{Call, Stop, Verb};

/// The signals that pools send, and the one that stops.
const KILL: i32 = 9;
const TERMINATE: i32 = 15;
const STOP: i32 = 19;

/// What the initializer ends workers with.
const INITIALIZER: i32 = 5;

pub(super) struct Lives {
    /// By process. It starts one item after the other, so only the last one can have been running when it died.
    last: HashMap<u32, Start>,
    exits: HashMap<u32, (WorkerExit, bool)>,
    faults: HashMap<u32, Vec<Fault>>,
    /// Items that are known to have been lost, by the process they were lost in.
    blamed: HashSet<u32>,
    /// Calls whose running items the pool may have ended: after the grace by `SIGKILL`, which a worker that waits for a
    /// disk or for a processor comes to as well.
    ended: HashSet<u16>,
    /// Every worker was asked to end, and killed if it had not come to it within the grace.
    is_terminated: bool,
    /// Numbers that two processes had, one after the other, as on a busy machine with few of them. What is known by such a
    /// number may be of either.
    reused: HashSet<u32>,
}

impl Lives {
    pub(super) fn new(evidence: &Evidence) -> Lives {
        let mut faults = HashMap::<u32, Vec<Fault>>::new();
        for fault in &evidence.faults {
            faults.entry(fault.pid).or_default().push(*fault);
        }
        let mut ended = HashSet::new();
        let again = evidence.exits.iter().map(|exit| exit.pid).filter(|pid| !ended.insert(*pid));
        let reused = again.collect();
        Lives {
            reused,
            last: evidence.starts.iter().map(|start| (start.pid, *start)).collect(),
            exits: evidence.exits.iter().map(|exit| (exit.pid, (exit.exit, exit.running))).collect(),
            faults,
            blamed: HashSet::new(),
            is_terminated: evidence.is_terminated,
            ended: evidence
                .calls
                .iter()
                .filter(|seen| evidence.is_terminated || may_be_ended(&seen.call))
                .map(|seen| seen.call.id)
                .collect(),
        }
    }

    /// Why that start has come to nothing; an error: for no good reason.
    pub(super) fn explain(&mut self, start: &Start) -> Result<(), String> {
        if self.reused.contains(&start.pid) {
            self.blamed.insert(start.pid);
            return Ok(());
        }
        let last = self.last.get(&start.pid);
        if last != Some(start) {
            return Err(format!("that went on, to {last:?}"));
        }
        let Some(exit) = self.exit(start.pid) else {
            return Err("that never ended".to_owned());
        };
        let faults = self.faults.get(&start.pid).map_or(&[][..], Vec::as_slice);
        if start.tag.death_at(start.attempt) != Some(exit) && !faults.iter().any(|fault| fault.explains(exit))
        {
            return Err(format!("that ended with {exit:?}, and was hit by {faults:?}"));
        }
        self.blamed.insert(start.pid);
        Ok(())
    }

    /// Whether that start is the last thing its process did before it ended: by the item's own doing, by a fault, or as
    /// pools end workers.
    pub(super) fn ended_in(&self, start: &Start) -> Result<(), String> {
        if self.reused.contains(&start.pid) {
            return Ok(());
        }
        let last = self.last.get(&start.pid);
        if last != Some(start) {
            return Err(format!("process {} went on, to {last:?}", start.pid));
        }
        let exit = self.exit(start.pid).ok_or_else(|| format!("process {} never ended", start.pid))?;
        let faults = self.faults.get(&start.pid).map_or(&[][..], Vec::as_slice);
        let is_ended = matches!(exit, WorkerExit::Signal(KILL | TERMINATE))
            || start.tag.death_at(start.attempt) == Some(exit)
            || faults.iter().any(|fault| fault.explains(exit));
        if is_ended { Ok(()) } else { Err(format!("process {} ended with {exit:?}", start.pid)) }
    }

    fn exit(&self, pid: u32) -> Option<WorkerExit> {
        self.exits.get(&pid).map(|(exit, _)| *exit)
    }

    /// Whether the process ended as is said of it.
    pub(super) fn agree(&self, pid: u32, said: Option<WorkerExit>) -> Result<(), String> {
        let exit = self.exit(pid);
        if exit == said || self.reused.contains(&pid) {
            Ok(())
        } else {
            Err(format!("the worker it ran in ended with {exit:?}"))
        }
    }

    /// Whether a worker, whichever, was killed from outside like this.
    pub(super) fn is_by_signal(&self, exit: Option<WorkerExit>) -> Result<(), String> {
        let exit = exit.ok_or("its error does not say how the worker ended")?;
        if self.faults.values().flatten().any(|fault| fault.explains(exit)) {
            Ok(())
        } else {
            Err(format!("it is not known to have started, and no worker was hit by {exit:?}"))
        }
    }

    pub(super) fn was_hit(&self, pid: u32) -> bool {
        self.faults.contains_key(&pid)
    }

    fn was_stopped(&self, pid: u32) -> bool {
        self.faults.get(&pid).is_some_and(|faults| faults.iter().any(|fault| fault.signal == STOP))
    }

    /// Workers that ended as the pool ends none, and without a fault. `frail`: their initializer may end them.
    pub(super) fn unexplained_ends(&self, frail: bool) -> Vec<(u32, WorkerExit)> {
        let is_explained = |pid: u32, exit: WorkerExit, running: bool| {
            let faults = self.faults.get(&pid).map_or(&[][..], Vec::as_slice);
            let last = self.last.get(&pid);
            match exit {
                // It was told to stop, or asked to end.
                WorkerExit::Code(0) | WorkerExit::Signal(TERMINATE) => true,
                // On a busy machine not even an idle one always comes to its end in time.
                WorkerExit::Signal(KILL) if self.is_terminated => true,
                // A stopped one does not end when it is asked to.
                WorkerExit::Signal(KILL) if self.was_stopped(pid) => true,
                WorkerExit::Signal(KILL)
                    if running && last.is_some_and(|start| self.ended.contains(&start.tag.call())) =>
                {
                    true
                }
                WorkerExit::Code(INITIALIZER) if frail && last.is_none() => true,
                exit => {
                    last.is_some_and(|start| start.tag.death_at(start.attempt) == Some(exit))
                        || faults.iter().any(|fault| fault.explains(exit))
                }
            }
        };
        let ends = self.exits.iter().filter(|(pid, (exit, running))| {
            !self.reused.contains(pid) && !is_explained(**pid, *exit, *running)
        });
        ends.map(|(pid, (exit, _))| (*pid, *exit)).collect()
    }

    /// How many workers were killed from outside while an item ran, without one that is known to have been lost in them.
    pub(super) fn silent_deaths(&self) -> u32 {
        let silent = self.exits.iter().filter(|(pid, (exit, running))| {
            let faults = self.faults.get(pid).map_or(&[][..], Vec::as_slice);
            *running && !self.blamed.contains(pid) && faults.iter().any(|fault| fault.explains(*exit))
        });
        silent.count() as u32
    }
}

/// Whether the pool may end items of the call while they run: because of a time limit, because nobody wants them any
/// more, or because the call has failed as a whole.
fn may_be_ended(call: &Call) -> bool {
    let is_limited = call.limits.timeout.is_some() || call.limits.deadline.is_some();
    is_limited || call.stop != Stop::Never || matches!(call.verb, Verb::Map | Verb::MapAsync)
}

impl Fault {
    /// Whether a process that was hit by it would end like this.
    fn explains(&self, exit: WorkerExit) -> bool {
        let is_deadly = self.signal != STOP;
        let is_it = exit == WorkerExit::Signal(self.signal);
        // Only its parent could have said how it ended.
        (is_it || (self.by_helper && exit == WorkerExit::Unknown)) && is_deadly
    }
}
