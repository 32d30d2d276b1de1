//! Items that misuse the channels and the memory which their worker shares with the master: F12 to F15, and scribbling.
//!
//! Most of them wait for what comes of it, so that nothing else runs in the worker when it is killed.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use procession::{Output, WorkerExit};
use procession_harness::Fate;
use procession_tasks::faults;

use crate::deaths::{FOR_EVER, KILL, SEGV};
use crate::fault::{ANY, Fault, lost};

/// The exit status of a worker whose channel does not work.
const CHANNEL_CLOSED: &[WorkerExit] = &[WorkerExit::Code(77)];

/// The frames as they are told apart by their first byte.
const READY: u8 = 16;
const RESULTS: u8 = 18;
const LARGE_RESULT: u8 = 19;
const PART_TAKEN: u8 = 20;
const GOODBYE: u8 = 21;
const FRAME_DONE: u8 = 22;
const PIECE: u8 = 23;

/// What the items of a reply took.
const USAGE: [u8; 12] = [0; 12];

/// What the master says of stray bytes and wrong frames.
const VIOLATION: &str = "protocol violation";

/// The descriptors of this process that are sockets, from 3 on.
fn sockets() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            (number > 2 && target.to_string_lossy().starts_with("socket:")).then_some(number)
        })
        .collect()
}

/// Sends a packet through every socket, as far as there is room.
fn send_packet(bytes: &[u8]) {
    for socket in sockets() {
        // Not every socket is ours to write to.
        let _ = send(socket, bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
}

/// Sends a packet, and waits for what comes of it.
fn stray(bytes: &[u8]) {
    send_packet(bytes);
    faults::sleep(FOR_EVER);
}

/// A frame as ipc-channel sends it: the packet's length, the message's, the message.
fn packet(frame: &[u8]) -> Vec<u8> {
    let header = [16 + frame.len(), frame.len()].map(usize::to_ne_bytes).concat();
    [&header, frame].concat()
}

fn frame(bytes: &[u8]) {
    stray(&packet(bytes));
}

/// A reply to an item of a frame that the worker was never sent.
fn answer_for_another() {
    let mut results = vec![RESULTS];
    results.extend([0x7777_7777_u32, 0, 1].map(u32::to_le_bytes).concat());
    results.extend([0; 8]);
    results.extend(8_u32.to_le_bytes());
    results.extend(USAGE);
    results.extend(7_u64.to_le_bytes());
    frame(&results);
}

/// Announces a large result and begins to send it.
fn begin_large_result() {
    let mut head = vec![LARGE_RESULT];
    head.extend([0; 4 + 4 + 8 + 1]);
    head.extend((64_u32 << 20).to_le_bytes());
    head.extend(USAGE);
    send_packet(&packet(&head));
    send_packet(&packet(&[&[PIECE], 100_000_u32.to_le_bytes().as_slice()].concat()));
}

/// Announces and sends a large result of an item that it was never given.
fn large_result_of_another() {
    let mut head = vec![LARGE_RESULT];
    head.extend(0x7777_7777_u32.to_le_bytes());
    head.extend([0; 4 + 8 + 1]);
    head.extend(u32::MAX.to_le_bytes());
    head.extend(USAGE);
    send_packet(&packet(&head));
    for _ in 0..16 {
        send_packet(&packet(&[&[PIECE], 100_000_u32.to_le_bytes().as_slice()].concat()));
    }
    faults::sleep(FOR_EVER);
}

/// Closes all descriptors but the standard streams, and goes on.
fn close_everything() {
    // SAFETY: none of ours is used afterwards; those of others are what is to be taken from them.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

fn close_channels() {
    for socket in sockets() {
        // Those that are there were open a moment ago.
        let _ = nix::unistd::close(socket);
    }
}

fn replace_channels() {
    let null = File::options().read(true).write(true).open("/dev/null").expect("there is a null device");
    for socket in sockets() {
        // SAFETY: who owned it finds another file there, as is the purpose.
        unsafe { libc::dup2(null.as_raw_fd(), socket) };
    }
}

/// Puts itself between the worker and the master: what is to be sent from now on is sent twice. Once in a process: to
/// come between itself and the worker would have what the master sends be received twice.
fn send_everything_twice() {
    static IS_BETWEEN: AtomicBool = AtomicBool::new(false);
    if IS_BETWEEN.swap(true, Ordering::Relaxed) {
        return;
    }
    for socket in sockets() {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (inner, outer) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a socket pair");
        // SAFETY: the duplicate is new; the number is given to the inner end, whose owner goes on as before.
        let real = unsafe {
            let real = libc::dup(socket);
            libc::dup2(inner.as_raw_fd(), socket);
            real
        };
        assert!(real > 2, "a descriptor can be duplicated");
        drop(inner);
        relay(outer, real);
    }
}

fn relay(outer: OwnedFd, real: RawFd) {
    let pass = |from: RawFd, to: RawFd, times: u32| {
        let mut packet = vec![0; 256 << 10];
        while let Ok(len @ 1..) = recv(from, &mut packet, MsgFlags::empty()) {
            for _ in 0..times {
                if send(to, &packet[..len], MsgFlags::MSG_NOSIGNAL).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::spawn(move || {
        std::thread::scope(|scope| {
            scope.spawn(|| pass(outer.as_raw_fd(), real, 2));
            pass(real, outer.as_raw_fd(), 1);
        });
    });
}

/// Overwrites all memory of that name which this process may write to.
fn scribble(name: &str) {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let memory = File::options().write(true).open("/proc/self/mem").expect("it is our own memory");
    for line in maps.lines().filter(|line| line.contains(name) && line.contains(" rw")) {
        let (start, rest) = line.split_once('-').expect("a range of addresses");
        let end = rest.split(' ').next().expect("its end");
        let address = |text: &str| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (address(start), address(end));
        memory.write_all_at(&vec![0xa7; (end - start) as usize], start).expect("it is writable");
    }
}

fn flood_channels() {
    for _ in 0..2_000 {
        send_packet(&[0xff; 4096]);
    }
    faults::sleep(FOR_EVER);
}

fn flood_stdout() {
    let mut stdout = std::io::stdout().lock();
    for _ in 0..(1 << 20) / 64 {
        // Nobody need listen.
        let _ = stdout.write_all(&[b'x'; 64]);
    }
}

crate::matrix! {
    f12_close_range = Fault::told(close_everything, Fate::ValueOr(lost(CHANNEL_CLOSED, "status 77")));
    f12_channels_closed = Fault::told(close_channels, Fate::ValueOr(lost(CHANNEL_CLOSED, "status 77")));
    f12_dup2_over_channels = Fault::told(replace_channels, Fate::ValueOr(lost(CHANNEL_CLOSED, "status 77")));
    f13_one_byte = Fault::violation(|| stray(b"x"), VIOLATION);
    f13_seven_bytes = Fault::violation(|| stray(b"1234567"), VIOLATION);
    f13_text = Fault::violation(|| stray(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n"), VIOLATION);
    f13_huge_length = Fault::violation(|| stray(&[40, 1 << 40].map(usize::to_ne_bytes).concat()), VIOLATION);
    f13_empty_packet = Fault::violation(|| stray(b""), VIOLATION);
    f13_empty_frame = Fault::violation(|| frame(b""), VIOLATION);
    f13_reply_for_another_item = Fault::violation(answer_for_another, VIOLATION);
    f13_part_never_sent = Fault::violation(|| frame(&[PART_TAKEN]), VIOLATION);
    f13_frame_never_sent = Fault::violation(|| frame(&[FRAME_DONE, 9, 9, 9, 9]), VIOLATION);
    f13_large_result_of_another_item = Fault::violation(large_result_of_another, VIOLATION);
    f13_farewell = Fault::violation(|| frame(&[GOODBYE]), VIOLATION);
    f13_another_build = Fault::violation(|| frame(&[READY, 1, 2, 3, 4, 5, 6, 7, 8]), VIOLATION);
    /// The first one counts. What the worker holds when it is found out is lost with it: the item that runs then, and those
    /// whose replies have not come through.
    f13_every_frame_twice = Fault {
        is_overcharged: true,
        ..Fault::told(send_everything_twice, Fate::ValueOr(lost(ANY, VIOLATION)))
            .with_bystanders(14, lost(ANY, VIOLATION))
    };
    f14_half_a_large_result_then_death = Fault::deadly(
        || {
            begin_large_result();
            faults::kill_self();
        },
        KILL,
    );
    f15_flood_of_the_channel = Fault::violation(flood_channels, VIOLATION);
    f15_flood_of_stdout = Fault::told(flood_stdout, Fate::Value).with_options(|pool| pool.output(Output::Capture));
    f15_flood_of_stderr =
        Fault::told(|| _ = faults::stderr_flood(1 << 20), Fate::Value).with_options(|pool| pool.output(Output::Capture));
    /// Nobody can tell what the worker had begun of what it held, so all of that counts as begun.
    hostile_scribbled_page = Fault {
        is_overcharged: true,
        ..Fault::deadly(
            || {
                scribble("procession-page");
                faults::segv();
            },
            SEGV,
        )
        .with_bystanders(29, lost(SEGV, "signal 11"))
    };
    hostile_scribbled_window = Fault::deadly(
        || {
            scribble("procession-slab");
            faults::segv();
        },
        SEGV,
    );
}
