//! How a value learns that it travels in this encoding and in no other: handles of shared memory mean nothing
//! outside it.
//!
//! Such a value is a newtype struct of one certain name. Both layers around bincode look at that name and leave a mark,
//! which the value's content takes away again. No other format leaves marks. This file must not know what such a value is.

use std::cell::Cell;

/// The name of the newtype struct around a value that asks.
pub(crate) const NAME: &str = "procession::codec::inside";

thread_local! {
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// A newtype struct of this name begins.
#[inline]
pub(super) fn announce(name: &str) {
    if name == NAME {
        MARKED.set(true);
    }
}

/// Whether the newtype struct that has just begun is within this encoding.
pub(crate) fn is_inside() -> bool {
    MARKED.replace(false)
}
