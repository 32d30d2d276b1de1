//! How large a memory file may be. It must not know what is in one.

use std::io;
use std::os::fd::AsFd;

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
