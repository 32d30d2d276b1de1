//! Arguments and results of many megabytes, alone and together, and workers that are killed while they travel.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{MsgFlags, send};
use procession::{ErrorKind, Pool, StartMethod};
use procession_harness::{Gate, Ledger, Signal, send_signal, wait_until};
use procession_tasks::faults::{self, echo};

use crate::descriptors::sockets;
use crate::scenes::{FOR_EVER, LIMIT, both, kinds, outcomes, wait_lines, wait_workers};
use crate::tasks::square;

const MIB: usize = 1 << 20;

/// Bytes that differ from their neighbours, and from those of another seed.
fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31) ^ (at >> 11) ^ seed) as u8).collect()
}

/// Notes its process; many bytes.
#[procession::task]
fn make_bytes(path: String, length: usize) -> Vec<u8> {
    Ledger::note(path, std::process::id());
    bytes(length, 1)
}

/// How many bytes it was given.
#[procession::task]
fn count_bytes(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Notes its start, and runs for ever; its argument only takes room.
#[procession::task]
fn note_and_hang(path: String, _bytes: Vec<u8>) {
    Ledger::note(path, std::process::id());
    faults::sleep(FOR_EVER);
}

/// Notes its start, and waits at the gate; how many bytes it was given.
#[procession::task]
fn length_at_gate(path: String, gate: String, bytes: Vec<u8>) -> usize {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    bytes.len()
}

/// Vectors and texts of many kinds in one argument.
#[procession::task]
fn echo_mixed(mixed: Mixed, _last: u32) -> Mixed {
    mixed
}

type Mixed = (Vec<f64>, Vec<Vec<u8>>, String, Option<Vec<i32>>);

/// A frame as ipc-channel sends it: the packet's length, the message's, the message.
fn send_frame(frame: &[u8]) {
    let header = [16 + frame.len(), frame.len()].map(usize::to_ne_bytes).concat();
    for socket in sockets() {
        // Not every socket is ours to write to.
        let _ = send(socket, &[&header, frame].concat(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
}

fn announce(total: u32) {
    let mut frame = vec![19]; // a large result
    frame.extend([0; 4 + 4 + 8 + 1]);
    frame.extend(total.to_le_bytes());
    frame.extend([0; 8 + 4]); // what it took
    send_frame(&frame);
}

fn piece(len: u32) {
    send_frame(&[&[23], len.to_le_bytes().as_slice()].concat());
}

/// Begins to send a large result, as the worker would, and then does not go on.
#[procession::task]
fn begin_result(how: String) {
    announce(if how == "claims 4 GiB" { u32::MAX } else { 64 << 20 });
    piece(1000);
    piece(0);
    piece(100_000);
    match how.as_str() {
        "dies" | "claims 4 GiB" => faults::kill_self(),
        "stops" => send_signal(std::process::id(), Signal::SIGSTOP),
        "long piece" => piece(u32::MAX),
        "past the end" => (0..1_000).for_each(|_| piece(100_000)),
        "another result" => announce(64 << 20),
        "no bytes" => announce(0),
        _ => panic!("no way to go on is named `{how}`"),
    }
    faults::sleep(FOR_EVER);
}

/// A line of `/proc/<pid>/status`, in bytes.
fn status_bytes(pid: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says so");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

procession_harness::cases! {
    fn a_result_for_which_there_is_no_memory_costs_its_item_alone() {
        let built: Vec<_> = [StartMethod::ForkServer, StartMethod::Spawn]
            .map(|method| Pool::builder().workers(1).start_method(method).build().unwrap())
            .into();
        let ledger = Ledger::new("ledger");
        for pool in &built {
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        }
        // The workers live already, and are not limited.
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let in_use: u64 = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
        let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
        setrlimit(Resource::RLIMIT_AS, in_use + 150 * MIB as u64, hard).unwrap();
        for pool in &built {
            let pids = pool.worker_pids();
            let large = pool.apply_async(make_bytes, (ledger.path(), 192 * MIB));
            let error = outcomes(vec![large]).remove(0).map(|bytes| bytes.len()).expect_err("there is no room for it");
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
            assert!(error.to_string().contains("no memory"), "{error}");
            let small = pool.apply_async(make_bytes, (ledger.path(), 2 * MIB));
            assert!(outcomes(vec![small]).remove(0).unwrap() == bytes(2 * MIB, 1));
            assert_eq!(pool.worker_pids(), pids, "it did nothing wrong");
        }
        // Not before: the addresses of one would be room for the other's result.
        for pool in built {
            pool.close().unwrap();
        }
    }

    fn sizes_around_every_boundary() {
        let pool = Pool::builder().workers(1).build().unwrap();
        // Where arguments leave the frame, results leave the page, a piece is full, the window is.
        for boundary in [32 << 10, 48 << 10, 128 << 10, 256 << 10, MIB, 2 * MIB, 4 * MIB] {
            // The encoding and its headers take some bytes.
            for length in (boundary - 64..=boundary + 64).step_by(if boundary > MIB { 32 } else { 1 }) {
                let value = bytes(length, boundary);
                assert!(pool.apply(echo, (value.clone(),)).unwrap() == value, "{length} bytes");
            }
        }
        pool.close().unwrap();
    }

    fn large_values_of_every_kind() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for count in [0, 1, 4_000, 4_096, 500_000] {
                let mixed: Mixed = (
                    (0..count).map(|x| f64::from(x) * 0.25).collect(),
                    (0..count.min(300)).map(|x| bytes(x as usize * 9, 3)).collect(),
                    "ü".repeat(count as usize),
                    (count % 2 == 0).then(|| (0..count).map(|x| -x).collect()),
                );
                assert!(pool.apply(echo_mixed, (mixed.clone(), 7)).unwrap() == mixed, "{count} of each");
            }
            pool.close().unwrap();
        });
    }

    fn more_than_the_arena_holds() {
        let pool = Pool::builder().workers(2).build().unwrap();
        assert_eq!(pool.apply(count_bytes, (vec![1; 300 * MIB],)).unwrap(), 300 * MIB);
        let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
        let sizes = || (0..14).map(|n| 25 * MIB + n);
        let handles = sizes()
            .map(|size| pool.apply_async(length_at_gate, (ledger.path(), gate.path(), vec![1; size])))
            .collect();
        wait_lines(&ledger, 2);
        gate.open();
        let lengths: Vec<_> = outcomes(handles).into_iter().map(Result::unwrap).collect();
        assert!(lengths.into_iter().eq(sizes()));
        pool.close().unwrap();
    }

    fn a_worker_is_killed_while_parts_of_its_argument_travel() {
        let pool = Pool::builder().workers(1).build().unwrap();
        for _ in 0..2 {
            let victim = wait_workers(&pool, 1)[0];
            let value = vec![3; 300 * MIB];
            let killer = std::thread::spawn(move || send_signal(victim, Signal::SIGKILL));
            let handle = pool.apply_async(echo, (value,));
            killer.join().unwrap();
            assert_eq!(outcomes(vec![handle]).remove(0).unwrap().len(), 300 * MIB);
        }
        pool.close().unwrap();
    }

    fn a_worker_that_stops_in_the_middle_of_a_large_result_costs_its_item() {
        for how in ["dies", "claims 4 GiB", "stops", "long piece", "past the end", "another result", "no bytes"] {
            both(2, |builder| {
                // A new one each time, as the result is said to be of a worker's first frame.
                let pool = builder.grace(Duration::from_millis(100)).build().unwrap();
                let expected = if how == "stops" { ErrorKind::TimedOut } else { ErrorKind::WorkerLost };
                let limit = if how == "stops" { Duration::from_millis(300) } else { LIMIT };
                let bad = pool.apply_async(begin_result.timeout(limit), (how.to_owned(),));
                let others = (0..4).map(|seed| pool.apply_async(echo, (bytes(5 * MIB, seed),))).collect();
                let small = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                assert_eq!(kinds(vec![bad]), [Err(expected)], "{how}");
                for (seed, value) in outcomes(others).into_iter().enumerate() {
                    assert!(value.unwrap() == bytes(5 * MIB, seed), "{how}");
                }
                assert_eq!(kinds(small), (0..50).map(|x| Ok(x * x)).collect::<Vec<_>>(), "{how}");
                pool.close().unwrap();
            });
        }
    }

    fn a_stopped_worker_is_ended_with_a_large_result_under_way() {
        let pool = Pool::builder().workers(2).grace(Duration::from_millis(100)).build().unwrap();
        for _ in 0..3 {
            let ledger = Ledger::new("ledger");
            let limited = make_bytes.timeout(Duration::from_millis(700));
            let handle = pool.apply_async(limited, (ledger.path(), 64 * MIB));
            let victim = wait_lines(&ledger, 1)[0].parse().unwrap();
            send_signal(victim, Signal::SIGSTOP);
            match outcomes(vec![handle]).remove(0) {
                // It was complete by then: the worker is stopped, and has no item that could be late.
                Ok(value) => {
                    assert!(value == bytes(64 * MIB, 1));
                    send_signal(victim, Signal::SIGCONT);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
            }
            assert_eq!(pool.apply(echo, (bytes(MIB, 2),)).unwrap(), bytes(MIB, 2));
        }
        pool.close().unwrap();
    }

    fn large_arguments_of_items_that_are_stopped() {
        both(2, |builder| {
            let pool = builder.grace(Duration::from_millis(100)).build().unwrap();
            for _ in 0..3 {
                let ledger = Ledger::new("ledger");
                let limited = note_and_hang.timeout(Duration::from_millis(300));
                let overdue = pool.apply_async(limited, (ledger.path(), bytes(20 * MIB, 1)));
                let unwanted = pool.apply_async(note_and_hang, (ledger.path(), bytes(20 * MIB, 2)));
                let queued: Vec<_> = (0..4).map(|seed| pool.apply_async(echo, (bytes(9 * MIB, seed),))).collect();
                // On a busy machine the first one's time may be up before it has read its arguments.
                assert!(wait_until(LIMIT, || ledger.lines().len() + usize::from(overdue.is_ready()) >= 2));
                assert!(unwanted.cancel());
                assert_eq!(kinds(vec![overdue, unwanted]), [Err(ErrorKind::TimedOut), Err(ErrorKind::Cancelled)]);
                for (seed, value) in outcomes(queued).into_iter().enumerate() {
                    assert!(value.unwrap() == bytes(9 * MIB, seed));
                }
            }
            pool.close().unwrap();
        });
    }

    fn crashes_in_the_middle_of_transfers_leave_nothing_behind() {
        let pool = Pool::builder().workers(1).build().unwrap();
        let mut round = |seed: usize| {
            let bad = pool.apply_async(begin_result, ("dies".to_owned(),));
            let value = bytes(200_000, seed);
            assert_eq!(kinds(vec![bad]), [Err(ErrorKind::WorkerLost)]);
            assert!(pool.apply(echo, (value.clone(),)).unwrap() == value);
        };
        round(0);
        let before = open_descriptors();
        (1..=200).for_each(&mut round);
        // The last dead worker's are closed when its threads are done with them.
        assert!(wait_until(LIMIT, || open_descriptors() <= before), "{before}, then {}", open_descriptors());
        pool.close().unwrap();
    }

    fn memory_of_large_values_is_given_back() {
        let pool = Pool::builder().workers(1).build().unwrap();
        let worker = wait_workers(&pool, 1)[0];
        let rest = 24 * MIB;
        for _ in 0..2 {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let value = bytes(100 * MIB, 1);
            let waiting = pool.apply_async(length_at_gate, (ledger.path(), gate.path(), value.clone()));
            wait_lines(&ledger, 1);
            assert!(status_bytes(std::process::id(), "RssShmem") > rest, "the argument is in the arena");
            gate.open();
            assert_eq!(kinds(vec![waiting]), [Ok(100 * MIB)]);
            assert!(pool.apply(echo, (value.clone(),)).unwrap() == value);
            drop(value);
            let given_back = wait_until(LIMIT, || {
                status_bytes(std::process::id(), "RssShmem") < rest && status_bytes(worker, "VmRSS") < rest
            });
            let left = [status_bytes(std::process::id(), "RssShmem"), status_bytes(worker, "VmRSS")];
            assert!(given_back, "{left:?} bytes are left");
        }
        pool.close().unwrap();
    }

    fn large_values_come_back_equal() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            // Around the sizes where a value no longer fits into one message, and far beyond.
            for length in [0, 1, 32 << 10, 47 << 10, 48 << 10, 49 << 10, 64 << 10, 65 << 10, MIB, 100 * MIB] {
                let value = bytes(length, 1);
                let came_back = pool.apply(echo, (value.clone(),)).unwrap();
                assert!(came_back == value, "{length} bytes");
            }
            pool.close().unwrap();
        });
    }

    fn many_large_values_at_once() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            let handles = (0..20).map(|seed| pool.apply_async(echo, (bytes(8 * MIB, seed),))).collect();
            let small: Vec<_> = (0..100).map(|x| pool.apply_async(square, (x,))).collect();
            for (seed, value) in outcomes(handles).into_iter().enumerate() {
                assert!(value.unwrap() == bytes(8 * MIB, seed), "value {seed}");
            }
            for (x, value) in (0..).zip(outcomes(small)) {
                assert_eq!(value.unwrap(), x * x);
            }
            let mapped = pool.imap(echo.chunk_size(5), (0..30).map(|seed| bytes((seed % 7) * 300_000, seed)));
            for (seed, value) in mapped.enumerate() {
                assert!(value.unwrap() == bytes((seed % 7) * 300_000, seed), "value {seed}");
            }
            pool.close().unwrap();
        });
    }

    fn a_worker_is_killed_while_its_argument_travels() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for _ in 0..5 {
                let victim = wait_workers(&pool, 1)[0];
                let value = bytes(40 * MIB, 1);
                let handle = pool.apply_async(echo, (value.clone(),));
                send_signal(victim, Signal::SIGKILL);
                // It had not begun, or may be run again: either way it has its value.
                let outcome = outcomes(vec![handle]).remove(0);
                assert!(outcome.unwrap() == value);
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
            pool.close().unwrap();
        });
    }

    fn a_worker_is_killed_while_its_result_travels() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            for _ in 0..5 {
                let ledger = Ledger::new("ledger");
                let bystanders: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                let handle = pool.apply_async(make_bytes, (ledger.path(), 40 * MIB));
                let victim = wait_lines(&ledger, 1)[0].parse().unwrap();
                if procession_harness::alive(victim) {
                    send_signal(victim, Signal::SIGKILL);
                }
                match outcomes(vec![handle]).remove(0) {
                    // The reply counts if it was complete.
                    Ok(value) => assert!(value == bytes(40 * MIB, 1)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WorkerLost, "{error}"),
                }
                for (x, value) in (0..).zip(outcomes(bystanders)) {
                    assert_eq!(value.unwrap(), x * x);
                }
                assert_eq!(ledger.lines().len(), 1);
            }
            pool.close().unwrap();
        });
    }

    fn cancelling_many_large_calls() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let handles: Vec<_> = (0..8).map(|seed| pool.apply_async(echo, (bytes(25 * MIB, seed),))).collect();
            let cancelled: Vec<bool> = handles.iter().map(|handle| handle.cancel()).collect();
            for (seed, outcome) in outcomes(handles).into_iter().enumerate() {
                match outcome {
                    Ok(value) => assert!(!cancelled[seed] && value == bytes(25 * MIB, seed)),
                    Err(error) => assert!(cancelled[seed] && error.kind() == ErrorKind::Cancelled, "{error}"),
                }
            }
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }
}
