//! What a fork costs: the only `unsafe` of the benchmark.

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

/// Forks a process that ends at once, and reaps it.
pub(super) fn fork_and_reap() -> Result<(), Errno> {
    // SAFETY: the child calls nothing but `_exit`, which is allowed whatever other threads were doing.
    match unsafe { fork() }? {
        // SAFETY: as above; nothing of this process's is flushed or dropped twice.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    }
}
