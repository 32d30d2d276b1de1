//! Shared slices: read in place by every worker, whatever becomes of workers, calls and handles.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession::{ErrorKind, Payload, Pool, Shared, StreamOptions};
use procession_harness::{Gate, Ledger, Signal, send_signal, wait_until};
use procession_tasks::faults;
use serde::de::Deserializer;
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::scenes::{FOR_EVER, LIMIT, both, each, kinds, mapped, mapped_here, mapped_in, wait_lines};
use crate::tasks::{own_pid, square};

/// The process, where the table lies in it, and its sum.
#[procession::task]
fn read(table: Shared<u64>) -> (u32, usize, u64) {
    (std::process::id(), table.as_ptr().addr(), table.iter().sum())
}

/// As [`read`], at the gate.
#[procession::task]
fn read_at_gate(table: Shared<u64>, path: String, gate: String) -> u64 {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    table.iter().sum()
}

/// Dies at the first attempt, reads the table at the second.
#[procession::task(idempotent)]
fn read_after_death(table: Shared<u64>) -> u64 {
    if procession::current().expect("this is a task").attempt() == 1 {
        faults::kill_self();
    }
    table.iter().sum()
}

/// Dies for some.
#[procession::task]
fn read_or_die(table: Shared<u64>, x: u64) -> u64 {
    if x % 20 == 7 {
        faults::segv();
    }
    table[x as usize]
}

#[procession::task]
fn read_too_long(table: Shared<u64>) -> u64 {
    faults::sleep(FOR_EVER);
    table[0]
}

#[procession::task]
fn give_back(table: Shared<u64>) -> Shared<u64> {
    table
}

/// Writes through a pointer that it has no right to write to.
#[procession::task]
fn write(table: Shared<u64>) -> u64 {
    let first = table.as_ptr().cast_mut();
    // SAFETY: none. It is to be seen that the system refuses it.
    unsafe { first.write_volatile(13) };
    table[0]
}

#[derive(Serialize, Deserialize)]
struct Rows {
    table: Option<Shared<[f32; 3]>>,
    more: Vec<(u8, Shared<u8>)>,
}

#[procession::task]
fn read_rows(rows: Rows) -> (f32, Vec<usize>) {
    let table = rows.table.expect("a table");
    (table.iter().flatten().sum(), rows.more.iter().map(|(_, more)| more.len()).collect())
}

#[procession::task]
fn read_bytes(table: Shared<u8>) -> usize {
    table.len()
}

/// Reads with a pool of its own.
#[procession::task]
fn read_below(table: Shared<u64>) -> u64 {
    let pool = Pool::builder().workers(1).build().expect("a pool in a worker");
    let (_, _, sum) = pool.apply(read, (table,)).expect("a value");
    pool.close().expect("the pool is whole");
    sum
}

/// Shares with a pool of its own, and would have the result outlive it.
#[procession::task]
fn share_below() -> Shared<u64> {
    let pool = Pool::builder().workers(1).lazy_start(true).build().expect("a pool in a worker");
    pool.share(&[1, 2, 3]).expect("memory")
}

#[procession::task]
fn keep(table: Shared<u64>) {
    procession::set_worker_state(table);
}

/// What [`keep`] left.
#[procession::task]
fn kept() -> Shared<u64> {
    procession::worker_state::<Shared<u64>>().expect("the initializer left it").clone()
}

#[procession::task]
fn read_halves(table: Shared<u32>) -> usize {
    table.len()
}

#[procession::task]
fn read_kept() -> u64 {
    procession::worker_state::<Shared<u64>>().expect("the initializer left it").iter().sum()
}

/// A worker's answer that claims to be a handle.
struct Claimed {
    bytes: Vec<u8>,
    found: Option<Shared<u64>>,
}

impl Serialize for Claimed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.bytes.len())?;
        for byte in &self.bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Claimed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Claimed, D::Error> {
        Ok(Claimed { bytes: Vec::new(), found: Some(Shared::deserialize(deserializer)?) })
    }
}

#[procession::task]
fn claim(bytes: Vec<u8>) -> Claimed {
    Claimed { bytes, found: None }
}

const TABLE: [u64; 200] = {
    let mut table = [0; 200];
    let mut at = 0;
    while at < 200 {
        table[at] = at as u64;
        at += 1;
    }
    table
};
const SUM: u64 = 199 * 100;

/// The bytes of a handle: the worker must have been started with [`keep`].
fn token(pool: &Pool) -> Vec<u8> {
    let mut results = pool.stream(kept.info(), [Payload::new()], StreamOptions::default());
    results.next().expect("one outcome").1.expect("a value").into_bytes()
}

/// The descriptors of this process that are shared data.
fn descriptors() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let is_shared = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().contains("procession-shared"))
    };
    entries.filter(|entry| entry.as_ref().is_ok_and(is_shared)).count()
}

/// No handle is left, so nothing is mapped, neither here nor, once it has taken its next item, in the worker.
fn check_given_back(pool: &Pool) {
    assert_eq!((descriptors(), mapped_here()), (0, 0));
    assert_eq!(pool.workers(), 1, "the next item is that of the only worker");
    assert_eq!(pool.apply(mapped, ()).unwrap(), 0);
}

procession_harness::cases! {
    fn a_shared_slice_is_read_in_place() {
        each(2, |builder| {
            let pool = builder.build().unwrap();
            let table = pool.share(&TABLE).unwrap();
            let reads = pool.map(read.chunk_size(3), (0..100).map(|_| table.clone())).unwrap();
            assert!(reads.iter().all(|&(_, _, sum)| sum == SUM));
            let workers: BTreeSet<u32> = reads.iter().map(|&(pid, _, _)| pid).collect();
            let places: BTreeSet<(u32, usize)> = reads.iter().map(|&(pid, at, _)| (pid, at)).collect();
            assert_eq!(places.len(), workers.len(), "one place in each worker: {places:?}");
            assert!(pool.starmap(mapped.chunk_size(1), (0..20).map(|_| ())).unwrap().iter().all(|&count| count <= 1));
            pool.close().unwrap();
        });
    }
    fn a_slice_may_be_empty_or_nested() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.apply(read_bytes, (pool.share(&[]).unwrap(),)).unwrap(), 0);
            let bytes = pool.share(&[7_u8; 5]).unwrap();
            let table = pool.share(&[[0.5_f32, 1.0, 1.5], [1.0; 3]]).unwrap();
            let more = vec![(1, bytes.clone()), (2, pool.share(&[]).unwrap()), (3, bytes)];
            let rows = Rows { table: Some(table), more };
            assert_eq!(pool.apply(read_rows, (rows,)).unwrap(), (6.0, vec![5, 0, 5]));
            check_given_back(&pool);
            pool.close().unwrap();
        });
    }

    fn an_item_keeps_what_its_arguments_name() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            // One handle a call, and none is left here when the call begins to run.
            let one = || pool.share(&TABLE).unwrap();
            let held = pool.apply_async(read_at_gate, (one(), ledger.path(), gate.path()));
            wait_lines(&ledger, 1);
            let queued = pool.apply_async(read, (one(),));
            let mapped_later = pool.map_async(read, (0..10).map(|_| one()));
            let again = pool.apply_async(read_after_death, (one(),));
            assert_eq!(descriptors(), 13);
            gate.open();
            assert_eq!(held.get().unwrap(), SUM);
            assert_eq!(queued.get().unwrap().2, SUM);
            assert!(mapped_later.get().unwrap().iter().all(|&(_, _, sum)| sum == SUM));
            assert_eq!(again.get().unwrap(), SUM);
            assert!(pool.imap(read, (0..300).map(|_| one())).all(|outcome| outcome.unwrap().2 == SUM));
            assert_eq!(pool.imap_unordered(read, (0..300).map(|_| one())).filter(Result::is_ok).count(), 300);
            check_given_back(&pool);
            // A handle that is dropped without its result loses the result, not the work.
            drop(pool.apply_async(read_at_gate, (one(), ledger.path(), gate.path())));
            let mut stream = pool.imap(read.buffer(3), (0..).map(|_| one()));
            assert_eq!(stream.next().unwrap().unwrap().2, SUM);
            drop(stream);
            wait_lines(&ledger, 2);
            assert!(wait_until(LIMIT, || descriptors() == 0), "{} are kept", descriptors());
            check_given_back(&pool);
            pool.close().unwrap();
        });
    }

    fn a_task_can_return_what_it_was_given() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            let one = || pool.share(&TABLE).unwrap();
            let table = one();
            assert_eq!(pool.apply(give_back, (table.clone(),)).unwrap().as_ptr(), table.as_ptr());
            drop(table);
            assert_eq!(*pool.apply(give_back, (one(),)).unwrap(), TABLE);
            assert!(pool.map_async(give_back, (0..10).map(|_| one())).get().unwrap().iter().all(|table| **table == TABLE));
            assert!(pool.map(give_back, (0..300).map(|_| one())).unwrap().iter().all(|table| **table == TABLE));
            assert!(pool.imap_unordered(give_back, (0..300).map(|_| one())).all(|table| *table.unwrap() == TABLE));
            check_given_back(&pool);
            pool.close().unwrap();
        });
    }

    /// A worker that fell idle before the last handle went waits for its next item, so there are several tries.
    fn an_idle_worker_lets_go_of_what_is_retired() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let released = (0..5).any(|_| {
                let (worker, _, _) = pool.apply(read, (pool.share(&TABLE).unwrap(),)).unwrap();
                wait_until(LIMIT / 5, || mapped_in(&worker.to_string()) == 0)
            });
            assert!(released);
            pool.close().unwrap();
        });
    }

    fn a_thousand_slices_come_and_go() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            for x in 0..1000 {
                let table = pool.share(&[x, x, x]).unwrap();
                assert_eq!(pool.apply(read, (table,)).unwrap().2, 3 * x);
                assert_eq!((descriptors(), mapped_here()), (0, 0));
            }
            assert!(pool.apply(mapped, ()).unwrap() == 0);
            pool.close().unwrap();
        });
    }

    fn more_slices_than_a_low_limit_has_descriptors() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(hard >= 512, "too low to test anything");
        let pool = Pool::builder().workers(1).build().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
        let tables: Vec<_> = (0..300).map(|x| pool.share(&[x]).unwrap()).collect();
        assert_eq!(pool.map(read, tables.clone()).unwrap().iter().map(|&(_, _, sum)| sum).sum::<u64>(), 299 * 150);
        assert_eq!(pool.apply(faults::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
        assert_eq!(pool.apply(square, (3,)).unwrap(), 9, "the pool has descriptors left for a replacement");
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        drop(tables);
        let mut tables = Vec::new();
        let error = loop {
            match pool.share(&[0_u8]) {
                Ok(table) => tables.push(table),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Share, "{error}");
        assert!(error.to_string().contains("descriptor"), "{error}");
        drop(tables);
        pool.close().unwrap();
    }

    fn a_slice_beyond_the_limit_of_files_is_refused() {
        let pool = Pool::builder().workers(1).build().unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
        assert_eq!(pool.share(&[0_u8; 1000]).unwrap().len(), 1000);
        let error = pool.share(&vec![0_u8; 2 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Share, "{error}");
        assert!(error.to_string().contains("ulimit -f"), "{error}");
        pool.close().unwrap();
    }

    fn workers_that_die_cost_their_item_only() {
        each(2, |builder| {
            let pool = builder.build().unwrap();
            let table = pool.share(&TABLE).unwrap();
            let items = (0..200).map(|x| (table.clone(), x));
            for (x, outcome) in (0..).zip(pool.istarmap(read_or_die.chunk_size(30), items)) {
                match outcome {
                    Ok(value) => assert_eq!((value, x % 20 == 7), (x, false)),
                    Err(error) => assert_eq!((error.kind(), x % 20), (ErrorKind::WorkerLost, 7), "{error}"),
                }
            }
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let held = pool.apply_async(read_at_gate, (table.clone(), ledger.path(), gate.path()));
            let others = pool.map_async(read, (0..50).map(|_| table.clone()));
            send_signal(wait_lines(&ledger, 1)[0].parse().unwrap(), Signal::SIGKILL);
            assert_eq!(kinds(vec![held]), [Err(ErrorKind::WorkerLost)]);
            assert!(others.get().unwrap().iter().all(|&(_, _, sum)| sum == SUM));
            pool.close().unwrap();
        });
    }

    fn time_limits_and_cancelling_give_back() {
        each(1, |builder| {
            let pool = builder.grace(Duration::from_millis(50)).build().unwrap();
            let one = || (pool.share(&TABLE).unwrap(),);
            let late = pool.apply(read_too_long.timeout(Duration::from_millis(100)), one()).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let running = pool.apply_async(read_at_gate, (one().0, ledger.path(), gate.path()));
            let queued = pool.apply_async(read, one());
            wait_lines(&ledger, 1);
            assert!(queued.cancel() && running.cancel());
            assert_eq!(queued.get().unwrap_err().kind(), ErrorKind::Cancelled);
            assert_eq!(kinds(vec![running]), [Err(ErrorKind::Cancelled)]);
            assert_eq!(pool.apply(read, one()).unwrap().2, SUM);
            check_given_back(&pool);
            let never = pool.apply_async(read_too_long, one());
            pool.terminate();
            assert_eq!(kinds(vec![never]), [Err(ErrorKind::Terminated)]);
            pool.join(Some(LIMIT)).unwrap();
            assert_eq!((descriptors(), mapped_here()), (0, 0));
        });
    }

    fn nobody_can_write() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            let table = pool.share(&TABLE).unwrap();
            let error = pool.apply(write, (table.clone(),)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WorkerLost, "{error}");
            assert!(error.to_string().contains("SIGSEGV"), "{error}");
            assert_eq!(*table, TABLE);
            assert_eq!(pool.apply(read, (table,)).unwrap().2, SUM);
            pool.close().unwrap();
        });
    }

    fn other_pools_can_read_it_too() {
        let maker = Pool::builder().workers(1).build().unwrap();
        let table = maker.share(&TABLE).unwrap();
        let reader = Pool::builder().workers(1).build().unwrap();
        assert_eq!(reader.apply(read, (table.clone(),)).unwrap().2, SUM);
        maker.close().unwrap();
        drop(maker);
        assert_eq!(reader.apply(read, (table.clone(),)).unwrap().2, SUM, "a slice outlives its pool");
        assert_eq!(reader.apply(read_below, (table,)).unwrap(), SUM, "a pool in a worker");
        let error = reader.apply(share_below, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
        reader.close().unwrap();
    }

    fn initializers_get_it_in_every_worker() {
        let maker = Pool::builder().workers(1).lazy_start(true).build().unwrap();
        for method in [procession::StartMethod::ForkServer, procession::StartMethod::Spawn] {
            let builder = Pool::builder().workers(1).start_method(method);
            // The only handle goes with the builder.
            let pool = builder.initializer(keep, (maker.share(&TABLE).unwrap(),)).build().unwrap();
            assert_eq!(pool.apply(read_kept, ()).unwrap(), SUM);
            assert_eq!(pool.apply(faults::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(pool.apply(read_kept, ()).unwrap(), SUM, "in the replacement too");
            pool.close().unwrap();
            drop(pool);
            assert_eq!((descriptors(), mapped_here()), (0, 0));
        }
        maker.close().unwrap();
    }

    fn what_a_handle_claims_is_checked() {
        let maker = Pool::builder().workers(1).lazy_start(true).build().unwrap();
        let table = maker.share(&TABLE).unwrap();
        let pool = Pool::builder().workers(1).initializer(keep, (table.clone(),)).build().unwrap();
        let token = token(&pool);
        // By the worker:
        let outcome = |task: &'static procession::TaskInfo, bytes: &[u8]| {
            let payload = Payload::from(bytes.to_vec());
            pool.stream(task, [payload], StreamOptions::default()).next().expect("one outcome").1
        };
        assert!(outcome(read.info(), &token).is_ok());
        let error = outcome(read_halves.info(), &token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("elements have 8 bytes each, and 4 are expected"), "{error}");
        let broken = |at: usize| {
            let mut bytes = token.clone();
            bytes[at] ^= 0x41;
            bytes
        };
        for at in 0..token.len() {
            assert_eq!(outcome(read.info(), &broken(at)).unwrap_err().kind(), ErrorKind::Decode, "byte {at}");
            assert_eq!(outcome(read.info(), &token[..at]).unwrap_err().kind(), ErrorKind::Decode, "{at} bytes");
        }
        // By the master:
        let honest = pool.apply(claim, (token.clone(),)).unwrap();
        assert_eq!(honest.found.expect("a handle").as_ptr(), table.as_ptr());
        for at in 0..token.len() {
            for bytes in [broken(at), token[..at].to_vec()] {
                assert_eq!(pool.apply(claim, (bytes,)).err().map(|error| error.kind()), Some(ErrorKind::Decode));
            }
        }
        drop((table, pool));
        assert_eq!((descriptors(), mapped_here()), (0, 0));
        let pool = Pool::builder().workers(1).build().unwrap();
        let late = pool.apply(claim, (token.clone(),)).err().expect("nothing has that name any more");
        assert_eq!(late.kind(), ErrorKind::Decode, "{late}");
        let payload = Payload::from(token);
        let late = pool.stream(read.info(), [payload], StreamOptions::default()).next().unwrap().1.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Decode, "{late}");
        assert!(late.to_string().contains("/proc"), "{late}");
        assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        assert_ne!(pool.apply(own_pid, ()).unwrap(), std::process::id());
        pool.close().unwrap();
        maker.close().unwrap();
    }
}
