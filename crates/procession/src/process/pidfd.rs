//! Processes by descriptor: opening, signalling and waiting without the races of process ids.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::exit::{Exit, WorkerExit};

/// Since Linux 6.9: signals the process group whose id is the process's, whether or not the process has been reaped.
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Opens a process that cannot have been reaped yet.
pub(super) fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes plain numbers; a non-negative result is a new descriptor that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Signals one process.
pub(super) fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    send_signal(pidfd, signal as libc::c_int, 0)
}

/// Whether there is still a process to signal: alive, or dead and not reaped.
pub(super) fn exists(pidfd: BorrowedFd<'_>) -> bool {
    send_signal(pidfd, 0, 0).is_ok()
}

/// Signals the process group of that process. `EINVAL` before Linux 6.9.
pub(super) fn signal_group(pidfd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    send_signal(pidfd, signal as libc::c_int, PIDFD_SIGNAL_PROCESS_GROUP)
}

fn send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: the descriptor is open for the length of the call, and a null siginfo is allowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    Errno::result(result).map(drop)
}

/// Waits until the process is dead, or the limit is over. True: dead.
pub(super) fn wait_dead(pidfd: BorrowedFd<'_>, limit: Duration) -> bool {
    readable_within(pidfd, limit)
}

/// Waits until a descriptor is readable or hung up.
pub(super) fn readable_within(fd: impl AsFd, limit: Duration) -> bool {
    any_readable_within(&[fd.as_fd()], limit)
}

/// Waits until one of them is readable or hung up.
pub(super) fn any_readable_within(fds: &[BorrowedFd<'_>], limit: Duration) -> bool {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let end = std::time::Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        // Rounded up, but no limit at all is a look and no wait.
        let millis = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            Ok(0) if !left.is_zero() => {}
            Ok(ready) => return ready > 0,
            Err(_) => return false,
        }
    }
}

/// The same for a descriptor of which only the number is known.
pub(crate) fn number_readable_within(fd: RawFd, limit: Duration) -> bool {
    // SAFETY: borrowed for this call only, and asked one question; a descriptor that a task has closed answers it too.
    readable_within(unsafe { BorrowedFd::borrow_raw(fd) }, limit)
}

/// Whether the status read stays there for the next to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// The process is gone afterwards.
    Reap,
    /// The process stays a zombie.
    Look,
}

/// Reads the status of our own dead child; `None`: it is not dead, not ours, or somebody took its status.
pub(super) fn read_status(pidfd: BorrowedFd<'_>, take: Take) -> Option<Exit> {
    let keep = if take == Take::Look { libc::WNOWAIT } else { 0 };
    // SAFETY: both structs are plain data for which zero is valid, they outlive the call, and the kernel writes no more
    // than their size. `si_pid` and `si_status` are read only if the kernel filled the struct for a child.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let mut usage: libc::rusage = std::mem::zeroed();
        // The wrapper in libc hides the fifth argument, which returns the resource usage of this very child.
        let result = libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            &raw mut info,
            libc::WEXITED | libc::WNOHANG | keep,
            &raw mut usage,
        );
        if result != 0 || info.si_pid() == 0 {
            return None;
        }
        let status = match info.si_code {
            libc::CLD_EXITED => WorkerExit::Code(info.si_status()),
            libc::CLD_KILLED | libc::CLD_DUMPED => WorkerExit::Signal(info.si_status()),
            _ => WorkerExit::Unknown,
        };
        Some(Exit { status, max_rss: Some(max_rss(&usage)), cpu: Some(cpu(&usage)) })
    }
}

/// In bytes; the kernel counts in KiB.
fn max_rss(usage: &libc::rusage) -> u64 {
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
}

fn cpu(usage: &libc::rusage) -> Duration {
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| Duration::new(time.tv_sec.unsigned_abs(), (time.tv_usec.unsigned_abs() as u32) * 1000))
        .sum()
}
