//! The hand-offs between threads and processes, in every order that the memory model allows, by loom.
//!
//! The files compiled here are the library's own: only what they take from elsewhere is replaced. A model that finds
//! nothing wrong is worth little if it never could, so each protocol is also run with a part of it missing.

#[path = "../../src/slab/backing.rs"]
#[expect(dead_code, reason = "what only its own tests and other parts of the library use")]
mod backing;
#[path = "../../src/page/claims.rs"]
#[expect(dead_code, reason = "what only its own tests and other parts of the library use")]
mod claims;
#[path = "../../src/driver/intake.rs"]
#[expect(dead_code, reason = "what only its own tests and other parts of the library use")]
mod intake;
mod job;
mod memory;
mod memory_file;
mod models;
mod sync;
#[path = "../../src/slab/window.rs"]
#[expect(dead_code, reason = "what only its own tests and other parts of the library use")]
mod window;

// What the sources know as the crate `parking_lot` is `Mutex` below.
extern crate self as parking_lot;

pub(crate) use job::{CallOptions, Segment};
pub(crate) use sync::Mutex;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    models::hush_expected_failures();
    let trials = models::ALL.iter().map(|(name, model)| {
        Trial::test(*name, move || {
            model();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
