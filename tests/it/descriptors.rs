//! Tasks that misuse what their process has: closed descriptors, garbage in channels, grandchildren. They harm their
//! own worker at most.

use std::process::Command;

use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{ForkResult, fork};
use procession::{ErrorKind, Pool};
use procession_harness::{Gate, Ledger, Signal, alive, send_signal, wait_until};

use crate::scenes::{LIMIT, both, counts, kinds, wait_lines, wait_workers};
use crate::tasks::{die, note, square};

/// The descriptors of this process that are sockets, from 3 on.
pub(crate) fn sockets() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            (number > 2 && target.to_string_lossy().starts_with("socket:")).then_some(number)
        })
        .collect()
}

/// Closes every descriptor but the standard streams.
#[procession::task]
fn close_everything() -> i64 {
    for number in 3..1024 {
        // Most of them are not open.
        let _ = nix::unistd::close(number);
    }
    1
}

/// Sends `bytes` through every descriptor but the standard streams.
#[procession::task]
fn send_everywhere(bytes: Vec<u8>) -> i64 {
    for number in sockets() {
        // Not every socket is connected, or ours to write to.
        let _ = send(number, &bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
    1
}

/// Notes its start; number 10 sends garbage and waits for what comes of it.
#[procession::task]
fn note_and_spoil(path: String, x: i64) -> i64 {
    Ledger::note(path, x);
    if x == 10 {
        send_everywhere(vec![0xff; 44]);
        std::thread::sleep(LIMIT);
    }
    x
}

/// Sends garbage until nobody takes any more.
#[procession::task]
fn flood_everything() -> i64 {
    for _ in 0..10_000 {
        send_everywhere(vec![0xff; 4096]);
    }
    1
}

/// Returns at once. Later, when nobody expects a word from it, it fills its channels with garbage and dies.
#[procession::task]
fn flood_when_idle(gate: String) -> i64 {
    std::thread::spawn(move || {
        Gate::pass(gate);
        for number in sockets() {
            while send(number, &[0xff; 4096], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok() {}
        }
        die("kill");
    });
    1
}

/// Starts a grandchild by executing another program, and notes it.
#[procession::task]
#[expect(clippy::zombie_processes, reason = "it is to outlive its call, and ends with its worker")]
fn start_program(path: String) -> i64 {
    let child = Command::new("sleep").arg("80").spawn().expect("`sleep` exists");
    Ledger::note(path, child.id());
    1
}

/// Forks a grandchild that keeps every descriptor open, and notes it.
#[procession::task]
fn fork_holder(path: String) -> i64 {
    // SAFETY: this process has one thread, so the child may do anything; it sleeps and leaves.
    match unsafe { fork() }.expect("the system has a process to spare") {
        ForkResult::Child => {
            std::thread::sleep(std::time::Duration::from_secs(80));
            std::process::abort();
        }
        ForkResult::Parent { child } => Ledger::note(path, child),
    }
    1
}

/// A misuse costs one call at most: its own, or, where its reply was complete, the one that its worker had begun by the
/// time the damage was seen, which may not be run again. All others have their values, and the pool goes on.
fn check(pool: &Pool, misuse: impl Fn(&Pool) -> procession::AsyncResult<i64>) {
    const ROUNDS: i64 = 4;
    let ledger = Ledger::new("others");
    let mut handles = Vec::new();
    let mut others = Vec::new();
    for round in 0..ROUNDS {
        others.extend((0..25).map(|x| pool.apply_async(note, (ledger.path(), round * 25 + x))));
        handles.push(misuse(pool));
    }
    let mut lost = 0;
    for kind in kinds(handles) {
        assert!(matches!(kind, Ok(1) | Err(ErrorKind::WorkerLost)), "{kind:?}");
        lost += i64::from(kind.is_err());
    }
    for (x, kind) in (0..).zip(kinds(others)) {
        assert!(kind == Ok(x) || kind == Err(ErrorKind::WorkerLost), "{x}: {kind:?}");
        lost += i64::from(kind.is_err());
    }
    assert!(lost <= ROUNDS, "{lost} calls were lost");
    let counts = counts(&ledger);
    assert!(counts.values().all(|starts| *starts == 1), "each was started once: {counts:?}");
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
}

fn grandchildren(ledger: &Ledger) -> Vec<u32> {
    ledger.lines().iter().map(|pid| pid.parse().expect("a process id")).collect()
}

procession_harness::cases! {
    fn a_task_closes_every_descriptor() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            check(&pool, |pool| pool.apply_async(close_everything, ()));
            pool.close().unwrap();
        });
    }

    fn a_task_sends_garbage() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let garbage: [&[u8]; 7] = [b"x", b"1234567", b"", &[0; 64], &[0xff; 64], b"GET / HTTP/1.1\r\n\r\n", &[7; 4096]];
            for bytes in garbage {
                check(&pool, |pool| pool.apply_async(send_everywhere, (bytes.to_vec(),)));
            }
            pool.close().unwrap();
        });
    }

    fn garbage_costs_nothing_that_ended_before_it_in_the_chunk() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("chunk");
            let items = (0..20).map(|x| (ledger.path(), x));
            let outcomes = pool.istarmap(note_and_spoil.chunk_size(20), items);
            for (x, outcome) in (0..).zip(outcomes) {
                match outcome {
                    Ok(value) => assert!(value == x && x != 10, "{x}: {value}"),
                    Err(error) => assert_eq!((x, error.kind()), (10, ErrorKind::WorkerLost), "{error}"),
                }
            }
            assert_eq!(ledger.lines().len(), 20, "each was started once");
            pool.close().unwrap();
        });
    }

    fn a_task_floods_its_channels() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            check(&pool, |pool| pool.apply_async(flood_everything, ()));
            pool.close().unwrap();
        });
    }

    /// While callers listen to the worker themselves, and none does just now.
    fn a_full_channel_that_nobody_listens_to_does_not_hold_up_the_supervisor() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let gate = Gate::new("gate");
            for x in 0..20 {
                assert_eq!(pool.apply(square, (x,)).unwrap(), x * x);
            }
            let worker = wait_workers(&pool, 1)[0];
            assert_eq!(pool.apply(flood_when_idle, (gate.path(),)).unwrap(), 1);
            gate.open();
            // No call may help: what is sent to the seat has its reader thread listen.
            let is_replaced = || pool.worker_pids().first().is_some_and(|pid| *pid != worker);
            assert!(wait_until(LIMIT, is_replaced), "the supervisor waits for ever");
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }

    fn grandchildren_go_with_their_worker() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for task in [start_program, fork_holder] {
                let ledger = Ledger::new("grandchildren");
                assert_eq!(pool.apply(task, (ledger.path(),)).unwrap(), 1);
                let child = grandchildren(&ledger)[0];
                assert!(alive(child), "it lives as long as its worker");
                let worker = pool.worker_pids()[0];
                send_signal(worker, Signal::SIGKILL);
                assert!(wait_until(LIMIT, || !alive(child)), "grandchild {child} lives on");
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
            pool.close().unwrap();
        });
    }

    fn grandchildren_that_hold_descriptors_do_not_hold_up_the_end() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("grandchildren");
            let handles = (0..4).map(|_| pool.apply_async(fork_holder, (ledger.path(),))).collect();
            assert_eq!(kinds(handles), [Ok(1); 4]);
            wait_lines(&ledger, 4);
            pool.close().unwrap();
            let left = || grandchildren(&ledger).into_iter().filter(|pid| alive(*pid)).collect::<Vec<_>>();
            assert!(wait_until(LIMIT, || left().is_empty()), "{:?} live on", left());
        });
    }
}
