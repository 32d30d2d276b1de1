//! What a pool of processes cannot beat: the transport alone, the memory, the system's own ways to start processes.
//! Nothing here uses the pool.

#[expect(unsafe_code, reason = "forks, to see what that alone costs")]
mod fork;
pub(crate) mod ipc;
pub(crate) mod memory;
pub(crate) mod process;
