//! One thread a worker: it receives whatever the worker sends until the worker is dead, then settles its estate.
//!
//! Bytes from a worker are checked, never trusted: what does not fit costs the worker its life and nothing else.
//! It never decodes a value.

use std::sync::Arc;

use ipc_channel::ipc::IpcBytesReceiver;
use procession_core::WorkerId;

use super::Driver;
use super::seat::BootFailure;
use crate::error::{Error, ErrorKind};
use crate::registry;
use crate::wire::{self, Received, Reply, ResultsHeader};

/// The reading end of one worker's life.
pub(crate) struct Reader {
    driver: Arc<Driver>,
    worker: WorkerId,
    receiver: IpcBytesReceiver,
    large: Option<Assembly>,
    /// After a violation nothing more is believed; only the farewell counts.
    deaf: bool,
}

/// A result too large for one frame, as its parts arrive.
struct Assembly {
    header: ResultsHeader,
    total: usize,
    record: Vec<u8>,
}

enum Next {
    Continue,
    End,
}

impl Reader {
    pub(crate) fn new(driver: Arc<Driver>, worker: WorkerId, receiver: IpcBytesReceiver) -> Reader {
        Reader { driver, worker, receiver, large: None, deaf: false }
    }

    pub(crate) fn run(mut self) {
        let driver = Arc::clone(&self.driver);
        driver.guard("reader", || {
            while let Next::Continue = self.step() {}
            self.settle_estate();
        });
    }

    fn step(&mut self) -> Next {
        let handled = match wire::receive(&self.receiver) {
            Received::Frame(bytes) => self.handle(&bytes),
            // The farewell's sender is ours, so the stream ends only when the seat was cleared under us.
            Received::Disconnected => return Next::End,
            Received::Violation(violation) => Err(violation),
        };
        handled.unwrap_or_else(|violation| {
            if !self.deaf {
                self.deaf = true;
                let worker = self.worker;
                self.driver.with_state(|state, now, effects| state.faulty(now, worker, violation, effects));
            }
            Next::Continue
        })
    }

    fn handle(&mut self, bytes: &[u8]) -> Result<Next, String> {
        let reply = wire::parse_reply(bytes)?;
        if let Reply::Goodbye = reply {
            return if self.is_dead() { Ok(Next::End) } else { Err("a farewell while it lives".to_owned()) };
        }
        if self.deaf {
            return Ok(Next::Continue);
        }
        if let Some(assembly) = &mut self.large
            && !matches!(reply, Reply::Part(_) | Reply::PartTaken)
        {
            return Err(format!("another message after {} bytes of a large result", assembly.record.len()));
        }
        match reply {
            Reply::Ready { fingerprint } => self.ready(fingerprint)?,
            Reply::InitFailed { message } => self.boot_failed(message),
            Reply::Results { header, records } => self.results(&header, &bytes[records..])?,
            Reply::LargeResult { header, status, total } => self.begin_large(header, status, total)?,
            Reply::Part(part) => self.part(part)?,
            Reply::PartTaken => self.part_taken()?,
            Reply::Goodbye => {}
        }
        Ok(Next::Continue)
    }

    fn is_dead(&self) -> bool {
        let mut state = self.driver.state.lock();
        state.seat(self.worker).is_none_or(|seat| seat.death.is_some())
    }

    fn ready(&self, fingerprint: u64) -> Result<(), String> {
        let ours = registry::fingerprint();
        if fingerprint != ours {
            return Err(format!("registry fingerprint {fingerprint:016x}, ours is {ours:016x}"));
        }
        let worker = self.worker;
        self.driver.with_state(|state, now, effects| state.ready(now, worker, effects));
        Ok(())
    }

    /// The worker says it cannot start and is about to leave: its exit will be told as a failed start.
    fn boot_failed(&self, message: &str) {
        let error = Error::new(ErrorKind::Initializer, message);
        if let Some(seat) = self.driver.state.lock().seat(self.worker) {
            seat.boot_failure = Some(BootFailure { error, fatal: true });
        }
    }

    fn results(&self, header: &ResultsHeader, records: &[u8]) -> Result<(), String> {
        wire::check_records(records, header.items)?;
        // Copied at once: the receive buffer is a whole packet large, whatever the message.
        let buffer: Arc<[u8]> = records.into();
        let worker = self.worker;
        self.driver.with_state(|state, now, effects| state.results(now, worker, header, &buffer, 0, effects))
    }

    fn begin_large(&mut self, header: ResultsHeader, status: u8, total: u64) -> Result<(), String> {
        let total = usize::try_from(total).ok().filter(|&total| total <= wire::LARGE_MAX);
        let total = total.ok_or("a result larger than any result may be")?;
        if total == 0 {
            return Err("a large result of no bytes".to_owned());
        }
        // Grown as the parts come, never by the length that was claimed.
        let mut record = Vec::new();
        wire::begin_record(&mut record, status, total as u32);
        let total = total + record.len();
        self.large = Some(Assembly { header, total, record });
        Ok(())
    }

    fn part(&mut self, part: &[u8]) -> Result<(), String> {
        let Some(assembly) = &mut self.large else { return Err("a part of no large result".to_owned()) };
        assembly.record.extend_from_slice(part);
        if assembly.record.len() > assembly.total {
            return Err("a large result longer than announced".to_owned());
        }
        if assembly.record.len() == assembly.total
            && let Some(Assembly { header, record, .. }) = self.large.take()
        {
            self.results(&header, &record)?;
        }
        Ok(())
    }

    fn part_taken(&self) -> Result<(), String> {
        let slot = self.worker.slot;
        match self.driver.state.lock().seat(self.worker) {
            Some(seat) => seat.part_taken()?,
            None => return Ok(()),
        }
        self.driver.pump(slot);
        Ok(())
    }

    /// The worker is dead and everything it sent is handled: take what it left in the shared page, then say so.
    fn settle_estate(&mut self) {
        let worker = self.worker;
        let left = match self.driver.state.lock().seat(worker) {
            Some(seat) if !self.deaf => seat.salvage(),
            Some(_) | None => None,
        };
        if let Some(frame) = left
            && let Err(damage) = self.handle(&frame)
        {
            tracing::debug!(slot = worker.slot, damage, "the results a dead worker left are not usable");
        }
        self.driver.with_state(|state, now, effects| state.exited(now, worker, effects));
    }
}
