//! Repeats what workers print on our stderr, from a thread of its own: whoever reads our stderr may stop reading, and
//! neither time limits nor restarts may wait for that.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::process;

/// Pieces that wait to be written, at most. Of a flood nobody reads, the rest is not repeated; its end is still kept
/// for error reports.
const PIECES_MAX: usize = 256;

/// How long the end of the pool waits for what is left to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Starts its thread with the first output.
#[derive(Default)]
pub(crate) struct Forwarder {
    running: Option<Running>,
}

struct Running {
    pieces: SyncSender<Vec<u8>>,
    /// Disconnected when everything is written.
    written: Receiver<()>,
}

impl Forwarder {
    pub(crate) fn write(&mut self, text: &[u8]) {
        if self.running.is_none() {
            self.running = start().ok();
        }
        if let Some(running) = &self.running {
            // Full: nobody reads.
            let _ = running.pieces.try_send(text.to_vec());
        }
    }

    /// Waits a moment for what is left.
    pub(crate) fn finish(self) {
        if let Some(Running { pieces, written }) = self.running {
            drop(pieces);
            // It never receives anything: it ends in time, or is given up.
            let _ = written.recv_timeout(FAREWELL);
        }
    }
}

fn start() -> io::Result<Running> {
    let (pieces, queue) = sync_channel::<Vec<u8>>(PIECES_MAX);
    let (done, written) = sync_channel::<()>(0);
    thread::Builder::new().name("procession-output".to_owned()).spawn(move || {
        process::block_broken_pipe();
        for piece in queue {
            // Our own stderr being closed is not the worker's fault.
            let _ = io::stderr().write_all(&piece);
        }
        drop(done);
    })?;
    Ok(Running { pieces, written })
}
