//! The master's hold on the helper process that workers are forked from.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_channel::ipc::{self, IpcSender};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use super::boot::{Ends, Order, REPLY_LIMIT, Reply, SharedFiles, receive_reply, send_descriptors};
use super::error::LaunchError;
use super::exit::{Exit, WorkerExit, flush_all_output};
use super::pidfd::{Take, readable_within};
use super::serve;
use super::settings::{LaunchSettings, SeatSettings};
use super::worker_process::{Parent, WorkerProcess};
use super::zygote_start::ZygoteStart;

/// Late answers that are skipped before the zygote counts as confused.
const LATE_REPLIES_MAX: u32 = 64;

/// How long a zygote may take to leave after its last order.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// How often, and how long apart, something is sent to a living zygote that the system refused to pass on.
const SEND_TRIES: u32 = 20;
const SEND_PAUSE: Duration = Duration::from_millis(5);

/// How often, and how long apart, a killed worker without a descriptor is looked at. The kernel needs milliseconds.
const GIVE_UP_LOOKS: u32 = 100;
const GIVE_UP_PAUSE: Duration = Duration::from_millis(5);

/// A running helper. Dropping it ends it and, with it, every worker that is left.
#[derive(Debug)]
pub(super) struct Zygote {
    process: WorkerProcess,
    stream: UnixStream,
    /// `None` only while dropping.
    orders: Option<IpcSender<Order>>,
    /// It runs its preload task until then, and reads no orders.
    is_prepared: bool,
    /// It let the time for an answer go by: what it is asked next would only wait as long again.
    is_silent: Cell<bool>,
}

/// Why no worker was forked.
#[derive(Debug)]
pub(super) enum ForkError {
    /// The zygote is dead or silent.
    Gone(io::Error),
    /// The system refused to fork.
    Refused(io::Error),
}

impl Zygote {
    /// Executes the program as a zygote, and waits until it is prepared.
    pub(super) fn execute(settings: &LaunchSettings) -> Result<Zygote, LaunchError> {
        ZygoteStart::execute(settings)?.wait()
    }

    /// Forks this process as a zygote. It must have a single thread.
    pub(super) fn fork(settings: &LaunchSettings) -> Result<Zygote, LaunchError> {
        let (stream, theirs) = UnixStream::pair().map_err(LaunchError::system("making a socket pair"))?;
        let (orders, order_receiver) = ipc::channel().map_err(LaunchError::system("making a channel"))?;
        stream
            .set_read_timeout(Some(REPLY_LIMIT))
            .map_err(LaunchError::system("limiting a socket's wait"))?;
        let parent = std::process::id() as i32;
        let rss_before = 0;
        flush_all_output();
        // SAFETY: this process has one thread (checked by the caller), so the child may do anything.
        match unsafe { nix::unistd::fork() } {
            Err(errno) => Err(LaunchError::System { what: "forking", source: errno.into() }),
            Ok(ForkResult::Child) => {
                drop((stream, orders));
                serve::enter_forked(
                    theirs,
                    order_receiver,
                    parent,
                    SeatSettings::from(settings),
                    &settings.env,
                )
            }
            Ok(ForkResult::Parent { child }) => {
                // Or nobody would see the child's end of the socket closed.
                drop((theirs, order_receiver));
                // Both sides do this, so that it is done whichever comes first.
                let _ = nix::unistd::setpgid(child, child);
                let opened = WorkerProcess::open(child, Parent::Us { rss_before }).inspect_err(|_| {
                    // Nobody else would ever reap it.
                    let _ = signal::kill(child, Signal::SIGKILL).and_then(|()| waitpid(child, None));
                });
                let process =
                    opened.map_err(LaunchError::system("opening a process that was just forked"))?;
                ZygoteStart::forked(Zygote::new(process, stream, orders), settings).wait()
            }
        }
    }

    pub(super) fn new(process: WorkerProcess, stream: UnixStream, orders: IpcSender<Order>) -> Zygote {
        Zygote { process, stream, orders: Some(orders), is_prepared: false, is_silent: Cell::new(false) }
    }

    pub(super) fn mark_prepared(&mut self) {
        self.is_prepared = true;
    }

    /// Forks a worker that takes over these ends.
    pub(super) fn fork_worker(
        &self,
        ends: Ends,
        files: &SharedFiles<BorrowedFd<'_>>,
        output: Option<&OwnedFd>,
    ) -> Result<WorkerProcess, ForkError> {
        // What could not be sent has not arrived: it knows nothing of it.
        self.order(Order::Fork(ends)).map_err(|error| match self.is_lost() {
            true => ForkError::Gone(error),
            false => ForkError::Refused(error),
        })?;
        // From here on it waits for the rest.
        self.patiently(|| send_descriptors(&self.stream, files, output)).map_err(ForkError::Gone)?;
        match self.next_reply(|reply| !matches!(reply, Reply::Reaped { .. } | Reply::NotReaped { .. })) {
            // The zygote reaps only on order, so the pid is still the worker's, dead or alive.
            Ok(Reply::Forked { pid }) => {
                let pid = Pid::from_raw(pid);
                WorkerProcess::open(pid, Parent::Zygote).map_err(|refused| {
                    self.give_up(pid);
                    ForkError::Refused(refused)
                })
            }
            Ok(Reply::ForkFailed { errno }) => Err(ForkError::Refused(io::Error::from_raw_os_error(errno))),
            Ok(other) => Err(ForkError::Gone(io::Error::other(format!("unexpected reply {other:?}")))),
            Err(error) => Err(ForkError::Gone(error)),
        }
    }

    /// Reads how a dead worker ended.
    pub(super) fn reap(&self, worker: &WorkerProcess) -> io::Result<Exit> {
        self.reap_pid(worker.raw_pid())
    }

    /// Ends a worker for which the system has no descriptor left. The others have nothing to do with it.
    fn give_up(&self, worker: Pid) {
        let _ = signal::kill(worker, Signal::SIGKILL);
        for _ in 0..GIVE_UP_LOOKS {
            match self.reap_pid(worker) {
                // Not dead yet.
                Ok(Exit::UNKNOWN) => std::thread::sleep(GIVE_UP_PAUSE),
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn reap_pid(&self, worker: Pid) -> io::Result<Exit> {
        let asked = worker.as_raw();
        self.patiently(|| self.order(Order::Reap { pid: asked }))?;
        let is_answer = |reply: &Reply| match reply {
            Reply::Reaped { pid, .. } | Reply::NotReaped { pid } => *pid == asked,
            _ => true,
        };
        match self.next_reply(is_answer)? {
            Reply::Reaped { status, max_rss, cpu_ns, .. } => Ok(Exit {
                status: decode_status(status),
                max_rss: Some(max_rss),
                cpu: Some(Duration::from_nanos(cpu_ns)),
            }),
            Reply::NotReaped { .. } => Ok(Exit::UNKNOWN),
            other => Err(io::Error::other(format!("unexpected reply {other:?}"))),
        }
    }

    /// The next reply but for late answers to a question whose time limit was over.
    fn next_reply(&self, is_answer: impl Fn(&Reply) -> bool) -> io::Result<Reply> {
        for _ in 0..LATE_REPLIES_MAX {
            let reply = receive_reply(&self.stream).inspect_err(|_| self.is_silent.set(true))?;
            if is_answer(&reply) {
                return Ok(reply);
            }
        }
        Err(io::Error::other("only late replies"))
    }

    /// Tries again to send to it, as long as it lives: the system may have been short of something.
    fn patiently(&self, mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        for _ in 1..SEND_TRIES {
            match send() {
                Err(_) if !self.is_lost() => std::thread::sleep(SEND_PAUSE),
                sent => return sent,
            }
        }
        send()
    }

    /// Whether it is dead, or as good as that.
    pub(super) fn is_lost(&self) -> bool {
        self.is_silent.get() || readable_within(&self.process, Duration::ZERO)
    }

    /// The boot socket, on which it answers.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(super) fn process(&self) -> &WorkerProcess {
        &self.process
    }

    /// Its process id.
    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let orders = self.orders.as_ref().expect("orders are given until the zygote is dropped");
        orders.send(order).map_err(|error| io::Error::other(error.to_string()))
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        drop(self.orders.take());
        let listens = self.is_prepared && !self.is_silent.get();
        if !listens || !readable_within(self.process.as_fd(), LEAVE_LIMIT) {
            self.process.signal(Signal::SIGKILL);
        }
        self.process.finish_off();
        self.process.read_exit(Take::Reap);
    }
}

/// Takes a status of `wait` apart.
fn decode_status(status: i32) -> WorkerExit {
    if libc::WIFEXITED(status) {
        WorkerExit::Code(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        WorkerExit::Signal(libc::WTERMSIG(status))
    } else {
        WorkerExit::Unknown
    }
}
