//! Receives frames without trusting who sends them.
//!
//! ipc-channel 0.23.1 takes every packet for its own: stray bytes make `recv` panic, and a claimed length is reserved
//! before the bytes arrive. Under `panic = "abort"` such a panic could not even be caught. So an inbox looks at the
//! packet first (`MSG_PEEK`, one more system call) and refuses what ipc-channel would stumble over. What this file
//! knows of ipc-channel's packets is checked by its tests, and the version is pinned; if a later version hid its
//! descriptor, the inbox would fall back to `catch_unwind` alone.

use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};

use ipc_channel::IpcError;
use ipc_channel::ipc::IpcBytesReceiver;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, UnixAddr};

use super::FRAME_BYTES_MAX;

/// ipc-channel's own packet header: the packet's length and the message's total length, as native `usize`.
pub(super) const PACKET_HEADER_BYTES: usize = 2 * size_of::<usize>();

/// What came out of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// One frame.
    Frame(Vec<u8>),
    /// Every sending end is closed. Where this process itself holds one, it means the peer forged an end of stream.
    Disconnected,
    /// Something that is no frame, or a channel that cannot be read.
    Violation(String),
}

/// The receiving end of a channel.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: IpcBytesReceiver,
    fd: Option<RawFd>,
}

impl Inbox {
    /// Takes over a receiving end.
    pub(crate) fn new(receiver: IpcBytesReceiver) -> Inbox {
        let fd = descriptor_of(&receiver);
        Inbox { receiver, fd }
    }

    /// Readable when there is something to receive; `None`: unknown.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.fd
    }

    /// Waits for the next frame.
    pub(crate) fn receive(&self) -> Received {
        self.receive_with(MsgFlags::empty()).expect("it waited")
    }

    /// The next frame, if one is there. Where the channel cannot be inspected it waits.
    pub(crate) fn try_receive(&self) -> Option<Received> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with(&self, flags: MsgFlags) -> Option<Received> {
        if let Some(fd) = self.fd {
            match inspect(fd, flags) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(refused) => {
                    discard(fd);
                    return Some(refused);
                }
            }
        }
        Some(self.take())
    }

    fn take(&self) -> Received {
        loop {
            let received = panic::catch_unwind(AssertUnwindSafe(|| self.receiver.recv()));
            return match received {
                Ok(Ok(frame)) if frame.len() > FRAME_BYTES_MAX => oversized(frame.len()),
                Ok(Ok(frame)) => Received::Frame(frame),
                Ok(Err(IpcError::Disconnected)) => Received::Disconnected,
                Ok(Err(IpcError::Io(error))) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(Err(error)) => Received::Violation(format!("channel cannot be read: {error}")),
                Err(_) => Received::Violation("stray bytes on the channel".to_owned()),
            };
        }
    }
}

/// Waits for a packet, unless told not to, and checks, without taking it, that it is one that ipc-channel can read.
/// `false`: there is none.
fn inspect(fd: RawFd, flags: MsgFlags) -> Result<bool, Received> {
    let mut header = [0; PACKET_HEADER_BYTES];
    let len = loop {
        // MSG_TRUNC makes the call return the packet's real length.
        match socket::recv(fd, &mut header, flags | MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if flags.contains(MsgFlags::MSG_DONTWAIT) => return Ok(false),
            Err(Errno::ECONNRESET) | Ok(0) => return Err(Received::Disconnected),
            Err(errno) => {
                return Err(Received::Violation(format!("channel cannot be read: {}", errno.desc())));
            }
            Ok(len) => break len,
        }
    };
    let (packet_len, message_len) = header.split_at(size_of::<usize>());
    if len < PACKET_HEADER_BYTES
        || packet_len != len.to_ne_bytes()
        || message_len != (len - PACKET_HEADER_BYTES).to_ne_bytes()
    {
        return Err(Received::Violation(format!("{len} stray bytes on the channel")));
    }
    match len - PACKET_HEADER_BYTES {
        len if len > FRAME_BYTES_MAX => Err(oversized(len)),
        _ => Ok(true),
    }
}

/// Takes the packet off that was refused, with all it carries, so that those behind it can be received. At the end of
/// the stream, and on a channel that cannot be read, there is nothing to take.
fn discard(fd: RawFd) {
    let _ = socket::recv(fd, &mut [0; 1], MsgFlags::MSG_DONTWAIT);
}

fn oversized(len: usize) -> Received {
    Received::Violation(format!("frame of {len} bytes is over the limit of {FRAME_BYTES_MAX}"))
}

/// ipc-channel offers no access to its descriptor, but prints it: `… OsIpcReceiver { fd: Cell { value: 7 } } }`.
fn descriptor_of(receiver: &IpcBytesReceiver) -> Option<RawFd> {
    let printed = format!("{receiver:?}");
    let (_, value) = printed.split_once("fd: Cell { value: ")?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    let fd: RawFd = digits.parse().ok()?;
    // What is inspected must be a socket as the channel's is, or there is no inspection.
    socket::getsockname::<UnixAddr>(fd).ok().map(|_| fd)
}

#[cfg(test)]
mod tests {
    use ipc_channel::ipc::{self, IpcBytesSender};

    use super::*;

    fn channel() -> (IpcBytesSender, RawFd, Inbox) {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let printed = format!("{sender:?}");
        let digits: String = printed.chars().filter(char::is_ascii_digit).collect();
        let fd = digits.parse().unwrap_or_else(|_| panic!("no descriptor in {printed}"));
        (sender, fd, Inbox::new(receiver))
    }

    fn stray(fd: RawFd, bytes: &[u8]) {
        assert_eq!(socket::send(fd, bytes, MsgFlags::MSG_EOR).unwrap(), bytes.len());
    }

    #[test]
    fn the_descriptor_of_the_pinned_version_is_found() {
        let (sender, _, inbox) = channel();
        assert!(inbox.fd.is_some());
        assert_eq!(inbox.try_receive(), None);
        sender.send(b"frame").unwrap();
        assert_eq!(inbox.try_receive(), Some(Received::Frame(b"frame".to_vec())));
        sender.send(b"frame").unwrap();
        assert_eq!(inbox.receive(), Received::Frame(b"frame".to_vec()));
        sender.send(b"").unwrap();
        assert_eq!(inbox.receive(), Received::Frame(Vec::new()));
        drop(sender);
        assert_eq!(inbox.receive(), Received::Disconnected);
    }

    #[test]
    fn stray_bytes_are_a_violation_and_no_panic() {
        let mut header_of_huge = Vec::new();
        header_of_huge.extend_from_slice(&24_usize.to_ne_bytes());
        header_of_huge.extend_from_slice(&(1_usize << 40).to_ne_bytes());
        header_of_huge.extend_from_slice(&[7; 8]);
        let header_alone = 8_usize.to_ne_bytes();
        let samples: [&[u8]; 8] = [
            &[1],
            b"12345",
            b"printed text",
            &[0; 11],
            &[255; 44],
            &[0; 300],
            &header_of_huge,
            &header_alone,
        ];
        for bytes in samples {
            let (sender, fd, inbox) = channel();
            stray(fd, bytes);
            let received = inbox.receive();
            assert!(matches!(received, Received::Violation(_)), "{bytes:?}: {received:?}");
            drop(sender);
        }
    }

    #[test]
    fn what_follows_stray_bytes_is_received() {
        let (sender, fd, inbox) = channel();
        for bytes in [b"stray".as_slice(), b"", &[255; 44]] {
            stray(fd, bytes);
        }
        sender.send(b"frame").unwrap();
        assert!(matches!(inbox.receive(), Received::Violation(_)));
        assert_eq!(inbox.receive(), Received::Disconnected, "as an empty packet looks");
        assert!(matches!(inbox.receive(), Received::Violation(_)));
        assert_eq!(inbox.receive(), Received::Frame(b"frame".to_vec()));
    }

    #[test]
    fn without_the_descriptor_stray_bytes_are_a_violation_too() {
        let (sender, fd, mut inbox) = channel();
        inbox.fd = None;
        stray(fd, &[9; 44]);
        drop(sender);
        assert!(matches!(inbox.receive(), Received::Violation(_)));
    }

    #[test]
    fn frames_over_the_limit_are_refused_before_they_are_read() {
        let (sender, _, inbox) = channel();
        sender.send(&vec![0; FRAME_BYTES_MAX]).unwrap();
        assert!(matches!(inbox.receive(), Received::Frame(frame) if frame.len() == FRAME_BYTES_MAX));
        sender.send(&vec![0; FRAME_BYTES_MAX + 1]).unwrap();
        assert!(matches!(inbox.receive(), Received::Violation(_)));
    }
}
