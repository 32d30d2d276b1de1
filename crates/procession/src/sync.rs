//! The atomics of the protocols between threads and processes that are too subtle to be only tested.
//!
//! Files that take their atomics from here are compiled a second time by `tests/models`, against atomics that try every
//! order that the memory model allows.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};
