//! What a worker says of the processor and the memory that items took, where it is asked to.

use super::cursor::{Cursor, WireError};

/// Bytes of a usage in a frame.
pub(super) const USAGE_BYTES: usize = 8 + 4;

/// What the worker and the processes it waited for used. All zero where nobody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of these items.
    pub(crate) cpu_ns: u64,
    /// The most memory that the worker has had so far, in KiB.
    pub(crate) peak_rss_kib: u32,
}

impl Usage {
    pub(super) fn to_bytes(self) -> [u8; USAGE_BYTES] {
        let mut bytes = [0; USAGE_BYTES];
        bytes[..8].copy_from_slice(&self.cpu_ns.to_le_bytes());
        bytes[8..].copy_from_slice(&self.peak_rss_kib.to_le_bytes());
        bytes
    }

    pub(super) fn take(cursor: &mut Cursor<'_>) -> Result<Usage, WireError> {
        Ok(Usage { cpu_ns: cursor.u64("processor time")?, peak_rss_kib: cursor.u32("peak memory")? })
    }
}
