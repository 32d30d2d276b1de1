//! Passes on what workers print, from a thread of its own: whoever reads it may stop reading, and neither time limits nor
//! restarts may wait for that.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use super::callbacks::run_one;
use super::lines::Lines;
use crate::event::Printed;
use crate::process;

/// What waits to be passed on, at most. Of a flood nobody reads, the rest is left out; its end is still kept for error
/// reports.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// What a piece costs beside its text.
const PIECE_BYTES: usize = 64;

/// How long the end of the pool waits for what is left to be passed on.
const FAREWELL: Duration = Duration::from_secs(1);

/// Is told what workers print.
pub(crate) type Listener = Arc<dyn Fn(&Printed) + Send + Sync>;

/// Where what workers print goes on to.
#[derive(Clone, Default)]
pub(crate) enum Destination {
    #[default]
    Nowhere,
    /// As it is, to our stderr.
    Stderr,
    /// In whole lines, to who asked for it.
    Listener(Listener),
}

/// Starts its thread with the first output.
pub(crate) struct Forwarder {
    destination: Destination,
    /// By process, where whole lines are wanted: the line that is not whole yet.
    lines: HashMap<u32, Lines>,
    left_out: u64,
    running: Option<Running>,
}

struct Running {
    pieces: Sender<Printed>,
    waiting: Arc<AtomicUsize>,
    /// Disconnected when everything is passed on.
    done: Receiver<()>,
}

impl Forwarder {
    /// `None`: nobody wants to know.
    pub(crate) fn new(destination: &Destination) -> Option<Forwarder> {
        let destination = match destination {
            Destination::Nowhere => return None,
            other => other.clone(),
        };
        Some(Forwarder { destination, lines: HashMap::new(), left_out: 0, running: None })
    }

    /// Passes on what a worker printed, or keeps it until the line is whole.
    pub(crate) fn write(&mut self, pid: u32, text: &[u8]) {
        match self.destination {
            Destination::Nowhere => {}
            Destination::Stderr => self.pass_on(pid, text.to_vec()),
            Destination::Listener(_) => {
                let whole = self.lines.entry(pid).or_default().take(text);
                self.pass_on(pid, whole);
            }
        }
    }

    /// A worker prints no more: its last line is as whole as it will be.
    pub(crate) fn end(&mut self, pid: u32) {
        if let Some(lines) = self.lines.remove(&pid) {
            self.pass_on(pid, lines.end());
        }
    }

    /// Waits a moment for what is left.
    pub(crate) fn finish(mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        if let Some(Running { pieces, done, .. }) = self.running {
            if left_out > 0 {
                // Its thread may have ended, as nobody reads.
                let _ = pieces.send(Printed::LeftOut { lines: left_out });
            }
            drop(pieces);
            // It never receives anything: it ends in time, or is given up.
            let _ = done.recv_timeout(FAREWELL);
        }
    }

    fn pass_on(&mut self, pid: u32, text: Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.running.is_none() {
            self.running = start(self.destination.clone()).ok();
        }
        let cost = text.len() + PIECE_BYTES;
        match &self.running {
            Some(running) if running.waiting.load(Ordering::Relaxed) + cost <= WAITING_BYTES_MAX => {
                if self.left_out > 0 {
                    let _ = running.pieces.send(Printed::LeftOut { lines: self.left_out });
                    self.left_out = 0;
                }
                running.waiting.fetch_add(cost, Ordering::Relaxed);
                let _ = running.pieces.send(Printed::Text { pid, text });
            }
            // Nobody reads, or not fast enough.
            _ => self.left_out += text.iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

fn start(destination: Destination) -> io::Result<Running> {
    let (pieces, queue) = channel::<Printed>();
    let (ending, done): (SyncSender<()>, _) = sync_channel(0);
    let waiting = Arc::new(AtomicUsize::new(0));
    let taken = Arc::clone(&waiting);
    thread::Builder::new().name("procession-output".to_owned()).spawn(move || {
        process::block_broken_pipe();
        for piece in queue {
            let cost = match &piece {
                Printed::Text { text, .. } => text.len() + PIECE_BYTES,
                Printed::LeftOut { .. } => 0,
            };
            deliver(&destination, piece);
            taken.fetch_sub(cost, Ordering::Relaxed);
        }
        drop(ending);
    })?;
    Ok(Running { pieces, waiting, done })
}

fn deliver(destination: &Destination, piece: Printed) {
    match (destination, piece) {
        (Destination::Stderr, Printed::Text { text, .. }) => {
            // Our own stderr being closed is not the worker's fault.
            let _ = io::stderr().write_all(&text);
        }
        (Destination::Listener(listener), piece) => {
            let listener = Arc::clone(listener);
            run_one(Box::new(move || listener(&piece)));
        }
        (Destination::Nowhere, _) | (Destination::Stderr, Printed::LeftOut { .. }) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_listener_that_does_not_keep_up_is_told_what_it_missed() {
        // It takes nothing until everything has been printed.
        let (open, gate) = sync_channel::<()>(0);
        let (gate, heard) = (Mutex::new(gate), Arc::new(Mutex::new(Vec::new())));
        let ears = Arc::clone(&heard);
        let listener: Listener = Arc::new(move |printed: &Printed| {
            let _ = gate.lock().unwrap().recv();
            ears.lock().unwrap().push(printed.clone());
        });
        let mut forwarder = Forwarder::new(&Destination::Listener(listener)).unwrap();
        let pieces = WAITING_BYTES_MAX / 1000;
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..2 * pieces {
            forwarder.write(7, &line);
        }
        drop(open);
        forwarder.finish();
        let heard = heard.lock().unwrap();
        let (last, texts) = heard.split_last().unwrap();
        assert!(texts.iter().all(|piece| *piece == Printed::Text { pid: 7, text: line.clone() }));
        let missed = 2 * pieces - texts.len();
        assert!(missed >= pieces, "{missed} of {} left out", 2 * pieces);
        assert_eq!(*last, Printed::LeftOut { lines: missed as u64 });
    }
}
