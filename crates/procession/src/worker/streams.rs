//! Where a worker's frames come from and where its replies go: channels, or what a test puts in their place.

use std::io;
use std::time::Duration;

use ipc_channel::ipc::IpcBytesSender;

use crate::process::number_readable_within;
use crate::wire::{Inbox, Received};

/// Gives frames.
pub(crate) trait WorkSource {
    /// Waits for the next one.
    fn receive(&self) -> Received;

    /// Whether [`receive`](WorkSource::receive) would return within that time.
    fn is_ready_within(&self, time: Duration) -> bool;
}

/// Takes replies.
pub(crate) trait ReplySink {
    /// Sends one frame. May wait: the master always reads.
    fn send(&self, frame: &[u8]) -> io::Result<()>;
}

impl WorkSource for Inbox {
    fn receive(&self) -> Received {
        Inbox::receive(self)
    }

    fn is_ready_within(&self, time: Duration) -> bool {
        self.descriptor().is_none_or(|fd| number_readable_within(fd, time))
    }
}

impl ReplySink for IpcBytesSender {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match IpcBytesSender::send(self, frame) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }
}
