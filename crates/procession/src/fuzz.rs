//! What hostile bytes are fed to: each function takes any bytes, and panics if something does not hold that must.
//!
//! No part of the interface: it exists only with the feature `fuzz`, for the targets in `fuzz/` of the repository, and
//! changes without notice. The tests feed the same functions from the corpora and from damaged copies of them.

mod frames;
mod script;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use script::Script;

/// As a frame in either direction, as the parts of a large one, as a report of a panic, and as what a dead worker left.
pub fn frame(bytes: &[u8]) {
    frames::check(bytes);
}

/// As the script of workers that send what they like, scribble on what they share and die when they like: every item
/// gets exactly one outcome all the same.
///
/// # Panics
/// If the program has no task, besides.
pub fn replies(bytes: &[u8]) {
    crate::driver::hostile::live(&mut Script::new(bytes));
}

/// As the script of a worker that scribbles on the page it shares with the master.
pub fn page(bytes: &[u8]) {
    crate::page::hostile::live(&mut Script::new(bytes));
}

/// As the script of a worker that scribbles on its window and announces pieces of any length.
pub fn window(bytes: &[u8]) {
    crate::slab::hostile::live(&mut Script::new(bytes));
}

/// As the encoding of a value, of a type that the first byte chooses.
pub fn codec(bytes: &[u8]) {
    values::check(bytes);
}
