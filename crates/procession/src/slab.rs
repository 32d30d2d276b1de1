//! Memory shared with workers for what does not fit a frame, warm from use to use: fresh pages cost more than copies.
//!
//! Arguments lie in the [`Arena`], one for a pool, which workers map read-only: the caller's thread encodes into a
//! block of it, the worker decodes from there, and nothing is copied in between. Results pass through a window, one
//! for each worker and of its size however large they are. This module must not know frames, channels or processes.

mod arena;
mod backing;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod memory;
mod window;

pub(crate) use arena::{Arena, ArenaReader, Block};
pub(crate) use window::{WindowReader, WindowWriter};
