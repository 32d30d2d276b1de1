//! Runs each test in a process of its own, with a time limit, and checks what it leaves behind: no zombie, no orphan,
//! no descriptor, no file, no shared memory. What must hold of outcomes is checked by [`Account`].
//!
//! ```ignore
//! procession_harness::cases! {
//!     fn a_pool_answers() {
//!         let pool = procession::Pool::new().unwrap();
//!         // …
//!     }
//! }
//! procession_harness::main!();
//! ```
//!
//! It knows nothing of what is tested.

mod account;
mod control_group;
mod gate;
mod hearing;
mod invariants;
mod part;
mod report;
mod runner;
mod tools;

pub use account::{Account, Blame, Fate, Start, Tally, Told};
pub use control_group::ControlGroup;
pub use gate::Gate;
pub use hearing::{Failure, hear, worst_report};
pub use invariants::{Descriptors, RUN_VARIABLE, check_orphans, check_process, processes_with};
pub use linkme;
pub use nix::sys::signal::Signal;
pub use part::{Part, start_part, start_part_of};
pub use report::{Report, repetitions};
pub use tools::{
    Ledger, alive, children, children_of, now, parent_of, send_signal, state_of, stop, wait_until,
};

/// One test.
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its body: it fails by panicking.
    pub run: fn(),
}

/// All tests of this binary, filled by [`cases!`].
#[linkme::distributed_slice]
pub static CASES: [Case];

/// All parts that processes of this binary play, filled by [`parts!`].
#[linkme::distributed_slice]
pub static PARTS: [Part];

/// Defines parts for processes that a test starts with [`start_part`].
#[macro_export]
macro_rules! parts {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$meta])*
            fn $name() {
                #[$crate::linkme::distributed_slice($crate::PARTS)]
                #[linkme(crate = $crate::linkme)]
                static PART: $crate::Part = $crate::Part { name: stringify!($name), play: $name };
                $body
            }
        )*
    };
}

/// Defines tests.
#[macro_export]
macro_rules! cases {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$meta])*
            fn $name() {
                #[$crate::linkme::distributed_slice($crate::CASES)]
                #[linkme(crate = $crate::linkme)]
                static CASE: $crate::Case = $crate::Case { name: stringify!($name), run: $name };
                $body
            }
        )*
    };
}

/// Defines the `main` of a test binary: the entry hook of workers, then the tests.
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            ::procession::init();
            $crate::run()
        }
    };
}

/// In a test's own process: says that it is skipped for want of something, which the runner repeats.
pub fn skip(need: &str) {
    eprintln!("{SKIPPED}{need}");
}

/// How a line begins that says that a test was skipped.
pub(crate) const SKIPPED: &str = "skipped: needs ";

/// Runs the tests the command line asks for; in a test's own process, that test.
pub fn run() -> std::process::ExitCode {
    part::play().unwrap_or_else(runner::run)
}
