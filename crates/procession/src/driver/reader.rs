//! One thread a seat: it receives whatever the seat's worker sends until that is dead, then settles its estate. A thread
//! costs more to start than to wake, so it stays for the worker's successor.
//!
//! Bytes from a worker are checked, never trusted: what does not fit costs the worker its life and nothing else.
//! It never decodes a value.

mod assembly;

use std::sync::Arc;

use procession_core::WorkerId;

use self::assembly::Assembly;
use super::Driver;
use super::seat::{BootFailure, Origin, Seat};
use crate::error::{Error, ErrorKind};
use crate::registry;
use crate::slab::WindowReader;
use crate::wire::{Inbox, LargeResult, Received, ResultsHeader, ToMaster};

/// Messages refused from a dead worker before its channel counts as unreadable, where the farewell would never be heard.
/// More than a socket holds, so that nothing behind stray packets is missed: results not heard would count as never made.
const REFUSED_MAX: u32 = 1_000;

/// The reading end of one worker's life.
pub(crate) struct Reader {
    driver: Arc<Driver>,
    worker: WorkerId,
    inbox: Inbox,
    window: WindowReader,
    large: Option<Assembly>,
    /// What was no message, since the worker is dead.
    refused: u32,
    /// It broke the protocol and is being killed. What it sends until then counts all the same if it is what was
    /// expected: to disbelieve results of items that ended would be to start those items again.
    is_suspect: bool,
    /// Nothing more will be heard.
    has_ended: bool,
    /// The worker owed nothing when it was last heard.
    may_rest: bool,
}

enum Next {
    Continue,
    End,
}

impl Reader {
    pub(crate) fn new(driver: Arc<Driver>, worker: WorkerId, inbox: Inbox, window: WindowReader) -> Reader {
        Reader {
            driver,
            worker,
            inbox,
            window,
            large: None,
            refused: 0,
            is_suspect: false,
            has_ended: false,
            may_rest: false,
        }
    }

    /// What the reader thread does for one worker.
    pub(crate) fn run(self) {
        let driver = Arc::clone(&self.driver);
        driver.guard(|| {
            let mut reader = Box::new(self);
            while !reader.has_ended {
                reader.step();
                if reader.may_rest {
                    reader = driver.rest(reader);
                }
            }
            reader.settle_estate();
        });
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.worker
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Waits for a message and handles it.
    pub(super) fn step(&mut self) {
        let received = self.inbox.receive();
        self.hear(received);
    }

    /// As [`step`](Reader::step), if there is a message; `false`: there is none.
    pub(super) fn step_if_heard(&mut self) -> bool {
        let Some(received) = self.inbox.try_receive() else { return false };
        self.hear(received);
        true
    }

    /// Handles what was received.
    pub(super) fn hear(&mut self, received: Received) {
        self.has_ended = matches!(self.take(received), Next::End);
    }

    fn take(&mut self, received: Received) -> Next {
        let handled = match received {
            Received::Frame(bytes) => self.handle(&bytes),
            // Or it was forged before, and more lies behind it.
            Received::Disconnected if self.has_channel_ended() => return self.refuse(),
            // The farewell's sender is ours, so this is no end of the stream but a forged one: more may lie behind it.
            Received::Disconnected => Err("an empty packet".to_owned()),
            Received::Violation(violation) => Err(violation),
        };
        handled.unwrap_or_else(|violation| {
            let next = if self.is_dead() { self.refuse() } else { Next::Continue };
            if let Next::Continue = next {
                self.large = None;
                if !std::mem::replace(&mut self.is_suspect, true) {
                    let worker = self.worker;
                    self.driver
                        .with_state(|state, now, effects| state.faulty(now, worker, violation, effects));
                }
            }
            next
        })
    }

    /// Something of a dead worker's was no message.
    fn refuse(&mut self) -> Next {
        self.refused += 1;
        if self.refused < REFUSED_MAX { Next::Continue } else { Next::End }
    }

    fn handle(&mut self, bytes: &[u8]) -> Result<Next, String> {
        let message = ToMaster::parse(bytes).map_err(|error| error.to_string())?;
        if let ToMaster::Goodbye = message {
            return if self.is_dead() { Ok(Next::End) } else { Err("a farewell while it lives".to_owned()) };
        }
        if let ToMaster::Nudge = message {
            return Ok(Next::Continue);
        }
        if let Some(assembly) = &self.large
            && !matches!(message, ToMaster::Piece { .. })
        {
            return Err(format!("another message with {} bytes of a large result to come", assembly.left()));
        }
        match message {
            ToMaster::Ready { fingerprint } => self.ready(fingerprint)?,
            ToMaster::InitFailed { message } => self.boot_failed(&String::from_utf8_lossy(message))?,
            ToMaster::Results(view) => {
                self.results(&view.header, Origin::Page, view.records().bytes.into())?;
            }
            ToMaster::LargeResult(head) => self.begin_large(head)?,
            ToMaster::Piece { len } => self.piece(len as usize)?,
            ToMaster::PartTaken => self.account(Seat::part_taken)?,
            ToMaster::FrameDone { frame_no } => self.account(|seat| seat.frame_done(frame_no))?,
            ToMaster::Goodbye | ToMaster::Nudge => {}
        }
        Ok(Next::Continue)
    }

    fn is_dead(&self) -> bool {
        let mut state = self.driver.state.lock();
        state.seat(self.worker).is_none_or(|seat| seat.death.is_some())
    }

    /// Its death could not be told by a farewell.
    fn has_channel_ended(&self) -> bool {
        let mut state = self.driver.state.lock();
        let death = state.seat(self.worker).and_then(|seat| seat.death.as_ref());
        death.is_some_and(|death| death.is_channel_ended)
    }

    fn ready(&self, fingerprint: u64) -> Result<(), String> {
        let ours = registry::fingerprint();
        if fingerprint != ours {
            return Err(format!("registry fingerprint {fingerprint:016x}, ours is {ours:016x}"));
        }
        let worker = self.worker;
        self.driver.with_state(|state, now, effects| state.ready(now, worker, effects))
    }

    /// The worker says it cannot start and is about to leave: its exit will be told as a failed start.
    fn boot_failed(&self, message: &str) -> Result<(), String> {
        let error = Error::new(ErrorKind::Initializer, message);
        if let Some(seat) = self.driver.state.lock().seat(self.worker) {
            if seat.is_ready {
                return Err("it cannot start, it says after its start".to_owned());
            }
            seat.boot_failure = Some(BootFailure { error, fatal: true });
        }
        Ok(())
    }

    /// `records` is a copy: the receive buffer is a whole packet large, whatever the message.
    fn results(&mut self, header: &ResultsHeader, origin: Origin, records: Arc<[u8]>) -> Result<(), String> {
        let worker = self.worker;
        self.driver.with_state(|state, now, effects| {
            let accepted = state.results(now, worker, header, origin, &records, effects);
            self.may_rest = state.seat(worker).is_some_and(|seat| seat.may_rest());
            accepted
        })
    }

    fn begin_large(&mut self, head: LargeResult) -> Result<(), String> {
        if head.total == 0 {
            return Err("a large result of no bytes".to_owned());
        }
        // Before there is memory for it: only what is wanted is worth any.
        if let Some(seat) = self.driver.state.lock().seat(self.worker) {
            seat.check_owed(head.frame_no, head.offset)?;
        }
        self.large = Some(Assembly::begin(head, &self.driver.buffers));
        Ok(())
    }

    fn piece(&mut self, len: usize) -> Result<(), String> {
        let Some(assembly) = &mut self.large else {
            return Err("a piece of no large result".to_owned());
        };
        assembly.add(len, &mut self.window)?;
        if assembly.left() == 0
            && let Some(assembly) = self.large.take()
        {
            let (head, bytes) = assembly.finish();
            let worker = self.worker;
            self.driver.with_state(|state, now, effects| {
                let accepted = state.large_result(now, worker, &head, bytes, effects);
                self.may_rest = state.seat(worker).is_some_and(|seat| seat.may_rest());
                accepted
            })?;
        }
        Ok(())
    }

    /// A message that only returns credit: more may be sent.
    fn account(&self, note: impl FnOnce(&mut Seat) -> Result<(), String>) -> Result<(), String> {
        match self.driver.state.lock().seat(self.worker) {
            Some(seat) => note(seat)?,
            None => return Ok(()),
        }
        self.driver.pump(self.worker.slot);
        Ok(())
    }

    /// The worker is dead and everything it sent is handled: take what it left in the shared page, then say so.
    pub(super) fn settle_estate(&mut self) {
        let worker = self.worker;
        // It died in the middle of a large result, perhaps.
        self.large = None;
        let unsent = self.driver.state.lock().seat(worker).and_then(|seat| seat.unsent());
        // To read it may wait for memory: not under the lock.
        if let Some(frame) = unsent.and_then(|unsent| unsent.read())
            && let Err(damage) = self.handle(&frame)
        {
            tracing::debug!(slot = worker.slot, damage, "the results a dead worker left are not usable");
        }
        self.driver.with_state(|state, now, effects| state.exited(now, worker, effects));
    }
}

#[cfg(test)]
mod tests;
