//! A worker process as the master holds it: a pid, a pidfd, and the right to signal its group.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::enclosure::{Enclosure, Kills};
use super::exit::Exit;
use super::pidfd::{self, Take};

/// How long a killed process may take to die: the kernel needs milliseconds, unless it is stuck in a device.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// A worker process, from its start until after it was reaped.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pid: Pid,
    pidfd: OwnedFd,
    parent: Parent,
    reaped: AtomicBool,
    /// What it may have of the machine, together with all that it starts.
    enclosure: Option<Enclosure>,
}

/// Who must read its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// This process. Until it executed its program the child shared this process's memory, and the kernel counts that
    /// as the child's peak, so a peak not over `rss_before` says nothing.
    Us { rss_before: u64 },
    /// The zygote.
    Zygote,
}

impl WorkerProcess {
    /// Takes over a process that has not been reaped and leads its own process group.
    pub(super) fn open(pid: Pid, parent: Parent) -> std::io::Result<WorkerProcess> {
        let reaped = AtomicBool::new(false);
        Ok(WorkerProcess { pid, pidfd: pidfd::open(pid)?, parent, reaped, enclosure: None })
    }

    /// The same process once more, for who must wait for it as well.
    pub(super) fn try_clone(&self) -> std::io::Result<WorkerProcess> {
        let reaped = AtomicBool::new(self.reaped.load(Ordering::Acquire));
        let pidfd = self.pidfd.try_clone()?;
        Ok(WorkerProcess { pid: self.pid, pidfd, parent: self.parent, reaped, enclosure: None })
    }

    pub(super) fn enclose(&mut self, enclosure: Enclosure) {
        self.enclosure = Some(enclosure);
    }

    /// What the kernel has done for want of memory in the control group that it has for itself, if it has one.
    pub(crate) fn kills(&self) -> Option<Kills> {
        self.enclosure.as_ref().map(Enclosure::kills)
    }

    /// Its process id. Good for showing; after the process was reaped it may belong to another.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Signals its process group, or at least the process itself. Nothing happens if all are gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let reached_group = match pidfd::signal_group(self.pidfd.as_fd(), signal) {
            Ok(()) => true,
            // An older kernel. The group's number is ours as long as its leader has not been reaped, by us or, if its parent
            // has died, by another.
            Err(Errno::EINVAL) if !self.reaped.load(Ordering::Acquire) && self.exists() => {
                signal::killpg(self.pid, signal).is_ok()
            }
            Err(_) => false,
        };
        if !reached_group {
            // Already gone is what was wanted.
            let _ = pidfd::signal(self.pidfd.as_fd(), signal);
        }
    }

    /// Whether nobody has reaped it.
    fn exists(&self) -> bool {
        pidfd::exists(self.pidfd.as_fd())
    }

    /// Kills what is left of its group and makes sure that the process itself is dead. False: it does not die.
    pub(super) fn finish_off(&self) -> bool {
        self.signal(Signal::SIGKILL);
        pidfd::wait_dead(self.pidfd.as_fd(), DEATH_LIMIT)
    }

    /// Reads how it ended, as its parent. The process is to be dead.
    pub(super) fn read_exit(&self, take: Take) -> Exit {
        let exit = pidfd::read_status(self.pidfd.as_fd(), take).unwrap_or(Exit::UNKNOWN);
        if take == Take::Reap {
            self.mark_reaped();
        }
        match self.parent {
            Parent::Us { rss_before } => {
                Exit { max_rss: exit.max_rss.filter(|rss| *rss > rss_before), ..exit }
            }
            Parent::Zygote => exit,
        }
    }

    /// Ends a child of ours whose start came to nothing. Nobody else would ever reap it.
    pub(super) fn discard(&self) {
        self.finish_off();
        self.read_exit(Take::Reap);
    }

    pub(super) fn mark_reaped(&self) {
        self.reaped.store(true, Ordering::Release);
    }

    pub(super) fn raw_pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn parent(&self) -> Parent {
        self.parent
    }
}

impl AsFd for WorkerProcess {
    /// The pidfd: readable once the process is dead.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
