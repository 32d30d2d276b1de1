//! Sends frames without harm to the program: no signal where nobody receives any more, and a nudge that never waits.
//!
//! ipc-channel's own send raises SIGPIPE when the worker is dead, which by default ends the program, and its disposition is
//! the host's. A nudge must not wait for room, since how full a channel is may be up to a hostile peer. So this writes
//! the packets that ipc-channel would. It must not know who receives.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};
use std::thread;
use std::time::Duration;

use ipc_channel::ipc::IpcBytesSender;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, Shutdown, UnixAddr, sockopt};

use super::inbox::PACKET_HEADER_BYTES;
use super::{FRAME_BYTES_MAX, nudge};

/// Until the system is asked for memory again.
const PAUSE: Duration = Duration::from_millis(1);

/// A second in all.
const PAUSES_MAX: u32 = 1_000;

/// A socket's buffer as it usually is: all that a worker may have outstanding fits it, with what the kernel adds.
const BUFFER_BYTES: usize = 208 << 10;

/// The least that takes the largest frame. The kernel keeps 32 bytes for itself.
const BUFFER_BYTES_MIN: usize = PACKET_HEADER_BYTES + FRAME_BYTES_MAX + 32;

/// The sending end of a channel.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// `None`: ipc-channel does not show it any more, and sends by itself.
    fd: Option<RawFd>,
    sender: IpcBytesSender,
}

impl Outlet {
    /// Takes over a sending end, and sees to it that the largest frame fits its buffer, for all that send through it.
    pub(crate) fn new(sender: IpcBytesSender) -> io::Result<Outlet> {
        let fd = descriptor_of(&sender);
        if let Some(fd) = fd {
            make_room(fd)?;
        }
        Ok(Outlet { fd, sender })
    }

    /// Sends one frame, which fits a packet. Waits while the channel is full; a signal that interrupts it changes nothing.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        if let Some(fd) = self.fd {
            return send_packet(fd, frame, MsgFlags::empty()).map_err(io::Error::from);
        }
        loop {
            match self.sender.send(frame) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Ends the channel for all who send through it: the receiver hears of it once it has taken what is there. Nothing
    /// is sent for that, so it works where there is no memory for a packet.
    pub(crate) fn end(&self) {
        let Some(fd) = self.fd else { return };
        if let Err(errno) = socket::shutdown(fd, Shutdown::Write) {
            tracing::error!(errno = errno.desc(), "a channel could not be ended");
        }
    }

    /// Whether it can nudge.
    pub(crate) fn can_nudge(&self) -> bool {
        self.fd.is_some()
    }

    /// Sends a nudge, unless the channel is full: whoever receives then is woken by what is in it, or is just taking
    /// the last of it off and so awake.
    pub(crate) fn nudge(&self) -> io::Result<()> {
        let Some(fd) = self.fd else { return Ok(()) };
        let mut frame = Vec::new();
        nudge(&mut frame);
        match send_packet(fd, &frame, MsgFlags::MSG_DONTWAIT) {
            Ok(()) | Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A system may be set up for smaller buffers than usual; then each may still be made larger, within a limit.
fn make_room(fd: RawFd) -> io::Result<()> {
    // SAFETY: whoever calls this has the sender it belongs to, which keeps it open.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let room = || socket::getsockopt(&socket, sockopt::SndBuf);
    if room()? < BUFFER_BYTES {
        // The kernel doubles what it is asked for.
        socket::setsockopt(&socket, sockopt::SndBuf, &(BUFFER_BYTES / 2))?;
    }
    match room()? {
        BUFFER_BYTES_MIN.. => Ok(()),
        room => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "a socket's buffer has {room} bytes where {BUFFER_BYTES_MIN} are needed: \
                 raise the system's net.core.wmem_max to {BUFFER_BYTES}"
            ),
        )),
    }
}

fn descriptor_of(sender: &IpcBytesSender) -> Option<RawFd> {
    // As with the receiver: it offers no access, but prints it.
    let printed = format!("{sender:?}");
    let (_, value) = printed.split_once("SharedFileDescriptor(")?;
    let fd: RawFd = value.split_once(')')?.0.parse().ok()?;
    socket::getsockname::<UnixAddr>(fd).ok()?;
    Some(fd)
}

fn send_packet(fd: RawFd, frame: &[u8], flags: MsgFlags) -> nix::Result<()> {
    let header = header(frame.len());
    let packet = [IoSlice::new(&header), IoSlice::new(frame)];
    let flags = flags | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_EOR;
    let mut pauses = 0;
    loop {
        match socket::sendmsg::<UnixAddr>(fd, &packet, &[], flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            // Without memory for a packet nothing else gets on either; and nobody would send this again.
            Err(Errno::ENOMEM | Errno::ENOBUFS) if pauses < PAUSES_MAX => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// ipc-channel's header of a packet that is a whole message.
fn header(frame_len: usize) -> [u8; PACKET_HEADER_BYTES] {
    let mut header = [0; PACKET_HEADER_BYTES];
    let (packet_len, message_len) = header.split_at_mut(size_of::<usize>());
    packet_len.copy_from_slice(&(PACKET_HEADER_BYTES + frame_len).to_ne_bytes());
    message_len.copy_from_slice(&frame_len.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use ipc_channel::ipc;
    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::wire::{FRAME_BYTES_MAX, Inbox, Received, ToMaster};

    fn is_nudge(received: &Received) -> bool {
        matches!(received, Received::Frame(frame) if matches!(ToMaster::parse(frame), Ok(ToMaster::Nudge)))
    }

    #[test]
    fn packets_are_those_that_the_pinned_version_would_send() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let inbox = Inbox::new(receiver);
        let fd = inbox.descriptor().expect("the pinned version shows it");
        let outlet = Outlet::new(sender.clone()).unwrap();
        assert!(outlet.can_nudge(), "the pinned version shows its descriptor");
        let mut frame = Vec::new();
        nudge(&mut frame);
        let mut packets = Vec::new();
        let sends: [&dyn Fn() -> io::Result<()>; 3] =
            [&|| sender.send(&frame), &|| outlet.send(&frame), &|| outlet.nudge()];
        for send in sends {
            send().unwrap();
            let mut seen = [0; 64];
            let len = socket::recv(fd, &mut seen, MsgFlags::MSG_PEEK).unwrap();
            packets.push(seen[..len].to_vec());
            assert!(is_nudge(&inbox.receive()));
        }
        assert!(packets.iter().all(|packet| *packet == packets[0]), "{packets:?}");
    }

    #[test]
    fn the_largest_frame_is_one_packet() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let (outlet, inbox) = (Outlet::new(sender).unwrap(), Inbox::new(receiver));
        let frame = vec![7; FRAME_BYTES_MAX];
        outlet.send(&frame).unwrap();
        assert_eq!(inbox.receive(), Received::Frame(frame));
    }

    #[test]
    fn a_buffer_that_is_too_small_for_it_is_made_larger() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let fd = descriptor_of(&sender).expect("the pinned version shows it");
        // SAFETY: the sender is there until it is taken over.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        socket::setsockopt(&socket, sockopt::SndBuf, &1).unwrap();
        let frame = vec![7; FRAME_BYTES_MAX];
        assert_eq!(send_packet(fd, &frame, MsgFlags::empty()), Err(Errno::EMSGSIZE));
        let (outlet, inbox) = (Outlet::new(sender).unwrap(), Inbox::new(receiver));
        outlet.send(&frame).unwrap();
        assert_eq!(inbox.receive(), Received::Frame(frame));
    }

    #[test]
    fn the_end_of_a_channel_comes_after_all_that_was_sent() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let (outlet, inbox) = (Outlet::new(sender.clone()).unwrap(), Inbox::new(receiver));
        outlet.send(&[7; 100]).unwrap();
        outlet.end();
        assert_eq!(inbox.receive(), Received::Frame(vec![7; 100]));
        assert!((0..3).all(|_| inbox.receive() == Received::Disconnected), "though another sender is there");
        drop(sender);
    }

    #[test]
    fn a_full_channel_is_not_waited_for() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let outlet = Outlet::new(sender).unwrap();
        let fd = outlet.fd.expect("the pinned version shows it");
        let (say, said) = mpsc::channel();
        // A thread that blocks is left behind with its channel.
        let nudging = thread::spawn(move || {
            let full = [7; 1_000];
            while socket::send(fd, &full, MsgFlags::MSG_DONTWAIT) != Err(Errno::EAGAIN) {}
            say.send(outlet.nudge()).unwrap();
        });
        said.recv_timeout(Duration::from_secs(20)).expect("it waits for room").unwrap();
        nudging.join().unwrap();
        let inbox = Inbox::new(receiver);
        assert!(!is_nudge(&inbox.receive()), "what was in it wakes the receiver");
    }

    #[test]
    fn where_nobody_receives_there_is_an_error_and_no_signal() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        drop(receiver);
        let outlet = Outlet::new(sender).unwrap();
        // Rust ignores the signal. Blocked, it would be left pending, if it was raised.
        let mut pipe = SigSet::empty();
        pipe.add(Signal::SIGPIPE);
        pipe.thread_block().unwrap();
        assert!(outlet.nudge().is_err());
        assert!(outlet.send(&[7; 100]).is_err());
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).unwrap();
        let pending = u64::from_str_radix(pending.trim(), 16).unwrap();
        assert_eq!(pending & 1 << (Signal::SIGPIPE as u32 - 1), 0);
    }
}
