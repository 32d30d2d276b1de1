//! Calls [`init`](crate::init) before `main`, for plain `#[test]`s and for programs whose `main` is not theirs.
//!
//! Only with the feature of this name. In a worker the hook does not return, so nothing that the program does before
//! or in `main` happens there, except constructors that run earlier.

use std::panic::catch_unwind;

/// Runs before `main`, after the C library is ready.
#[ctor::ctor(unsafe)]
fn enter() {
    // No panic may leave a constructor.
    if catch_unwind(crate::init).is_err() {
        std::process::abort();
    }
}
