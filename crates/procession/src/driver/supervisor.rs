//! The one thread that starts, signals and reaps processes, drains their output, and minds the clock.
//!
//! Everything that concerns a pid happens here, so a signal can never race with the reaping of its target. It
//! waits on descriptors only and wakes for nothing else: an idle pool costs no processor time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, ErrorKind as IoErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use procession_core::{Signal, Time, WorkerId};

use super::effects::Order;
use super::forward::Forwarder;
use super::reader::Reader;
use super::seat::{BootFailure, Death, Link};
use super::sender;
use super::{Driver, Phase, now};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::process::{LaunchError, Launched, Launcher, PendingBoot, WorkerExit, WorkerProcess};
use crate::wire::{self, Nudger};

/// How much of a worker's latest output is kept.
const OUTPUT_KEPT_BYTES: usize = 64 << 10;

/// How much of it an error repeats.
const TAIL_BYTES: usize = 8 << 10;

/// Read from one worker's output per turn, so that a flood delays nobody else.
const OUTPUT_TURN_BYTES: usize = 64 << 10;

/// Read at most of a dead worker's output: a grandchild may hold the pipe open and write on.
const OUTPUT_LAST_BYTES: usize = 1 << 20;

/// The exit status of a worker that finds another build of the program in the master's place.
const EXIT_MISMATCH: i32 = 78;

/// Where the supervisor is in its life.
pub(crate) enum Stage {
    /// The first workers are being started.
    Starting,
    Running,
    /// It could not begin.
    Failed(Error),
    /// Every worker is reaped and every reader has ended.
    Stopped,
}

/// Where other threads leave orders. Nobody waits here but the supervisor.
pub(crate) struct Mailbox {
    /// Protects the orders alone; a leaf.
    orders: Mutex<Vec<Order>>,
    bell: EventFd,
}

/// The thread's own state.
pub(crate) struct Supervisor {
    driver: Arc<Driver>,
    launcher: Launcher,
    epoll: Epoll,
    children: HashMap<u32, Child>,
    /// By slot. A thread outlives its worker and waits for the next one of the seat.
    readers: HashMap<u32, ReaderThread>,
    /// `None`: what workers print is not repeated.
    forwarder: Option<Forwarder>,
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
    kept: Vec<u8>,
    boot: Option<PendingBoot>,
}

/// What a descriptor's readiness means; packed into the token epoll hands back.
#[derive(Clone, Copy)]
enum Source {
    Bell,
    Death(u32),
    Output(u32),
    Boot(u32),
}

impl Mailbox {
    pub(crate) fn new() -> Result<Mailbox, Error> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_flags(flags).map_err(|errno| {
            Error::new(ErrorKind::Spawn, format!("no event descriptor to be had: {errno}"))
        })?;
        Ok(Mailbox { orders: Mutex::new(Vec::new()), bell })
    }

    /// Leaves orders (or none, to have the clock looked at) and rings.
    pub(crate) fn post(&self, mut orders: Vec<Order>) {
        self.orders.lock().append(&mut orders);
        // It can only fail when the counter is full, and then the bell is ringing anyway.
        let _ = self.bell.write(1);
    }

    pub(super) fn take(&self) -> Vec<Order> {
        let _ = self.bell.read();
        std::mem::take(&mut *self.orders.lock())
    }
}

impl Supervisor {
    /// Starts the thread; `launcher` is made on it, because the parent-death signal of processes is tied to the
    /// thread that forked them.
    pub(crate) fn start(
        driver: Arc<Driver>,
        launcher: impl FnOnce() -> Result<Launcher, LaunchError> + Send + 'static,
    ) -> Result<JoinHandle<()>, Error> {
        let body = move || {
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
            readers: HashMap::new(),
            forwarder: driver.settings.forward_output.then(Forwarder::default),
        };
        let bell = driver.mailbox.bell.as_fd();
        supervisor.watch(bell, Source::Bell).map_err(|error| {
            Error::new(ErrorKind::Spawn, format!("the supervisor's bell cannot be watched: {error}"))
        })?;
        Ok(supervisor)
    }

    fn run(mut self) {
        self.driver.with_state(|state, now, effects| state.tick(now, effects));
        self.obey_orders();
        self.driver.enter_stage(Stage::Running);
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

    /// How long to wait: until the scheduler's next deadline, rounded up to the clock of epoll.
    fn patience(&self) -> EpollTimeout {
        let tend_at = self.driver.arena.tend_at().map(Time::from_nanos);
        let armed = self.driver.state.lock().armed();
        let Some(due) = [armed, tend_at].into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        let wait = due.saturating_since(now()).as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(i32::try_from(wait).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
    }

    fn mind_the_clock(&self) {
        let time = now();
        self.driver.arena.tend(time.as_nanos());
        if self.driver.state.lock().armed().is_some_and(|due| due <= time) {
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
                    Order::Start(_) if self.driver.phase() == Phase::Finished => {}
                    Order::Start(worker) => self.start_worker(worker),
                    Order::Signal(worker, signal) => self.signal(worker, signal),
                }
            }
        }
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

    fn start_worker(&mut self, worker: WorkerId) {
        match self.launcher.launch(worker) {
            Ok(launched) => self.adopt(worker, launched),
            Err(error) => {
                let fatal = error.is_fatal();
                let error = Error::from(error);
                self.driver.with_state(|state, now, effects| {
                    state.start_failed(now, worker, error, fatal, effects);
                });
            }
        }
    }

    fn adopt(&mut self, worker: WorkerId, launched: Launched) {
        let Launched { process, page, window, sender, receiver, goodbye, output, boot } = launched;
        let slot = worker.slot;
        let pid = process.pid();
        let nudger = Nudger::new(&goodbye);
        let link = Arc::new(Link { sender, goodbye, nudger, page, pid });
        {
            let mut state = self.driver.state.lock();
            let seat = state.seat(worker).expect("a seat waits for the worker that was ordered for it");
            seat.link = Some(Arc::clone(&link));
        }
        let child = Child {
            worker,
            link,
            process,
            output: output.map(|fd: OwnedFd| File::from(fd)),
            kept: Vec::new(),
            boot,
        };
        self.driver.observe(Event::WorkerStarted { slot, pid });
        let reader = Reader::new(Arc::clone(&self.driver), worker, receiver, window);
        let attended = self.watch_child(&child).and_then(|()| self.start_reader(reader, slot));
        if let Err(refused) = attended {
            return self.disown(&child, refused);
        }
        self.children.insert(slot, child);
        // The pool may have been closed meanwhile: then it has been told to leave, and the word waits for its link.
        self.driver.pump(slot);
    }

    fn watch_child(&self, child: &Child) -> io::Result<()> {
        let slot = child.worker.slot;
        self.watch(child.process.as_fd(), Source::Death(slot))?;
        if let Some(output) = &child.output {
            self.watch(output.as_fd(), Source::Output(slot))?;
        }
        if let Some(boot) = &child.boot {
            self.watch(boot.as_fd(), Source::Boot(slot))?;
        }
        Ok(())
    }

    fn unwatch_child(&self, child: &Child) {
        self.unwatch(child.process.as_fd());
        if let Some(output) = &child.output {
            self.unwatch(output.as_fd());
        }
        if let Some(boot) = &child.boot {
            self.unwatch(boot.as_fd());
        }
    }

    fn start_reader(&mut self, reader: Reader, slot: u32) -> io::Result<()> {
        let listening = match self.readers.entry(slot) {
            Entry::Occupied(listening) => listening.into_mut(),
            Entry::Vacant(seat) => {
                let (workers, assigned) = mpsc::channel::<Reader>();
                let thread = thread::Builder::new()
                    .name(format!("procession-reader-{slot}"))
                    .spawn(move || assigned.into_iter().for_each(Reader::run))?;
                seat.insert(ReaderThread { thread, workers })
            }
        };
        listening.workers.send(reader).map_err(|_| io::Error::other("the seat's reader thread has ended"))
    }

    /// The system has no thread or no watch to spare for a worker that it had a process for: the worker goes, and
    /// this start failed.
    fn disown(&mut self, child: &Child, refused: io::Error) {
        self.unwatch_child(child);
        let exit = self.launcher.reap(&child.process).status;
        let Child { worker, ref link, .. } = *child;
        self.driver.observe(Event::WorkerExited { slot: worker.slot, pid: link.pid, exit, running: false });
        let error = Error::from(LaunchError::System { what: "attending to a worker", source: refused });
        self.driver.with_state(|state, now, effects| {
            if let Some(seat) = state.seat(worker) {
                seat.link = None;
            }
            state.start_failed(now, worker, error, false, effects);
        });
    }

    fn finish_boot(&mut self, slot: u32) {
        let Some(child) = self.children.get_mut(&slot) else {
            return;
        };
        let Some(boot) = child.boot.take() else { return };
        let worker = child.worker;
        self.unwatch(boot.as_fd());
        if let Err(error) = boot.finish() {
            let fatal = error.is_fatal();
            if let Some(seat) = self.driver.state.lock().seat(worker) {
                seat.boot_failure = Some(BootFailure { error: Error::from(error), fatal });
            }
            self.signal(worker, Signal::Kill);
        }
    }

    fn signal(&self, worker: WorkerId, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
            Signal::Kill => nix::sys::signal::Signal::SIGKILL,
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
        let exit = self.launcher.reap(&child.process);
        let forward = self.forwarder.as_mut();
        child.drain_output(OUTPUT_LAST_BYTES, forward);
        let death = Death { exit: exit.status, peak_rss: exit.max_rss, output_tail: child.tail(), at: now() };
        let listener = {
            let mut state = self.driver.state.lock();
            state.seat(child.worker).and_then(|seat| {
                seat.death = Some(death);
                if exit.status == WorkerExit::Code(EXIT_MISMATCH) && seat.boot_failure.is_none() {
                    let reason = "the worker program is another build than the master";
                    let error = Error::new(ErrorKind::Spawn, reason);
                    seat.boot_failure = Some(BootFailure { error, fatal: true });
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
        if let Err(error) = sender::send(&child.link.goodbye, &farewell) {
            tracing::error!(slot, %error, "could not say farewell for a dead worker");
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
                        forwarder.write(text);
                    }
                    self.kept.extend_from_slice(text);
                    if self.kept.len() > 2 * OUTPUT_KEPT_BYTES {
                        self.kept.drain(..self.kept.len() - OUTPUT_KEPT_BYTES);
                    }
                }
                Err(error) if error.kind() == IoErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn tail(&self) -> Option<String> {
        let start = self.kept.len().saturating_sub(TAIL_BYTES);
        (!self.kept.is_empty()).then(|| String::from_utf8_lossy(&self.kept[start..]).into_owned())
    }
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Source::Bell => 0,
            Source::Death(slot) => u64::from(slot) << 2 | 1,
            Source::Output(slot) => u64::from(slot) << 2 | 2,
            Source::Boot(slot) => u64::from(slot) << 2 | 3,
        }
    }

    fn from_token(token: u64) -> Source {
        let slot = (token >> 2) as u32;
        match token & 3 {
            0 => Source::Bell,
            1 => Source::Death(slot),
            2 => Source::Output(slot),
            _ => Source::Boot(slot),
        }
    }
}
