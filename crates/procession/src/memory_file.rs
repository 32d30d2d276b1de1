//! How large a memory file may be. It must not know what is in one.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::ftruncate;

/// Most bytes that a file of this process may have.
pub(crate) fn len_max() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Gives a new memory file its size. Growing a file beyond the limit would end the process by a signal.
pub(crate) fn set_len(file: impl AsFd, len: usize) -> io::Result<()> {
    if len as u64 > len_max() {
        let reason = "the limit of file sizes is lower: raise it (ulimit -f)";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(ftruncate(file, len as i64)?)
}

/// Most bytes that are asked for at once.
const STEP_BYTES: usize = 4 << 20;

/// Least bytes that are asked for at once.
const PAGE_BYTES: usize = 4096;

/// Gives memory to a range within a memory file. On an error some of it may have memory.
///
/// A mapping takes it with the first write, too, but where there is none that write is a SIGBUS.
pub(crate) fn reserve(file: impl AsFd, start: usize, len: usize) -> io::Result<()> {
    let (mut at, end, mut step) = (start, start + len, STEP_BYTES);
    while at < end {
        let here = step.min(end - at);
        match fallocate(&file, FallocateFlags::empty(), at as i64, here as i64) {
            Ok(()) => at += here,
            // A signal undoes the whole step, and a host may have a timer that sends them faster than that.
            Err(Errno::EINTR) => step = (step / 2).max(PAGE_BYTES),
            // Not offered here: memory is taken with the first write, as it is everywhere else.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM) => break,
            Err(errno) => return Err(in_words(errno.into())),
        }
    }
    Ok(())
}

/// A memory file has no device of which space could be left.
pub(crate) fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull => io::Error::new(
            io::ErrorKind::OutOfMemory,
            "no memory is left for it: free some, or share less at a time",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::stat::fstat;

    use super::*;

    #[test]
    fn what_is_reserved_has_memory_and_nothing_else_has() {
        let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
        set_len(&file, 4 * STEP_BYTES).unwrap();
        reserve(&file, STEP_BYTES, STEP_BYTES + 4096).unwrap();
        assert_eq!(fstat(&file).unwrap().st_blocks as usize * 512, STEP_BYTES + 4096);
    }

    #[test]
    fn a_lack_of_memory_is_called_so() {
        let error = in_words(Errno::ENOSPC.into());
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(error.to_string().starts_with("no memory is left for it"), "{error}");
        assert_eq!(in_words(Errno::EIO.into()).raw_os_error(), Some(Errno::EIO as i32));
    }
}
