//! Items that end their process: F1 to F6, F8 in a destructor, F9, F10, F16.

use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, fork, setsid};
use procession::{ErrorKind, WorkerExit};
use procession_harness::{Blame, Fate, Signal};
use procession_tasks::faults;

use crate::fault::{ANY, Again, Fault};

/// An item that is to be ended runs for this long if it is not.
pub(crate) const FOR_EVER: f64 = 80.0;

/// Long enough that nothing else is as late, on a busy machine.
const ITEM_LIMIT: Duration = Duration::from_millis(400);

pub(crate) const SEGV: &[WorkerExit] = &[WorkerExit::Signal(11)];
const ABORT: &[WorkerExit] = &[WorkerExit::Signal(6)];
pub(crate) const KILL: &[WorkerExit] = &[WorkerExit::Signal(9)];

const fn endless(commit: fn()) -> Fault {
    let timed_out = Blame { kind: ErrorKind::TimedOut, exits: ANY, words: "400ms" };
    Fault {
        again: Again::Never,
        limit: Some(ITEM_LIMIT),
        is_slow: true,
        ..Fault::told(commit, Fate::Fails(timed_out))
    }
}

pub(crate) fn segfault() {
    faults::segv();
}

fn abort() {
    faults::abort();
}

fn panic() {
    faults::panic();
}

fn kill_self() {
    faults::kill_self();
}

fn leave(status: i32) {
    // SAFETY: it ends the process at once, which is the purpose.
    unsafe { libc::_exit(status) }
}

/// Takes memory until there is no more of it, under a limit of its own.
fn exhaust_memory() {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).expect("there is such a limit");
    setrlimit(Resource::RLIMIT_AS, pages * 4096 + (64 << 20), hard).expect("it may be lowered");
    faults::leak(1 << 30);
}

/// Dies when it is dropped, as a value may that a broken library keeps.
struct DeadlyToDrop;

impl Drop for DeadlyToDrop {
    fn drop(&mut self) {
        faults::segv();
    }
}

fn ignore_term_and_loop() {
    let mut terminate = SigSet::empty();
    terminate.add(Signal::SIGTERM);
    terminate.thread_block().expect("a signal can be blocked");
    faults::spin(FOR_EVER);
}

/// Leaves a process behind that has executed another program.
#[expect(clippy::zombie_processes, reason = "it ends with its worker, as this task is to show")]
fn leave_program_and_die() {
    Command::new("sleep").arg("80").spawn().expect("`sleep` exists");
    faults::segv();
}

/// Leaves a copy of itself behind, which holds all its descriptors open.
fn leave_copy_and_die() {
    // SAFETY: this process has one thread, so the child may do anything; it sleeps and leaves.
    if let ForkResult::Child = unsafe { fork() }.expect("the system has a process to spare") {
        faults::sleep(FOR_EVER);
        leave(0);
    }
    faults::segv();
}

/// As [`leave_copy_and_die`], but the copy is in a group of its own, so it outlives its worker for a while.
fn leave_stranger_and_die() {
    // SAFETY: as above.
    if let ForkResult::Child = unsafe { fork() }.expect("the system has a process to spare") {
        setsid().expect("it leads no group yet");
        faults::sleep(0.3);
        leave(0);
    }
    faults::segv();
}

crate::matrix! {
    f01_segfault = Fault::deadly(segfault, SEGV);
    f02_abort = Fault::deadly(abort, ABORT);
    /// The worker lives, and what fails once is not run again.
    f03_panic = Fault {
        again: Again::Never,
        ..Fault::told(
            panic,
            Fate::Fails(Blame { kind: ErrorKind::Panicked, exits: ANY, words: "on purpose" }),
        )
    };
    f04_kill_self = Fault::deadly(kill_self, KILL);
    f05_exit_0 = Fault::deadly(|| leave(0), &[WorkerExit::Code(0)]);
    f06_exit_1 = Fault::deadly(|| leave(1), &[WorkerExit::Code(1)]);
    f08_death_in_a_destructor = Fault::deadly(|| drop(DeadlyToDrop), SEGV);
    /// The allocation that was refused proves it.
    f09_memory_limit = Fault::told(
        exhaust_memory,
        Fate::Fails(Blame { kind: ErrorKind::OutOfMemory, exits: ABORT, words: "refused" }),
    );
    f10_endless_loop = endless(|| _ = faults::spin(FOR_EVER));
    f10_endless_loop_that_ignores_term = endless(ignore_term_and_loop);
    f16_grandchild_of_another_program = Fault::deadly(leave_program_and_die, SEGV);
    f16_grandchild_with_all_descriptors = Fault::deadly(leave_copy_and_die, SEGV);
    f16_grandchild_in_a_session_of_its_own = Fault::deadly(leave_stranger_and_die, SEGV);
}
