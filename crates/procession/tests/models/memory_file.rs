//! Asking for memory, of which there always is some.

use std::io;
use std::os::fd::AsFd;

/// As the library's own.
pub(crate) fn reserve(_: impl AsFd, _: usize, _: usize) -> io::Result<()> {
    Ok(())
}
