//! Programs that are no good hosts, and workers that libraries interfere with: F22, signals all the time; F32, somebody
//! else reaps the children.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use procession::WorkerExit;
use procession_harness::{Report, Signal};

use crate::deaths::{SEGV, segfault};
use crate::fault::Fault;
use crate::matrix::{REPORT_LIMIT, check_on, scenes};

static SEGFAULT: Fault = Fault::deadly(segfault, SEGV);

/// Whoever took the status knows it, and we do not.
static REAPED: Fault = Fault::deadly(segfault, &[WorkerExit::Signal(11), WorkerExit::Unknown]);

extern "C" fn do_nothing(_: libc::c_int) {}

/// Sets what becomes of a signal. Calls that it interrupts fail with EINTR.
fn handle(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers used here do nothing at all.
    unsafe { sigaction(signal, &action) }.expect("the signal can be handled");
}

/// A timer that sends SIGALRM to this process so often; never, if that is no time.
fn alarm_every(interval: Duration) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: interval.subsec_micros().into() };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` is valid for the call, and no old value is asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()) };
    assert_eq!(set, 0, "there is such a timer");
}

fn storm() {
    handle(Signal::SIGALRM, SigHandler::Handler(do_nothing));
    alarm_every(Duration::from_micros(700));
}

#[procession::task]
fn begin_storm() {
    storm();
}

procession_harness::cases! {
    fn f22_signals_all_the_time() {
        let mut report = Report::new("f22_signals_all_the_time");
        scenes(|builder, _| {
            // The pool's start is in the storm as well.
            storm();
            let pool = builder.initializer(begin_storm, ()).build().unwrap();
            check_on(&pool, "f01_segfault", &SEGFAULT, &mut report);
            pool.close().unwrap();
            drop(pool);
            alarm_every(Duration::ZERO);
        });
        report.finish(REPORT_LIMIT);
    }

    fn f32_children_that_are_ignored() {
        let mut report = Report::new("f32_children_that_are_ignored");
        handle(Signal::SIGCHLD, SigHandler::SigIgn);
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            check_on(&pool, "f01_segfault", &REAPED, &mut report);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f32_somebody_waits_for_any_child() {
        let mut report = Report::new("f32_somebody_waits_for_any_child");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)).is_err() {
                        thread::yield_now();
                    }
                }
            });
            scenes(|builder, _| {
                let pool = builder.build().unwrap();
                check_on(&pool, "f01_segfault", &REAPED, &mut report);
                pool.close().unwrap();
            });
            is_over.store(true, Ordering::Release);
        });
        report.finish(REPORT_LIMIT);
    }
}
