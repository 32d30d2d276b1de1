//! A command and all that descends from it, for ending them together. It knows no streams.
//!
//! The command stays in its worker's process group, so that whatever ends the worker ends the command. A group of its own
//! would have to be ended by somebody who outlives the worker. So its time limit goes by descent instead: while the command runs,
//! its orphans become children of this process, wherever they have put themselves, and none of them gets away.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// Between two looks at processes that were told to end: their ends announce themselves to their parents alone.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The descendants of this process that came after it was made.
pub(super) struct Family {
    /// Children that were there before, and are somebody else's.
    others: BTreeSet<i32>,
}

impl Family {
    /// To be made before the command is started.
    pub(super) fn found() -> Result<Family, String> {
        let others = children(std::process::id() as i32).into_iter().collect();
        set_child_subreaper(true).map_err(|errno| format!("cannot adopt orphans: {errno}"))?;
        Ok(Family { others })
    }

    /// Asks all of them to end.
    pub(super) fn ask(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills them until there is none left. `command` is reaped by whoever started it.
    ///
    /// A process that the kernel does not let die is waited for: the limit of the item itself is the end of that.
    pub(super) fn kill(&self, command: i32) {
        while self.has_members(command) {
            self.signal(Signal::KILL);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until they have ended; not longer than `limit`.
    pub(super) fn await_end(&self, command: i32, limit: Duration) {
        let start = Instant::now();
        while self.has_members(command) && start.elapsed() < limit {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether any of them is alive. Orphans that have ended are reaped.
    fn has_members(&self, command: i32) -> bool {
        let members = self.members();
        let mut alive = false;
        for &pid in &members {
            match is_zombie(pid) {
                // One that another process has to reap, which is a member as well.
                Some(true) if pid != command => {
                    if let Some(pid) = Pid::from_raw(pid) {
                        // Not a child of ours: its parent reaps it, or leaves it to us.
                        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
                    }
                }
                Some(true) | None => {}
                Some(false) => alive = true,
            }
        }
        alive
    }

    fn signal(&self, signal: Signal) {
        let handles = self.members().into_iter().filter_map(|pid| {
            let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            Some((pid, handle))
        });
        let handles: Vec<_> = handles.collect();
        // Who is a member still is the process that the handle was opened for, or another member.
        let members = self.members();
        for (pid, handle) in handles {
            if members.contains(&pid) {
                let _ = pidfd_send_signal(&handle, signal);
            }
        }
    }

    fn members(&self) -> BTreeSet<i32> {
        let mut members = BTreeSet::new();
        let mut parents = vec![std::process::id() as i32];
        while let Some(parent) = parents.pop() {
            for child in children(parent) {
                if !self.others.contains(&child) && members.insert(child) {
                    parents.push(child);
                }
            }
        }
        members
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = set_child_subreaper(false);
    }
}

/// The children of a process, zombies included; of one that is gone, none.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether it has ended and nobody has asked how; `None`: it is gone.
fn is_zombie(pid: i32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may contain anything.
    let state = stat.rsplit_once(") ")?.1;
    Some(state.starts_with(['Z', 'X']))
}
