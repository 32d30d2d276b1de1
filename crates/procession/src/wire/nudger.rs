//! Wakes whoever sleeps in the receive of a channel, and never waits itself.
//!
//! ipc-channel's own send blocks while the channel is full, and how full it is may be up to a hostile peer. So this
//! writes the packet that ipc-channel would, without waiting. It must not know who receives.

use std::io;
use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use ipc_channel::ipc::IpcBytesSender;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, UnixAddr};

use super::inbox::PACKET_HEADER_BYTES;
use super::nudge;

/// Until the system is asked for memory again.
const PAUSE: Duration = Duration::from_millis(1);

/// A second in all.
const PAUSES_MAX: u32 = 1_000;

/// A sending end of a channel that is used for nothing but nudges.
pub(crate) struct Nudger {
    fd: RawFd,
    /// Keeps the descriptor open; its clones share it.
    _sender: IpcBytesSender,
}

impl Nudger {
    /// `None`: ipc-channel does not show the descriptor any more.
    pub(crate) fn new(sender: &IpcBytesSender) -> Option<Nudger> {
        // As with the receiver: it offers no access, but prints it.
        let printed = format!("{sender:?}");
        let (_, value) = printed.split_once("SharedFileDescriptor(")?;
        let fd: RawFd = value.split_once(')')?.0.parse().ok()?;
        socket::getsockname::<UnixAddr>(fd).ok()?;
        Some(Nudger { fd, _sender: sender.clone() })
    }

    /// Sends a nudge, unless the channel is full: whoever receives then is woken by what is in it, or is just taking
    /// the last of it off and so awake.
    pub(crate) fn nudge(&self) -> io::Result<()> {
        let packet = packet();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_EOR;
        let mut pauses = 0;
        loop {
            match socket::send(self.fd, &packet, flags) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                // Without memory for a few bytes nothing else gets on either; and nobody would nudge again.
                Err(Errno::ENOMEM | Errno::ENOBUFS) if pauses < PAUSES_MAX => {
                    pauses += 1;
                    thread::sleep(PAUSE);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn packet() -> Vec<u8> {
    let mut frame = Vec::new();
    nudge(&mut frame);
    let mut packet = Vec::with_capacity(PACKET_HEADER_BYTES + frame.len());
    packet.extend_from_slice(&(PACKET_HEADER_BYTES + frame.len()).to_ne_bytes());
    packet.extend_from_slice(&frame.len().to_ne_bytes());
    packet.extend_from_slice(&frame);
    packet
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use ipc_channel::ipc;

    use super::*;
    use crate::wire::{Inbox, Received, ToMaster};

    fn is_nudge(received: &Received) -> bool {
        matches!(received, Received::Frame(frame) if matches!(ToMaster::parse(frame), Ok(ToMaster::Nudge)))
    }

    #[test]
    fn a_nudge_is_the_packet_that_the_pinned_version_would_send() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let inbox = Inbox::new(receiver);
        let fd = inbox.descriptor().expect("the pinned version shows it");
        let nudger = Nudger::new(&sender).expect("the pinned version shows it");
        let mut frame = Vec::new();
        nudge(&mut frame);
        let theirs = || sender.send(&frame);
        for send in [&theirs as &dyn Fn() -> io::Result<()>, &|| nudger.nudge()] {
            send().unwrap();
            let mut seen = [0; 64];
            let len = socket::recv(fd, &mut seen, MsgFlags::MSG_PEEK).unwrap();
            assert_eq!(seen[..len], packet());
            assert!(is_nudge(&inbox.receive()));
        }
    }

    #[test]
    fn a_full_channel_is_not_waited_for() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let nudger = Nudger::new(&sender).unwrap();
        let (say, said) = mpsc::channel();
        // A thread that blocks is left behind with its channel.
        let nudging = thread::spawn(move || {
            let full = [7; 1_000];
            while socket::send(nudger.fd, &full, MsgFlags::MSG_DONTWAIT) != Err(Errno::EAGAIN) {}
            say.send(nudger.nudge()).unwrap();
        });
        said.recv_timeout(Duration::from_secs(20)).expect("it waits for room").unwrap();
        nudging.join().unwrap();
        let inbox = Inbox::new(receiver);
        assert!(!is_nudge(&inbox.receive()), "what was in it wakes the receiver");
    }

    #[test]
    fn nobody_is_nudged_where_nobody_receives() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        drop(receiver);
        assert!(Nudger::new(&sender).unwrap().nudge().is_err());
    }
}
