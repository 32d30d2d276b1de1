//! Starts a pool's workers, whichever the start method, and reaps them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_channel::ipc;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use procession_core::WorkerId;

use super::boot::{Ends, Order, Role, SharedFiles, send_descriptors};
use super::enclosure::Grounds;
use super::error::LaunchError;
use super::exit::Exit;
use super::init::{check_depth, is_stray_worker, require_init};
use super::pidfd::{Take, readable_within};
use super::settings::{LaunchSettings, Output, StartMethod};
use super::spawn::{Booting, check_alive, check_program};
use super::worker_process::{Parent, WorkerProcess};
use super::zygote::{ForkError, Zygote};
use super::zygote_start::{Progress, ZygoteStart};
use crate::page::PageMaster;
use crate::slab::{Arena, WindowReader};
use crate::wire::{Inbox, Outlet};

/// Makes worker processes for one pool.
///
/// One thread creates and uses it and lives as long as the pool: the kernel kills our children when the thread that
/// started them ends, even if the process lives on. Dropping it ends every worker that is left.
#[derive(Debug)]
pub(crate) struct Launcher {
    settings: LaunchSettings,
    arena: Arc<Arena>,
    zygote: Option<Zygote>,
    /// The zygote that takes the place of a lost one, on its way.
    successor: Option<ZygoteStart>,
    /// Where workers get control groups of their own.
    grounds: Option<Grounds>,
}

/// The master's half of a worker.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) process: WorkerProcess,
    pub(crate) page: PageMaster,
    pub(crate) window: WindowReader,
    /// Work to the worker.
    pub(crate) sender: Outlet,
    /// Results from the worker.
    pub(crate) receiver: Inbox,
    /// A second sending end of the results channel, for a last word once the process is known dead.
    pub(crate) goodbye: Outlet,
    /// What the worker prints; does not block.
    pub(crate) output: Option<OwnedFd>,
    /// With `spawn`: the handshake to finish once its descriptor is readable. The worker is silent until then.
    pub(crate) boot: Option<PendingBoot>,
}

/// What became of the wish for a worker.
#[derive(Debug)]
pub(crate) enum Launch {
    Done(Box<Launched>),
    /// The zygote was lost, and another one is on its way: ask again once it is there, which takes so long at most.
    Later(Duration),
}

/// A worker that was executed and must still be handed its ends.
#[derive(Debug)]
pub(crate) struct PendingBoot {
    booting: Booting,
    process: WorkerProcess,
    ends: WorkerHalf,
}

impl LaunchSettings {
    /// Refuses what can never work, before anything is started.
    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        if is_stray_worker() || (self.program.is_none() && self.method != StartMethod::Fork) {
            require_init()?;
        }
        check_depth()?;
        check_program(self)?;
        match (self.method, count_threads()) {
            (StartMethod::Fork, threads) if threads != 1 => Err(LaunchError::Threads { threads }),
            _ => Ok(()),
        }
    }
}

impl Launcher {
    /// Checks the settings and starts the zygote, if the start method has one; runs the preload task in it.
    pub(crate) fn new(settings: LaunchSettings) -> Result<Launcher, LaunchError> {
        settings.check()?;
        try_sending()?;
        let arena = match &settings.arena {
            Some(arena) => Arc::clone(arena),
            None => Arena::create().map_err(LaunchError::system("making shared memory"))?,
        };
        let zygote = match settings.method {
            StartMethod::ForkServer => Some(Zygote::execute(&settings)?),
            StartMethod::Fork => Some(Zygote::fork(&settings)?),
            StartMethod::Spawn => None,
        };
        let grounds = settings.memory_limit.and_then(Grounds::find);
        Ok(Launcher { settings, arena, zygote, successor: None, grounds })
    }

    /// Starts a worker. With `forkserver` it is forked when this returns, unless the zygote was lost: then another one is
    /// on its way, and somebody is to see to it ([`Launcher::tend`]).
    pub(crate) fn launch(&mut self, worker: WorkerId) -> Result<Launch, LaunchError> {
        if let Some(successor) = &self.successor {
            return Ok(Launch::Later(successor.time_left()));
        }
        match self.start(worker) {
            Err(ForkFailure::Gone(_)) => self.replace_zygote().map(Launch::Later),
            started => self.launched(started),
        }
    }

    /// The same once a zygote has taken the place of a lost one: if this one is lost as well, that is a failure.
    pub(crate) fn launch_again(&mut self, worker: WorkerId) -> Result<Launch, LaunchError> {
        let started = self.start(worker);
        self.launched(started)
    }

    fn launched(&self, started: Result<Launched, ForkFailure>) -> Result<Launch, LaunchError> {
        let mut launched = started.map_err(ForkFailure::into_error)?;
        if let Some(grounds) = &self.grounds {
            grounds.enclose(&mut launched.process);
        }
        Ok(Launch::Done(Box::new(launched)))
    }

    fn start(&self, worker: WorkerId) -> Result<Launched, ForkFailure> {
        match self.settings.method {
            StartMethod::Spawn => self.spawn(worker).map_err(ForkFailure::Other),
            StartMethod::ForkServer | StartMethod::Fork => self.fork(worker),
        }
    }

    /// What becomes readable when a zygote that is on its way can go on; the same as long as there is one.
    pub(crate) fn to_tend(&self) -> Option<[BorrowedFd<'_>; 2]> {
        self.successor.as_ref().map(ZygoteStart::descriptors)
    }

    /// When to tend it even if nothing was heard.
    pub(crate) fn tend_by(&self) -> Option<Instant> {
        self.successor.as_ref().map(ZygoteStart::until)
    }

    /// For so long everything stood still: what is on its way has as much more time.
    pub(crate) fn postpone(&mut self, by: Duration) {
        if let Some(successor) = &mut self.successor {
            successor.postpone(by);
        }
    }

    /// Helps a zygote on its way, without waiting. True: it has come, or there is none.
    pub(crate) fn tend(&mut self) -> Result<bool, LaunchError> {
        let Some(successor) = self.successor.take() else { return Ok(true) };
        match successor.go_on()? {
            Progress::Underway(start) => {
                self.successor = Some(start);
                Ok(false)
            }
            Progress::Ready(zygote) => {
                self.zygote = Some(zygote);
                Ok(true)
            }
        }
    }

    /// Reads how a dead worker ended, after killing what is left of its process group.
    pub(crate) fn reap(&mut self, process: &WorkerProcess) -> Exit {
        if !process.finish_off() {
            return Exit::UNKNOWN;
        }
        match process.parent() {
            Parent::Us { .. } => process.read_exit(Take::Reap),
            Parent::Zygote => {
                // One that is stopped costs the time for an answer once, not with every worker.
                let zygote = self.zygote.as_ref().filter(|zygote| !zygote.is_lost());
                let told = zygote.and_then(|zygote| zygote.reap(process).ok());
                // Orphans of a dead zygote come to us if we are the first process of a container, or a subreaper.
                let exit = told
                    .filter(|exit| *exit != Exit::UNKNOWN)
                    .unwrap_or_else(|| process.read_exit(Take::Reap));
                process.mark_reaped();
                exit
            }
        }
    }

    /// The process that workers are forked from, if there is one.
    #[cfg(test)]
    pub(crate) fn zygote_pid(&self) -> Option<u32> {
        self.zygote.as_ref().map(Zygote::pid)
    }

    fn fork(&self, worker: WorkerId) -> Result<Launched, ForkFailure> {
        let zygote = match &self.zygote {
            Some(zygote) if !zygote.is_lost() => zygote,
            Some(_) | None => return Err(ForkFailure::Gone(io::ErrorKind::NotConnected.into())),
        };
        let (half, ends) =
            MasterHalf::create(worker, self.settings.output, &self.arena).map_err(ForkFailure::Other)?;
        let process = match zygote.fork_worker(ends.channels, &ends.memory.files(), ends.output.as_ref()) {
            Ok(process) => process,
            Err(ForkError::Gone(source)) => return Err(ForkFailure::Gone(source)),
            Err(ForkError::Refused(source)) => {
                return Err(ForkFailure::Other(LaunchError::System { what: "forking a worker", source }));
            }
        };
        Ok(half.with(process, None))
    }

    fn replace_zygote(&mut self) -> Result<Duration, LaunchError> {
        if self.settings.method == StartMethod::Fork {
            return Err(LaunchError::ForkedHelperGone);
        }
        self.zygote = None;
        let start = ZygoteStart::execute(&self.settings)?;
        Ok(self.successor.insert(start).time_left())
    }

    fn spawn(&self, worker: WorkerId) -> Result<Launched, LaunchError> {
        let (half, ends) = MasterHalf::create(worker, self.settings.output, &self.arena)?;
        let (booting, process) = Booting::start(&self.settings, Role::Worker)?;
        let for_boot = process.try_clone().inspect_err(|_| process.discard());
        let for_boot = for_boot.map_err(LaunchError::system("duplicating a process descriptor"))?;
        Ok(half.with(process, Some(PendingBoot { booting, process: for_boot, ends })))
    }
}

impl PendingBoot {
    /// Finishes the handshake. Call it when the descriptor is readable: then it does not wait.
    pub(crate) fn finish(self) -> Result<(), LaunchError> {
        let (orders, stream) = self.booting.connect(&self.process)?;
        check_alive(&self.process)?;
        let lost =
            |error: &dyn std::fmt::Display| LaunchError::Boot(format!("worker died while starting: {error}"));
        orders.send(Order::Fork(self.ends.channels)).map_err(|error| lost(&error))?;
        send_descriptors(&stream, &self.ends.memory.files(), self.ends.output.as_ref())
            .map_err(|error| lost(&error))
    }
}

impl PendingBoot {
    /// Why a worker that is dead could not have started, if it said so or that is plain.
    pub(crate) fn last_word(self) -> Option<LaunchError> {
        readable_within(&self.booting, Duration::ZERO).then(|| self.finish().err()).flatten()
    }
}

impl AsFd for PendingBoot {
    /// The boot socket: readable once the worker has spoken or died.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.booting.as_fd()
    }
}

/// Whether a zygote was lost, or something else is wrong.
enum ForkFailure {
    Gone(io::Error),
    Other(LaunchError),
}

impl ForkFailure {
    fn into_error(self) -> LaunchError {
        match self {
            ForkFailure::Gone(error) => LaunchError::Boot(format!("helper process died again: {error}")),
            ForkFailure::Other(error) => error,
        }
    }
}

/// What the master keeps of a worker's channels, page and pipe.
struct MasterHalf {
    page: PageMaster,
    window: WindowReader,
    sender: Outlet,
    receiver: Inbox,
    goodbye: Outlet,
    output: Option<OwnedFd>,
}

/// What the worker gets of them.
#[derive(Debug)]
struct WorkerHalf {
    channels: Ends,
    memory: WorkerMemory,
    output: Option<OwnedFd>,
}

/// What the worker is to map.
#[derive(Debug)]
struct WorkerMemory {
    page: OwnedFd,
    window: OwnedFd,
    arena: Arc<Arena>,
}

impl WorkerMemory {
    fn files(&self) -> SharedFiles<BorrowedFd<'_>> {
        SharedFiles { page: self.page.as_fd(), window: self.window.as_fd(), arena: self.arena.as_fd() }
    }
}

impl MasterHalf {
    fn create(
        worker: WorkerId,
        output: Output,
        arena: &Arc<Arena>,
    ) -> Result<(MasterHalf, WorkerHalf), LaunchError> {
        let (sender, work) = ipc::bytes_channel().map_err(LaunchError::system("making a channel"))?;
        let (results, receiver) = ipc::bytes_channel().map_err(LaunchError::system("making a channel"))?;
        let (page, page_fd) = PageMaster::create().map_err(LaunchError::system("making a shared page"))?;
        let (window, window_fd) =
            WindowReader::create().map_err(LaunchError::system("making a shared window"))?;
        let memory = WorkerMemory { page: page_fd, window: window_fd, arena: Arc::clone(arena) };
        let (read_end, write_end) = match output {
            Output::Null => (None, None),
            Output::Inherit | Output::Capture => {
                let (read_end, write_end) = output_pipe().map_err(LaunchError::system("making a pipe"))?;
                (Some(read_end), Some(write_end))
            }
        };
        let outlet = |sender| Outlet::new(sender).map_err(LaunchError::system("preparing a channel"));
        let (sender, goodbye) = (outlet(sender)?, outlet(results.clone())?);
        let half =
            MasterHalf { page, window, sender, receiver: Inbox::new(receiver), goodbye, output: read_end };
        let channels = Ends { slot: worker.slot, work, results };
        Ok((half, WorkerHalf { channels, memory, output: write_end }))
    }

    fn with(self, process: WorkerProcess, boot: Option<PendingBoot>) -> Launched {
        let MasterHalf { page, window, sender, receiver, goodbye, output } = self;
        Launched { process, page, window, sender, receiver, goodbye, output, boot }
    }
}

/// Sends something to ourselves. At a process's first send ipc-channel asks a socket how much it may send at once, and panics if
/// there is no descriptor for that: better now than in the middle of a run.
fn try_sending() -> Result<(), LaunchError> {
    // Room for what it opens and does not ask for.
    drop(
        UnixStream::pair()
            .and_then(|_| UnixStream::pair())
            .map_err(LaunchError::system("making a socket"))?,
    );
    let (sender, _receiver) = ipc::bytes_channel().map_err(LaunchError::system("making a channel"))?;
    sender
        .send(&[0])
        .map_err(|error| LaunchError::system("sending to ourselves")(io::Error::other(error.to_string())))
}

/// A pipe whose reading end does not block; the worker's writing end does.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&read_end, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read_end, write_end))
}

/// Threads of this process, itself included.
pub(super) fn count_threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count)
}

/// The driver moves these between its threads.
const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_sync<T: Sync>() {}
    is_send::<Launcher>();
    is_send::<Launched>();
    is_sync::<PageMaster>();
    is_sync::<WorkerProcess>();
    is_sync::<Outlet>();
};
