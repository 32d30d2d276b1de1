//! Every way a worker ends, and what is known of it afterwards.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::pidfd::{self, readable_within};
use super::super::{Launcher, StartMethod, WorkerExit};
use super::seat::{LIMIT, Worker, settings};
use super::tasks;

const EXECUTED: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

#[test]
fn each_end_is_told_apart_and_the_seat_is_filled_again() {
    for method in EXECUTED {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        for (how, expected) in [
            ("abort", WorkerExit::Signal(6)),
            ("exit 3", WorkerExit::Code(3)),
            ("raise SIGSEGV", WorkerExit::Signal(11)),
            ("kill self", WorkerExit::Signal(9)),
            ("wild write", WorkerExit::Signal(11)),
            ("close everything", WorkerExit::Code(77)),
        ] {
            let mut worker = Worker::ready(&mut launcher, 0);
            worker.send(tasks::end, &(how,));
            let exit = worker.exit(&mut launcher);
            assert_eq!(exit.status, expected, "{method:?}: {how}");
            assert!(exit.cpu.is_some());
            if method == StartMethod::ForkServer {
                assert!(exit.max_rss.is_some_and(|bytes| bytes > 1 << 18), "{exit:?}");
            }
            assert_eq!(worker.launched.page.claimed(2), Some(1), "{how}: the running item is known");
        }
    }
}

#[test]
fn a_stack_overflow_ends_the_worker() {
    let mut launcher = Launcher::new(settings(StartMethod::ForkServer)).unwrap();
    let mut worker = Worker::ready(&mut launcher, 0);
    worker.send(tasks::end, &("overflow",));
    let status = worker.exit(&mut launcher).status;
    // SIGABRT where Rust's handler reports it; SIGSEGV before `main`, where there is none.
    assert!(matches!(status, WorkerExit::Signal(6 | 11)), "{status}");
}

#[test]
fn a_signal_from_outside_ends_an_idle_worker() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGBUS] {
        let mut launcher = Launcher::new(settings(StartMethod::ForkServer)).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        worker.launched.process.signal(signal);
        assert_eq!(worker.exit(&mut launcher).status, WorkerExit::Signal(signal as i32));
        // All gone: signalling again reaches nobody and harms nobody.
        worker.launched.process.signal(signal);
    }
}

#[test]
fn grandchildren_go_with_the_worker() {
    for method in EXECUTED {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        let grandchild: u32 = worker.run(tasks::start_grandchild, &());
        let grandchild = pidfd::open(nix::unistd::Pid::from_raw(grandchild as i32)).unwrap();
        assert!(!readable_within(&grandchild, Duration::ZERO), "it lives");
        worker.send(tasks::end, &("exit 3",));
        assert_eq!(worker.exit(&mut launcher).status, WorkerExit::Code(3));
        assert!(readable_within(&grandchild, LIMIT), "it is gone");
    }
}

#[test]
fn a_killed_zygote_takes_its_workers_along_and_is_replaced() {
    let mut launcher = Launcher::new(settings(StartMethod::ForkServer)).unwrap();
    let mut worker = Worker::ready(&mut launcher, 0);
    let zygote = launcher.zygote_pid().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(zygote as i32), Signal::SIGKILL).unwrap();
    assert_eq!(worker.exit(&mut launcher).status, WorkerExit::Unknown);
    let mut worker = Worker::ready(&mut launcher, 0);
    assert_ne!(launcher.zygote_pid(), Some(zygote));
    assert_eq!(worker.run::<_, i64>(tasks::double, &(21_i64,)), 42);
}

#[test]
fn dropping_the_launcher_ends_what_is_left() {
    let mut launcher = Launcher::new(settings(StartMethod::ForkServer)).unwrap();
    let worker = Worker::ready(&mut launcher, 0);
    drop(launcher);
    assert!(readable_within(&worker.launched.process, LIMIT));
}
