//! The transport's traps: each is shown on ipc-channel itself, then that we do not step into it. A trap that is gone
//! after an upgrade fails here too, so that what was built around it can go as well.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ipc_channel::ipc::{self, IpcBytesSender};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{ForkResult, Pid, fork, pause};

use super::super::pidfd::readable_within;
use super::scenes::stage;
use super::seat::LIMIT;
use crate::wire::{
    self, CREDIT_BYTES_MAX, CREDIT_FRAMES_MAX, FRAME_BYTES_MAX, Inbox, PART_BYTES_MAX, Received,
};

/// How long "for ever" is watched. Everything here that does not block takes microseconds.
const FOR_EVER: Duration = Duration::from_millis(400);

/// A sending end whose receiver is in a forked process that never reads. That process kills itself once something
/// has arrived, or is to be killed by whoever reads its id.
fn deaf_receiver(dies_by_itself: bool) -> IpcBytesSender {
    let (sender, receiver) = ipc::bytes_channel().unwrap();
    // SAFETY: a scene has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(sender);
            let fd: RawFd = digits(&receiver);
            // SAFETY: the receiver lives, and owns the descriptor.
            if dies_by_itself && readable_within(unsafe { BorrowedFd::borrow_raw(fd) }, LIMIT) {
                raise(Signal::SIGKILL).unwrap();
            }
            loop {
                pause();
            }
        }
        ForkResult::Parent { child } => say(&child.to_string()),
    }
    sender
}

/// The descriptor of a channel's end, which ipc-channel prints and does not give.
fn digits(end: &impl std::fmt::Debug) -> RawFd {
    let digits: String = format!("{end:?}").chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// Scene: sends 8 MiB in one message.
pub(super) fn send_one_large_message() {
    let sender = deaf_receiver(true);
    let sent = sender.send(&vec![0; 8 << 20]);
    panic!("the trap is gone: the send returned {sent:?}");
}

/// Scene: sends 8 MiB as frames, until the receiver is gone.
pub(super) fn send_many_frames() {
    let sender = deaf_receiver(true);
    let payload = vec![0; 8 << 20];
    let mut frame = Vec::new();
    for bytes in wire::parts(&payload) {
        wire::part(&mut frame, bytes);
        if sender.send(&frame).is_err() {
            return;
        }
    }
    panic!("nobody read, and yet everything was sent");
}

/// Scene: sends tiny messages and counts them.
pub(super) fn send_tiny_messages() {
    let sender = deaf_receiver(false);
    for count in 1.. {
        sender.send(b"x").unwrap();
        say(&count.to_string());
    }
}

struct Helper {
    process: Child,
    lines: BufReader<ChildStdout>,
    deaf: Pid,
}

impl Helper {
    fn start(scene: &str) -> Helper {
        let mut process = stage(scene).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let deaf = Pid::from_raw(next_line(&mut lines).parse().unwrap());
        Helper { process, lines, deaf }
    }

    /// Waits for the sender. None: it blocks.
    fn outcome(&mut self) -> Option<bool> {
        let pidfd = super::super::pidfd::open(Pid::from_raw(self.process.id() as i32)).unwrap();
        readable_within(&pidfd, FOR_EVER).then(|| self.process.wait().unwrap().success())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = kill(self.deaf, Signal::SIGKILL);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn next_line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_message_over_one_packet_blocks_its_sender_when_the_receiver_is_killed() {
    assert_eq!(Helper::start("send one large message").outcome(), None);
}

#[test]
fn frames_fail_when_the_receiver_is_killed() {
    assert_eq!(Helper::start("send many frames").outcome(), Some(true));
}

#[test]
fn unread_messages_block_their_sender_soon() {
    let mut helper = Helper::start("send tiny messages");
    let mut count = 0;
    while !helper.lines.buffer().is_empty() || readable_within(helper.lines.get_ref(), FOR_EVER) {
        count = next_line(&mut helper.lines).parse().unwrap();
    }
    assert!((64..1024).contains(&count), "a send blocked after {count} messages");
}

#[test]
fn what_credits_allow_never_blocks() {
    let even = [CREDIT_BYTES_MAX / CREDIT_FRAMES_MAX as usize; CREDIT_FRAMES_MAX as usize];
    let rest = CREDIT_BYTES_MAX - FRAME_BYTES_MAX;
    // Sizes that leave the most unused in the memory they are copied to.
    let uneven = [9_000, 9_000, rest - 18_000, FRAME_BYTES_MAX];
    let parts = [64, PART_BYTES_MAX + 1, PART_BYTES_MAX + 1, PART_BYTES_MAX + 1];
    let full = [FRAME_BYTES_MAX, FRAME_BYTES_MAX, 1, 1];
    // Four full frames are over the limit on bytes, and rightly so.
    let cases = [(even, true), (uneven, true), (full, true), (parts, true), ([FRAME_BYTES_MAX; 4], false)];
    for (sizes, fits) in cases {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            for size in sizes {
                sender.send(&vec![0; size]).unwrap();
            }
            // And an order to stop.
            sender.send(&[0]).unwrap();
            done.send(()).unwrap();
        });
        let sent = is_done.recv_timeout(if fits { LIMIT } else { FOR_EVER }).is_ok();
        assert_eq!(sent, fits, "{sizes:?}");
        // Reading releases a sender that waits.
        for _ in 0..=sizes.len() {
            receiver.recv().unwrap();
        }
    }
}

#[test]
fn stray_bytes_panic_in_the_transport_and_not_in_an_inbox() {
    for stray in [&b"x"[..], b"a line of text\n", &[0xff; 44]] {
        let with_stray = || {
            let (sender, receiver) = ipc::bytes_channel().unwrap();
            send(digits(&sender), stray, MsgFlags::empty()).unwrap();
            receiver
        };
        assert!(catch_unwind(AssertUnwindSafe(|| with_stray().recv())).is_err(), "the trap is gone");
        assert!(matches!(Inbox::new(with_stray()).receive(), Received::Violation(_)));
    }
}

#[test]
fn replies_of_the_dead_stay_readable_until_the_goodbye() {
    let (sender, receiver) = ipc::bytes_channel().unwrap();
    let goodbye = sender.clone();
    sender.send(b"last words").unwrap();
    drop(sender);
    let mut frame = Vec::new();
    wire::goodbye(&mut frame);
    goodbye.send(&frame).unwrap();
    drop(goodbye);
    let inbox = Inbox::new(receiver);
    assert_eq!(inbox.receive(), Received::Frame(b"last words".to_vec()));
    assert_eq!(inbox.receive(), Received::Frame(frame));
    assert_eq!(inbox.receive(), Received::Disconnected);
}
