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

    /// As [`receive`](WorkSource::receive); `None`: nothing came within that time.
    fn receive_within(&self, time: Duration) -> Option<Received>;
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

    fn receive_within(&self, time: Duration) -> Option<Received> {
        // Looked at first: where work is waiting, this costs no more than a receive.
        self.try_receive().or_else(|| {
            let is_ready = self.descriptor().is_none_or(|fd| number_readable_within(fd, time));
            is_ready.then(|| Inbox::receive(self))
        })
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
