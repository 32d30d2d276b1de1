//! The one thread that starts, signals and reaps processes, drains their output, and minds the clock.
//!
//! Everything that concerns a pid happens here, so a signal can never race with the reaping of its target. It
//! waits on descriptors only and wakes for nothing else: an idle pool costs no processor time.

mod starts;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind as IoErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use procession_core::{Signal, WorkerId};

use super::effects::Order;
use super::forward::Forwarder;
use super::reader::Reader;
use super::scales::Scales;
use super::seat::{BootFailure, Death, Link};
use super::words::Words;
use super::{Driver, Phase};
use crate::crash_report::CrashReport;
use crate::error::{Error, ErrorKind};
use crate::page::monotonic_ns;
use crate::process::{self, LaunchError, Launcher, PendingBoot, WorkerProcess};
use crate::wire;

/// Read from one worker's output per turn, so that a flood delays nobody else.
const OUTPUT_TURN_BYTES: usize = 64 << 10;

/// Read at most of a dead worker's output: a grandchild may hold the pipe open and write on.
const OUTPUT_LAST_BYTES: usize = 1 << 20;

/// Where the supervisor is in its life.
pub(crate) enum Stage {
    /// The first workers are being started.
    Starting,
    /// At work. It has taken account of so many pauses.
    Running { pauses: u64 },
    /// It could not begin.
    Failed(Error),
    /// Every worker is reaped and every reader has ended.
    Stopped,
}

/// The thread's own state.
pub(crate) struct Supervisor {
    driver: Arc<Driver>,
    launcher: Launcher,
    epoll: Epoll,
    children: HashMap<u32, Child>,
    /// Workers that are to be forked from a helper process which is itself still on its way, with their places.
    waiting: Vec<(WorkerId, u32)>,
    /// By slot. A thread outlives its worker and waits for the next one of the seat.
    readers: HashMap<u32, ReaderThread>,
    /// `None`: what workers print is not passed on.
    forwarder: Option<Forwarder>,
    /// The pool is paused: every worker is stopped.
    halted: bool,
    /// How much time did not count when it last looked at the pool's clock.
    skipped_ns: u64,
    scales: Scales,
}

struct ReaderThread {
    thread: JoinHandle<()>,
    workers: mpsc::Sender<Reader>,
}

struct Child {
    worker: WorkerId,
    link: Arc<Link>,
    process: WorkerProcess,
    output: Option<File>,
    words: Words,
    boot: Option<PendingBoot>,
}

/// What a descriptor's readiness means; packed into the token epoll hands back.
#[derive(Clone, Copy)]
enum Source {
    Bell,
    /// The helper process that is on its way.
    Helper,
    Death(u32),
    Output(u32),
    Boot(u32),
}

impl Supervisor {
    /// Starts the thread; `launcher` is made on it, because the parent-death signal of processes is tied to the
    /// thread that forked them.
    pub(crate) fn start(
        driver: Arc<Driver>,
        launcher: impl FnOnce() -> Result<Launcher, LaunchError> + Send + 'static,
    ) -> Result<JoinHandle<()>, Error> {
        let body = move || {
            process::block_broken_pipe();
            driver.guard(|| match Supervisor::new(&driver, launcher) {
                Ok(supervisor) => supervisor.run(),
                Err(error) => driver.enter_stage(Stage::Failed(error)),
            });
            if !matches!(*driver.stage.lock(), Stage::Failed(_)) {
                driver.enter_stage(Stage::Stopped);
            }
        };
        thread::Builder::new()
            .name("procession-supervisor".to_owned())
            .spawn(body)
            .map_err(|error| Error::new(ErrorKind::Spawn, format!("no thread for the supervisor: {error}")))
    }

    fn new(
        driver: &Arc<Driver>,
        launcher: impl FnOnce() -> Result<Launcher, LaunchError>,
    ) -> Result<Supervisor, Error> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| {
            Error::new(ErrorKind::Spawn, format!("no epoll descriptor to be had: {errno}"))
        })?;
        let supervisor = Supervisor {
            driver: Arc::clone(driver),
            launcher: launcher()?,
            epoll,
            children: HashMap::new(),
            waiting: Vec::new(),
            readers: HashMap::new(),
            forwarder: Forwarder::new(&driver.settings.output),
            halted: false,
            skipped_ns: 0,
            scales: Scales::new(),
        };
        let bell = driver.mailbox.bell();
        supervisor.watch(bell, Source::Bell).map_err(|error| {
            Error::new(ErrorKind::Spawn, format!("the supervisor's bell cannot be watched: {error}"))
        })?;
        Ok(supervisor)
    }

    fn run(mut self) {
        self.driver.with_state(|state, now, effects| state.tick(now, effects));
        self.obey_orders();
        self.driver.enter_stage(Stage::Running { pauses: 0 });
        let mut events = [EpollEvent::empty(); 64];
        while !self.is_done() {
            let count = match self.epoll.wait(&mut events, self.patience()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => panic!("epoll_wait failed: {errno}"),
            };
            for event in &events[..count] {
                self.attend(Source::from_token(event.data()));
            }
            self.mind_the_clock();
            self.obey_orders();
            self.end_survivors();
        }
        if let Some(forwarder) = self.forwarder {
            forwarder.finish();
        }
        for ReaderThread { thread, workers } in self.readers.into_values() {
            drop(workers);
            // A reader that panicked has said so and ended every job.
            let _ = thread.join();
        }
    }

    fn is_done(&self) -> bool {
        self.driver.phase() == Phase::Finished && self.children.is_empty()
    }

    /// How long to wait: until the next look at the pool's clock or the arena, rounded up to the clock of epoll.
    fn patience(&self) -> EpollTimeout {
        let tend = self.driver.arena.tend_at().map(|at| at.saturating_sub(monotonic_ns()));
        let look = self.driver.state.lock().sleep();
        let look = look.map(|(now, due)| due.as_nanos().saturating_sub(now.as_nanos()));
        let helper = self.launcher.tend_by().map(|by| by.saturating_duration_since(Instant::now()));
        let helper = helper.map(|left| left.as_nanos() as u64);
        let Some(wait) = [look, tend, helper].into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        let wait = wait.div_ceil(1_000_000);
        EpollTimeout::try_from(i32::try_from(wait).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
    }

    fn mind_the_clock(&mut self) {
        let (is_due, now, skipped_ns) = self.driver.state.lock().wake();
        self.launcher.postpone(Duration::from_nanos(skipped_ns.saturating_sub(self.skipped_ns)));
        self.skipped_ns = skipped_ns;
        if self.launcher.tend_by().is_some_and(|by| by <= Instant::now()) {
            self.tend_helper();
        }
        self.driver.arena.tend(monotonic_ns());
        self.scales.weigh(&self.driver);
        if is_due {
            self.driver.look_for_late_results(now);
            self.driver.with_state(|state, now, effects| state.tick(now, effects));
        }
    }

    fn obey_orders(&mut self) {
        loop {
            let orders = self.driver.mailbox.take();
            if orders.is_empty() {
                return;
            }
            for order in orders {
                match order {
                    // Ordered before the driver failed.
                    Order::Start { .. } if self.driver.phase() == Phase::Finished => {}
                    Order::Start { worker, place } => self.start_worker(worker, place),
                    Order::Signal(worker, signal) => {
                        self.signal(worker, signal);
                        self.forgo(worker);
                    }
                    Order::Forgo(worker) => self.forgo(worker),
                    Order::Halt => self.halt_or_go_on(),
                }
            }
        }
    }

    /// Stops every worker or lets them go on, as the state says: of two orders the later may come first.
    fn halt_or_go_on(&mut self) {
        let (halted, pauses) = self.driver.state.lock().is_paused();
        if halted != std::mem::replace(&mut self.halted, halted) {
            let signal = if halted { SIGSTOP } else { SIGCONT };
            for child in self.children.values() {
                child.process.signal(signal);
            }
        }
        self.driver.enter_stage(Stage::Running { pauses });
    }

    /// Normally the last worker is gone when the pool is finished. If the driver failed there is nobody left to
    /// tell the others to go.
    fn end_survivors(&self) {
        if self.driver.phase() == Phase::Finished {
            for child in self.children.values() {
                self.signal(child.worker, Signal::Kill);
            }
        }
    }

    fn attend(&mut self, source: Source) {
        match source {
            // The orders are taken once a turn.
            Source::Bell => {}
            Source::Helper => self.tend_helper(),
            Source::Death(slot) => self.bury(slot),
            Source::Output(slot) => {
                let forward = self.forwarder.as_mut();
                if let Some(child) = self.children.get_mut(&slot)
                    && !child.drain_output(OUTPUT_TURN_BYTES, forward)
                    && let Some(output) = child.output.take()
                {
                    self.unwatch(output.as_fd());
                }
            }
            Source::Boot(slot) => self.finish_boot(slot),
        }
    }

    // Processes.

    fn signal(&self, worker: WorkerId, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => SIGTERM,
            Signal::Kill => SIGKILL,
        };
        if let Some(child) = self.children.get(&worker.slot)
            && child.worker == worker
        {
            child.process.signal(signal);
        }
    }

    /// The process is dead: read its status and its last words, then let its reader know.
    fn bury(&mut self, slot: u32) {
        let Some(mut child) = self.children.remove(&slot) else {
            return;
        };
        if let Some(boot) = &child.boot {
            self.unwatch(boot.as_fd());
        }
        // Before it is reaped, as it may be the status that tells.
        let refusal = child.boot.take().and_then(PendingBoot::last_word);
        let exit = self.launcher.reap(&child.process);
        child.drain_output(OUTPUT_LAST_BYTES, self.forwarder.as_mut());
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.end(child.link.pid);
        }
        // A backtrace after its last words may be longer than what is told.
        let (worker, words) = (child.worker, child.words.latest());
        let shortage = self.scales.shortage(&self.driver, worker, &child.process, &exit, words);
        let crash = child.link.page.last_words().map(|words| Arc::new(CrashReport::new(words)));
        let at = self.driver.state.lock().now();
        let death =
            Death { exit, output_tail: child.words.told(), crash, shortage, at, is_channel_ended: false };
        let listener = {
            let mut state = self.driver.state.lock();
            state.seat(child.worker).and_then(|seat| {
                seat.death = Some(death);
                if let Some(error) = refusal.filter(LaunchError::is_fatal) {
                    seat.boot_failure = Some(BootFailure { error: Error::from(error), fatal: true });
                }
                seat.ear.summon()
            })
        };
        // Before the farewell: the channel may be full, if nobody listened to what the worker sent of its own accord.
        if let Some(thread) = listener {
            thread.unpark();
        }
        // The reader takes whatever is before it off the channel, so this cannot block for long.
        let mut farewell = Vec::new();
        wire::goodbye(&mut farewell);
        if let Err(error) = child.link.goodbye.send(&farewell) {
            tracing::error!(slot, %error, "could not say farewell for a dead worker");
            if let Some(seat) = self.driver.state.lock().seat(child.worker)
                && let Some(death) = &mut seat.death
            {
                death.is_channel_ended = true;
            }
            child.link.goodbye.end();
        }
        // Last, since nobody waits for it, and before the descriptors are closed.
        self.unwatch_child(&child);
    }

    // Descriptors.

    fn watch(&self, fd: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, source.token());
        Ok(self.epoll.add(fd, event)?)
    }

    fn unwatch(&self, fd: BorrowedFd<'_>) {
        // It fails when the descriptor was never watched, and then nothing is left to do.
        let _ = self.epoll.delete(fd);
    }
}

impl Child {
    /// Reads what the worker wrote, up to a limit; `false` at the end of the stream.
    fn drain_output(&mut self, limit: usize, mut forward: Option<&mut Forwarder>) -> bool {
        let Some(output) = &mut self.output else {
            return true;
        };
        let mut buffer = [0; 8 << 10];
        let mut taken = 0;
        while taken < limit {
            match output.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    taken += count;
                    let text = &buffer[..count];
                    if let Some(forwarder) = &mut forward {
                        forwarder.write(self.link.pid, text);
                    }
                    self.words.take(text, self.link.page.started_ns());
                }
                Err(error) if error.kind() == IoErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Source::Bell => 0,
            Source::Helper => 4,
            Source::Death(slot) => u64::from(slot) << 2 | 1,
            Source::Output(slot) => u64::from(slot) << 2 | 2,
            Source::Boot(slot) => u64::from(slot) << 2 | 3,
        }
    }

    fn from_token(token: u64) -> Source {
        let slot = (token >> 2) as u32;
        match token & 3 {
            0 if slot == 0 => Source::Bell,
            0 => Source::Helper,
            1 => Source::Death(slot),
            2 => Source::Output(slot),
            _ => Source::Boot(slot),
        }
    }
}
