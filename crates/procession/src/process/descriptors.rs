//! File descriptors: how many a pool needs, where they may lie, which are swept, and how they are handed over.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, getsockname, recvmsg, sendmsg,
};

use super::error::LaunchError;

/// A worker's channels and page lie on this descriptor or above, so that a task's stray write to descriptor 3 or 20
/// does not hit them.
const FLOOR: u64 = 64;

/// What a process needs above the floor. Under a lower limit the floor sinks.
const ROOM_ABOVE_FLOOR: u64 = 24;

/// Descriptors of a pool as such, with room for what the program opens meanwhile.
const DESCRIPTORS_PER_POOL: u64 = 32;

/// Three channel ends, pidfd and output pipe; while it starts, also: its own end, page, window and pipe, the boot socket, a
/// second pidfd, and the directory of its socket. The socket itself is held while it is connected to: one at a time.
const DESCRIPTORS_PER_WORKER: u64 = 12;

/// Most descriptors in one message that the kernel lets anybody send (`SCM_MAX_FD`). With less room, those of a stranger
/// would be opened here and never seen.
const DESCRIPTORS_PER_MESSAGE_MAX: usize = 253;

/// How many descriptors a pool of that many workers opens in the master, at most.
pub(crate) fn descriptors_needed(workers: usize) -> u64 {
    DESCRIPTORS_PER_POOL + DESCRIPTORS_PER_WORKER * workers as u64
}

/// Makes sure that a pool of that many workers will not run out of descriptors: raises the soft limit as far as
/// needed, or refuses.
pub(crate) fn ensure_descriptors(workers: usize) -> Result<(), LaunchError> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // A sandbox that hides the limit need not be short of descriptors.
        return Ok(());
    };
    let (open, need) = (count_open(), descriptors_needed(workers));
    let wanted = open.saturating_add(need);
    if wanted <= soft {
        return Ok(());
    }
    if wanted > hard {
        return Err(LaunchError::Descriptors { workers, need, open, limit: hard });
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        .map_err(LaunchError::system("raising the descriptor limit"))
}

/// Raises the soft limit before it is reached by descriptors that no pool has counted: `newest` is one of them. Under
/// a hard limit that allows no more, whatever needs the next ones will say so.
pub(crate) fn ensure_room_beyond(newest: &impl AsRawFd) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && newest.as_raw_fd() as u64 + DESCRIPTORS_PER_POOL >= soft
    {
        let wanted = soft.saturating_mul(2).max(DESCRIPTORS_PER_POOL * 2).min(hard);
        // It is allowed up to the hard limit, and where a sandbox forbids it nothing has changed.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard);
    }
}

fn count_open() -> u64 {
    // The directory that is read counts itself, once.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| (entries.count() as u64).saturating_sub(1))
}

/// Closes what this process inherited through `exec`: what has no close-on-exec flag. What the program opened by
/// itself before it called `init` has the flag, as everything has that Rust opens.
pub(super) fn sweep_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in numbers {
        // SAFETY: a plain query by number; a closed descriptor gives an error, and other flags have no effect.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: no object of this process owns it: it was open before the program began.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// A second descriptor of this process's socket that is bound to that path.
pub(super) fn socket_bound_to(path: &Path) -> io::Result<OwnedFd> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let mut numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let is_it = |fd: &RawFd| getsockname::<UnixAddr>(*fd).is_ok_and(|bound| bound.path() == Some(path));
    let found = numbers.find(is_it).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: it was open just now, and its owner, who waits for what the caller does, keeps it open.
    unsafe { BorrowedFd::borrow_raw(found) }.try_clone_to_owned()
}

/// Occupies every descriptor below the floor, so that what is opened meanwhile lies above it.
#[derive(Debug)]
pub(super) struct Ballast {
    occupied: Vec<OwnedFd>,
}

impl Ballast {
    /// Fills the gaps. Dropping the value frees them.
    pub(super) fn load() -> io::Result<Ballast> {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let floor = FLOOR.min(soft.saturating_sub(ROOM_ABOVE_FLOOR)) as RawFd;
        let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null")?);
        let mut occupied = Vec::with_capacity(FLOOR as usize);
        loop {
            let next = null.try_clone()?;
            if next.as_raw_fd() >= floor {
                break;
            }
            occupied.push(next);
        }
        if null.as_raw_fd() < floor {
            occupied.push(null);
        }
        occupied.sort_by_key(AsRawFd::as_raw_fd);
        Ok(Ballast { occupied })
    }
}

impl Drop for Ballast {
    /// Run by run instead of one by one: every worker that is forked does this before it takes work.
    fn drop(&mut self) {
        let descriptors = std::mem::take(&mut self.occupied);
        let mut rest = descriptors.into_iter().map(IntoRawFd::into_raw_fd).peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last + 1)) {
                last = next;
            }
            close_run(first, last);
        }
    }
}

/// Closes descriptors that lie next to each other and are the caller's own.
fn close_run(first: RawFd, last: RawFd) {
    // SAFETY: the caller gave up the ownership of every one of them.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed != 0 {
        // Before Linux 5.9, or a sandbox that does not know the call.
        for fd in first..=last {
            // SAFETY: as above, and none was closed.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// Sends bytes together with descriptors.
pub(super) fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let message = [ControlMessage::ScmRights(&numbers)];
    loop {
        let sent =
            sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &message, MsgFlags::MSG_NOSIGNAL, None);
        match sent {
            Err(Errno::EINTR) => {}
            Ok(sent) if sent < bytes.len() => return Err(io::ErrorKind::WriteZero.into()),
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// Receives bytes together with descriptors, which are close-on-exec.
pub(super) fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let (mut space, mut slices);
    let message = loop {
        space = nix::cmsg_space!([RawFd; DESCRIPTORS_PER_MESSAGE_MAX]);
        slices = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            message => break message?,
        }
    };
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for this message; nobody else owns them.
            descriptors.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((message.bytes, descriptors))
}

/// Puts `/dev/null` in place of standard input.
pub(super) fn null_stdin() -> io::Result<()> {
    Ok(nix::unistd::dup2_stdin(File::open("/dev/null")?.as_fd())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn all_descriptors_of_a_message_are_taken_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let many = [theirs.as_fd(); 40];
        send_with_descriptors(theirs.as_fd(), &[0], &many).unwrap();
        let (read, descriptors) = receive_with_descriptors(ours.as_fd(), &mut [0]).unwrap();
        assert_eq!((read, descriptors.len()), (1, many.len()));
    }
}
