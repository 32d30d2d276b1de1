//! Workers' memory, as far as the supervisor sees to it: weighs those that are at work now and then, and finds out
//! whether a death was for want of it.

use procession_core::WorkerId;

use super::Driver;
use crate::memory;
use crate::oom_kills::OomKills;
use crate::process::{Exit, WorkerExit, WorkerProcess};
use crate::shortage::{Evidence, Shortage};

/// The supervisor's own, since only it reads files.
pub(super) struct Scales {
    oom_kills: OomKills,
}

impl Scales {
    pub(super) fn new() -> Scales {
        Scales { oom_kills: OomKills::watch() }
    }

    /// Finds the workers that are too large, if it is time to look.
    pub(super) fn weigh(&self, driver: &Driver) {
        let Some(max_rss) = driver.settings.max_rss else { return };
        let busy = driver.state.lock().due_for_weighing();
        if busy.is_empty() {
            return;
        }
        let pids: Vec<u32> = busy.iter().map(|(_, pid)| *pid).collect();
        for ((worker, _), rss) in busy.into_iter().zip(memory::resident(&pids)) {
            if rss.is_some_and(|rss| rss > max_rss) {
                driver.with_state(|state, now, effects| state.bloated(now, worker, effects));
            }
        }
    }

    /// What memory had to do with a death.
    pub(super) fn shortage(
        &mut self,
        driver: &Driver,
        worker: WorkerId,
        process: &WorkerProcess,
        exit: &Exit,
        output: &[u8],
    ) -> Shortage {
        if !matches!(exit.status, WorkerExit::Signal(_)) {
            return Shortage::None;
        }
        let is_killed_by_us = driver.state.lock().seat(worker).is_some_and(|seat| seat.is_killed);
        let evidence = Evidence {
            exit: exit.status,
            is_killed_by_us,
            output,
            peak_rss: exit.max_rss,
            limit: driver.settings.memory_limit,
        };
        // Who has a group of its own is not counted in ours.
        Shortage::of(&evidence, || process.kills().unwrap_or_else(|| self.oom_kills.claim()))
    }
}
