//! Workers on their way: started, adopted, or waiting for the helper process that they are to be forked from.

use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, ErrorKind as IoErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal::SIGSTOP;
use procession_core::{Signal, WorkerId};

use super::{Child, ReaderThread, Source, Supervisor};
use crate::driver::reader::Reader;
use crate::driver::seat::{BootFailure, Link};
use crate::driver::words::Words;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::process::{Launch, LaunchError, Launched};

/// How much longer a worker may wait than what it waits for may take, which says itself when it has taken too long.
const SPARE: Duration = Duration::from_secs(5);

/// In the process, and for its cores, it is the place that counts: a program may number something after it.
fn name(worker: WorkerId, place: u32) -> WorkerId {
    WorkerId { slot: place, ..worker }
}

impl Supervisor {
    pub(super) fn start_worker(&mut self, worker: WorkerId, place: u32) {
        let launch = self.launcher.launch(name(worker, place));
        self.take(worker, place, launch);
    }

    /// Goes on with what came of the wish for a worker.
    fn take(&mut self, worker: WorkerId, place: u32, launch: Result<Launch, LaunchError>) {
        match launch {
            Ok(Launch::Done(launched)) => self.adopt(worker, place, *launched),
            Ok(Launch::Later(limit)) => self.await_helper(worker, place, limit),
            Err(error) => self.fail(worker, error.is_fatal(), Error::from(error)),
        }
    }

    fn fail(&self, worker: WorkerId, fatal: bool, error: Error) {
        self.driver.with_state(|state, now, effects| state.start_failed(now, worker, error, fatal, effects));
    }

    // The helper process that workers are forked from, when it was lost.

    /// Nothing stands still meanwhile: it may run its preload task for minutes.
    fn await_helper(&mut self, worker: WorkerId, place: u32, limit: Duration) {
        if self.waiting.is_empty()
            && let Err(refused) = self.watch_helper()
        {
            let error = LaunchError::System { what: "attending to a helper process", source: refused };
            return self.fail(worker, false, Error::from(error));
        }
        self.waiting.push((worker, place));
        let limit = Some(limit + SPARE);
        self.driver.with_state(|state, now, effects| state.start_waits(now, worker, limit, effects));
    }

    fn watch_helper(&self) -> io::Result<()> {
        for fd in self.launcher.to_tend().into_iter().flatten() {
            match self.watch(fd, Source::Helper) {
                // It is on its way for workers that are not wanted any more.
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
                watched => watched?,
            }
        }
        Ok(())
    }

    pub(super) fn tend_helper(&mut self) {
        let watched = self.launcher.to_tend().into_iter().flatten();
        watched.for_each(|fd| self.unwatch(fd));
        match self.launcher.tend() {
            Ok(true) => {
                for (worker, place) in std::mem::take(&mut self.waiting) {
                    self.driver
                        .with_state(|state, now, effects| state.start_waits(now, worker, None, effects));
                    let launch = self.launcher.launch_again(name(worker, place));
                    self.take(worker, place, launch);
                }
            }
            Ok(false) => {
                if let Err(refused) = self.watch_helper() {
                    let error =
                        LaunchError::System { what: "attending to a helper process", source: refused };
                    self.give_up_waiting(error);
                }
            }
            Err(error) => self.give_up_waiting(error),
        }
    }

    fn give_up_waiting(&mut self, error: LaunchError) {
        let (fatal, error) = (error.is_fatal(), Error::from(error));
        for (worker, _) in std::mem::take(&mut self.waiting) {
            self.fail(worker, fatal, error.duplicate());
        }
    }

    /// A worker that waits for the helper process is not wanted any more.
    pub(super) fn forgo(&mut self, worker: WorkerId) {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != worker);
        if self.waiting.len() < before {
            let error = Error::new(ErrorKind::Spawn, "its helper process was not ready in time");
            self.fail(worker, false, error);
        }
    }

    // Workers.

    fn adopt(&mut self, worker: WorkerId, place: u32, launched: Launched) {
        let Launched { process, page, window, sender, receiver, goodbye, output, boot } = launched;
        let slot = worker.slot;
        let pid = process.pid();
        let link = Arc::new(Link { sender, goodbye, page, pid });
        let is_expected = self.driver.state.lock().connect(worker, Arc::clone(&link));
        assert!(is_expected, "a seat waits for the worker that was ordered for it");
        if self.halted {
            process.signal(SIGSTOP);
        }
        let child = Child {
            worker,
            link,
            process,
            output: output.map(|fd: OwnedFd| File::from(fd)),
            words: Words::default(),
            boot,
        };
        self.driver.observe(Event::WorkerStarted { slot: place, pid });
        let reader = Reader::new(Arc::clone(&self.driver), worker, receiver, window);
        let attended = self.watch_child(&child).and_then(|()| self.start_reader(reader, slot));
        if let Err(refused) = attended {
            return self.disown(&child, place, refused);
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

    pub(super) fn unwatch_child(&self, child: &Child) {
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
    fn disown(&mut self, child: &Child, place: u32, refused: io::Error) {
        self.unwatch_child(child);
        let exit = self.launcher.reap(&child.process).status;
        let Child { worker, ref link, .. } = *child;
        self.driver.observe(Event::WorkerExited { slot: place, pid: link.pid, exit, running: false });
        let error = Error::from(LaunchError::System { what: "attending to a worker", source: refused });
        self.driver.with_state(|state, now, effects| {
            if let Some(seat) = state.seat(worker) {
                seat.link = None;
            }
            state.start_failed(now, worker, error, false, effects);
        });
    }

    pub(super) fn finish_boot(&mut self, slot: u32) {
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
}
