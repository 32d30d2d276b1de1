//! Preloads: run once, their memory seen by every worker; a preload that fails is an error, and nothing waits for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use procession::{ErrorKind, Pool, Shared, StartMethod, set_worker_state, worker_state};
use procession_harness::{Gate, Ledger, Signal, parent_of, send_signal, wait_until};
use procession_tasks::faults;

use crate::scenes::{FOR_EVER, LIMIT, each, kinds, mapped_here};
use crate::tasks::square;

struct Table(Vec<u64>);

/// Notes its process and leaves a table.
#[procession::task]
fn load(path: String, entries: u64) {
    Ledger::note(path, std::process::id());
    set_worker_state(Table((0..entries).collect()));
}

/// The process, where the table lies in it, and an entry.
#[procession::task]
fn entry(at: usize) -> (u32, usize, u64) {
    let table = worker_state::<Table>().expect("the preload left it");
    (std::process::id(), table.0.as_ptr().addr(), table.0[at])
}

/// Notes its process, then fails as it is told.
#[procession::task]
fn fail(path: String, how: String) -> Result<(), String> {
    Ledger::note(path, std::process::id());
    match how.as_str() {
        "error" => return Err("the table is not there".to_owned()),
        "long error" => return Err("ä".repeat(100_000)),
        "panic" => panic!("the table is damaged"),
        "exit" => faults::exit(3),
        "exit, and leave a child" => {
            drop(std::process::Command::new("sleep").arg("80").spawn());
            faults::exit(4);
        }
        "abort" => faults::abort(),
        "hang" => drop(faults::sleep(FOR_EVER)),
        "thread" => drop(std::thread::spawn(|| faults::sleep(FOR_EVER))),
        _ => {}
    }
    Ok(())
}

/// Leaves a table at its first run, and fails as it is told from then on.
#[procession::task]
fn load_once(path: String, how: String) -> Result<(), String> {
    let runs = std::fs::read_to_string(&path).map_err(|error| error.to_string())?.lines().count();
    if runs == 0 {
        load(path, 10);
        return Ok(());
    }
    fail(path, how)
}

/// Leaves a table at its first run; from then on only once the gate is open.
#[procession::task]
fn load_again_when_open(path: String, gate: String) {
    Ledger::note(&path, "begun");
    if std::fs::read_to_string(&path).is_ok_and(|runs| runs.lines().count() > 1) {
        Gate::pass(gate);
    }
    set_worker_state(Table((0..10).collect()));
}

#[procession::task]
fn note_and_wait(path: String) {
    Ledger::note(path, "begun");
    faults::sleep(FOR_EVER);
}

/// An initializer that builds on what the preload left.
#[procession::task]
fn double() {
    let table = worker_state::<Table>().expect("the preload ran first");
    set_worker_state(Table(table.0.iter().map(|found| 2 * found).collect()));
}

#[procession::task]
fn keep(table: Shared<u64>) {
    set_worker_state(Table(table.to_vec()));
    set_worker_state(table);
}

#[procession::task]
fn sums() -> (u64, u64) {
    let table = worker_state::<Shared<u64>>().expect("the preload left it");
    (table.iter().sum(), worker_state::<Table>().expect("the preload left it").0.iter().sum())
}

const FORKED: [StartMethod; 2] = [StartMethod::Fork, StartMethod::ForkServer];

/// The process that the workers are forked from.
fn server_of(pool: &Pool) -> u32 {
    parent_of(pool.worker_pids()[0]).expect("the worker is alive")
}

/// Kills it, and waits until all workers are forked from another: one of the old may answer before its end reaches it.
fn replace_server(pool: &Pool) {
    let old = pool.worker_pids();
    send_signal(server_of(pool), Signal::SIGKILL);
    let is_new = || {
        let now = pool.worker_pids();
        !now.is_empty() && now.iter().all(|pid| !old.contains(pid))
    };
    assert!(wait_until(LIMIT, is_new), "{old:?} are to be replaced: {:?}", pool.worker_pids());
}

procession_harness::cases! {
    fn a_preload_runs_once_for_all_workers() {
        for method in FORKED {
            let ledger = Ledger::new("ledger");
            let pool = Pool::builder().workers(3).start_method(method).preload(load, (ledger.path(), 5000)).build().unwrap();
            let entries = pool.map(entry.chunk_size(1), (0..100).map(|at| at * 7)).unwrap();
            assert!((0..).zip(&entries).all(|(at, found)| found.2 == at * 7));
            let places: BTreeSet<usize> = entries.iter().map(|found| found.1).collect();
            assert_eq!(places.len(), 1, "the very same memory");
            assert_eq!(pool.apply(faults::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(pool.map(entry.chunk_size(1), 0..30).unwrap()[29].2, 29);
            pool.resize(5).unwrap();
            assert_eq!(pool.map(entry.chunk_size(1), 0..30).unwrap()[29].2, 29);
            assert_eq!(ledger.lines(), [server_of(&pool).to_string()], "also for those that came later");
            assert!(worker_state::<Table>().is_none(), "the program itself has none of it");
            pool.close().unwrap();
        }
    }

    fn spawned_workers_preload_each_for_itself() {
        let ledger = Ledger::new("ledger");
        let builder = Pool::builder().workers(2).start_method(StartMethod::Spawn);
        let pool = builder.preload(load, (ledger.path(), 10)).initializer(double, ()).build().unwrap();
        assert_eq!(pool.apply(entry, (4,)).unwrap().2, 8, "before the initializer");
        assert_eq!(pool.apply(faults::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
        assert_eq!(pool.apply(entry, (4,)).unwrap().2, 8);
        pool.close().unwrap();
        let pids: BTreeSet<String> = ledger.lines().into_iter().collect();
        assert_eq!((pids.len(), ledger.lines().len()), (3, 3));
    }

    fn initializers_come_after_the_preload() {
        each(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.preload(load, (ledger.path(), 10)).initializer(double, ()).build().unwrap();
            assert!(pool.map(entry.chunk_size(1), [4; 20]).unwrap().iter().all(|found| found.2 == 8));
            pool.close().unwrap();
        });
    }

    fn a_server_that_is_lost_preloads_again() {
        let ledger = Ledger::new("ledger");
        let pool = Pool::builder().workers(2).preload(load, (ledger.path(), 100)).build().unwrap();
        for round in 1..=3 {
            assert_eq!(pool.map(entry.chunk_size(1), 0..50).unwrap()[49].2, 49);
            assert_eq!(ledger.lines().len(), round);
            assert_eq!(ledger.lines().last(), Some(&server_of(&pool).to_string()));
            let idempotent = pool.apply_async(faults::sleep, (0.01,));
            replace_server(&pool);
            assert!(matches!(kinds(vec![idempotent])[0], Ok(_) | Err(ErrorKind::WorkerLost)));
        }
        pool.close().unwrap();
    }

    fn a_preload_that_fails_is_what_build_says() {
        let cases = [
            ("error", "preload `it::preload::fail` failed: the table is not there"),
            ("long error", "failed: äää"),
            ("panic", "the table is damaged"),
            ("exit", "preload `it::preload::fail` ended its process: exit status 3"),
            ("exit, and leave a child", "ended its process: exit status 4"),
            ("abort", "preload `it::preload::fail` ended its process: signal 6 (SIGABRT)"),
            ("hang", "preload `it::preload::fail` did not return within 100ms"),
            ("thread", "preload `it::preload::fail` left 1 threads running"),
        ];
        for method in FORKED {
            for (how, text) in cases {
                let ledger = Ledger::new("ledger");
                let task = fail.timeout(Duration::from_millis(if how == "hang" { 100 } else { 60_000 }));
                let builder = Pool::builder().workers(2).start_method(method);
                let error = builder.preload(task, (ledger.path(), how.to_owned())).build().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
                assert!(error.to_string().contains(text), "{method:?}, {how}: {error}");
                assert_eq!(ledger.lines().len(), 1, "it is not tried again");
            }
        }
    }

    fn a_preload_that_fails_in_spawned_workers_is_what_every_call_says() {
        for (how, text) in [("error", "the table is not there"), ("panic", "the table is damaged")] {
            let ledger = Ledger::new("ledger");
            let builder = Pool::builder().workers(2).start_method(StartMethod::Spawn);
            let pool = builder.preload(fail, (ledger.path(), how.to_owned())).build().unwrap();
            let error = pool.apply(square, (3,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Initializer);
        }
    }

    fn a_preload_that_fails_when_it_is_run_again_breaks_the_pool() {
        for (how, text) in [("error", "the table is not there"), ("hang", "did not return within 2s")] {
            let ledger = Ledger::new("ledger");
            let task = load_once.timeout(Duration::from_secs(2));
            let pool = Pool::builder().workers(1).preload(task, (ledger.path(), how.to_owned())).build().unwrap();
            assert_eq!(pool.apply(entry, (3,)).unwrap().2, 3);
            send_signal(server_of(&pool), Signal::SIGKILL);
            let error = loop {
                // What runs while the server dies is lost with its worker.
                match pool.apply(square, (3,)) {
                    Err(error) if error.kind() != ErrorKind::WorkerLost => break error,
                    _ => {}
                }
            };
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Initializer);
        }
    }

    fn options_of_a_preload_are_checked() {
        let ledger = Ledger::new("ledger");
        let hasty = load.timeout(Duration::ZERO);
        let error = Pool::builder().preload(hasty, (ledger.path(), 1)).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        let patient = load.timeout(Duration::MAX);
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let pool = Pool::builder().workers(1).start_method(method).preload(patient, (ledger.path(), 1)).build().unwrap();
            assert_eq!(pool.apply(entry, (0,)).unwrap().2, 0);
            pool.close().unwrap();
        }
    }

    fn nothing_stands_still_while_a_lost_server_is_replaced() {
        let (ledger, starts, gate) = (Ledger::new("ledger"), Ledger::new("starts"), Gate::new("gate"));
        let preload = load_again_when_open;
        let pool = Pool::builder().workers(2).preload(preload, (ledger.path(), gate.path())).build().unwrap();
        let running = pool.apply_async(note_and_wait, (starts.path(),));
        assert!(wait_until(LIMIT, || starts.lines().len() == 1));
        send_signal(server_of(&pool), Signal::SIGKILL);
        assert_eq!(kinds(vec![running]), [Err(ErrorKind::WorkerLost)]);
        assert!(wait_until(LIMIT, || ledger.lines().len() == 2), "another one is on its way");
        let hurried = pool.apply_async(square.deadline(Duration::from_millis(300)), (3,));
        let patient = pool.apply_async(square, (3,));
        assert_eq!(kinds(vec![hurried]), [Err(ErrorKind::TimedOut)]);
        gate.open();
        assert_eq!(kinds(vec![patient]), [Ok(9)]);
        assert_eq!(pool.apply(entry, (7,)).unwrap().2, 7);
        pool.close().unwrap();
    }

    fn a_pool_ends_while_a_lost_server_is_replaced() {
        for is_closed in [true, false] {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let preload = load_again_when_open;
            let pool = Pool::builder().workers(2).preload(preload, (ledger.path(), gate.path())).build().unwrap();
            send_signal(server_of(&pool), Signal::SIGKILL);
            assert!(wait_until(LIMIT, || ledger.lines().len() == 2), "another one is on its way");
            if is_closed { pool.close().unwrap() } else { pool.terminate() }
            pool.join(Some(LIMIT)).unwrap();
        }
    }

    fn a_preload_can_have_shared_data() {
        let maker = Pool::builder().workers(1).lazy_start(true).build().unwrap();
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let builder = Pool::builder().workers(2).start_method(method);
            // The only handle goes with the builder.
            let pool = builder.preload(keep, (maker.share(&[1, 2, 3]).unwrap(),)).build().unwrap();
            assert!(pool.starmap(sums.chunk_size(1), (0..20).map(|_| ())).unwrap().iter().all(|found| *found == (6, 6)));
            if method == StartMethod::ForkServer {
                replace_server(&pool);
                assert_eq!(pool.apply(sums, ()).unwrap(), (6, 6), "for a new server too");
            }
            let table = maker.share(&[4_u64]).unwrap();
            assert_eq!(pool.apply(sum_of, (table,)).unwrap(), 4);
            pool.close().unwrap();
            drop(pool);
            assert_eq!(mapped_here(), 0);
        }
        maker.close().unwrap();
    }
}

#[procession::task]
fn sum_of(table: Shared<u64>) -> u64 {
    table.iter().sum()
}
